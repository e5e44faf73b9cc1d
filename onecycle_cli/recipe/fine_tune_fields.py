"""The fields of the section `fine_tune`: training in stages."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from onecycle_cli.recipe.field_types import Section, WholeNumber
from onecycle_cli.recipe.max_lr import MaxLr


def _layer_group(name: str) -> str:
    if not re.fullmatch(r"layer[1-9]\d*|head", name):
        raise ValueError(f"must be layer1, layer2 and so on, or head, not the text {name!r}")
    return name


class StageSettings(Section):
    """A stage of fine-tuning: one cycle."""

    freeze_to: Annotated[str, AfterValidator(_layer_group)] | None = Field(
        None,
        description="The first layer group to train, such as layer2 or head; the groups before it are frozen. null: "
        "train all. `onecycle model show` lists the groups.",
    )
    epochs: WholeNumber = Field(
        ge=1, le=100_000, description="The length of this stage; all add up to schedule.epochs."
    )
    max_lr: MaxLr = Field(None, description="The peak of lr in this stage; null: schedule.max_lr.")


class FineTuneSettings(Section):
    """Fine-tuning in stages. Each stage is one cycle and can freeze a part of the network."""

    stages: tuple[StageSettings, ...] = Field(strict=False, max_length=100, description="The stages, in their order.")
    train_frozen_norms: bool = Field(False, description="Whether to train norm layers in frozen layer groups.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.stages:  # min_length on the field would report an empty list in addition if a stage is invalid
            raise ValueError("fine_tune.stages is empty: leave fine_tune out, or name a stage")
        return self
