"""`data`: getting images ahead of time, and looking at what is there."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onecycle_cli.cli.options import RecipeArgument, SetOption, load_recipe

if TYPE_CHECKING:
    from onecycle_cli.progress import Report
    from onecycle_cli.recipe import Recipe

app = typer.Typer(
    help="Get the images of a recipe ahead of time, and check them.",
    epilog="Example: onecycle data get cifar10-resnet56",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.command(epilog="Example: onecycle data get cifar10-resnet56")
def get(recipe: RecipeArgument, settings: SetOption = None) -> None:
    """Download or decode the images of a recipe, as its first run would."""
    from onecycle_cli.console import Display, show_pairs
    from onecycle_cli.experiments.setup import open_recipe_data

    loaded = load_recipe(recipe, settings)
    with Display(quiet=False) as report:
        data = open_recipe_data(loaded, report)
    show_pairs(
        [
            ("source", loaded.data.source),
            ("train", f"{len(data.train):,} images"),
            ("valid", f"{len(data.valid):,} images"),
            ("test", f"{len(data.test):,} images" if data.test else "none of its own"),
            ("classes", f"{len(data.classes)}: {', '.join(data.classes)}"),
            ("mean", ", ".join(f"{value:.4f}" for value in data.mean)),
            ("std", ", ".join(f"{value:.4f}" for value in data.std)),
        ]
    )


@app.command(epilog="Example: onecycle data check images --set data.path=photos")
def check(recipe: RecipeArgument, settings: SetOption = None) -> None:
    """Check that the images of a recipe are there, without fetching or decoding any."""
    from onecycle_cli.console import Display, show_pairs

    loaded = load_recipe(recipe, settings)
    with Display(quiet=False) as report:
        pairs = _found(loaded, report)
    show_pairs(pairs)


def _found(recipe: "Recipe", report: "Report") -> list[tuple[str, str]]:
    from onecycle_cli.data.cache import cache_folder
    from onecycle_cli.data.cifar10 import check_cifar10
    from onecycle_cli.data.image_folder import count_images

    match recipe.data.source:
        case "cifar10":
            return [("archive", f"{check_cifar10(cache_folder())}, md5 as it should be")]
        case "image_folder":
            assert recipe.data.path is not None
            counts = count_images(Path(recipe.data.path), report)
            return [("folder", recipe.data.path), *((split, f"{n:,} images") for split, n in counts.items())]
    return [("source", f"{recipe.data.source}, which comes with scikit-learn")]
