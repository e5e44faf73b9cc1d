"""The fields on how lr and momentum move: the schedule, its largest lrs, and the stages of fine-tuning."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from onecycle_cli.recipe.field_types import Epochs, Lr, Momentum, Section, WholeNumber


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
