"""`data`: downloads, checks and shows the images of a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import Overrides, RecipeArgument, load_recipe, with_overrides

if TYPE_CHECKING:
    from onecycle_cli.data.images import ImageData

app = typer.Typer(
    help="Download, check and show the images of a recipe.",
    epilog="Example: onecycle data get cifar10-resnet56",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command(epilog="Example: onecycle data get cifar10-resnet56")
@with_overrides
def get(recipe: RecipeArgument, overrides: Overrides) -> None:
    """Download or decode the images of a recipe, as a first run would do."""
    from onecycle_cli.cli.console import Display, show_pairs
    from onecycle_cli.experiments.recipe_images import open_as_a_run_does

    loaded = load_recipe(recipe, overrides)
    with Display(quiet=False) as report:
        data = open_as_a_run_does(loaded, report)
    show_pairs(
        [
            ("source", loaded.data.source),
            *_splits(data),
            ("classes", f"{len(data.classes)}: {', '.join(data.classes)}"),
            *_statistics(data.mean, data.std),
        ]
    )


@app.command(epilog="Example: onecycle data check images --set data.path=photos")
@with_overrides
def check(recipe: RecipeArgument, overrides: Overrides) -> None:
    """Show the images of a recipe: the classes, the files that are not used and why, and the statistics.

    A folder is decoded, as a first run would do. Nothing is downloaded.
    """
    from onecycle_cli.cli.console import Display, show_pairs, show_table
    from onecycle_cli.experiments.data_check import check_files, measure_images

    loaded = load_recipe(recipe, overrides)
    rows = check_files(loaded)
    if rows:
        cells = [
            (row.split, row.class_name, "" if row.images is None else f"{row.images:,}", row.skipped) for row in rows
        ]
        show_table(("split", "class", "images", "not used"), cells)
        print()
    with Display(quiet=False) as report:
        found = measure_images(loaded, report)
    show_pairs(
        [
            ("source", loaded.data.source),
            *_splits(found.data),
            *_statistics(found.mean, found.std),
            *(("remark", text) for text in found.remarks),
        ]
    )


@app.command(epilog="Example: onecycle data show cifar10-resnet20 --set augmentation=standard")
@with_overrides
def show(
    recipe: RecipeArgument,
    overrides: Overrides,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="FILE", help="A new PNG file, instead of <name of the recipe>-batch.png."),
    ] = None,
    images: Annotated[int, typer.Option("--images", min=1, max=512, help="The most images to draw.")] = 32,
) -> None:
    """Draw the first training batch of a recipe as the network sees it: augmented, each image with its class.

    The normalization is undone. An image that is mixed of two has both classes, with their shares of the label. Another
    --seed draws other images and other changes.
    """
    from onecycle_cli.cli.console import Display
    from onecycle_cli.experiments.batch_picture import draw_batch
    from onecycle_cli.run_dir.writing import must_be_new

    loaded = load_recipe(recipe, overrides)
    path = output or Path(f"{loaded.name}-batch.png")
    must_be_new(path)
    with Display(quiet=False) as report:
        drawn = draw_batch(loaded, path, images, report)
    print(f"{drawn} images of the first training batch: {path}")


def _splits(data: "ImageData") -> list[tuple[str, str]]:
    valid = f"{len(data.valid):,} images, {data.valid_is}"
    test = f"{len(data.test):,} images" if data.test else "none of its own"
    return [("train", f"{len(data.train):,} images"), ("valid", valid), ("test", test)]


def _statistics(mean: tuple[float, ...], std: tuple[float, ...]) -> list[tuple[str, str]]:
    """Formats the mean and std of each channel, on a scale from 0 to 1."""
    return [(name, ", ".join(f"{value:.4f}" for value in values)) for name, values in (("mean", mean), ("std", std))]
