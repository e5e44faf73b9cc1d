"""The trained weights that a training starts from, if its recipe names any."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from onecycle_cli.data.images import ImageData
from onecycle_cli.errors import InputError
from onecycle_cli.models import (
    OwnCode,
    build_model,
    layer_groups,
    network_arguments,
    network_in_words,
    pretrained_weights,
)
from onecycle_cli.models.sources.torchvision import with_torchvision_names
from onecycle_cli.models.weights import Header, load_weights
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import MODEL
from onecycle_cli.run_dir.finding import file_of

INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "lanczos")
"""The values of `data.interpolation`. Sources of weights name others too."""


@dataclass(frozen=True)
class InitialWeights:
    """The weights of a trained network to start from, by name.

    `name` is the source of the weights, for messages. `classes`, `mean`, `std` and `interpolation` are those of their
    training; `interpolation` is None if it is not known, or is none of `data.interpolation`.
    """

    name: str
    weights: Mapping[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str | None

    def put_into(self, model: nn.Module, classes: tuple[str, ...]) -> None:
        """Loads the weights into `model`. If the weights are for other classes, the head of `model` is kept."""
        head = layer_groups(model, len(classes))["head"]
        own = {name: weight for name, weight in model.state_dict().items() if name in head}
        model.load_state_dict(self.weights if classes == self.classes else {**self.weights, **own})

    def describe(self, recipe: Recipe, data: ImageData) -> str:
        """Returns a note for the user on how a training on `data` uses the weights: its head and its normalization."""
        head = f"with its head for {_listed(self.classes)}"
        if not self.classes:
            head = "with a new head, because they have none"
        elif data.classes != self.classes:
            old, new = _listed(self.classes), _listed(data.classes)
            head = f"with a new head, because the old one is for {old}, and the images are of {new}"
        told = [f"The network starts from {self.name}, {head}."]
        if inherited := [name for name in ("mean", "std") if getattr(recipe.data, name) is None]:
            values = [f"{name} {', '.join(f'{value:.4f}' for value in getattr(data, name))}" for name in inherited]
            told.append(f"The images are normalized as in its training: {'; '.join(values)}.")
        if recipe.data.interpolation is None and self.interpolation not in (None, "bilinear"):
            told.append(f"They are resized as there: interpolation {self.interpolation}.")
        return " ".join(told)


def load_initial_weights(recipe: Recipe, report: Report, code: OwnCode) -> InitialWeights | None:
    """Loads the trained weights that a recipe starts from; None if it starts from random weights.

    Pretrained weights are downloaded if needed. `code` says which code of the user may run. `InputError` if the weights
    do not exist, or if their network or their shapes differ from those of the recipe's network.
    """
    size, channels = recipe.data.image_size, recipe.data.channels
    found = pretrained_weights(recipe.model, channels=channels, image_size=size, report=report)
    if found is not None:
        own = found.interpolation if found.interpolation in INTERPOLATIONS else None
        return InitialWeights(found.name, found.weights, found.classes, found.mean, found.std, own)
    if recipe.model.init is None:
        return None
    path = Path(recipe.model.init)
    weights, header = load_weights(file_of(path, MODEL))
    if header.model.get("source") == "torchvision":
        weights = with_torchvision_names(weights)
    _check_fit(recipe, weights, header, code)
    return InitialWeights(str(path), weights, header.classes, header.mean, header.std, header.interpolation)


def _check_fit(recipe: Recipe, weights: Mapping[str, Tensor], header: Header, code: OwnCode) -> None:
    size, channels, classes = recipe.data.image_size, recipe.data.channels, len(header.classes)
    here = network_arguments(recipe.model, channels=channels, classes=classes, image_size=size)
    if network_in_words(header.model) != network_in_words(here):
        its = {"source": "onecycle"} | header.model  # older files have no source: there was only one
        flags = [f"--set model.{name}={its[name]}" for name in ("source", "architecture", "function") if name in its]
        raise InputError(
            f"The model in {recipe.model.init} is {network_in_words(header.model)}, but the recipe's is "
            f"{network_in_words(here)}.",
            f"Start from another model, or {' '.join(flags)}.",
        )
    model = build_model(recipe.model, channels=channels, classes=classes, image_size=size, seed=0, code=code)
    expected = model.state_dict()
    shapes = {name: (_shape(weights.get(name)), _shape(expected.get(name))) for name in {**expected, **weights}}
    wrong = [f"  {name}: {there} there, {here} here" for name, (there, here) in shapes.items() if there != here]
    if wrong:
        raise InputError(
            f"The model in {recipe.model.init} has different shapes from the recipe's:\n" + "\n".join(wrong),
            f"Set the fields of model, data.channels and data.image_size as there: {_listed_fields(header)}.",
        )


def _listed_fields(header: Header) -> str:
    """Lists the arguments that the network of a file was built from, and its image size."""
    fields = {name: value for name, value in header.model.items() if name not in ("classes", "sha256")}
    return ", ".join(f"{name} {value}" for name, value in {**fields, "image_size": header.image_size}.items())


def _shape(weight: Tensor | None) -> str:
    """Writes a shape as 16 x 3 x 3 x 3; "none" if there is no weight."""
    if weight is None:
        return "none"
    return " x ".join(map(str, weight.shape)) or "a number"


def _listed(classes: tuple[str, ...]) -> str:
    """Lists the first three classes and counts the others: a, b, c and 7 more."""
    first, more = ", ".join(classes[:3]), len(classes) - 3
    return f"{first} and {more} more" if more > 0 else first
