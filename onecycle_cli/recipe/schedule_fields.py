"""The fields of the section `schedule`: a class for each policy, with the function that builds its schedule."""

import math
from abc import ABC, abstractmethod
from itertools import accumulate
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from onecycle_cli.recipe.field_types import Epochs, Momentum, Section, WholeNumber
from onecycle_cli.recipe.max_lr import BodyAndHead, MaxLr
from onecycle_cli.schedules import Legs, Schedule, Shape, constant, cosine, multistep, one_cycle, triangular


class ScheduleSettings(Section, ABC):
    """The fields of every schedule. Each policy has a subclass that adds its own fields."""

    in_epochs: ClassVar[tuple[str, ...]] = ()
    """The fields besides `epochs` that count epochs. They are scaled when the number of epochs changes."""

    policy: str
    epochs: WholeNumber = Field(ge=1, le=100_000, description="Passes over the training images.")
    max_lr: MaxLr = Field(
        description="The peak of lr; [first, head], spread over the layer groups, or {body, head}; null: not known yet."
    )
    max_momentum: Momentum = Field(description="The momentum while lr is low; constant if the policy has no cycles.")
    start_epoch: WholeNumber = Field(
        0, ge=0, le=100_000, description="Epochs of the schedule to skip, because another run trained them."
    )

    @abstractmethod
    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds the schedule over all epochs, for the layer group with the largest lr.

        `max_lr` must not be None. `steps_per_epoch` may be a fraction, for a shortened run. `InputError` if the run
        is too short for the schedule.
        """

    @property
    def largest_max_lr(self) -> float | None:
        """The largest lr of any layer group, None if not known yet. Other groups have a fixed share of it."""
        if isinstance(self.max_lr, tuple):
            return max(self.max_lr)
        if isinstance(self.max_lr, BodyAndHead):
            return max(self.max_lr.body, self.max_lr.head)
        return self.max_lr

    @property
    def known_max_lr(self) -> float:
        """The `largest_max_lr`, which must not be None."""
        assert self.largest_max_lr is not None
        return self.largest_max_lr

    @property
    def form(self) -> str | None:
        """The variant of the policy: the shape of one cycle, or the mode of many; None if there are no variants."""
        return None

    @property
    def at_peak(self) -> float:
        """The momentum at the peak of lr."""
        return self.max_momentum

    @property
    def cycles(self) -> bool:
        """Whether lr and momentum rise and fall in cycles."""
        return False

    @property
    def start_divisor(self) -> float:
        """`max_lr` divided by the lr at step 0."""
        return 1.0

    @property
    def share_up(self) -> float:
        """The share of the steps before the peak of one cycle; 1 if the policy is not one cycle."""
        return 1.0

    @model_validator(mode="after")
    def _starts_before_its_end(self) -> Self:
        if self.start_epoch >= self.epochs:
            raise ValueError(f"schedule.start_epoch must be below schedule.epochs, {self.epochs}")
        return self


class CyclicSettings(ScheduleSettings):
    """The fields of a schedule in which lr rises and falls, while momentum falls and rises."""

    div_factor: float = Field(ge=1, le=1e6, description="initial_lr = max_lr / div_factor.")
    base_momentum: Momentum = Field(
        description="The momentum at the peak of lr; if equal to max_momentum, it is constant."
    )

    @property
    def at_peak(self) -> float:
        """The momentum at the peak of lr."""
        return self.base_momentum

    @property
    def cycles(self) -> bool:
        """Whether lr and momentum rise and fall in cycles."""
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
    """The policy one_cycle. Each shape has a subclass; shapes with the same fields share one."""

    in_epochs = ("legs",)
    most_legs: ClassVar[int] = 2
    """The number of values in `legs`."""

    policy: Literal["one_cycle"]
    shape: Shape
    final_div_factor: float = Field(ge=1, le=1e9, description="min_lr = initial_lr / final_div_factor.")
    pct_start: float | None = Field(None, gt=0, lt=1, description="The share of the steps on the way up.")
    legs: tuple[Epochs, ...] | None = Field(
        None,
        strict=False,
        min_length=2,
        max_length=3,
        description="Instead of pct_start: epochs up, epochs down and, for shapes blog and smith, epochs of the tail.",
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
        assert self.pct_start is not None  # _has_legs checks it
        return self.pct_start

    @property
    def has_equal_legs(self) -> bool:
        """Whether the way down takes as many steps as the way up, so that `pct_start` is at most 0.5."""
        return False

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs, in this shape."""
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
    """One cycle as in Gugger's blog or Smith's solver files: up, down, and a tail."""

    most_legs = 3

    shape: Literal["blog", "smith"] = Field(
        description="The form of the cycle. blog: down to initial_lr, then to min_lr; smith: down to zero, then flat."
    )

    @property
    def has_equal_legs(self) -> bool:
        """Whether the way down takes as many steps as the way up, so that `pct_start` is at most 0.5."""
        return True

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs: up, down, and a tail."""
        return self._one_cycle(steps_per_epoch, legs=self._legs(steps_per_epoch))

    def _legs(self, steps_per_epoch: float) -> Legs | None:
        if self.legs is None:
            return None
        # Rounds the turning points, not each leg, because two rounding errors of half a step would add up.
        peak, back, *_ = (_steps(turn, steps_per_epoch) for turn in accumulate(self.legs))
        return Legs(peak, back - peak)


class TorchOneCycleSettings(OneCycleSettings):
    """One cycle as in torch's OneCycleLR."""

    shape: Literal["torch"]
    anneal_strategy: Literal["cos", "linear"] = Field(
        "cos", description="Whether lr follows a cosine or straight lines."
    )
    three_phase: bool = Field(
        False, description="Whether the way down ends at initial_lr, followed by a tail down to min_lr."
    )

    @property
    def has_equal_legs(self) -> bool:
        """Whether the way down takes as many steps as the way up, so that `pct_start` is at most 0.5."""
        return self.three_phase

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds one cycle over all epochs, as OneCycleLR does."""
        return self._one_cycle(steps_per_epoch, anneal_strategy=self.anneal_strategy, three_phase=self.three_phase)

    @model_validator(mode="after")
    def _three_phases_have_no_legs(self) -> Self:
        if self.legs is not None and self.three_phase:
            raise ValueError("schedule.three_phase works only with schedule.pct_start, not with schedule.legs")
        return self


class FastaiOneCycleSettings(OneCycleSettings):
    """One cycle as in fastai's fit_one_cycle."""

    shape: Literal["fastai"]


