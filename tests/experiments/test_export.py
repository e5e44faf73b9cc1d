"""What is written, what it is checked on, and what the check refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from onecycle_cli import __version__
from onecycle_cli.data.batches import Normalization
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.classifier import Classifier
from onecycle_cli.experiments.export import Sample, compare, default_output, export, metadata_of
from onecycle_cli.models.weights import Header
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe

CLASSES, SIZE = 4, 8
MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
HEADER = Header(
    model={"source": "onecycle", "channels": 3, "classes": CLASSES},
    classes=("a", "b", "c", "\udcff"),
    image_size=SIZE,
    mean=MEAN,
    std=STD,
)


@pytest.fixture(scope="module")
def model() -> Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Classifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, CLASSES)), HEADER).eval()


@pytest.fixture(scope="module")
def sample() -> Sample:
    pixels = np.random.default_rng(0).integers(0, 256, (600, SIZE, SIZE, 3), dtype=np.uint8)
    return Sample(pixels, np.arange(0, 600, 2), "noise")


@pytest.fixture
def recipe(tiny: Callable[..., Recipe], image_folder: Callable[..., Path]) -> Recipe:
    """A recipe of 22 training images and 8 test images."""
    image_folder("train/a", "train/b", images=11, size=(SIZE, SIZE))
    path = image_folder("test/a", "test/b", images=4, size=(SIZE, SIZE))
    return tiny({"data.source": "image_folder", "data.path": str(path), "data.channels": 3, "data.image_size": SIZE})


def off_by(model: Classifier, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """The network of `model` on images from 0 to 1, with its logits changed."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return lambda images: change(model.model((images - mean) / std))


@pytest.mark.parametrize(
    ("change", "passed"),
    [
        (lambda logits: logits, True),
        (lambda logits: logits + 9e-4, True),
        (lambda logits: logits + 1.1e-3, False),
        (lambda logits: logits.roll(1, 1), False),
        (lambda logits: logits * float("nan"), False),
        (lambda logits: torch.where(torch.arange(len(logits))[:, None] == 200, float("inf"), logits), False),
    ],
    ids=["same", "within", "beyond", "other classes", "nan", "one of them"],
)
def test_answers_pass_if_no_logit_is_further_away_than_a_thousandth(
    model: Classifier, sample: Sample, change: Callable[[Tensor], Tensor], passed: bool
) -> None:
    check = compare(off_by(model, change), model, sample, inside=True, report=silent)
    assert check.passed is passed
    assert (check.images, check.checked_on, check.tolerance) == (300, "noise", 1e-3)


def test_the_images_at_the_index_are_compared_first_one_then_many(model: Classifier, sample: Sample) -> None:
    seen: list[Tensor] = []
    told: list[Progress | str] = []
    prepared = Normalization.of(MEAN, STD, torch.device("cpu"))

    def exported(images: Tensor) -> Tensor:
        seen.append(images)
        return model.model(images)

    check = compare(exported, model, sample, inside=False, report=told.append)
    assert [len(images) for images in seen] == [1, 256, 43]
    assert torch.equal(torch.cat(seen), prepared(torch.from_numpy(sample.pixels[::2])))
    assert (check.same_class, check.ties, check.largest_difference) == (300, 0, 0.0)
    assert told[-1] == Progress("checking", 300, 300, "images")


class TwoAlike(nn.Module):
    """Its first two classes are equally likely, up to the fifth digit."""

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height = nn.Parameter(torch.tensor(height))

    def forward(self, images: Tensor) -> Tensor:
        logits = torch.zeros(len(images), CLASSES)
        logits[:, 0], logits[:, 1] = self.height, self.height - 1e-5
        return logits


def test_another_class_that_is_as_likely_is_a_tie(sample: Sample) -> None:
    model = Classifier(TwoAlike(1.0), HEADER)
    check = compare(off_by(model, lambda logits: logits[:, [1, 0, 2, 3]]), model, sample, inside=True, report=silent)
    assert (check.same_class, check.ties, check.passed) == (0, 300, True)


