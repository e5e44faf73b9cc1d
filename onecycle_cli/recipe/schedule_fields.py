"""The fields on how lr and momentum move: the schedule, its largest lrs, and the stages of fine-tuning."""

import math
from abc import ABC, abstractmethod
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from onecycle_cli.recipe.field_types import Epochs, Lr, Momentum, Section, WholeNumber
from onecycle_cli.schedules import Legs, Schedule, Shape, constant, cosine, multistep, one_cycle, triangular


class BodyAndHead(Section):
    """Two learning rates: of the last layer, and of all that comes before it."""

    body: Lr
    head: Lr

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_ratio(self.body, self.head)
        return self


FARTHEST = 1e15
"""Two lrs of one network that are further apart are a slip, and their ratio ends in 0 or in infinity at last."""


def _check_ratio(one: float, other: float) -> None:
    if max(one, other) > FARTHEST * min(one, other):
        raise ValueError(f"{one:g} and {other:g} are more than a factor of {FARTHEST:g} apart")


def _first_and_head(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2:
        raise ValueError(f"a list holds two numbers, of the first layer group and of the head, not {len(value)}")
    _check_ratio(*value)
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


class ScheduleSettings(Section, ABC):
    """The fields that every schedule has. Each policy is a class of its own, with the fields that it alone has."""

    in_epochs: ClassVar[tuple[str, ...]] = ()
    """The fields, beside `epochs`, that count epochs: where a run is made longer, they grow with it."""

    policy: str
    epochs: WholeNumber = Field(ge=1, le=100_000)
    max_lr: MaxLr = Field(
        description="The peak; [first, head], spread over the layer groups, or {body, head}; null: to be found."
    )
    max_momentum: Momentum = Field(description="While lr is low, and where nothing cycles.")
    start_epoch: WholeNumber = Field(
        0, ge=0, le=100_000, description="Epochs of the schedule that are left out, since another run had them."
    )

    @abstractmethod
    def build(self, steps_per_epoch: float) -> Schedule:
        """The schedule over all epochs, of the largest lr; `max_lr` must be known. Steps need not be whole."""

    @property
    def largest_max_lr(self) -> float | None:
        """The peak of the layer group that learns fastest: the schedule is of it, each group has a share of it."""
        if isinstance(self.max_lr, tuple):
            return max(self.max_lr)
        if isinstance(self.max_lr, BodyAndHead):
            return max(self.max_lr.body, self.max_lr.head)
        return self.max_lr

    @property
    def known_max_lr(self) -> float:
        """`largest_max_lr`, where it must be known."""
        assert self.largest_max_lr is not None
        return self.largest_max_lr

    @property
    def form(self) -> str | None:
        """Which of its forms the policy has: the shape of a cycle, the mode of many; None where it has one form."""
        return None

    @property
    def at_peak(self) -> float:
        """The momentum at the peak of lr."""
        return self.max_momentum

    @property
    def cycles(self) -> bool:
        """Whether lr and momentum go up and down."""
        return False

    @property
    def start_divisor(self) -> float:
        """`max_lr` divided by the lr at step 0."""
        return 1.0

    @property
    def share_up(self) -> float:
        """The share of the steps before the peak of one cycle; 1 where the policy has no such way up."""
        return 1.0

    @model_validator(mode="after")
    def _starts_before_its_end(self) -> Self:
        if self.start_epoch >= self.epochs:
            raise ValueError(f"schedule.start_epoch must be below schedule.epochs, {self.epochs}")
        return self


class CyclicSettings(ScheduleSettings):
    """The fields of a schedule in which lr goes up and down while momentum goes the other way."""

    div_factor: float = Field(ge=1, le=1e6, description="initial_lr = max_lr / div_factor.")
    base_momentum: Momentum = Field(description="At the peak of lr; equal to max_momentum: constant.")

    @property
    def at_peak(self) -> float:
        """The momentum at the peak of lr."""
        return self.base_momentum

    @property
    def cycles(self) -> bool:
        """Whether lr and momentum go up and down."""
        return True

    @property
    def start_divisor(self) -> float:
        """`max_lr` divided by the lr at step 0."""
        return self.div_factor

    @model_validator(mode="after")
    def _momentum_falls(self) -> Self:
        if self.base_momentum > self.max_momentum:
            raise ValueError("schedule.base_momentum is above schedule.max_momentum, but momentum falls as lr rises")
        return self


class OneCycleSettings(CyclicSettings):
    """One cycle. Each shape is a class of its own; shapes with the same fields share one."""

    in_epochs = ("legs",)
    most_legs: ClassVar[int] = 2

    policy: Literal["one_cycle"]
    shape: Shape
    final_div_factor: float = Field(ge=1, le=1e9, description="min_lr = initial_lr / final_div_factor.")
    pct_start: float | None = Field(None, gt=0, lt=1, description="Share of the steps on the way up.")
    legs: tuple[Epochs, ...] | None = Field(
        None,
        strict=False,
        min_length=2,
        max_length=3,
        description="Instead of pct_start: epochs up, down and, for shapes blog and smith, to anneal.",
    )

    @property
    def form(self) -> str | None:
        """The shape of the cycle."""
        return self.shape

    @property
    def share_up(self) -> float:
        """The share of the steps before the peak."""
        if self.legs is not None:
            return self.legs[0] / sum(self.legs)
        assert self.pct_start is not None  # the recipe holds to it
        return self.pct_start

    @property
    def has_equal_legs(self) -> bool:
        """Whether `pct_start` is the share of the way up and that of the way down too."""
        return False

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs, in its shape."""
        return self._one_cycle(steps_per_epoch)

    def _one_cycle(self, steps_per_epoch: float, **further: Any) -> Schedule:
        return one_cycle(
            round(self.epochs * steps_per_epoch),
            self.known_max_lr,
            div_factor=self.div_factor,
            final_div_factor=self.final_div_factor,
            pct_start=self.share_up,
            max_momentum=self.max_momentum,
            base_momentum=self.base_momentum,
            shape=self.shape,
            **further,
        )

    @model_validator(mode="after")
    def _has_legs(self) -> Self:
        if (self.pct_start is None) == (self.legs is None):
            raise ValueError("policy one_cycle needs either schedule.pct_start or schedule.legs")
        if self.pct_start is not None and self.pct_start > 0.5 and self.has_equal_legs:
            raise ValueError("schedule.pct_start must be at most 0.5: the way down takes as many steps as the way up")
        if self.legs is None:
            return self
        if len(self.legs) != self.most_legs:
            has = f"shape {self.shape} has {self.most_legs} legs"
            raise ValueError(f"schedule.legs has {len(self.legs)} numbers, but {has}")
        if not math.isclose(sum(self.legs), self.epochs):
            raise ValueError(f"schedule.legs adds up to {sum(self.legs):g}, but schedule.epochs is {self.epochs}")
        return self


class BlogOneCycleSettings(OneCycleSettings):
    """One cycle as Gugger's blog or Smith's solver files have it: up, down, and a tail."""

    most_legs = 3

    shape: Literal["blog", "smith"]

    @property
    def has_equal_legs(self) -> bool:
        """Whether `pct_start` is the share of the way up and that of the way down too."""
        return True

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs: up, down, and a tail."""
        return self._one_cycle(steps_per_epoch, legs=self._legs(steps_per_epoch))

    def _legs(self, steps_per_epoch: float) -> Legs | None:
        if self.legs is None:
            return None
        # Rounded at the turns, not leg by leg, so that two errors of half a step do not add up.
        peak, back, *_ = (_steps(turn, steps_per_epoch) for turn in accumulate(self.legs))
        return Legs(peak, back - peak)


class TorchOneCycleSettings(OneCycleSettings):
    """One cycle as torch's OneCycleLR has it."""

    shape: Literal["torch"]
    anneal_strategy: Literal["cos", "linear"] = "cos"
    three_phase: bool = Field(False, description="Whether the way down ends at initial_lr, with a tail after it.")

    @property
    def has_equal_legs(self) -> bool:
        """Whether `pct_start` is the share of the way up and that of the way down too."""
        return self.three_phase

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs, as OneCycleLR does."""
        return self._one_cycle(steps_per_epoch, anneal_strategy=self.anneal_strategy, three_phase=self.three_phase)

    @model_validator(mode="after")
    def _three_phases_have_no_legs(self) -> Self:
        if self.legs is not None and self.three_phase:
            raise ValueError("schedule.three_phase goes with schedule.pct_start, not with schedule.legs")
        return self


class FastaiOneCycleSettings(OneCycleSettings):
    """One cycle as fastai's fit_one_cycle has it."""

    shape: Literal["fastai"]


class TriangularSettings(CyclicSettings):
    """Many cycles, one after another."""

    in_epochs = ("step_size_epochs",)

    policy: Literal["triangular"]
    step_size: WholeNumber | None = Field(None, ge=1, le=1_000_000_000, description="Steps up.")
    step_size_epochs: Epochs | None = Field(None, description="The same in epochs.")
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float | None = Field(
        None, gt=0, le=1, description="Of mode exp_range: what the height is multiplied by at each step."
    )

    @property
    def form(self) -> str | None:
        """The mode of the cycles."""
        return self.mode

    def build(self, steps_per_epoch: float) -> Schedule:
        """Cycles without an end."""
        return triangular(
            max_lr=self.known_max_lr,
            div_factor=self.div_factor,
            step_size=self.step_size or _steps(self.step_size_epochs or 0, steps_per_epoch),
            max_momentum=self.max_momentum,
            base_momentum=self.base_momentum,
            mode=self.mode,
            gamma=self.gamma or 1.0,
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.step_size is None) == (self.step_size_epochs is None):
            raise ValueError("policy triangular needs either schedule.step_size or schedule.step_size_epochs")
        if self.mode == "exp_range" and self.gamma is None:
            raise ValueError("mode exp_range needs schedule.gamma")
        return self


class ConstantSettings(ScheduleSettings):
    """The same lr at every step."""

    policy: Literal["constant"]

    def build(self, steps_per_epoch: float) -> Schedule:  # noqa: ARG002  each policy takes it
        """The same lr at every step."""
        return constant(max_lr=self.known_max_lr, momentum=self.max_momentum)


class MultistepSettings(ScheduleSettings):
    """An lr that falls at some epochs."""

    in_epochs = ("milestones",)

    policy: Literal["multistep"]
    milestones: tuple[Epochs, ...] = Field(
        strict=False, min_length=1, max_length=100, description="Epochs after which lr falls."
    )
    gamma: float = Field(gt=0, le=1, description="What lr is multiplied by at each milestone.")

    def build(self, steps_per_epoch: float) -> Schedule:
        """The lr, lower after each milestone."""
        milestones = [_steps(epoch, steps_per_epoch) for epoch in self.milestones]
        return multistep(max_lr=self.known_max_lr, milestones=milestones, gamma=self.gamma, momentum=self.max_momentum)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if max(self.milestones) >= self.epochs:
            raise ValueError(f"schedule.milestones must be below schedule.epochs, {self.epochs}")
        return self


class CosineSettings(ScheduleSettings):
    """An lr that falls along half a cosine."""

    policy: Literal["cosine"]
    final_div_factor: float = Field(ge=1, le=1e9, description="min_lr = max_lr / final_div_factor.")

    def build(self, steps_per_epoch: float) -> Schedule:
        """Half a cosine over all epochs."""
        min_lr, total_steps = self.known_max_lr / self.final_div_factor, round(self.epochs * steps_per_epoch)
        return cosine(max_lr=self.known_max_lr, min_lr=min_lr, total_steps=total_steps, momentum=self.max_momentum)


def _steps(epochs: float, steps_per_epoch: float) -> int:
    """At least one."""
    return max(1, round(epochs * steps_per_epoch))


OneCycle = Annotated[
    BlogOneCycleSettings | TorchOneCycleSettings | FastaiOneCycleSettings, Field(discriminator="shape")
]
AnySchedule = Annotated[
    OneCycle | TriangularSettings | ConstantSettings | MultistepSettings | CosineSettings, Field(discriminator="policy")
]
"""The schedule of a recipe. A new one is a class like those above, in this union, and its function in `schedules/`."""


class StageSettings(Section):
    """One cycle of a fine-tuning."""

    freeze_to: Literal["layer1", "layer2", "layer3", "layer4", "head"] | None = Field(
        None, description="The first layer group that trains; those before it stay as they are. null: all train."
    )
    epochs: WholeNumber = Field(ge=1, le=100_000)
    max_lr: MaxLr = Field(None, description="As schedule.max_lr, which it is where this is null.")


class FineTuneSettings(Section):
    """Training in stages, each a cycle of its own, some with a part of the network frozen."""

    stages: tuple[StageSettings, ...] = Field(strict=False, max_length=100)
    train_frozen_norms: bool = Field(False, description="Whether norm layers learn in what is frozen.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if not self.stages:  # as a bound of the field, it would also be broken where a stage is
            raise ValueError("fine_tune.stages is empty: leave fine_tune out, or name a stage")
        return self
