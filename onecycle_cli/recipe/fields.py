"""The fields of a recipe, in the order of the file. The larger sections are in files of their own.

A field that changes the result has no default, so that a recipe file is complete. A field has a default only if it
applies to one choice in its section (`beta2` to AdamW), does not change the result, or is newer than the recipes that
people have (`accumulate`): then its default is what those recipes mean. The bounds refuse obvious mistakes (a learning
rate of a million), but not unusual values.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.augmentation_fields import AugmentationSettings
from onecycle_cli.recipe.data_fields import AnyData
from onecycle_cli.recipe.field_types import Lr, Momentum, Section, WeightDecay, WholeNumber
from onecycle_cli.recipe.fine_tune_fields import FineTuneSettings
from onecycle_cli.recipe.model_fields import AnyModel
from onecycle_cli.recipe.older_recipes import without_unused
from onecycle_cli.recipe.schedule_fields import AnySchedule
from onecycle_cli.recipe.variants import Choice, variants_in

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


class OptimizerSettings(Section):
    """The loss function and the optimizer."""

    name: Literal["sgd", "adamw"] = Field(description="The optimizer.")
    weight_decay: WeightDecay = Field(description="`onecycle sweep-wd` finds the largest that still allows a high lr.")
    decay_norm_and_bias: bool = Field(
        description="Whether weight decay applies to norm layers, biases and positional embeddings too."
    )
    label_smoothing: float = Field(ge=0, lt=1, description="The share of each label that is spread over all classes.")
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="In the train loss; balanced: all classes count the same, however many images they have."
    )
    max_grad_norm: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="The largest norm of all gradients together; larger ones are scaled down to it. null: no limit.",
    )
    nesterov: bool = Field(False, description="SGD only.")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW only. beta1 is the momentum of the schedule.")
    eps: float = Field(1e-8, gt=0, le=1, description="AdamW only.")


MOST_RANGE_STEPS = 1_000_000
"""The largest value of `find_lr.num_steps`."""


class FindLrSettings(Section):
    """The settings of the learning rate range test."""

    start_lr: Lr = Field(description="The lr of the first step, low enough for a flat start.")
    end_lr: Lr = Field(
        description="The lr of the last step. If the loss has not risen again, the test goes on once, to ten times it."
    )
    num_steps: WholeNumber = Field(ge=10, le=MOST_RANGE_STEPS, description="The steps of the test.")
    mode: Literal["exponential", "linear"] = Field(
        description="Whether lr is multiplied by the same factor at each step, or rises by the same amount."
    )
    momentum: Momentum | None = Field(description="The constant momentum of the test; null: schedule.max_momentum.")
    smoothing: float = Field(ge=0, lt=1, description="The weight of the past in the moving average of the loss.")
    stop_factor: float = Field(
        gt=1, le=1e6, description="The test ends when the smoothed loss is this many times its minimum."
    )
    valid_every: WholeNumber | None = Field(
        None, ge=1, le=1_000_000, description="Steps between two scores on validation images; null: never."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.end_lr <= self.start_lr:
            raise ValueError("find_lr.end_lr must be above find_lr.start_lr")
        return self


class SweepWdSettings(Section):
    """The weight decays that sweep-wd tries."""

    weight_decays: tuple[WeightDecay, ...] = Field(
        strict=False, min_length=1, max_length=100, description="The values to try."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.weight_decays)) < len(self.weight_decays):
            raise ValueError("sweep_wd.weight_decays holds the same value twice")
        return self


class RuntimeSettings(Section):
    """The settings of the machine and of what a run keeps.

    Only `precision`, `ema`, and with several processes `sync_batch_norm`, change the result.
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")] = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; auto: cuda if there is one, otherwise cpu."
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 if the processor supports it, otherwise float32."
    )
    deterministic: bool = Field(
        False, description="Whether CUDA gives bit-identical results in each run, at lower speed."
    )
    sync_batch_norm: bool = Field(
        False, description="Whether batch norm uses the whole batch where several processes train together."
    )
    log_every: WholeNumber = Field(
        20, ge=1, le=100_000, description="Steps between two reads of results from the device."
    )
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="The decay of an exponential moving average of the weights over the steps, for example 0.999. A "
        "training scores and saves the average. null: none.",
    )
    save_best: bool = Field(False, description="Also keep the weights with the best validation accuracy.")
    checkpoint_seconds: float = Field(
        30,
        ge=0,
        le=1e6,
        description="The least seconds between two checkpoints, from which `onecycle train --resume` continues.",
    )
    log_to: tuple[Literal["tensorboard", "mlflow", "wandb"], ...] = Field(
        (), strict=False, description="What gets the rows and results of a run, beside the CSV tables of its folder."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.log_to)) < len(self.log_to):
            raise ValueError("runtime.log_to holds the same name twice")
        return self


CHOICES = {
    "data": Choice(("source",), variants_in(AnyData)),
    "model": Choice(("source",), variants_in(AnyModel)),
    "schedule": Choice(("policy", "shape"), variants_in(AnySchedule)),
}
"""The variants of each section that has variants, with the fields that choose between them."""


class Recipe(Section):
    """All settings of a run. `load_recipe` reads it from a YAML file."""

    name: Name = Field(description="Part of the name of each run's folder.")
    description: str = Field(description="What the recipe is for.")
    seed: WholeNumber = Field(
        ge=0, lt=2**32, description="For weights, order, augmentation, dropout and held-out images."
    )
    data: AnyData
    augmentation: AugmentationSettings | None = None
    model: AnyModel
    optimizer: OptimizerSettings
    schedule: AnySchedule
    fine_tune: FineTuneSettings | None = None
    find_lr: FindLrSettings
    sweep_wd: SweepWdSettings
    runtime: RuntimeSettings = Field(default_factory=lambda: RuntimeSettings.model_validate({}))

    @model_validator(mode="before")
    @classmethod
    def _without_what_older_versions_wrote(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        sections = {name: values[name] for name in CHOICES if isinstance(values.get(name), dict)}
        return values | {name: without_unused(name, inner, CHOICES[name]) for name, inner in sections.items()}

    def _check_augmentation(self) -> None:
        if self.data.sampler == "balanced" and self.optimizer.class_weights == "balanced":
            raise ValueError(
                "data.sampler balanced and optimizer.class_weights balanced both make all classes count the same, and "
                "together the small ones count more: choose one"
            )
        if self.data.random_crop and self.augmentation and self.augmentation.random_resized_crop:
            raise ValueError(
                "data.random_crop and augmentation.random_resized_crop both crop: set data.random_crop to false, or "
                "augmentation.random_resized_crop to null"
            )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        channels, source = self.model.only_channels, self.model.source
        if channels not in (None, self.data.channels):
            alike = "; each grey image then gets three equal channels" if channels == 3 else ""
            raise ValueError(f"data.channels must be {channels} for model.source {source}{alike}")
        self._check_augmentation()
        if self.fine_tune is None:
            return self
        settings = self.schedule
        epochs = sum(stage.epochs for stage in self.fine_tune.stages)
        if epochs != settings.epochs:
            raise ValueError(f"fine_tune.stages add up to {epochs} epochs, but schedule.epochs is {settings.epochs}")
        for field in settings.in_epochs:
            if getattr(settings, field) is not None:
                raise ValueError(
                    f"schedule.{field} counts epochs of a single cycle: leave it out if there is fine_tune"
                )
        if settings.start_epoch:
            raise ValueError("schedule.start_epoch works only with a single cycle: leave it out if there is fine_tune")
        return self
