"""The entry point: opens the images that a recipe's `data` section describes, split and measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.cifar10 import TRAIN_IMAGES, read_cifar10
from onecycle_cli.data.digits import IMAGES, read_digits
from onecycle_cli.data.image_folder import folder_signature, notes_on, read_image_folder
from onecycle_cli.data.images import ImageData, Source, Split, channel_statistics, resized
from onecycle_cli.data.splits import held_out_size, hold_out
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Report


class DataSpec(Protocol):
    """The settings that images are opened by: where they are, how large they become, how they are split and scaled."""

    @property
    def source(self) -> str: ...
    @property
    def path(self) -> str | None: ...
    @property
    def layout(self) -> str: ...
    @property
    def mirrors(self) -> Sequence[str]: ...
    @property
    def image_size(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def valid_fraction(self) -> float: ...
    @property
    def mean(self) -> tuple[float, ...] | None: ...
    @property
    def std(self) -> tuple[float, ...] | None: ...


def open_data(
    settings: DataSpec,
    *,
    seed: int,
    report: Report,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> ImageData:
    """Opens the images of a recipe; downloads or decodes them if needed.

    With `valid_fraction` 0, the validation images are the source's validation split, or its test split if it has none.
    Above 0, they are that share of each class of the training images, chosen by `seed`. If the settings have no mean or
    std, `mean` and `std` are used; if these are None too, they are computed from the remaining training images. A std
    of 0 becomes 1, because a channel without variation cannot be scaled. Notes for the user go to `report`.

    `InputError` when the source has no validation images, or `valid_fraction` does not fit the images. `MachineError`
    when a download fails.
    """
    mean, std = settings.mean or mean, settings.std or std
    found = _read(settings, report)
    train, valid, valid_is, test = _split(found, settings.valid_fraction, seed)
    if mean is None or std is None:
        computed_mean, computed_std = channel_statistics(train.images)
        if std is None:
            for text in _constant_channels(computed_mean, computed_std):
                report(text)
        mean, std = mean or computed_mean, std or tuple(value or 1.0 for value in computed_std)
    signature = found.signature or settings.source
    return ImageData(train, valid, valid_is, test, found.classes, mean, std, signature, found.value_range)


def _read(settings: DataSpec, report: Report) -> Source:
    match settings.source:
        case "digits":
            return _resized(read_digits(), settings.image_size, settings.channels)
        case "cifar10":
            cifar10 = read_cifar10(cache_folder(), settings.mirrors, report)
            return _resized(cifar10, settings.image_size, settings.channels)
        case "image_folder":
            assert settings.path is not None  # the recipe holds to it
            path = Path(settings.path)
            folder = read_image_folder(path, settings.layout, settings.image_size, settings.channels, report)
            for text in notes_on(folder):
                report(text)
            return folder.source
    raise ValueError(f"unknown source {settings.source!r}")


CHANNEL_NAMES = {1: ("grey",), 3: ("red", "green", "blue")}
"""The names of the channels, by their number."""


def _constant_channels(mean: tuple[float, ...], std: tuple[float, ...]) -> list[str]:
    """Returns a note for each level that fills whole channels, with the names of these channels."""
    by_level: dict[int, list[str]] = {}
    for name, level, deviation in zip(CHANNEL_NAMES[len(std)], mean, std, strict=True):
        if deviation == 0:
            by_level.setdefault(round(255 * level), []).append(name)
    return [
        f"All training pixels are {level} of 255 in {' and '.join(names)}: the std 0 is replaced by 1."
        for level, names in by_level.items()
    ]


def known_train_images(source: str, valid_fraction: float) -> int | None:
    """Returns the number of training images, or None if it is not known without opening the data."""
    images = {"cifar10": TRAIN_IMAGES, "digits": IMAGES}.get(source)
    return None if images is None else images - held_out_size(images, valid_fraction)


def source_signature(source: str, path: str | None, layout: str) -> str:
    """Returns the `signature` of a source's images without decoding them."""
    return folder_signature(Path(path), layout) if source == "image_folder" and path is not None else source


def _resized(source: Source, image_size: int, channels: int) -> Source:
    def changed(split: Split | None) -> Split | None:
        return None if split is None else Split(resized(split.images, image_size, channels), split.labels)

    train = changed(source.train)
    assert train is not None
    return Source(train, changed(source.valid), changed(source.test), source.classes, source.signature)


def _split(source: Source, valid_fraction: float, seed: int) -> tuple[Split, Split, str, Split | None]:
    """Returns training images, validation images, `valid_is` of `ImageData`, and test images."""
    if valid_fraction > 0:
        if source.valid is not None:
            raise InputError(
                f"The folder has a validation split of {len(source.valid)} images, but data.valid_fraction is "
                f"{valid_fraction:g}.",
                "Set data.valid_fraction to 0 to use the folder's split.",
            )
        train, valid = hold_out(source.train, valid_fraction, seed)
        return train, valid, "held out for validation", source.test
    if source.valid is not None:
        return source.train, source.valid, "validation split", source.test
    if source.test is not None:
        return source.train, source.test, "test split", None
    raise InputError(
        "The source has neither a validation nor a test split, and data.valid_fraction is 0.",
        "Set data.valid_fraction, for instance --set data.valid_fraction=0.2.",
    )
