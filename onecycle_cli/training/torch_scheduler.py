"""A schedule as a real torch scheduler, for training loops that call `scheduler.step()` after each update."""

import math
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from onecycle_cli.errors import InputError
from onecycle_cli.schedules import LrMomentum, Schedule


def torch_scheduler(
    optimizer: Optimizer, schedule: Schedule, *, cycle_momentum: bool = True, last_epoch: int = -1
) -> "TorchScheduler":
    """Makes a `torch.optim.lr_scheduler.LRScheduler` of a schedule: call its `step()` after each `optimizer.step()`.

    Args:
        optimizer: Any torch optimizer. The group with the largest lr follows the schedule; each other group keeps its
            ratio to that one: `group lr = schedule lr x group's own lr / largest own lr`. A group's own lr is its
            `initial_lr`, which torch sets to its lr when the first scheduler is made. With one group, its own lr does
            not matter.
        schedule: A function from a step, counted from 0, to its `LrMomentum`, such as `one_cycle(1000, 0.8)`. It counts
            optimizer updates, not epochs.
        cycle_momentum: Whether the schedule also sets momentum: a group's `momentum` (SGD), or the first of its `betas`
            (Adam); the other betas stay. Groups that have neither keep what they have.
        last_epoch: The last step taken, to continue with an optimizer whose state was loaded; -1 for a new run. Prefer
            `load_state_dict`.

    Returns:
        The scheduler, with the lr and the momentum of step 0 already set. `state_dict` holds only numbers. After
        `load_state_dict`, a scheduler of the same schedule continues with exactly the same values.

    Raises:
        InputError: The lr of a group is negative or not finite.

    In Lightning, return it with `"interval": "step"`. In Hugging Face's Trainer, pass it as the second of `optimizers`.
    Steps past the end of a schedule keep its last value.
    """
    return TorchScheduler(optimizer, schedule, cycle_momentum=cycle_momentum, last_epoch=last_epoch)


class TorchScheduler(LRScheduler):
    """The scheduler that `torch_scheduler` returns."""

    def __init__(
        self, optimizer: Optimizer, schedule: Schedule, *, cycle_momentum: bool = True, last_epoch: int = -1
    ) -> None:
        self.schedule, self.cycle_momentum = schedule, cycle_momentum
        own = [_own_lr(group) for group in optimizer.param_groups]
        if not all(0 <= lr < math.inf for lr in own):
            raise InputError(f"The lrs of the groups are {own}.", "Give each group a finite lr of at least 0.")
        self._largest = max(own)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Returns the lr of each group at the step `last_epoch`."""
        lr = self._now.lr
        groups = self.optimizer.param_groups
        if self._largest == 0:  # all alike
            return [lr for _ in groups]
        # The largest group has a ratio of exactly 1.
        return [lr * (_own_lr(group) / self._largest) for group in groups]

    def step(self, epoch: int | None = None) -> None:
        """Advances to the next step, and sets lr and momentum of each group."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])  # for a group that was added later, such as one that was frozen
        super().step(epoch)
        if self.cycle_momentum:
            self._set_momentum()

    def state_dict(self) -> dict[str, Any]:
        """Returns the state of the scheduler as plain numbers, which `torch.load(..., weights_only=True)` accepts.

        The schedule itself is not included, because it can be any function: build it again with the same arguments.
        """
        lr, momentum = self._now
        return {
            "last_epoch": self.last_epoch,
            "_step_count": self._step_count,
            "initial_lrs": [_own_lr(group) for group in self.optimizer.param_groups],
            "largest_lr": self._largest,
            "lr": lr,
            "momentum": momentum,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state of another scheduler of the same schedule, and sets lr and momentum of its step.

        Load the optimizer's state too, before or after. `InputError` if the optimizer has another number of groups, or
        if the schedule has another value at that step, because it was made with other arguments.
        """
        groups, own = self.optimizer.param_groups, state_dict["initial_lrs"]
        if len(groups) != len(own):
            raise InputError(
                f"The scheduler's state is of {len(own)} parameter groups, the optimizer has {len(groups)}.",
                "Make the optimizer with the same groups.",
            )
        step = state_dict["last_epoch"]
        then, now = LrMomentum(state_dict["lr"], state_dict["momentum"]), self.schedule(step)
        # Another processor's cosine may differ in its last digit.
        if not all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(then, now, strict=True)):
            raise InputError(
                f"The scheduler's state is of another schedule: at step {step} it had lr {then.lr:g} and momentum "
                f"{then.momentum:g}; this one has {now.lr:g} and {now.momentum:g}.",
                "Make the schedule with the same arguments; to change it on purpose, make the scheduler after the "
                f"optimizer's state is loaded, with last_epoch={step - 1}.",
            )
        for group, lr in zip(groups, own, strict=True):
            group["initial_lr"] = lr
        self.base_lrs, self._largest = list(own), state_dict["largest_lr"]
        self.last_epoch = step - 1
        self._update_lr()
        self._step_count = state_dict["_step_count"]
        if self.cycle_momentum:
            self._set_momentum()

    @property
    def _now(self) -> LrMomentum:
        return self.schedule(self.last_epoch)

    def _set_momentum(self) -> None:
        momentum = self._now.momentum
        for group in self.optimizer.param_groups:
            if "betas" in group:
                group["betas"] = (momentum, *group["betas"][1:])
            elif "momentum" in group:
                group["momentum"] = momentum


def _own_lr(group: dict[str, Any]) -> float:
    """Returns the lr with which a parameter group was created."""
    return float(group.get("initial_lr", group["lr"]))
