"""The fields of a recipe, in the order of the file; the model and the schedule have files of their own.

What changes a result has no default, so that a file says everything; a default exists only where a field belongs to
one choice of its section (`beta2` to AdamW) or does not change the result. The bounds refuse what is surely a slip (a
learning rate of a million), not what is merely unusual.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import Lr, Momentum, PathText, Section, WeightDecay, WholeNumber
from onecycle_cli.recipe.model_fields import AnyModel
from onecycle_cli.recipe.older_recipes import without_unused
from onecycle_cli.recipe.schedule_fields import AnySchedule, FineTuneSettings
from onecycle_cli.recipe.variants import Choice, variants_in

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
# YAML has lists alone, which strict mode would not take for a tuple; what is in them stays strict.
ChannelStatistics = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class DataSettings(Section):
    """Which images, how they are split, batched and augmented."""

    source: Literal["cifar10", "image_folder", "digits"]
    path: PathText | None = Field(None, description="The folder of source image_folder.")
    layout: Literal["auto", "splits", "flat"] = Field(
        "auto",
        description="Of source image_folder. splits: train/<class>/ and test/<class>/; flat: <class>/; auto: splits "
        "where there is a folder train.",
    )
    mirrors: tuple[Url, ...] = Field(
        (), strict=False, description="Where to fetch the archive from first; byte-identical copies."
    )
    image_size: WholeNumber = Field(ge=8, le=1024, description="Side of the square images, in pixels.")
    channels: Literal[1, 3]
    valid_fraction: float = Field(
        ge=0, le=0.9, description="Share of the training images held out; 0: the test split is used as validation."
    )
    batch_size: WholeNumber = Field(ge=2, le=1_000_000)
    drop_last: bool = Field(description="Whether the short last batch of an epoch is left out.")
    mean: ChannelStatistics | None = Field(description="Of each channel, from 0 to 1; null: of the training images.")
    std: ChannelStatistics | None = Field(description="Of each channel, from 0 to 1; null: of the training images.")
    horizontal_flip: bool
    random_crop: bool
    padding: WholeNumber = Field(ge=0, le=512, description="Pixels on each side before the crop.")
    padding_mode: Literal["reflect", "zeros"]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.source == "image_folder" and self.path is None:
            raise ValueError("source image_folder needs data.path, the folder with the images")
        if self.source != "image_folder" and self.layout != "auto":
            raise ValueError("data.layout is of source image_folder alone")
        for name, statistics in (("mean", self.mean), ("std", self.std)):
            if statistics is not None and len(statistics) != self.channels:
                raise ValueError(f"data.{name} has {len(statistics)} numbers, but data.channels is {self.channels}")
            if statistics is not None and (min(statistics) < 0 or max(statistics) > 1):
                raise ValueError(f"data.{name} must be from 0 to 1 in each channel: divide by 255")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError("data.std must be above 0 in each channel")
        if self.random_crop and self.padding_mode == "reflect" and self.padding >= self.image_size:
            raise ValueError("data.padding must be below data.image_size, or there is nothing left to reflect")
        return self


class OptimizerSettings(Section):
    """What is minimized, and how."""

    name: Literal["sgd", "adamw"]
    weight_decay: WeightDecay
    decay_norm_and_bias: bool = Field(description="Whether norm layers and biases decay too.")
    label_smoothing: float = Field(ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="Of the train loss; balanced: all classes count the same, whatever their number of images."
    )
    nesterov: bool = Field(False, description="SGD only.")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW only; its beta1 is the schedule's momentum.")
    eps: float = Field(1e-8, gt=0, le=1, description="AdamW only.")


MOST_RANGE_STEPS = 1_000_000
"""The largest `find_lr.num_steps`."""


class FindLrSettings(Section):
    """The learning rate range test."""

    start_lr: Lr
    end_lr: Lr
    num_steps: WholeNumber = Field(ge=10, le=MOST_RANGE_STEPS)
    mode: Literal["exponential", "linear"]
    momentum: Momentum | None = Field(description="Held constant; null: schedule.max_momentum.")
    smoothing: float = Field(ge=0, lt=1, description="Of the moving average of the loss.")
    stop_factor: float = Field(gt=1, le=1e6, description="The test ends at this many times the least smoothed loss.")
    valid_every: WholeNumber | None = Field(
        None, ge=1, le=1_000_000, description="Also score validation images every so many steps; null: never."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.end_lr <= self.start_lr:
            raise ValueError("find_lr.end_lr must be above find_lr.start_lr")
        return self


class SweepWdSettings(Section):
    """The weight decays that sweep-wd tries."""

    weight_decays: tuple[WeightDecay, ...] = Field(strict=False, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.weight_decays)) < len(self.weight_decays):
            raise ValueError("sweep_wd.weight_decays holds the same value twice")
        return self


class RuntimeSettings(Section):
    """What does not change the result, but for the precision."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    deterministic: bool = Field(False, description="Whether CUDA gives the same bits each time, if more slowly.")
    log_every: WholeNumber = Field(20, ge=1, le=100_000, description="Steps between two looks at the device.")
    save_best: bool = Field(False, description="Also keep the weights with the best validation accuracy.")
    checkpoint_seconds: float = Field(
        30, ge=0, le=1e6, description="Least time between two checkpoints, of which a training can be resumed."
    )


