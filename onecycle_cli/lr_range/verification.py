"""What a few short cycles around a suggestion say of it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onecycle_cli.lr_range.suggestion import Suggestion, significant

TRUST = 0.5
"""How far, in log lr, a suggestion follows its trials: a twelfth of a run is noisy, and no small run.

Measured on short cycles of the tasks in benchmarks/suggestion: a half and a third of the way lost the least, the whole
way lost more than not to move.
"""


CLIFF = 1.5

NONE_LEARNED = "Every short cycle around it diverged: take conservative_max_lr, or look at the figure."


@dataclass(frozen=True)
class Trial:
    """A short cycle that ended: its peak, its length, and the scores on validation images; not finite: it diverged."""

    max_lr: float
    steps: int
    valid_loss: float
    valid_accuracy: float


def verified(suggestion: Suggestion, trials: Sequence[Trial], *, div_factor: float) -> Suggestion:
    """`suggestion`, moved half-way towards the max_lr that the validation losses of the trials point at.

    That is where a parabola through the losses over log lr has its least value, or else the best trial.
    """
    assert suggestion.max_lr is not None
    best = min(trials, key=lambda trial: trial.valid_loss if math.isfinite(trial.valid_loss) else math.inf)
    if not math.isfinite(best.valid_loss):
        return replace(suggestion, confidence="low", reason=f"{suggestion.reason} {NONE_LEARNED}")
    pointed = _least(trials) or best.max_lr
    max_lr = significant(suggestion.max_lr * (pointed / suggestion.max_lr) ** TRUST)
    listed = ", ".join(f"{trial.valid_loss:.4g} at {trial.max_lr:.3g}" for trial in trials)
    told = f"Cycles of {best.steps} steps ended with validation losses of {listed}; without them it is"
    return replace(
        suggestion,
        max_lr=max_lr,
        initial_lr=significant(max_lr / div_factor),
        rule=f"{suggestion.rule}, verified",
        reason=f"{suggestion.reason} {told} {suggestion.max_lr:g}.",
    )


def _least(trials: Sequence[Trial]) -> float | None:
    """The lr where the parabola through the losses over log lr is least, among the trials' lrs; None where it is not.

    A loss far above the least, or none at all, says where not to go, but not how steep the way is: it counts as
    `CLIFF` times the least.
    """
    losses = np.array([trial.valid_loss for trial in trials])
    ceiling = np.nanmin(losses) * CLIFF
    logs = np.log([trial.max_lr for trial in trials])
    curvature, slope, _ = np.polyfit(logs, np.fmin(np.nan_to_num(losses, nan=ceiling, posinf=ceiling), ceiling), 2)
    if curvature <= 0:
        return None
    return float(np.exp(np.clip(-slope / 2 / curvature, logs.min(), logs.max())))
