"""The fields of the section `fine_tune`: training in stages."""

from typing import Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import Section, WholeNumber
from onecycle_cli.recipe.max_lr import MaxLr


class StageSettings(Section):
    """A stage of fine-tuning: one cycle."""

    freeze_to: Literal["layer1", "layer2", "layer3", "layer4", "head"] | None = Field(
        None, description="The first layer group to train; the groups before it are frozen. null: train all."
    )
    epochs: WholeNumber = Field(ge=1, le=100_000)
    max_lr: MaxLr = Field(None, description="The peak of lr in this stage; null: schedule.max_lr.")


class FineTuneSettings(Section):
    """Fine-tuning in stages. Each stage is one cycle and can freeze a part of the network."""

    stages: tuple[StageSettings, ...] = Field(strict=False, max_length=100)
    train_frozen_norms: bool = Field(False, description="Whether to train norm layers in frozen layer groups.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.stages:  # min_length on the field would report an empty list in addition if a stage is invalid
            raise ValueError("fine_tune.stages is empty: leave fine_tune out, or name a stage")
        return self
