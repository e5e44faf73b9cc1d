"""The trained weights that a training starts from, if its recipe names any."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from onecycle_cli.data.images import ImageData
from onecycle_cli.errors import InputError
from onecycle_cli.models import build_model, pretrained_weights
from onecycle_cli.models.weights import Header, load_weights
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import MODEL


@dataclass(frozen=True)
class InitialWeights:
    """The weights of a trained network to start from, by name.

    `name` is the source of the weights, for messages. `classes`, `mean` and `std` are those of their training.
    """

    name: str
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def put_into(self, model: nn.Module, classes: tuple[str, ...]) -> None:
        """Loads the weights into `model`. If the weights are for other classes, the head of `model` is kept."""
        own = {name: weight for name, weight in model.state_dict().items() if name.startswith("head.")}
        model.load_state_dict(self.weights if classes == self.classes else {**self.weights, **own})

    def describe(self, recipe: Recipe, data: ImageData) -> str:
        """Returns a note for the user on how a training on `data` uses the weights: its head and its normalization."""
        head = f"with its head for {_listed(self.classes)}"
        if data.classes != self.classes:
            old, new = _listed(self.classes), _listed(data.classes)
            head = f"with a new head, because the old one is for {old}, and the images are of {new}"
        told = [f"The network starts from {self.name}, {head}."]
        if inherited := [name for name in ("mean", "std") if getattr(recipe.data, name) is None]:
            values = [f"{name} {', '.join(f'{value:.4f}' for value in getattr(data, name))}" for name in inherited]
            told.append(f"The images are normalized as in its training: {'; '.join(values)}.")
        return " ".join(told)


def load_initial_weights(recipe: Recipe, report: Report) -> InitialWeights | None:
    """Loads the trained weights that a recipe starts from; None if it starts from random weights.

    Pretrained weights are downloaded if needed. `InputError` if the weights do not exist, or if their architecture or
    their shapes differ from those of the recipe's network.
    """
    found = pretrained_weights(recipe.model, report)
    if found is not None:
        return InitialWeights(found.name, found.weights, found.classes, found.mean, found.std)
    if recipe.model.init is None:
        return None
    path = Path(recipe.model.init)
    weights, header = load_weights(path / MODEL if path.is_dir() else path)
    _check_fit(recipe, weights, header)
    return InitialWeights(str(path), weights, header.classes, header.mean, header.std)


def _check_fit(recipe: Recipe, weights: Mapping[str, Tensor], header: Header) -> None:
    there = (
        header.model.get("source", "onecycle"),
        header.model["architecture"],
    )  # older files have no source: there was only one
    here = (recipe.model.source, recipe.model.architecture)
    if there != here:
        raise InputError(
            f"The model in {recipe.model.init} is {_a_network(*there)}, but the recipe's is {_a_network(*here)}.",
            f"Start from another model, or --set model.source={there[0]} --set model.architecture={there[1]}.",
        )
    classes = len(header.classes)
    expected = build_model(recipe.model, channels=recipe.data.channels, classes=classes, seed=0).state_dict()
    shapes = {name: (_shape(weights.get(name)), _shape(expected.get(name))) for name in {**expected, **weights}}
    wrong = [f"  {name}: {there} there, {here} here" for name, (there, here) in shapes.items() if there != here]
    if wrong:
        raise InputError(
            f"The model in {recipe.model.init} has different shapes from the recipe's:\n" + "\n".join(wrong),
            "Set model.width, model.shortcut and data.channels to the values of that model.",
        )


def _a_network(source: str, architecture: str) -> str:
    return f"a {architecture}" if source == "onecycle" else f"{source}'s {architecture}"


def _shape(weight: Tensor | None) -> str:
    """Writes a shape as 16 x 3 x 3 x 3; "none" if there is no weight."""
    if weight is None:
        return "none"
    return " x ".join(map(str, weight.shape)) or "a number"


def _listed(classes: tuple[str, ...]) -> str:
    """Lists the first three classes and counts the others: a, b, c and 7 more."""
    first, more = ", ".join(classes[:3]), len(classes) - 3
    return f"{first} and {more} more" if more > 0 else first
