"""`runs`: what was run, how it stands, what came out."""

from typing import Any

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, RunsDirOption

RESULTS = {
    "find-lr": ("max_lr", ".3g"),
    "train": ("valid_accuracy", ".4f"),
    "sweep-wd": ("weight_decay", "g"),
    "evaluate": ("accuracy", ".4f"),
}
"""The one number of each command's summary that says most."""


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("runs", epilog="Example: onecycle runs --json")(runs)


def runs(runs_dir: RunsDirOption = RUNS_DIR, as_json: JsonOption = False) -> None:
    """List the runs with their status and result, oldest first."""
    import json

    from onecycle_cli.console import show_table
    from onecycle_cli.run_dir.finding import all_runs

    rows: list[dict[str, Any]] = []
    for run in all_runs(runs_dir):
        facts, summary = run.facts, run.summary
        result, _ = RESULTS[facts["command"]]
        rows.append(
            {
                "run": str(run.path),
                "command": facts["command"],
                "recipe": facts["recipe"],
                "status": facts["status"],
                "started": facts["started"],
                "result": result,
                "value": summary.get(result),
            }
        )
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    show_table(
        ("run", "status", "result"),
        [(row["run"], row["status"], _result(row["command"], row["value"])) for row in rows],
    )


def _result(command: str, value: float | None) -> str:
    name, form = RESULTS[command]
    return "" if value is None else f"{name} {value:{form}}"
