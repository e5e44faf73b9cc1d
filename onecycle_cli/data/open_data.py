"""The entry point: opens the images that a recipe's `data` section describes, split and measured."""

from typing import Any, Protocol

from onecycle_cli.data import cifar10, csv_table, datasets, digits, image_folder, parquet, torchvision
from onecycle_cli.data.images import ImageData, PixelSpec, Source, Split, channel_statistics
from onecycle_cli.data.labelled_images import Inventory
from onecycle_cli.data.splits import held_out_size, hold_out
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Report


class DataSpec(PixelSpec, Protocol):
    """The settings that images are opened by: the source, how large they become, how they are split and scaled.

    The source's own fields come on top: each file of a source has a protocol with them.
    """

    @property
    def source(self) -> str: ...
    @property
    def valid_fraction(self) -> float: ...
    @property
    def mean(self) -> tuple[float, ...] | None: ...
    @property
    def std(self) -> tuple[float, ...] | None: ...


class ImageSource(Protocol):
    """A source of images: a module with these functions. `settings` have the fields of that source too."""

    def read(self, settings: Any, report: Report) -> Source:
        """Reads all images in the size of `settings`; downloads or decodes them if needed."""

    def signature(self, settings: Any) -> str:
        """Returns the `signature` of the images without decoding them."""

    def known_train_images(self, settings: Any) -> int | None:
        """Returns the number of images of the training split, or None if the data must be opened to count them."""

    def inventory(self, settings: Any) -> Inventory | None:
        """Counts the images without decoding or downloading them; None if there is nothing to check."""


SOURCES: dict[str, ImageSource] = {
    "cifar10": cifar10,
    "csv": csv_table,
    "datasets": datasets,
    "digits": digits,
    "image_folder": image_folder,
    "parquet": parquet,
    "torchvision": torchvision,
}
"""The module of each source, by `data.source`."""


def open_data(
    settings: DataSpec,
    *,
    seed: int,
    report: Report,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    source: Source | None = None,
) -> ImageData:
    """Opens the images of a recipe; downloads or decodes them if needed.

    With `valid_fraction` 0, the validation images are the source's validation split, or its test split if it has none.
    Above 0, they are that share of each class of the training images, chosen by `seed`. If the settings have no mean or
    std, `mean` and `std` are used; if these are None too, they are computed from the remaining training images. A std
    of 0 becomes 1, because a channel without variation cannot be scaled. `source` has the images of these settings, if
    they are read already. Notes for the user go to `report`.

    `InputError` when the source has no validation images, or `valid_fraction` does not fit the images. `MachineError`
    when a download fails.
    """
    mean, std = settings.mean or mean, settings.std or std
    found = source or read_source(settings, report)
    train, valid, valid_is, test = _split(found, settings.valid_fraction, seed)
    if mean is None or std is None:
        computed_mean, computed_std = channel_statistics(train.images)
        if std is None:
            for text in _constant_channels(computed_mean, computed_std):
                report(text)
        mean, std = mean or computed_mean, std or tuple(value or 1.0 for value in computed_std)
    return ImageData(train, valid, valid_is, test, found.classes, mean, std, found.signature, found.value_range)


def read_source(settings: DataSpec, report: Report) -> Source:
    """Reads all images of a recipe's source, before they are split; downloads or decodes them if needed."""
    return SOURCES[settings.source].read(settings, report)


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


def known_train_images(settings: DataSpec) -> int | None:
    """Returns the number of images to train on, or None if it is not known without opening the data."""
    images = SOURCES[settings.source].known_train_images(settings)
    return None if images is None else images - held_out_size(images, settings.valid_fraction)


def source_inventory(settings: DataSpec) -> Inventory | None:
    """Counts a recipe's images by split and class, and lists what is not used, without decoding or downloading.

    None if there is nothing to check. `InputError` when the data cannot be listed, `MachineError` when a download is
    missing or damaged.
    """
    return SOURCES[settings.source].inventory(settings)


def source_signature(settings: DataSpec) -> str:
    """Returns the `signature` of a recipe's images without decoding them."""
    return SOURCES[settings.source].signature(settings)


def _split(source: Source, valid_fraction: float, seed: int) -> tuple[Split, Split, str, Split | None]:
    """Returns training images, validation images, `valid_is` of `ImageData`, and test images."""
    if valid_fraction > 0:
        if source.valid is not None:
            raise InputError(
                f"The source has a validation split of {len(source.valid)} images, but data.valid_fraction is "
                f"{valid_fraction:g}.",
                "Set data.valid_fraction to 0 to use the source's split.",
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
