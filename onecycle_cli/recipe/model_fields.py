"""The fields of the network, with a class for each source of networks."""

from abc import ABC
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import PathText, Section


class ModelSettings(Section, ABC):
    """The fields that every network has. Each source is a class of its own, with the fields that it alone has."""

    only_channels: ClassVar[int | None] = None
    """The one `data.channels` that the networks of a source take; None where they take any."""

    source: str
    architecture: str
    dropout: float = Field(ge=0, lt=1, description="Before the last layer.")
    init: PathText | None = Field(
        None, description="What to start from: the folder of a training, or a safetensors file of one; null: nothing."
    )

    @property
    def layers(self) -> int:
        """How many groups of layers there are between the stem and the head."""
        return 4

    @property
    def groups(self) -> tuple[str, ...]:
        """The layer groups of the network, from the image on."""
        return ("stem", *(f"layer{number}" for number in range(1, self.layers + 1)), "head")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from weights that were trained before."""
        return self.init is not None


class OnecycleModelSettings(ModelSettings):
    """A network of ours, for small images."""

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
        "B", description="Where the shape changes: A zero-pads, B is a 1x1 convolution. ResNet-9 has no such place."
    )

    @property
    def layers(self) -> int:
        """How many groups of layers there are between the stem and the head."""
        return 4 if self.architecture == "resnet18" else 3


class TorchvisionModelSettings(ModelSettings):
    """A network of torchvision's, for ImageNet."""

    only_channels = 3

    source: Literal["torchvision"]
    architecture: Literal["resnet18", "resnet34", "resnet50"]
    pretrained: bool = Field(False, description="Whether to start from ImageNet's weights.")

    @property
    def starts_trained(self) -> bool:
        """Whether the network starts from weights that were trained before."""
        return self.pretrained or self.init is not None

    @model_validator(mode="after")
    def _starts_from_one_thing(self) -> "TorchvisionModelSettings":
        if self.pretrained and self.init is not None:
            raise ValueError("model.pretrained and model.init both say what to start from: leave one of them out")
        return self


AnyModel = Annotated[OnecycleModelSettings | TorchvisionModelSettings, Field(discriminator="source")]
"""The network of a recipe. A new source is a class like those above, in this union, and its file in `models/`."""
