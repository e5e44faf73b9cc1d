"""The fields of the section `data`, with a class for each source of images."""

from abc import ABC
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import PathText, Section, WholeNumber

# YAML has no tuples, and strict mode refuses a list for a tuple. The elements are still checked strictly.
ChannelStatistics = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]
TorchvisionSet = Literal[
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "QMNIST",
    "EMNIST",
    "USPS",
    "SEMEION",
    "SVHN",
    "STL10",
    "GTSRB",
    "Imagenette",
    "Flowers102",
    "OxfordIIITPet",
    "Food101",
    "FGVCAircraft",
    "DTD",
    "EuroSAT",
    "Country211",
    "RenderedSST2",
    "SUN397",
]
"""The data sets of the source torchvision: `data/torchvision_sets.py` has their splits."""


class DataSettings(Section, ABC):
    """How images are split, batched and augmented. Each source of images has a subclass that adds its own fields."""

    source: str
    image_size: WholeNumber = Field(ge=8, le=1024, description="Side of the square images, in pixels.")
    channels: Literal[1, 3] = Field(description="3: colour; 1: grey.")
    valid_fraction: float = Field(
        ge=0,
        le=0.9,
        description="Share of the training images to hold out; 0: validate on the source's validation or test split.",
    )
    batch_size: WholeNumber = Field(ge=2, le=1_000_000, description="Images in a step, on all devices together.")
    accumulate: WholeNumber = Field(
        1,
        ge=1,
        description="Micro-batches in which a step computes its batch, one after the other, to need less memory.",
    )
    drop_last: bool = Field(description="Whether to skip the last batch of an epoch if it is smaller.")
    sampler: Literal["shuffled", "balanced"] = Field(
        "shuffled",
        description="shuffled: each training image once per epoch; balanced: as many images of each class as of any "
        "other, drawn with replacement.",
    )
    mean: ChannelStatistics | None = Field(
        description="A value per channel, from 0 to 1; null: computed from the training images."
    )
    std: ChannelStatistics | None = Field(
        description="A value per channel, from 0 to 1; null: computed from the training images."
    )
    horizontal_flip: bool = Field(description="Whether to mirror half of the training images.")
    random_crop: bool = Field(
        description="Whether to pad the training images and then crop a random part of the original size."
    )
    padding: WholeNumber = Field(ge=0, le=512, description="Pixels on each side before the crop.")
    padding_mode: Literal["reflect", "zeros"] = Field(description="reflect: mirror the border; zeros: black.")
    resize: Literal["shorter_side", "squash", "pad"] = Field(
        "shorter_side",
        description="How an image becomes a square. shorter_side: resize the shorter side, cut off the rest of the "
        "longer one; squash: resize both sides; pad: resize the longer side, add black.",
    )
    interpolation: Literal["bilinear", "bicubic", "nearest", "lanczos"] | None = Field(
        None,
        description="How pixels are computed in a resize, as Pillow does; null: as for the trained weights that the "
        "network starts from, otherwise bilinear.",
    )

    @property
    def images(self) -> tuple[tuple[str, Any], ...]:
        """The source and its own fields with their values: two sections with equal ones have the same image files."""
        own = {name: getattr(self, name) for name in type(self).model_fields.keys() - DataSettings.model_fields.keys()}
        return (("source", self.source), *sorted(own.items()))

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if 2 * self.accumulate > self.batch_size:
            raise ValueError(
                f"data.accumulate {self.accumulate} leaves less than two images for each micro-batch of a batch of "
                f"{self.batch_size}: set it to at most {self.batch_size // 2}, or set a larger data.batch_size"
            )
        for name, statistics in (("mean", self.mean), ("std", self.std)):
            if statistics is not None and len(statistics) != self.channels:
                raise ValueError(f"data.{name} has {len(statistics)} numbers, but data.channels is {self.channels}")
            if statistics is not None and (min(statistics) < 0 or max(statistics) > 1):
                raise ValueError(f"data.{name} must be from 0 to 1 in each channel: divide by 255")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("data.std must be above 0 in each channel")
        if self.random_crop and self.padding_mode == "reflect" and self.padding >= self.image_size:
            raise ValueError("data.padding must be below data.image_size for padding_mode reflect")
        return self


class Cifar10Settings(DataSettings):
    """CIFAR-10, downloaded if it is missing."""

    source: Literal["cifar10"]
    mirrors: tuple[Url, ...] = Field(
        (), strict=False, description="URLs of identical copies of the archive, to try before the default URLs."
    )


class ImageFolderSettings(DataSettings):
    """A folder of images, with a folder for each class."""

    source: Literal["image_folder"]
    path: PathText = Field(description="The folder with the images.")
    layout: Literal["auto", "splits", "flat"] = Field(
        "auto",
        description="splits: train/<class>/ and test/<class>/; flat: <class>/; auto: splits if there is a folder "
        "train, otherwise flat.",
    )


class CsvSettings(DataSettings):
    """A CSV file with the path and the label of an image in each row."""

    source: Literal["csv"]
    path: PathText = Field(description="The CSV file.")
    path_column: PathText | None = Field(None, description="The column of the paths; null: found by its name.")
    label_column: PathText | None = Field(None, description="The column of the labels; null: found by its name.")
    split_column: PathText | None = Field(None, description="The column of the splits; null: found by its name.")


class ParquetSettings(DataSettings):
    """Parquet files with an image and its label in each row."""

    source: Literal["parquet"]
    path: PathText = Field(description="A Parquet file, a folder with some, or a pattern such as data/*.parquet.")
    image_column: PathText | None = Field(None, description="The column of the images; null: found by its name.")
    label_column: PathText | None = Field(None, description="The column of the labels; null: found by its name.")
    split_column: PathText | None = Field(
        None, description="The column of the splits; null: the splits are in the file names, or in a column split."
    )


class DatasetsSettings(DataSettings):
    """A folder that `save_to_disk` of Hugging Face's datasets wrote."""

    source: Literal["datasets"]
    path: PathText = Field(description="The folder that save_to_disk wrote.")
    image_column: PathText | None = Field(None, description="The column of the images; null: found by its name.")
    label_column: PathText | None = Field(None, description="The column of the labels; null: found by its name.")


class TorchvisionDataSettings(DataSettings):
    """A data set of torchvision, downloaded if it is missing."""

    source: Literal["torchvision"]
    dataset: TorchvisionSet = Field(description="The data set, by its name in torchvision.")
    variant: PathText | None = Field(
        None, description="EMNIST: its split, such as balanced; Imagenette: the size, such as 160px; null: the default."
    )


class DigitsSettings(DataSettings):
    """The handwritten digits of scikit-learn, which need no download."""

    source: Literal["digits"]


AnyData = Annotated[
    Cifar10Settings
    | ImageFolderSettings
    | CsvSettings
    | ParquetSettings
    | DatasetsSettings
    | TorchvisionDataSettings
    | DigitsSettings,
    Field(discriminator="source"),
]
"""The section `data`. A new source needs a class like the ones above in this union, and a file in `data/`."""
