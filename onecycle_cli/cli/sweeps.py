"""`sweep-wd`."""

from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.new_run import print_json, start, train_command
from onecycle_cli.cli.options import (
    RUNS_DIR,
    BatchSizeOption,
    DeviceOption,
    JsonOption,
    NameOption,
    QuietOption,
    RecipeArgument,
    RepeatsOption,
    RunsDirOption,
    SeedOption,
    SetOption,
    load_recipe,
)

if TYPE_CHECKING:
    from onecycle_cli.sweeps import SweepRow


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("sweep-wd", epilog="Example: onecycle sweep-wd cifar10-resnet8 --weight-decays 1e-2,1e-3,1e-4")(
        sweep_wd
    )


def sweep_wd(
    recipe: RecipeArgument,
    weight_decays: Annotated[
        str | None, typer.Option("--weight-decays", metavar="WD,WD,...", help="sweep_wd.weight_decays.")
    ] = None,
    settings: SetOption = None,
    batch_size: BatchSizeOption = None,
    repeats: RepeatsOption = 1,
    refine: Annotated[
        bool,
        typer.Option("--refine", help="Also test the values half-way to the chosen one's neighbours."),
    ] = False,
    seed: SeedOption = None,
    device: DeviceOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the range test for several weight decays and choose the largest that still allows a high lr.

    Exits with 4 where none of them gave a curve that can be read.
    """
    from onecycle_cli.console import Display, show_pairs, show_table
    from onecycle_cli.errors import NoSuggestionError
    from onecycle_cli.experiments import weight_decay
    from onecycle_cli.run_dir.files import SWEEP, SWEEP_COLUMNS, SWEEP_FIGURE

    values = None if weight_decays is None else f"[{weight_decays}]"
    loaded = load_recipe(recipe, settings, weight_decays=values, batch_size=batch_size, seed=seed, device=device)
    hardware, run = start("sweep-wd", loaded, runs_dir, name)
    with run.recording(), Display(quiet=quiet) as report:
        sweep = weight_decay.sweep_wd(loaded, hardware, run, report, repeats=repeats, refine=refine)
        chosen = sweep.reading.chosen
        summary = {
            "weight_decay": chosen and chosen.weight_decay,
            "max_lr": chosen and chosen.max_lr,
            "reason": sweep.reading.reason,
            "chosen_run": chosen and str(run.path / weight_decay.value_folder(chosen.weight_decay)),
            "rows": [vars(row) for row in sweep.rows],
        }
        run.finish("finished", summary)
    if chosen is None:
        raise NoSuggestionError(sweep.reading.reason, f"The curves are in {run.path}.")
    if quiet:
        print(weight_decay.short(chosen.weight_decay))
    elif as_json:
        print_json(run, summary)
    else:
        show_table(SWEEP_COLUMNS, [[_number(value) for value in vars(row).values()] for row in _by_value(sweep.rows)])
        print()
        inner = run.path / weight_decay.value_folder(chosen.weight_decay)
        show_pairs(
            [
                ("weight_decay", weight_decay.short(chosen.weight_decay)),
                ("max_lr", f"{chosen.max_lr:g}"),
                ("why", sweep.reading.reason),
                ("table", str(run.path / SWEEP)),
                ("figure", str(run.path / SWEEP_FIGURE)),
                ("next", train_command(type(run)(inner))),
            ]
        )


def _by_value(rows: "list[SweepRow]") -> "list[SweepRow]":
    """The largest weight decay first, wherever a refinement came in."""
    return sorted(rows, key=lambda row: -row.weight_decay)


def _number(value: float | str | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.3g}"