CHOICES = {
    "model": Choice(("source",), variants_in(AnyModel)),
    "schedule": Choice(("policy", "shape"), variants_in(AnySchedule)),
}
"""The sections that have variants."""


class Recipe(Section):
    """Everything that a run needs to know."""

    name: Name
    description: str
    seed: WholeNumber = Field(ge=0, lt=2**32)
    data: DataSettings
    model: AnyModel
    optimizer: OptimizerSettings
    schedule: AnySchedule
    fine_tune: FineTuneSettings | None = None
    find_lr: FindLrSettings
    sweep_wd: SweepWdSettings
    runtime: RuntimeSettings = Field(default_factory=lambda: RuntimeSettings.model_validate({}))

    @property
    def frozen(self) -> tuple[str, ...]:
        """The layer groups that the last stage leaves as they are."""
        freeze_to, groups = self.fine_tune and self.fine_tune.stages[-1].freeze_to, self.model.groups
        return groups[: groups.index(freeze_to)] if freeze_to else ()

    @model_validator(mode="before")
    @classmethod
    def _without_what_older_versions_wrote(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        sections = {name: values[name] for name in CHOICES if isinstance(values.get(name), dict)}
        return values | {name: without_unused(name, inner, CHOICES[name]) for name, inner in sections.items()}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        channels, source = self.model.only_channels, self.model.source
        if channels not in (None, self.data.channels):
            alike = "; a grey image then has three alike" if channels == 3 else ""
            raise ValueError(f"data.channels must be {channels} for model.source {source}{alike}")
        if self.fine_tune is None:
            return self
        settings, groups = self.schedule, self.model.groups
        epochs = sum(stage.epochs for stage in self.fine_tune.stages)
        if epochs != settings.epochs:
            raise ValueError(f"fine_tune.stages add up to {epochs} epochs, but schedule.epochs is {settings.epochs}")
        for stage in self.fine_tune.stages:
            if stage.freeze_to not in (None, *groups):
                has = f"{self.model.architecture} has {', '.join(groups)}"
                raise ValueError(f"fine_tune.stages has freeze_to {stage.freeze_to}, but {has}")
        for field in settings.in_epochs:
            if getattr(settings, field) is not None:
                raise ValueError(f"schedule.{field} counts epochs of a single cycle: leave it out beside fine_tune")
        if settings.start_epoch:
            raise ValueError("schedule.start_epoch is of a single cycle: leave it out beside fine_tune")
        return self
