"""Exports the trained model of a run for other programs, after a check that the file answers as the model does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onecycle_cli import __version__
from onecycle_cli.data.batches import Normalization
from onecycle_cli.data.images import Pixels
from onecycle_cli.errors import InputError, OnecycleError, to_utf8
from onecycle_cli.experiments.classifier import BATCH_SIZE, Classifier
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.models.export import FORMATS, Format, Logits, Normalized, read_back, written
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import EXPORTED
from onecycle_cli.run_dir.writing import must_be_new, write_new

MOST_CHECKED = 10_000
"""The most images that a file is checked on."""

RANDOM_IMAGES = 1_000
"""The number of random images that a file is checked on if those of the run are missing."""

TOLERANCE = 1e-3
"""The largest difference of a logit in the file from that of the model."""

RELATIVE_TOLERANCE = 1e-5
"""The same as a share of the largest logit. It counts above a logit of 100: float32 has about seven digits."""


@dataclass(frozen=True)
class Check:
    """A comparison of an exported file with the model, both in float32 on the CPU.

    `images` were compared, `checked_on` says which. `same_class` of them have the same most likely class. `ties` have
    another one, whose logit is as high within the tolerance. `largest_difference` and `tolerance` are of single logits.
    """

    images: int
    checked_on: str
    same_class: int
    ties: int
    largest_difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the file gives the answers of the model; False too where a logit is not a number."""
        return self.largest_difference <= self.tolerance and self.same_class + self.ties == self.images


@dataclass(frozen=True)
class Exported:
    """An exported file: its path, its format, its size in bytes, the metadata in it, and its check."""

    file: Path
    format: str
    bytes: int
    metadata: dict[str, Any]
    check: Check


def export(
    model: Classifier,
    recipe: Recipe,
    path: Path,
    *,
    form: str,
    normalization: str | None,
    report: Report,
    most_checked: int = MOST_CHECKED,
) -> Exported:
    """Writes `model`, which is on the CPU, to a new file at `path` in the format `form`.

    `normalization` is "inside" (the file takes images from 0 to 1) or "outside" (it takes normalized ones); None is
    inside where the format can hold it. Before anything is written, the bytes of the file are read back and compared
    with the model, on up to `most_checked` images of the recipe's test split, else of its validation split, else on
    random images. `InputError` if the file exists, the format cannot express the network, or the answers are not the
    same; `MachineError` if a package is missing.
    """
    chosen = _format(form)
    inside = _is_inside(chosen, normalization)
    chosen.must_be_installed()
    must_be_new(path)
    metadata = metadata_of(model, inside=inside)
    network = Normalized(model.model, model.mean, model.std) if inside else model.model
    file = written(network, (model.channels, model.image_size, model.image_size), metadata, chosen)
    sample = _sample(model, recipe, most_checked, report)
    check = compare(read_back(file, network, chosen), model, sample, inside=inside, report=report)
    if not check.passed:
        raise InputError(
            f"The exported network does not give the answers of the model: of {check.images:,} images ({sample.name}), "
            f"{check.same_class:,} have the same class, and a logit differs by {check.largest_difference:.2g}, where "
            f"{check.tolerance:.2g} is allowed. Nothing was written.",
            "Try another --format.",
        )
    write_new(path, lambda beside: beside.write_bytes(file))
    return Exported(path, chosen.name, len(file), metadata, check)


def default_output(weights: Path, form: str) -> Path:
    """Returns the path of an exported file beside the `weights` of a run, such as exported-model.onnx."""
    return weights.with_name(EXPORTED.format(weights=weights.stem, ending=_format(form).ending))


def metadata_of(model: Classifier, *, inside: bool) -> dict[str, Any]:
    """Returns what a program needs to use the file, as JSON values: input, output, and the header of the weights."""
    colours = {1: "grey", 3: "RGB"}.get(model.channels, f"{model.channels} channels")
    size = f"(N, {model.channels}, {model.image_size}, {model.image_size})"
    values = "from 0 to 1" if inside else "(value - mean) / std of each channel, for values from 0 to 1"
    header = vars(model.header) | {"classes": [to_utf8(name) for name in model.classes]}
    return {
        "onecycle_version": __version__,
        "input": f"images: float32 {size}, {colours}, {values}",
        "output": f"logits: float32 (N, {len(model.classes)}), one for each class",
        "normalization": "inside" if inside else "outside",
        "channels": model.channels,
    } | header


