"""`model`: shows the network of a recipe."""

from pathlib import Path
from typing import Annotated

import typer

from onecycle_cli.cli.options import (
    CsvOption,
    Overrides,
    RecipeArgument,
    TrustCodeOption,
    load_recipe,
    must_be_new,
    with_overrides,
)

app = typer.Typer(
    help="Look at the network of a recipe.",
    epilog="Example: onecycle model show cifar10-resnet20 --classes 10",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.callback()
def _group() -> None:
    """Look at the network of a recipe."""


@app.command(epilog="Example: onecycle model show cifar10-resnet20 --classes 10")
@with_overrides
def show(
    recipe: RecipeArgument,
    overrides: Overrides,
    classes: Annotated[
        int | None, typer.Option("--classes", metavar="N", help="The number of classes; without it, images are opened.")
    ] = None,
    csv: CsvOption = None,
    trust_code: TrustCodeOption = False,
) -> None:
    """Show the layers of a recipe's network: layer groups, shapes and parameters.

    Fine-tuning freezes layer groups, and max_lr can differ between them.
    """
    from onecycle_cli.cli.console import Display, show_csv, show_pairs, show_table
    from onecycle_cli.experiments.network import network_table
    from onecycle_cli.models import OwnCode
    from onecycle_cli.models.layer_table import LayerRow
    from onecycle_cli.run_dir.writing import to_csv, write_new

    must_be_new(None, csv)
    loaded = load_recipe(recipe, overrides)
    with Display(quiet=False) as report:
        name, rows = network_table(loaded, classes, report, OwnCode(trust_code))
    columns = tuple(LayerRow.__dataclass_fields__)
    if csv is not None:
        table = to_csv(columns, [tuple(vars(row).values()) for row in rows])
        if csv == "-":
            show_csv(table)
            return
        write_new(Path(csv), lambda beside: beside.write_text(table, encoding="utf-8"))
    show_table(columns, [(row.group, row.layer, row.kind, row.shapes, f"{row.parameters:,}") for row in rows])
    print()
    groups: dict[str, int] = {}
    for row in rows:
        groups[row.group] = groups.get(row.group, 0) + row.parameters
    listed = ", ".join(f"{group} {parameters:,}" for group, parameters in groups.items())
    show_pairs([("network", name), ("parameters", f"{sum(groups.values()):,}"), ("groups", listed)])
