"""Verification of a suggestion by a few short cycles around it. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onecycle_cli.analysis.lr_range.curve import Columns
from onecycle_cli.analysis.lr_range.suggestion import Suggestion, significant

TRUST = 0.5
"""The share of the way, in log lr, that a suggestion moves towards the best lr of its trials.

A cycle of a twelfth of a run is noisy, and differs from a whole run. On short cycles of the tasks in
benchmarks/suggestion, a half and a third of the way lost the least; the whole way lost more than not moving.
"""

CLIFF = 1.5
"""The multiple of the least loss at which losses are clipped: higher ones show where not to go, but not how steep the
way is."""

ALIKE = 0.02
"""The largest spread of losses, as a share of the least, that counts as no difference: the cycles were too short to
learn."""


@dataclass(frozen=True)
class VerificationCycle:
    """The result of a short cycle: its peak, its length, and its validation scores, which are NaN if it diverged."""

    max_lr: float
    steps: int
    valid_loss: float
    valid_accuracy: float


def verified(suggestion: Suggestion, trials: Sequence[VerificationCycle], *, div_factor: float) -> Suggestion:
    """Returns `suggestion`, moved halfway towards the best max_lr of the trials' validation losses.

    The best max_lr is where a parabola through the losses over log lr has its minimum. Confidence is low if the trial
    at the suggestion itself diverged or was far from the best.
    """
    assert suggestion.max_lr is not None
    assert suggestion.conservative_max_lr is not None
    losses = np.array([trial.valid_loss if math.isfinite(trial.valid_loss) else math.inf for trial in trials])
    told = ", ".join(
        (f"{loss:.4g}" if math.isfinite(loss) else "none, diverged,") + f" at lr {trial.max_lr:.3g}"
        for loss, trial in zip(losses, trials, strict=True)
    )
    reason = f"{suggestion.reason} Cycles of {trials[0].steps} steps had validation losses of {told}"
    least = losses.min()
    if not math.isfinite(least):
        low = f"{reason}: take conservative_max_lr, or look at the figure."
        return replace(suggestion, confidence="low", reason=low)
    if np.ptp(np.minimum(losses, CLIFF * least)) <= ALIKE * least:
        return replace(suggestion, reason=f"{reason}: too similar to move the suggestion.")
    factor = (_pointed_at(trials, np.minimum(losses, CLIFF * least)) / suggestion.max_lr) ** TRUST
    here = losses[int(np.argmin([abs(math.log(trial.max_lr / suggestion.max_lr)) for trial in trials]))]
    max_lr = significant(factor * suggestion.max_lr)
    moved = max_lr != suggestion.max_lr
    return replace(
        suggestion,
        max_lr=max_lr,
        conservative_max_lr=significant(factor * suggestion.conservative_max_lr),
        initial_lr=significant(factor * suggestion.max_lr / div_factor),
        confidence="low" if here >= CLIFF * least else suggestion.confidence,
        rule=f"{suggestion.rule}, verified",
        reason=f"{reason}, and moved it from {suggestion.max_lr:g}." if moved else f"{reason}, and did not move it.",
    )


def _pointed_at(trials: Sequence[VerificationCycle], losses: Columns) -> float:
    """Returns the lr of the minimum of a parabola through the losses over log lr, within the trials, or the best lr."""
    logs = np.log([trial.max_lr for trial in trials])
    curvature, slope, _ = np.polyfit(logs, losses, 2)
    if curvature <= 0:
        return trials[int(losses.argmin())].max_lr
    return float(np.exp(np.clip(-slope / 2 / curvature, logs.min(), logs.max())))
