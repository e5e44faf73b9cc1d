"""The fields of a recipe, in the order of the file, with what each may hold.

What changes a result has no default, so that a file says everything; a default exists only where a field belongs to
one choice of its section (`three_phase` to shape torch) or does not change the result. The bounds refuse what is
surely a slip (a learning rate of a million), not what is merely unusual.
"""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator


def _whole(value: object) -> object:
    """`1e4` is a float to YAML, but a whole number to the person who wrote it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WholeNumber = Annotated[int, BeforeValidator(_whole)]
Lr = Annotated[float, Field(gt=0, le=1000)]
Epochs = Annotated[float, Field(gt=0, le=100_000)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
# YAML has lists alone, which strict mode would not take for a tuple; what is in them stays strict.
ChannelStatistics = Annotated[tuple[float, ...], Field(strict=False, min_length=1, max_length=3)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class Section(BaseModel):
    """Frozen; a key that is no field is an error; `true` is no number and text is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Which images, how they are split, batched and augmented."""

    source: Literal["cifar10", "image_folder", "digits"]
    path: Annotated[str, Field(min_length=1)] | None = Field(None, description="The folder of source image_folder.")
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


TORCHVISION = ("resnet18", "resnet34", "resnet50")


class Model(Section):
    """Which network, and what it starts from."""

    source: Literal["onecycle", "torchvision"] = Field(
        "onecycle", description="Whose networks: ours for small images, or torchvision's for ImageNet."
    )
    architecture: Literal[
        "resnet8",
        "resnet20",
        "resnet32",
        "resnet44",
        "resnet56",
        "resnet110",
        "resnet18",
        "resnet9",
        "resnet34",
        "resnet50",
    ] = Field(description="Of torchvision: resnet18, resnet34 or resnet50, which last two are its alone.")
    width: float = Field(ge=0.125, le=16, description="Multiplies the channels of each layer; torchvision's have 1.")
    shortcut: Literal["A", "B"] = Field(
        "B", description="Where the shape changes: A zero-pads, B is a 1x1 convolution. ResNet-9 has no such place."
    )
    dropout: float = Field(ge=0, lt=1, description="Before the last layer.")
    pretrained: bool = Field(False, description="Whether to start from ImageNet's weights; torchvision only.")
    init: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="What to start from: the folder of a training, or a safetensors file of one; null: nothing."
    )

    @property
    def groups(self) -> tuple[str, ...]:
        """The layer groups of the network, from the image on."""
        layers = 4 if self.architecture in TORCHVISION else 3
        return ("stem", *(f"layer{number}" for number in range(1, layers + 1)), "head")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.source == "torchvision":
            if self.architecture not in TORCHVISION:
                raise ValueError(f"model.source torchvision has {', '.join(TORCHVISION)}, but no {self.architecture}")
            if self.width != 1 or self.shortcut != "B":
                raise ValueError("model.width must be 1 and model.shortcut B: torchvision's networks are as they are")
            if self.pretrained and self.init is not None:
                raise ValueError("model.pretrained and model.init both say what to start from: leave one of them out")
            return self
        if self.architecture in ("resnet34", "resnet50"):
            raise ValueError(f"{self.architecture} is torchvision's: set model.source to torchvision")
        if self.pretrained:
            raise ValueError("model.pretrained is for torchvision's networks: set model.source to torchvision")
        return self


class Optimizer(Section):
    """What is minimized, and how."""

    name: Literal["sgd", "adamw"]
    weight_decay: WeightDecay
    decay_norm_and_bias: bool = Field(description="Whether norm layers and biases decay too.")
    label_smoothing: float = Field(ge=0, lt=1)
    nesterov: bool = Field(False, description="SGD only.")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW only; its beta1 is the schedule's momentum.")
    eps: float = Field(1e-8, gt=0, le=1, description="AdamW only.")


class BodyAndHead(Section):
    """Two learning rates: of the last layer, and of all that comes before it."""

    body: Lr
    head: Lr


def _first_and_head(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2:
        raise ValueError(f"a list holds two numbers, of the first layer group and of the head, not {len(value)}")
    return value


def _form(value: object) -> str:
    """Which of the forms of a max_lr a value has, by the names that stand in messages for none of them."""
    if isinstance(value, list | tuple):
        return "list"
    return "section" if isinstance(value, dict | BodyAndHead) else "number"


FirstAndHead = Annotated[tuple[Lr, ...], Field(strict=False), AfterValidator(_first_and_head)]
MaxLr = Annotated[
    Annotated[Lr | None, Tag("number")] | Annotated[FirstAndHead, Tag("list")] | Annotated[BodyAndHead, Tag("section")],
    Discriminator(_form),
]
"""One lr for the whole network; the first layer group's and the head's; the body's and the head's; or none yet."""


class Schedule(Section):
    """How lr and momentum move over the run. Each policy has fields of its own, which the others do not use."""

    policy: Literal["one_cycle", "triangular", "constant", "multistep", "cosine"]
    shape: Literal["blog", "smith", "torch", "fastai"] | None = Field(None, description="Policy one_cycle only.")
    epochs: WholeNumber = Field(ge=1, le=100_000)
    max_lr: MaxLr = Field(
        description="The peak; [first, head], spread over the layer groups, or {body, head}; null: to be found."
    )
    div_factor: float | None = Field(
        None, ge=1, le=1e6, description="initial_lr = max_lr / div_factor. Policies one_cycle and triangular."
    )
    final_div_factor: float | None = Field(
        None, ge=1, le=1e9, description="min_lr = initial_lr / final_div_factor. Policies one_cycle and cosine."
    )
    pct_start: float | None = Field(None, gt=0, lt=1, description="Share of the steps on the way up; one_cycle only.")
    legs: tuple[Epochs, ...] | None = Field(
        None,
        strict=False,
        min_length=2,
        max_length=3,
        description="Instead of pct_start: epochs up, down and, for shapes blog and smith, to anneal.",
    )
    max_momentum: Momentum = Field(description="While lr is low, and where nothing cycles.")
    base_momentum: Momentum | None = Field(
        None, description="At the peak of lr; equal to max_momentum: constant. Policies one_cycle and triangular."
    )
    anneal_strategy: Literal["cos", "linear"] = Field("cos", description="Shape torch only.")
    three_phase: bool = Field(False, description="Shape torch only.")
    step_size: WholeNumber | None = Field(None, ge=1, le=1_000_000_000, description="Steps up; triangular only.")
    step_size_epochs: Epochs | None = Field(None, description="The same in epochs.")
    mode: Literal["triangular", "triangular2", "exp_range"] = Field("triangular", description="Triangular only.")
    milestones: tuple[Epochs, ...] | None = Field(
        None, strict=False, min_length=1, max_length=100, description="Epochs after which lr falls; multistep only."
    )
    gamma: float | None = Field(
        None, gt=0, le=1, description="What lr is multiplied by: at each milestone; in mode exp_range at each step."
    )

    start_epoch: WholeNumber = Field(
        0, ge=0, le=100_000, description="Epochs of the schedule that are left out, since another run had them."
    )

    @property
    def largest_max_lr(self) -> float | None:
        """The peak of the layer group that learns fastest: the schedule is of it, each group has a share of it."""
        if isinstance(self.max_lr, tuple):
            return max(self.max_lr)
        if isinstance(self.max_lr, BodyAndHead):
            return max(self.max_lr.body, self.max_lr.head)
        return self.max_lr

    @property
    def at_peak(self) -> float:
        """The momentum at the peak of lr."""
        return self.max_momentum if self.base_momentum is None or not self.cycles else self.base_momentum

    @property
    def cycles(self) -> bool:
        """Whether lr and momentum go up and down."""
        return self.policy in ("one_cycle", "triangular")

    @property
    def start_divisor(self) -> float:
        """`max_lr` divided by the lr at step 0."""
        return self.div_factor if self.cycles and self.div_factor is not None else 1.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if missing := [field for field in NEEDED[self.policy] if getattr(self, field) is None]:
            raise ValueError(f"policy {self.policy} needs {' and '.join(f'schedule.{field}' for field in missing)}")
        if self.cycles and self.base_momentum is not None and self.base_momentum > self.max_momentum:
            raise ValueError("schedule.base_momentum is above schedule.max_momentum, but momentum falls as lr rises")
        if self.policy == "one_cycle":
            self._check_legs()
        if self.policy == "triangular":
            if (self.step_size is None) == (self.step_size_epochs is None):
                raise ValueError("policy triangular needs either schedule.step_size or schedule.step_size_epochs")
            if self.mode == "exp_range" and self.gamma is None:
                raise ValueError("mode exp_range needs schedule.gamma")
        if self.policy == "multistep" and self.milestones is not None and max(self.milestones) >= self.epochs:
            raise ValueError(f"schedule.milestones must be below schedule.epochs, {self.epochs}")
        if self.start_epoch >= self.epochs:
            raise ValueError(f"schedule.start_epoch must be below schedule.epochs, {self.epochs}")
        return self

    def _check_legs(self) -> None:
        if (self.pct_start is None) == (self.legs is None):
            raise ValueError("policy one_cycle needs either schedule.pct_start or schedule.legs")
        equal = self.shape == "torch" and self.three_phase
        if self.pct_start is not None and self.pct_start > 0.5 and (equal or self.shape in ("blog", "smith")):
            raise ValueError("schedule.pct_start must be at most 0.5: the way down takes as many steps as the way up")
        if self.legs is None:
            return
        if equal:
            raise ValueError("schedule.three_phase goes with schedule.pct_start, not with schedule.legs")
        wanted = 3 if self.shape in ("blog", "smith") else 2
        if len(self.legs) != wanted:
            raise ValueError(f"schedule.legs has {len(self.legs)} numbers, but shape {self.shape} has {wanted} legs")
        if not math.isclose(sum(self.legs), self.epochs):
            raise ValueError(f"schedule.legs adds up to {sum(self.legs):g}, but schedule.epochs is {self.epochs}")


NEEDED = {
    "one_cycle": ("shape", "div_factor", "final_div_factor", "base_momentum"),
    "triangular": ("div_factor", "base_momentum"),
    "constant": (),
    "multistep": ("milestones", "gamma"),
    "cosine": ("final_div_factor",),
}
"""The fields that a policy cannot do without."""


class Stage(Section):
    """One cycle of a fine-tuning."""

    freeze_to: Literal["layer1", "layer2", "layer3", "layer4", "head"] | None = Field(
        None, description="The first layer group that trains; those before it stay as they are. null: all train."
    )
    epochs: WholeNumber = Field(ge=1, le=100_000)
    max_lr: MaxLr = Field(None, description="As schedule.max_lr, which it is where this is null.")


class FineTune(Section):
    """Training in stages, each a cycle of its own, some with a part of the network frozen."""

    stages: tuple[Stage, ...] = Field(strict=False, max_length=100)
    train_frozen_norms: bool = Field(False, description="Whether norm layers learn in what is frozen.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.stages:  # as a bound of the field, it would also be broken where a stage is
            raise ValueError("fine_tune.stages is empty: leave fine_tune out, or name a stage")
        return self


class FindLr(Section):
    """The learning rate range test."""

    start_lr: Lr
    end_lr: Lr
    num_steps: WholeNumber = Field(ge=10, le=1_000_000)
    mode: Literal["exponential", "linear"]
    momentum: Momentum | None = Field(description="Held constant; null: schedule.max_momentum.")
    smoothing: float = Field(ge=0, lt=1, description="Of the moving average of the loss.")
    stop_factor: float = Field(gt=1, le=1e6, description="The test ends at this many times the least smoothed loss.")
    valid_every: WholeNumber | None = Field(
        None, ge=1, description="Also score validation images every so many steps; null: never."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.end_lr <= self.start_lr:
            raise ValueError("find_lr.end_lr must be above find_lr.start_lr")
        return self


class SweepWd(Section):
    """The weight decays that sweep-wd tries."""

    weight_decays: tuple[WeightDecay, ...] = Field(strict=False, min_length=1, max_length=100)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.weight_decays)) < len(self.weight_decays):
            raise ValueError("sweep_wd.weight_decays holds the same value twice")
        return self


class Runtime(Section):
    """What does not change the result, but for the precision."""

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda|cuda:\d+|mps)$")] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    log_every: WholeNumber = Field(20, ge=1, le=100_000, description="Steps between two looks at the device.")
    save_best: bool = Field(False, description="Also keep the weights with the best validation accuracy.")


class Recipe(Section):
    """Everything that a run needs to know."""

    name: Name
    description: str
    seed: WholeNumber = Field(ge=0, lt=2**32)
    data: Data
    model: Model
    optimizer: Optimizer
    schedule: Schedule
    fine_tune: FineTune | None = None
    find_lr: FindLr
    sweep_wd: SweepWd
    runtime: Runtime = Field(default_factory=lambda: Runtime.model_validate({}))

    @property
    def frozen(self) -> tuple[str, ...]:
        """The layer groups that the last stage leaves as they are."""
        freeze_to, groups = self.fine_tune and self.fine_tune.stages[-1].freeze_to, self.model.groups
        return groups[: groups.index(freeze_to)] if freeze_to else ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.model.source == "torchvision" and self.data.channels != 3:
            raise ValueError("data.channels must be 3 for model.source torchvision; a grey image then has three alike")
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
        for field in ("legs", "milestones", "step_size_epochs"):
            if getattr(settings, field) is not None:
                raise ValueError(f"schedule.{field} counts epochs of a single cycle: leave it out beside fine_tune")
        if settings.start_epoch:
            raise ValueError("schedule.start_epoch is of a single cycle: leave it out beside fine_tune")
        return self
