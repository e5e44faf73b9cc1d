"""Suggestion from learning rate range tests: a curve in, a `max_lr` for one cycle with its reason out.

Pure, without torch: a suggestion can be computed again from `lr_range.csv` on any machine. docs/suggestion.md describes
how the rule was found, and how it compares with others.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onecycle_cli.analysis.lr_range.basin import Basin, basin_of
from onecycle_cli.analysis.lr_range.confidence import confidence, distrust
from onecycle_cli.analysis.lr_range.curve import FEWEST_POINTS, Columns, Curve, median_curve, significant
from onecycle_cli.analysis.lr_range.error_bar import Confidence, ErrorBar, error_bar
from onecycle_cli.analysis.lr_range.peers import peer_answers

RULE = "basin"
"""The name of the rule in a suggestion."""

SHARES = {"sgd": 0.8, "adamw": 0.36}
"""The ratio of the suggested peak to the middle of the basin, by optimizer, for a run of `TYPICAL_STEPS` steps and a
test of `TYPICAL_PACE`; fitted on the tasks "first" and "fitted" of benchmarks/suggestion."""

TYPICAL_STEPS, LENGTH_EXPONENT = 200, 0.1
"""A longer run needs a lower peak: `max_lr` falls with this power of the planned steps. Fitted on the same tasks, which
have 44 to 5,000 steps."""

TYPICAL_PACE = 9.6
"""About the `pace` of a test of 100 steps from 3e-4 to 10: the steps in which lr grows by a factor of e.

In a longer test, the loss falls at lower lrs, because it has made more steps there: the first edge of the basin moves
as 1 / pace. The last edge stays where training is unstable. The middle therefore moves as the square root. Without this
correction, the middles of 40 and of 1,000 steps differed by a factor of five on the digits, with it by 1.2."""

TYPICAL, TYPICAL_EXPLOSION = {"sgd": 0.07, "adamw": 0.014}, 5.0
"""The typical max_lr by optimizer, of a test whose loss explodes at this lr.