def test_logits_of_thousands_may_differ_by_more_because_float32_has_seven_digits(sample: Sample) -> None:
    model = Classifier(TwoAlike(5_000.0), HEADER)
    check = compare(off_by(model, lambda logits: logits + 0.04), model, sample, inside=True, report=silent)
    assert check.tolerance == pytest.approx(0.05)
    assert check.passed


def test_the_metadata_has_all_of_the_header_as_json(model: Classifier) -> None:
    told = metadata_of(model, inside=True)
    assert json.loads(json.dumps(told))["classes"] == ["a", "b", "c", "\\xff"]
    assert told.keys() >= vars(HEADER).keys()
    assert (told["onecycle_version"], told["normalization"], told["channels"]) == (__version__, "inside", 3)
    assert told["input"] == "images: float32 (N, 3, 8, 8), RGB, from 0 to 1"
    assert "(value - mean) / std" in metadata_of(model, inside=False)["input"]


def test_a_file_is_checked_on_the_test_images(model: Classifier, recipe: Recipe) -> None:
    done = export(model, recipe, Path("net.pt"), form="torchscript", normalization=None, report=silent)
    assert done.file == Path("net.pt")
    assert done.bytes == Path("net.pt").stat().st_size
    assert (done.format, done.metadata["normalization"]) == ("torchscript", "inside")
    assert (done.check.images, done.check.checked_on, done.check.same_class) == (8, "test split", 8)
    fewer = export(
        model, recipe, Path("n.pt"), form="torchscript", normalization="outside", report=silent, most_checked=5
    )
    assert fewer.check.images == 5
    assert fewer.metadata["normalization"] == "outside"


def test_a_file_of_weights_has_its_normalization_outside(model: Classifier, recipe: Recipe) -> None:
    done = export(model, recipe, Path("net.safetensors"), form="safetensors", normalization=None, report=silent)
    assert done.check.passed
    with safe_open("net.safetensors", "pt") as opened:
        assert json.loads(opened.metadata()["normalization"]) == "outside"
        assert set(opened.keys()) == {"1.weight", "1.bias"}


def test_without_the_images_of_the_run_it_is_checked_on_random_ones(
    model: Classifier, tiny: Callable[..., Recipe]
) -> None:
    gone = tiny({"data.source": "image_folder", "data.path": "gone", "data.channels": 3})
    told: list[Progress | str] = []
    done = export(model, gone, Path("net.pt"), form="torchscript", normalization=None, report=told.append)
    assert (done.check.images, done.check.checked_on, done.check.passed) == (1000, "random", True)
    assert "checked on random ones. There is no folder" in str(told[0])


class Branches(nn.Module):
    """It looks at the values of a batch, which TorchScript takes for a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images: Tensor) -> Tensor:
        logits = self.scale * images.flatten(1)[:, :CLASSES]
        return -logits if images.any() else logits


def test_a_file_that_answers_something_else_is_not_written(recipe: Recipe) -> None:
    model = Classifier(Branches(), HEADER)
    with pytest.raises(InputError, match="does not give the answers of the model: of 8 images .test split.*0 have"):
        export(model, recipe, Path("net.pt"), form="torchscript", normalization="outside", report=silent)
    assert not list(Path().glob("*net*"))


@pytest.mark.parametrize(
    ("form", "normalization", "path", "says"),
    [
        ("onx", None, "net.pt", "--format onx is none"),
        ("torchscript", "around", "net.pt", "--normalization around is none"),
        ("safetensors", "inside", "net.pt", "the normalization cannot be inside"),
        ("torchscript", None, "there", "there exists already"),
        ("torchscript", None, "nowhere/net.pt", "There is no folder nowhere"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    model: Classifier, recipe: Recipe, form: str, normalization: str | None, path: str, says: str
) -> None:
    Path("there").write_text("kept")
    with pytest.raises(InputError, match=says):
        export(model, recipe, Path(path), form=form, normalization=normalization, report=silent)
    assert Path("there").read_text() == "kept"


def test_the_default_file_is_named_after_the_weights() -> None:
    assert default_output(Path("runs/x/best.safetensors"), "onnx") == Path("runs/x/exported-best.onnx")
    with pytest.raises(InputError, match="is none"):
        default_output(Path("runs/x/best.safetensors"), "onx")
