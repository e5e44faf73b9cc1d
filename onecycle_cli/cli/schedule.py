"""`schedule`: shows lr and momentum of a recipe without training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    CsvOption,
    MaxLrOption,
    Overrides,
    PlotOption,
    RecipeArgument,
    draw_first,
    load_recipe,
    must_be_new,
    with_overrides,
)

if TYPE_CHECKING:
    from onecycle_cli.progress import Report
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.schedules import LrMomentum


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("schedule", epilog="Example: onecycle schedule cifar10-resnet56 --max-lr 0.8 --csv -")(schedule)


@with_overrides
def schedule(
    recipe: RecipeArgument,
    max_lr: MaxLrOption = None,
    steps_per_epoch: Annotated[
        int | None,
        typer.Option(
            "--steps-per-epoch",
            min=1,
            help="Steps of an epoch; needed where only the images tell it, since none is opened.",
        ),
    ] = None,
    overrides: Overrides = NO_OVERRIDES,
    csv: CsvOption = None,
    plot: PlotOption = None,
) -> None:
    """Show lr and momentum at every step of a recipe, with no data loaded and no training.

    --csv writes every step; the screen shows the turning points.
    """
    from onecycle_cli.cli.console import show_csv
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.planning import known_steps_per_epoch, recipe_schedule
    from onecycle_cli.recipe import lacks_max_lr
    from onecycle_cli.run_dir.writing import to_csv, write_new

    must_be_new(plot, csv)
    loaded = load_recipe(recipe, overrides, max_lr=max_lr)
    if lacks_max_lr(loaded):
        raise InputError(f"There is no max_lr: schedule.max_lr of {recipe} is empty.", "Give --max-lr.")
    per_epoch = steps_per_epoch or known_steps_per_epoch(loaded)
    if per_epoch is None:
        raise InputError(
            "How many steps an epoch has is not known before the data are read.", "Give --steps-per-epoch."
        )
    at = recipe_schedule(loaded, per_epoch)
    values = [at(step) for step in range(loaded.schedule.epochs * per_epoch)]
    error = None
    if plot is not None:
        _, error = draw_first(lambda report: _draw(plot, loaded, values, report))
    if csv is not None:
        rows = ((step, step // per_epoch + 1, value.lr, value.momentum) for step, value in enumerate(values))
        text = to_csv(("step", "epoch", "lr", "momentum"), rows)
        if csv == "-":
            show_csv(text)
        else:
            write_new(Path(csv), lambda beside: beside.write_text(text, encoding="utf-8"))
    if csv != "-":
        _show_turns(loaded, values, per_epoch)
    if error is not None:
        raise error


def _draw(path: Path, recipe: "Recipe", values: "Sequence[LrMomentum]", report: "Report") -> None:
    from onecycle_cli.experiments.drawing import draw_file
    from onecycle_cli.recipe import last_stage

    max_lr = last_stage(recipe).schedule.largest_max_lr
    title = f"{recipe.name}: {_called(recipe)}, max_lr {max_lr:g}, {len(values):,} steps"

    def plot(path: Path) -> str:
        from onecycle_cli.figures.plots import plot_schedule

        return plot_schedule(path, title=title, lrs=[v.lr for v in values], momentums=[v.momentum for v in values])

    draw_file(path, report, plot)


def _show_turns(recipe: "Recipe", values: "Sequence[LrMomentum]", per_epoch: int) -> None:
    from onecycle_cli.cli.console import show_pairs, show_table

    total = len(values)
    peak = max(range(total), key=lambda step: values[step].lr)
    turns = sorted({0, peak, *range(0, total, max(1, total // 10)), total - 1})
    show_table(
        ("step", "epoch", "lr", "momentum", ""),
        [
            (f"{step:,}", str(step // per_epoch + 1), f"{values[step].lr:.4g}", f"{values[step].momentum:.3f}", mark)
            for step in turns
            for mark in ["peak" if step == peak else ""]
        ],
    )
    print()
    show_pairs([("total_steps", f"{total:,}"), ("steps_per_epoch", str(per_epoch)), ("schedule", _called(recipe))])


def _called(recipe: "Recipe") -> str:
    """Returns the policy and its form, such as "one_cycle (blog)"."""
    settings = recipe.schedule
    return f"{settings.policy} ({settings.form})" if settings.form else settings.policy