A faint curve is drawn towards it. It is proportional to the square root of the lr at which the loss explodes: on tasks
whose loss explodes below 1, a fixed typical max_lr lost up to 26 points. Fitted on the tasks "first", "fitted" and
"checked" of benchmarks/suggestion."""

USUAL_MAX_LR = {"sgd": 0.11, "adamw": 0.01}
"""What to compare a max_lr with if there is no range test, by optimizer: the geometric mean of the best max_lrs on the
tasks "first" of benchmarks/suggestion, which train batch norm ResNets from scratch."""

HALF_SIGNAL = 6.0
"""The fall, in standard errors, at which a curve weighs as much as the typical max_lr."""

CONSERVATIVE_SHARE = 0.25
"""The basin quantile that `conservative_max_lr` uses in place of the middle."""


@dataclass(frozen=True)
class CyclePlan:
    """The optimizer, `div_factor` and length of the planned run, which a suggestion depends on.

    `total_steps` is None if the length is not known yet; the suggestion is then for a run of `TYPICAL_STEPS` steps.
    """

    optimizer: str
    div_factor: float
    total_steps: int | None = None

    @property
    def length_factor(self) -> float:
        """The factor of the peak of a run of this length, compared with one of `TYPICAL_STEPS`."""
        return math.pow((self.total_steps or TYPICAL_STEPS) / TYPICAL_STEPS, -LENGTH_EXPONENT)


@dataclass(frozen=True)
class Suggestion:
    """The result of range tests. Without a suggestion, all numbers but `typical_max_lr` are None; `reason` says why.

    `conservative_max_lr` is for a run that must not fail, `initial_lr` is the lr at the start of the cycle. A run at
    `max_lr` loses `expected_points_lost` percentage points of accuracy on average against one at the best max_lr. With
    a probability of 90 %, it loses at most `points_lost_90`, and the best max_lr is from `lowest_max_lr` to
    `highest_max_lr`. `spread` tells how much several tests differ: each has a middle of the lrs at which its loss is
    low, and this is the highest middle divided by the lowest; None for one test. `rule` is the name of the rule that
    suggests, `peers` has what the rules of other libraries suggest for the same curve, by their names.
    `typical_max_lr` is a guess from the lr at which the loss explodes, for use where `max_lr` is None; None if nothing
    is suggested and the loss does not explode.
    """

    max_lr: float | None
    conservative_max_lr: float | None
    initial_lr: float | None
    confidence: Confidence | None
    expected_points_lost: float | None
    points_lost_90: float | None
    lowest_max_lr: float | None
    highest_max_lr: float | None
    spread: float | None
    rule: str
    reason: str
    peers: dict[str, float | None]
    typical_max_lr: float | None = None

    @property
    def error_bar(self) -> ErrorBar | None:
        """The numbers after `confidence` together; None if no lr can be suggested."""
        return ErrorBar.of(vars(self))

    @property
    def refusal(self) -> str:
        """The reason and, where there is one, the guess: for a user who gets no `max_lr`."""
        if not self.typical_max_lr:
            return self.reason
        guess = f"{self.typical_max_lr:g} is a guess from the lr at which the loss explodes (typical_max_lr)."
        return f"{self.reason} Until then, {guess}"


def suggest(curves: Sequence[Curve], plan: CyclePlan) -> Suggestion:
    """Suggests the `max_lr` of a planned 1cycle run from range tests over the same lrs, with the rule `basin`.

    `max_lr` is a multiple of the middle of the basin: the mean of log lr, weighted by the squared depth of the loss.
    Several tests are combined into their median curve, and `spread` shows how far their own suggestions differ.
    """
    lrs, losses, diverged = median_curve(curves)
    peers = {name: lr and significant(lr) for name, lr in peer_answers(lrs, losses).items()}
    basin = readable(lrs, losses, diverged=diverged)
    if isinstance(basin, str):
        guess = _guess(lrs, losses, plan, diverged=diverged)
        return Suggestion(None, None, None, None, None, None, None, None, None, RULE, basin, peers, guess)
    spread, unread = _single_readings(curves)
    sure, no_surer = confidence(basin, total_steps=plan.total_steps, spread=spread, unread=unread)
    share = SHARES[plan.optimizer] * math.sqrt(basin.pace / TYPICAL_PACE) * plan.length_factor
    typical = _typical(basin, plan)
    max_lr = significant(weighed(share * basin.middle, basin.signal, typical))
    bar = error_bar(max_lr, sure)
    left, right = basin.edges
    return Suggestion(
        max_lr,
        conservative_max_lr=min(max_lr, significant(share * basin.quantile(CONSERVATIVE_SHARE))),
        initial_lr=significant(max_lr / plan.div_factor),
        confidence=sure,
        **vars(bar),
        spread=spread,
        rule=RULE,
        reason=(
            f"{share:.2g} times the middle, lr {basin.middle:.3g}, of the basin: the loss falls from "
            f"{basin.start_loss:.4g} to {basin.least_loss:.4g}; half of that is reached at lr {left:.3g} and lost "
            + (f"at {right:.3g}. " if right < lrs[-1] else "in an explosion. " if diverged else "beyond the end. ")
            + no_surer
        ).strip(),
        peers=peers,
        typical_max_lr=significant(typical),
    )


def _guess(lrs: Columns, losses: Columns, plan: CyclePlan, *, diverged: bool) -> float | None:
    """Returns the typical max_lr of a test without a suggestion; None if its loss does not explode."""
    if len(losses) < FEWEST_POINTS:
        return None
    basin = basin_of(lrs, losses, diverged=diverged)
    return significant(_typical(basin, plan)) if basin.explosion else None


def _typical(basin: Basin, plan: CyclePlan) -> float:
    """Returns the typical max_lr of a run whose test explodes as this one does; if it never does, as one at its end."""
    explosion = basin.explosion or float(basin.lrs[-1])
    return TYPICAL[plan.optimizer] * math.sqrt(explosion / TYPICAL_EXPLOSION) * plan.length_factor


def weighed(max_lr: float, signal: float, typical: float) -> float:
    """Returns the mean, over log lr, of the curve's max_lr and the typical one, each with its weight.

    The curve's weight grows with the square of its signal, as that of a mean does: 1 at `HALF_SIGNAL`, 4 at twice that.
    """
    weight = 1 / (1 + (signal / HALF_SIGNAL) ** 2)
    return math.exp((1 - weight) * math.log(max_lr) + weight * math.log(typical))


def readable(lrs: Columns, losses: Columns, *, diverged: bool) -> Basin | str:
    """Returns the basin of a test's finite steps, or the reason why no max_lr can be read from it."""
    if len(losses) == 0:
        return "The loss was not finite at the first step: check the model and the data, not the learning rate."
    if len(losses) < FEWEST_POINTS:
        return f"The test ended after {len(losses)} steps, too few for a suggestion: lower start_lr."
    basin = basin_of(lrs, losses, diverged=diverged)
    return distrust(basin) or basin


def _single_readings(curves: Sequence[Curve]) -> tuple[float | None, int]:
    """Returns the largest middle of several tests over the smallest (None for one), and how many gave no basin."""
    if len(curves) == 1:
        return None, 0
    basins = []
    for curve in curves:
        lrs, losses, diverged = median_curve([curve])
        basins.append(readable(lrs, losses, diverged=diverged))
    middles = [basin.middle for basin in basins if isinstance(basin, Basin)]
    return significant(max(middles) / min(middles)) if middles else None, len(basins) - len(middles)
