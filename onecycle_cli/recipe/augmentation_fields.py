"""The fields of the section `augmentation`: random changes to training images beside the crop and flip of `data`.

A preset gives every field a value, and the fields of the section override it. Presets contain no crop and no flip,
which `data` decides.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from onecycle_cli.recipe.field_types import Section


def _two_rising(ends: tuple[float, ...]) -> tuple[float, ...]:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(f"must be [lowest, highest], not [{', '.join(f'{end:g}' for end in ends)}]")
    return ends


_TWO = (Field(strict=False), AfterValidator(_two_rising))
Shares = Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], *_TWO]
"""The lowest and the highest share of an image's area."""

Factors = Annotated[tuple[Annotated[float, Field(ge=0.05, le=20)], ...], *_TWO]
"""The lowest and the highest factor or aspect ratio."""


class RandomResizedCropSettings(Section):
    """A random part of the image, resized to the whole size. The defaults are those of torchvision."""

    scale: Shares = Field((0.08, 1.0), description="The area of the part, as a share of the image.")
    ratio: Factors = Field((0.75, 4 / 3), description="The width of the part divided by its height.")


class AffineSettings(Section):
    """A random rotation, shift, scaling and shear around the centre. What comes from outside the image is black."""

    degrees: float = Field(0.0, ge=0, le=180, description="The largest rotation in either direction.")
    translate: float = Field(0.0, ge=0, le=1, description="The largest shift, as a share of the image's side.")
    scale: Factors = Field((1.0, 1.0), description="The factor of the image's size; above 1, it is larger.")
    shear: float = Field(0.0, ge=0, lt=90, description="The largest horizontal shear in degrees, in either direction.")


class ColorJitterSettings(Section):
    """Random brightness, contrast, saturation and hue, in a random order. Grey images have no saturation and no hue."""

    brightness: float = Field(0.0, ge=0, le=10, description="The factor is within this distance of 1; never below 0.")
    contrast: float = Field(0.0, ge=0, le=10, description="As for brightness.")
    saturation: float = Field(0.0, ge=0, le=10, description="As for brightness.")
    hue: float = Field(0.0, ge=0, le=0.5, description="The largest shift in either direction; 1 is the whole circle.")


class RandomErasingSettings(Section):
    """A random rectangle that is replaced by the mean colour. The defaults are those of torchvision."""

    probability: float = Field(0.5, ge=0, le=1, description="The share of the images that get a rectangle.")
    scale: Shares = Field((0.02, 0.33), description="The area of the rectangle, as a share of the image.")
    ratio: Factors = Field((0.3, 3.3), description="The height of the rectangle divided by its width.")


OFF: dict[str, Any] = {
    "random_resized_crop": None,
    "affine": None,
    "trivial_augment": False,
    "color_jitter": None,
    "random_erasing": None,
    "mixup": 0.0,
    "cutmix": 0.0,
}
"""The values of the fields that change nothing."""

_STANDARD = OFF | {"trivial_augment": True, "random_erasing": {"probability": 0.1}}

PRESETS: dict[str, dict[str, Any]] = {
    "none": OFF,
    "light": OFF | {"color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}},
    "standard": _STANDARD,
    "strong": _STANDARD | {"mixup": 0.2, "cutmix": 1.0},
}
"""The values of each preset. light: timm's `--color-jitter 0.4`, its default. standard and strong: torchvision's
training reference (references/classification, the recipe of the second ImageNet weights): `--auto-augment ta_wide
--random-erase 0.1`, for strong also `--mixup-alpha 0.2 --cutmix-alpha 1.0`."""


def as_section(value: object) -> object:
    """Returns the section that the name of a preset stands for, and any other value unchanged."""
    return {"preset": value} if isinstance(value, str) else value


def _merged(preset: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `preset` with the values of `given`; a section within the section is merged too."""
    merged = dict(preset) | dict(given)
    for name, value in given.items():
        if isinstance(value, Mapping) and isinstance(preset.get(name), Mapping):
            merged[name] = _merged(preset[name], value)
    return merged


class AugmentationSettings(Section):
    """Random changes to training images, drawn anew for each step. The name of a preset stands for the whole section.

    The preset has a value for each field that is left out. The fields are in the order in which the changes are made;
    crop and flip of `data` come first.
    """

    preset: Literal["none", "light", "standard", "strong"] = Field(
        "none", description="The values of the fields that are not given."
    )
    random_resized_crop: RandomResizedCropSettings | None = Field(description="null: off. Not with data.random_crop.")
    affine: AffineSettings | None = Field(description="null: off.")
    trivial_augment: bool = Field(description="TrivialAugmentWide: one of 14 changes, of random strength.")
    color_jitter: ColorJitterSettings | None = Field(description="null: off.")
    random_erasing: RandomErasingSettings | None = Field(description="null: off.")
    mixup: float = Field(ge=0, le=100, description="alpha of the Beta distribution of the shares; 0: off.")
    cutmix: float = Field(
        ge=0, le=100, description="alpha, as for mixup; 0: off. With both, each batch gets one of the two."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_preset(cls, values: Any) -> Any:
        section = as_section(values)
        if not isinstance(section, dict):
            return section
        preset = section.get("preset", "none")
        return _merged(PRESETS.get(preset, OFF) if isinstance(preset, str) else OFF, section)
