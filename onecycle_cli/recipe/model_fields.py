"""The fields of the section `model`, with a class for each source of networks."""

import re
from abc import ABC
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from onecycle_cli.recipe.field_types import PathText, Section

Dropout = Annotated[float, Field(ge=0, lt=1, description="The dropout probability before the last layer.")]


class ModelSettings(Section, ABC):
    """The fields of every network. Each source of networks has a subclass that adds its own fields."""

    only_channels: ClassVar[int | None] = None
    """The only `data.channels` that the networks of this source accept; None if they accept any."""

    source: str
    init: PathText | None = Field(
        None, description="A trained model to start from: the folder of a training or a safetensors file; null: none."
    )

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return self.init is not None

    @property
    def dropout_before_head(self) -> float:
        """The dropout probability before the last layer; 0 if the source has no such field."""
        return float(getattr(self, "dropout", 0.0))


class OnecycleModelSettings(ModelSettings):
    """A network of this package, for small images."""

    source: Literal["onecycle"] = "onecycle"
    architecture: Literal[
        "resnet8",
        "resnet20",
        "resnet32",
        "resnet44",
        "resnet56",
        "resnet110",
        "resnet18",
        "resnet9",
        "cnn",
    ] = Field(
        description="resnet8 to resnet110 are for images of CIFAR's size; resnet18 is larger, resnet9 wide and fast; "
        "cnn has no shortcuts."
    )
    width: float = Field(ge=0.125, le=16, description="Multiplies the channels of each layer.")
    shortcut: Literal["A", "B"] = Field(
        "B",
        description="Shortcuts where the shape changes: A pads with zeros, B is a 1x1 convolution. resnet9 and cnn "
        "have none.",
    )
    norm: Literal["batch", "group", "none"] = Field(
        "batch", description="The norm layers. none: convolutions have biases, and residual branches start at 0."
    )
    dropout: Dropout


class _WithPretrained(ModelSettings, ABC):
    """The fields of sources with trained weights."""

    architecture: str = Field(
        min_length=1, max_length=200, description="The full name of the network in its library, such as resnet50."
    )
    dropout: Dropout = 0.0
    pretrained: bool = Field(False, description="Whether to start from trained weights of the source.")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return self.pretrained or self.init is not None

    @model_validator(mode="after")
    def _starts_from_one_thing(self) -> "_WithPretrained":
        if self.pretrained and self.init is not None:
            raise ValueError("model.pretrained and model.init both choose the initial weights: leave one of them out")
        return self


class TorchvisionModelSettings(_WithPretrained):
    """A torchvision network, made for ImageNet."""

    only_channels = 3

    source: Literal["torchvision"]


class TimmModelSettings(_WithPretrained):
    """A timm network."""

    source: Literal["timm"]
    drop_path: float = Field(
        0.0, ge=0, lt=1, description="The probability to skip a residual block (stochastic depth)."
    )
    weights: PathText | None = Field(None, description="A file with weights of this network to start from; null: none.")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return super().starts_trained or self.weights is not None

    @model_validator(mode="after")
    def _starts_from_one_file(self) -> "TimmModelSettings":
        if self.weights is not None and (self.pretrained or self.init is not None):
            raise ValueError("model.weights, model.pretrained and model.init each choose the initial weights: keep one")
        return self


def _function(name: str) -> str:
    if not re.fullmatch(r".+:[^\W\d]\w*", name, re.DOTALL):
        raise ValueError(f"must be path/to/file.py:name or package.module:name, not the text {name!r}")
    return name


class ModuleModelSettings(ModelSettings):
    """A network that a function of the user makes. It runs only with --trust-code."""

    source: Literal["module"]
    function: Annotated[str, AfterValidator(_function)] = Field(
        description="path/to/file.py:name or package.module:name. It is called with channels, classes and arguments."
    )
    arguments: dict[str, Any] = Field({}, description="Further arguments of the function.")


class PythonModelSettings(ModelSettings):
    """A network object that was given to `train` or `find_lr` in Python, which writes this section."""

    source: Literal["python"]
    class_name: str = Field(description="The name of its class.")


AnyModel = Annotated[
    OnecycleModelSettings | TorchvisionModelSettings | TimmModelSettings | ModuleModelSettings | PythonModelSettings,
    Field(discriminator="source"),
]
"""The section `model`. A new source needs a class like the ones above in this union, and a file in models/sources/."""