@dataclass(frozen=True)
class Sample:
    """Some of the images of a split: `pixels`, uint8 (N, size, size, channels), those at `index`, and a name."""

    pixels: Pixels
    index: NDArray[np.int64]
    name: str

    def batches(self) -> Iterator[Tensor]:
        """Yields batches of pixels. The first has one image, so a network that was fixed to a batch size fails."""
        for part in np.split(self.index, range(1, len(self.index), BATCH_SIZE)):
            yield torch.from_numpy(self.pixels[part])


@torch.inference_mode()
def compare(exported: Logits, model: Classifier, sample: Sample, *, inside: bool, report: Report) -> Check:
    """Compares the logits of an exported network with those of the model, which is on the CPU.

    `inside` says that the exported network takes values from 0 to 1, else normalized ones.
    """
    nothing, everything = (0.0,) * model.channels, (1.0,) * model.channels
    mean, std = (nothing, everything) if inside else (model.mean, model.std)
    prepared = Normalization.of(mean, std, torch.device("cpu"))
    images, done, same, largest, difference = len(sample.index), 0, 0, 0.0, 0.0
    others: list[float] = []
    for batch in sample.batches():
        ours, theirs = model(batch), exported(prepared(batch).contiguous())
        answers, found = ours.argmax(1), theirs.argmax(1)
        same += int((answers == found).sum())
        margins = ours.amax(1) - ours.gather(1, found[:, None])[:, 0]
        others += margins[answers != found].tolist()
        # amax, and not max() of Python, keeps a nan.
        largest = float(torch.tensor([largest, ours.abs().amax()]).amax())
        difference = float(torch.tensor([difference, (ours - theirs).abs().amax()]).amax())
        done += len(batch)
        report(Progress("checking", done, images, "images"))
    tolerance = max(TOLERANCE, RELATIVE_TOLERANCE * largest)
    ties = sum(margin <= 2 * tolerance for margin in others)  # each of the two logits may be off by the tolerance
    return Check(images, sample.name, same, ties, difference, tolerance)


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise InputError(f"--format {name} is none.", f"It is {', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}.")
    return FORMATS[name]


def _is_inside(form: Format, normalization: str | None) -> bool:
    """Returns whether the normalization goes into the file; None is the format's default."""
    if normalization is None:
        return form.has_graph
    if normalization not in ("inside", "outside"):
        raise InputError(f"--normalization {normalization} is none.", "It is inside or outside.")
    if normalization == "inside" and not form.has_graph:
        raise InputError(
            f"A file of {form.name} has weights alone, so the normalization cannot be inside.",
            "Leave --normalization out: mean and std are in the header of the file. Or use another --format.",
        )
    return normalization == "inside"


def _sample(model: Classifier, recipe: Recipe, most: int, report: Report) -> Sample:
    """Returns images to check a file on: those that the run is scored on, or random ones if they are missing."""
    shape = (model.image_size, model.image_size, model.channels)
    try:
        data = open_recipe_data(recipe, report, interpolation=model.interpolation)
    except OnecycleError as error:
        report(f"The images of the run cannot be used, so the file is checked on random ones. {error.what}")
        pixels = np.random.default_rng(0).integers(0, 256, (min(most, RANDOM_IMAGES), *shape), dtype=np.uint8)
        return Sample(pixels, np.arange(len(pixels)), "random")
    split, name = (data.test, "test split") if data.test else (data.valid, data.valid_is)
    # Evenly spaced, because a folder's images are sorted by class.
    index = np.linspace(0, len(split) - 1, min(most, len(split))).astype(np.int64)
    return Sample(split.images, index, name)
