"""torchvision's classification sets: how each names its splits, its variants and its classes.

Sets are missing that torchvision cannot download (FER2013, StanfordCars, ImageNet), that need further libraries (PCAM,
Caltech), or whose test images have other classes or no labels (LFWPeople, Omniglot, CLEVRClassification).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Arguments = Mapping[str, Any]

TRAIN_TEST: Mapping[str, Arguments] = {"train": {"train": True}, "test": {"train": False}}
NAMED_TRAIN_TEST: Mapping[str, Arguments] = {"train": {"split": "train"}, "test": {"split": "test"}}
NAMED: Mapping[str, Arguments] = {
    "train": {"split": "train"},
    "valid": {"split": "val"},
    "test": {"split": "test"},
}


@dataclass(frozen=True)
class TorchvisionSet:
    """A set of torchvision: a class of `torchvision.datasets` with its arguments.

    `splits` has the arguments of each split. `variant` is the name of the argument that chooses between `variants`,
    whose first is the default; `own_archives` tells whether each of them has its own download. `files` lists the
    (path, label) pairs of a set of files that takes no `loader`; `takes_loader` is whether it takes one. Sets of arrays
    have neither.
    """

    splits: Mapping[str, Arguments]
    takes_loader: bool = False
    files: Callable[[Any], Iterable[tuple[Any, int]]] | None = None
    variant: str | None = None
    variants: tuple[str, ...] = ()
    own_archives: bool = False


ARRAYS = TorchvisionSet(TRAIN_TEST)
FILES = TorchvisionSet(NAMED_TRAIN_TEST, takes_loader=True)
ALL_FILES = TorchvisionSet({"train": {}}, takes_loader=True)

SETS: Mapping[str, TorchvisionSet] = {
    "CIFAR10": ARRAYS,
    "CIFAR100": ARRAYS,
    "MNIST": ARRAYS,
    "FashionMNIST": ARRAYS,
    "KMNIST": ARRAYS,
    "QMNIST": ARRAYS,
    "EMNIST": TorchvisionSet(
        TRAIN_TEST, variant="split", variants=("balanced", "byclass", "bymerge", "letters", "digits", "mnist")
    ),
    "USPS": ARRAYS,
    "SEMEION": TorchvisionSet({"train": {}}),
    "SVHN": TorchvisionSet(NAMED_TRAIN_TEST),
    "STL10": TorchvisionSet(NAMED_TRAIN_TEST),
    "GTSRB": TorchvisionSet(NAMED_TRAIN_TEST, files=lambda found: found._samples),
    "Imagenette": TorchvisionSet(
        {"train": {"split": "train"}, "valid": {"split": "val"}},
        takes_loader=True,
        variant="size",
        variants=("full", "320px", "160px"),
        own_archives=True,
    ),
    "Flowers102": TorchvisionSet(NAMED, takes_loader=True),
    "OxfordIIITPet": TorchvisionSet(
        {"train": {"split": "trainval"}, "test": {"split": "test"}},
        files=lambda found: zip(found._images, found._labels, strict=True),
    ),
    "Food101": FILES,
    "FGVCAircraft": TorchvisionSet(
        NAMED, takes_loader=True, variant="annotation_level", variants=("variant", "family", "manufacturer")
    ),
    "DTD": TorchvisionSet(NAMED, takes_loader=True),
    "EuroSAT": ALL_FILES,
    "Country211": TorchvisionSet({**NAMED, "valid": {"split": "valid"}}, takes_loader=True),
    "RenderedSST2": TorchvisionSet(NAMED, takes_loader=True),
    "SUN397": ALL_FILES,
}
"""The known sets, by the name of their class."""
