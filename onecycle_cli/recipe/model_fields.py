"""The fields of the section `model`, with a class for each source of networks."""

from abc import ABC
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import PathText, Section


class ModelSettings(Section, ABC):
    """The fields of every network. Each source of networks has a subclass that adds its own fields."""

    only_channels: ClassVar[int | None] = None
    """The only `data.channels` that the networks of this source accept; None if they accept any."""

    source: str
    architecture: str
    dropout: float = Field(ge=0, lt=1, description="The dropout probability before the last layer.")
    init: PathText | None = Field(
        None, description="A trained model to start from: the folder of a training or a safetensors file; null: none."
    )

    @property
    def layers(self) -> int:
        """The number of layer groups between the stem and the head."""
        return 4

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the layer groups of the network, from input to output."""
        return ("stem", *(f"layer{number}" for number in range(1, self.layers + 1)), "head")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return self.init is not None


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
    ]
    width: float = Field(ge=0.125, le=16, description="Multiplies the channels of each layer.")
    shortcut: Literal["A", "B"] = Field(
        "B",
        description="Shortcuts where the shape changes: A pads with zeros, B is a 1x1 convolution. resnet9 has none.",
    )

    @property
    def layers(self) -> int:
        """The number of layer groups between the stem and the head."""
        return 4 if self.architecture == "resnet18" else 3


class TorchvisionModelSettings(ModelSettings):
    """A torchvision network, made for ImageNet."""

    only_channels = 3

    source: Literal["torchvision"]
    architecture: Literal["resnet18", "resnet34", "resnet50"]
    pretrained: bool = Field(False, description="Whether to start from weights trained on ImageNet.")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from trained weights."""
        return self.pretrained or self.init is not None

    @model_validator(mode="after")
    def _starts_from_one_thing(self) -> "TorchvisionModelSettings":
        if self.pretrained and self.init is not None:
            raise ValueError("model.pretrained and model.init both choose the initial weights: leave one of them out")
        return self


AnyModel = Annotated[OnecycleModelSettings | TorchvisionModelSettings, Field(discriminator="source")]
"""The section `model`. A new source needs a class like the ones above in this union, and a file in `models/`."""
