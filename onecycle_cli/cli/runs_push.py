"""`runs push`: sends to TensorBoard, MLflow or W&B what they lack of runs that have ended."""

from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, RunsDirOption

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir


def add_to(app: typer.Typer) -> None:
    """Adds the command to `runs`."""
    app.command("push", epilog="Example: onecycle runs push RUN --to mlflow")(push)


def push(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Runs, by name or folder; a sweep is sent with its cells.")
    ],
    receivers: Annotated[
        list[str] | None,
        typer.Option("--to", metavar="NAME", help="tensorboard, mlflow or wandb; default: runtime.log_to of each run."),
    ] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """Send the rows and results of runs to TensorBoard, MLflow or W&B: what they lack, each row once.

    Exits with 5 if one of them cannot be reached. A second push sends nothing again.
    """
    from onecycle_cli.cli.console import show_json, show_note, show_table
    from onecycle_cli.errors import MachineError
    from onecycle_cli.experiments.following import send_all
    from onecycle_cli.run_dir.finding import find_run

    found = [find_run(runs_dir, name) for name in runs]
    chosen = [_receivers(run, receivers or []) for run in found]
    rows = [
        {"run": str(run.path)} | vars(delivery)
        for run, names in zip(found, chosen, strict=True)
        for delivery in send_all(run, names, show_note)
    ]
    if as_json:
        show_json(rows)
    else:
        cells = [(row["run"], row["receiver"], str(row["rows"]), row["trouble"] or row["at"] or "") for row in rows]
        show_table(("run", "receiver", "rows", "where"), cells)
    failed = [row for row in rows if row["trouble"]]
    if failed:
        raise MachineError(
            "\n".join(f"{row['receiver']} does not have all of {row['run']}: {row['trouble']}." for row in failed),
            "Push again when it can be reached: what it has is not sent again.",
        )


def _receivers(run: "RunDir", given: list[str]) -> tuple[str, ...]:
    """Returns the receivers to send a run to: those that are given, else those of its recipe."""
    from onecycle_cli.errors import InputError
    from onecycle_cli.recipe import load
    from onecycle_cli.run_dir.files import RECIPE
    from onecycle_cli.run_dir.receivers import RECEIVERS

    known = ", ".join(RECEIVERS)
    for name in given:
        if name not in RECEIVERS:
            raise InputError(f"--to {name} is no receiver of runs.", f"There are {known}.")
    names = tuple(dict.fromkeys(given)) or load(run.intact(RECIPE)).runtime.log_to
    if not names:
        raise InputError(f"The recipe of {run.path} has no runtime.log_to.", f"Say where to send it: --to {known}.")
    return names
