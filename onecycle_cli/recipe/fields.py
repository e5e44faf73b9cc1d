"""The fields of a recipe, in the order of the file. Those of the model and the schedule are in separate files.

A field that changes the result has no default, so that a recipe file is complete. A field has a default only if it
applies to one choice in its section (`beta2` to AdamW), does not change the result, or is newer than the recipes that
people have (`accumulate`): then its default is what those recipes mean. The bounds refuse obvious mistakes (a learning
rate of a million), but not unusual values.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import Lr, Momentum, PathText, Section, WeightDecay, WholeNumber
from onecycle_cli.recipe.fine_tune_fields import FineTuneSettings
from onecycle_cli.recipe.model_fields import AnyModel
from onecycle_cli.recipe.older_recipes import without_unused
from onecycle_cli.recipe.schedule_fields import AnySchedule
from onecycle_cli.recipe.variants import Choice, variants_in

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
# YAML has no tuples, and strict mode refuses a list for a tuple. The elements are still checked strictly.
ChannelStatistics = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class DataSettings(Section):
    """The images of a recipe, and how they are split, batched and augmented."""

    source: Literal["cifar10", "image_folder", "digits"]
    path: PathText | None = Field(None, description="Only for source image_folder: the folder with the images.")
    layout: Literal["auto", "splits", "flat"] = Field(
        "auto",
        description="Only for source image_folder. splits: train/<class>/ and test/<class>/; flat: <class>/; auto: "
        "splits if there is a folder train, otherwise flat.",
    )
    mirrors: tuple[Url, ...] = Field(
        (), strict=False, description="URLs of identical copies of the archive, to try before the default URLs."
    )
    image_size: WholeNumber = Field(ge=8, le=1024, description="Side of the square images, in pixels.")
    channels: Literal[1, 3]
    valid_fraction: float = Field(
        ge=0,
        le=0.9,
        description="Share of the training images to hold out; 0: validate on the source's validation or test split.",
    )
    batch_size: WholeNumber = Field(ge=2, le=1_000_000)
    accumulate: WholeNumber = Field(
        1,
        ge=1,
        description="Micro-batches in which a step computes its batch, one after the other, to need less memory.",
    )
    drop_last: bool = Field(description="Whether to skip the last batch of an epoch if it is smaller.")
    mean: ChannelStatistics | None = Field(
        description="A value per channel, from 0 to 1; null: computed from the training images."
    )
    std: ChannelStatistics | None = Field(
        description="A value per channel, from 0 to 1; null: computed from the training images."
    )
    horizontal_flip: bool
    random_crop: bool
    padding: WholeNumber = Field(ge=0, le=512, description="Pixels on each side before the crop.")
    padding_mode: Literal["reflect", "zeros"]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.source == "image_folder" and self.path is None:
            raise ValueError("source image_folder needs data.path, the folder with the images")
        if self.source != "image_folder" and self.layout != "auto":
            raise ValueError("data.layout works only with source image_folder")
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


class OptimizerSettings(Section):
    """The loss function and the optimizer."""

    name: Literal["sgd", "adamw"]
    weight_decay: WeightDecay
    decay_norm_and_bias: bool = Field(
        description="Whether weight decay applies to norm layers, biases and positional embeddings too."
    )
    label_smoothing: float = Field(ge=0, lt=1)
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

    start_lr: Lr
    end_lr: Lr
    num_steps: WholeNumber = Field(ge=10, le=MOST_RANGE_STEPS)
    mode: Literal["exponential", "linear"]
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

    weight_decays: tuple[WeightDecay, ...] = Field(strict=False, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.weight_decays)) < len(self.weight_decays):
            raise ValueError("sweep_wd.weight_decays holds the same value twice")
        return self


class RuntimeSettings(Section):
    """The settings of the machine and of what a run keeps. Only `precision` and `ema` change the result."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    deterministic: bool = Field(
        False, description="Whether CUDA gives bit-identical results in each run, at lower speed."
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
        description="The least seconds between two checkpoints, from which `onecycle resume` continues.",
    )


CHOICES = {
    "model": Choice(("source",), variants_in(AnyModel)),
    "schedule": Choice(("policy", "shape"), variants_in(AnySchedule)),
}
"""The variants of each section that has variants, with the fields that choose between them."""


class Recipe(Section):
    """All settings of a run. `load_recipe` reads it from a YAML file."""

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
        """The layer groups that the last stage does not train."""
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
            alike = "; each grey image then gets three equal channels" if channels == 3 else ""
            raise ValueError(f"data.channels must be {channels} for model.source {source}{alike}")
        if self.fine_tune is None:
            return self
        settings, groups = self.schedule, self.model.groups
        epochs = sum(stage.epochs for stage in self.fine_tune.stages)
        if epochs != settings.epochs:
            raise ValueError(f"fine_tune.stages add up to {epochs} epochs, but schedule.epochs is {settings.epochs}")
        for stage in self.fine_tune.stages:
            if stage.freeze_to not in (None, *groups):
                has = f"{self.model.architecture} has the layer groups {', '.join(groups)}"
                raise ValueError(f"fine_tune.stages has freeze_to {stage.freeze_to}, but {has}")
        for field in settings.in_epochs:
            if getattr(settings, field) is not None:
                raise ValueError(
                    f"schedule.{field} counts epochs of a single cycle: leave it out if there is fine_tune"
                )
        if settings.start_epoch:
            raise ValueError("schedule.start_epoch works only with a single cycle: leave it out if there is fine_tune")
        return self
