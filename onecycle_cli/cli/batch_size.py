"""`find-batch-size`."""

import typer

from onecycle_cli.cli.options import (
    RUNS_DIR,
    JsonOption,
    NameOption,
    Overrides,
    QuietOption,
    RecipeArgument,
    RunsDirOption,
    TrustCodeOption,
    load_recipe,
    trust_flag,
    with_overrides,
)
from onecycle_cli.cli.results import json_if_it_fails, print_json


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("find-batch-size", epilog="Example: onecycle find-batch-size cifar10-resnet56")(find_batch_size)


@with_overrides
def find_batch_size(
    recipe: RecipeArgument,
    overrides: Overrides,
    trust_code: TrustCodeOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Find a batch size for a recipe on this machine, with its real training steps.

    On a GPU, the result is the largest size that fits in memory, less a tenth. On a CPU it is the smallest of 16, 32,
    64, ... that is about as fast as any, by the median of a few timed steps; other programs on the machine change these
    times. If memory runs out on a CPU, the system may kill the command; batch_size.csv in the run's folder then lists
    the sizes tried. Accuracy is not measured.
    """
    from onecycle_cli.cli.console import Display, show_pairs, show_table
    from onecycle_cli.experiments import batch_size
    from onecycle_cli.experiments.session import new_run
    from onecycle_cli.models import OwnCode
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import BATCH_SIZE, BATCH_SIZE_COLUMNS, RECIPE

    loaded = load_recipe(recipe, overrides, runs_dir)
    display = Display(quiet=quiet)
    session = new_run("find-batch-size", loaded, runs_dir=runs_dir, name=name, report=display, code=OwnCode(trust_code))
    run = session.run
    with json_if_it_fails(run, as_json and not quiet, batch_size=None), display:
        found = batch_size.find_batch_size(loaded, session)
    if quiet:
        print(found.batch_size)
        return
    if as_json:
        print_json(run, vars(found))
        return
    trials = sorted(found.trials, key=lambda trial: trial.batch_size)
    show_table(BATCH_SIZE_COLUMNS, [[_cell(value) for value in vars(trial).values()] for trial in trials])
    print()
    size = str(found.batch_size)
    words = ["find-lr", str(run.path / RECIPE), "--batch-size", size, *trust_flag(trust_code)]
    show_pairs(
        [
            ("batch_size", size),
            ("why", found.reason),
            ("steps_per_epoch", str(found.steps_per_epoch)),
            ("max_lr", "has to be found again for another batch size"),
            ("table", str(run.path / BATCH_SIZE)),
            ("next", command_line(words)),
        ]
    )


def _cell(value: float | str | None) -> str:
    return "" if value is None else f"{value:,.1f}" if isinstance(value, float) else str(value)