class TriangularSettings(CyclicSettings):
    """The policy triangular: many cycles, one after another."""

    in_epochs = ("step_size_epochs",)

    policy: Literal["triangular"]
    step_size: WholeNumber | None = Field(None, ge=1, le=1_000_000_000, description="Steps on the way up.")
    step_size_epochs: Epochs | None = Field(None, description="Instead of step_size: epochs on the way up.")
    mode: Literal["triangular", "triangular2", "exp_range"] = Field(
        "triangular",
        description="The height of the cycles. triangular: the same; triangular2: halved after each; exp_range: times "
        "gamma at each step.",
    )
    gamma: float | None = Field(
        None, gt=0, le=1, description="Only for mode exp_range: the factor of the cycle's height at each step."
    )

    @property
    def form(self) -> str | None:
        """The mode of the cycles."""
        return self.mode

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds endless cycles."""
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
    """The policy constant: the same lr at every step."""

    policy: Literal["constant"]

    def build(self, steps_per_epoch: float) -> Schedule:  # noqa: ARG002  part of the interface
        """Builds a schedule with the same lr at every step."""
        return constant(max_lr=self.known_max_lr, momentum=self.max_momentum)


class MultistepSettings(ScheduleSettings):
    """The policy multistep: lr falls after some epochs."""

    in_epochs = ("milestones",)

    policy: Literal["multistep"]
    milestones: tuple[Epochs, ...] = Field(
        strict=False, min_length=1, max_length=100, description="The numbers of epochs after which lr falls."
    )
    gamma: float = Field(gt=0, le=1, description="The factor of lr at each milestone.")

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds a schedule whose lr falls at each milestone."""
        milestones = [_steps(epoch, steps_per_epoch) for epoch in self.milestones]
        return multistep(max_lr=self.known_max_lr, milestones=milestones, gamma=self.gamma, momentum=self.max_momentum)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if max(self.milestones) >= self.epochs:
            raise ValueError(f"schedule.milestones must be below schedule.epochs, {self.epochs}")
        return self


class CosineSettings(ScheduleSettings):
    """The policy cosine: lr falls along half a cosine."""

    policy: Literal["cosine"]
    final_div_factor: float = Field(ge=1, le=1e9, description="min_lr = max_lr / final_div_factor.")

    def build(self, steps_per_epoch: float) -> Schedule:
        """Builds half a cosine over all epochs."""
        min_lr, total_steps = self.known_max_lr / self.final_div_factor, round(self.epochs * steps_per_epoch)
        return cosine(max_lr=self.known_max_lr, min_lr=min_lr, total_steps=total_steps, momentum=self.max_momentum)


def _steps(epochs: float, steps_per_epoch: float) -> int:
    """Converts epochs to whole steps, at least 1."""
    return max(1, round(epochs * steps_per_epoch))


OneCycle = Annotated[
    BlogOneCycleSettings | TorchOneCycleSettings | FastaiOneCycleSettings, Field(discriminator="shape")
]
AnySchedule = Annotated[
    OneCycle | TriangularSettings | ConstantSettings | MultistepSettings | CosineSettings, Field(discriminator="policy")
]
"""The section `schedule`. A new policy needs a class like the ones above in this union, and a file in `schedules/`."""
