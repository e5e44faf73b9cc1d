"""Reading a learning rate range test: a curve in, a suggested `max_lr` for one cycle with its reason out.

Pure, and free of torch: a suggestion can be computed again from `lr_range.csv` on any machine. How the rule was found,
and how it compares with others, is told in docs/suggestion.md.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onecycle_cli.analysis.lr_range.basin import Basin, basin_of
from onecycle_cli.analysis.lr_range.confidence import Confidence, confidence, distrust
from onecycle_cli.analysis.lr_range.curve import FEWEST_POINTS, Columns, Curve, median_curve
from onecycle_cli.analysis.lr_range.peers import peer_answers

RULE = "basin"
"""The name of the rule, as a suggestion has it."""

SHARES = {"sgd": 1.2, "adamw": 1 / 3}
"""The peak of a cycle over the middle of the basin, by optimizer: fitted on the tasks of benchmarks/suggestion."""

TYPICAL = {"sgd": 0.11, "adamw": 0.01}
"""The geometric mean of the best max_lrs on those tasks, but for the digits: what to go by where a curve is faint."""

HALF_SIGNAL = 5.0
"""A fall of so many standard errors weighs as much as the typical max_lr."""

CONSERVATIVE_SHARE = 0.25
"""So much of the basin lies below the lr that `conservative_max_lr` is made of as `max_lr` is of the middle."""


@dataclass(frozen=True)
class Plan:
    """What a suggestion has to know of the planned run."""

    optimizer: str
    div_factor: float


@dataclass(frozen=True)
class Suggestion:
    """What a range test says. The lrs and `confidence` are None where no number can be trusted; `reason` says why.

    `conservative_max_lr` is for a run that must not fail, `initial_lr` is where the cycle begins. `spread` is the
    largest over the smallest `max_lr` of the single curves, where there were several.
    """

    max_lr: float | None
    conservative_max_lr: float | None
    initial_lr: float | None
    confidence: Confidence | None
    spread: float | None
    rule: str
    reason: str
    peers: dict[str, float | None]


def suggest(curves: Sequence[Curve], plan: Plan) -> Suggestion:
    """Reads the `max_lr` of a planned 1cycle run from a range test, or from several over the same lrs: rule `basin`.

    `max_lr` is a share of the middle of the basin: of log lr over the fall of the loss, weighted by the squared depth.
    Of several tests the median curve is read, and `spread` tells how far their own readings lie apart.
    """
    lrs, losses, diverged = median_curve(curves)
    peers = {name: lr and significant(lr) for name, lr in peer_answers(lrs, losses).items()}
    basin = readable(lrs, losses, diverged=diverged)
    if isinstance(basin, str):
        return Suggestion(None, None, None, None, None, RULE, basin, peers)
    spread, unread = _single_readings(curves)
    sure, no_surer = confidence(basin, spread=spread, unread=unread)
    share = SHARES[plan.optimizer]
    max_lr = significant(weighed(share * basin.middle, basin.signal, TYPICAL[plan.optimizer]))
    left, right = basin.edges
    return Suggestion(
        max_lr,
        conservative_max_lr=min(max_lr, significant(share * basin.quantile(CONSERVATIVE_SHARE))),
        initial_lr=significant(max_lr / plan.div_factor),
        confidence=sure,
        spread=spread,
        rule=RULE,
        reason=(
            f"{share:.2g} times the middle, lr {basin.middle:.3g}, of the basin: the loss falls from "
            f"{basin.start_loss:.4g} to {basin.least_loss:.4g}; half of that is reached at lr {left:.3g} and lost "
            + (f"at {right:.3g}. " if right < lrs[-1] else "in an explosion. " if diverged else "beyond the end. ")
            + no_surer
        ).strip(),
        peers=peers,
    )


def weighed(max_lr: float, signal: float, typical: float) -> float:
    """The mean, over log lr, of what a curve says and what is typical, each with its weight.

    The curve's grows with the square of its signal, as that of a mean does: 1 at `HALF_SIGNAL`, 4 at twice that.
    """
    weight = 1 / (1 + (signal / HALF_SIGNAL) ** 2)
    return math.exp((1 - weight) * math.log(max_lr) + weight * math.log(typical))


def readable(lrs: Columns, losses: Columns, *, diverged: bool) -> Basin | str:
    """The basin of a test's finite steps where a max_lr can be read from it, else the reason why not."""
    if len(losses) == 0:
        return "The loss was not finite at the first step: the model or the data are broken, not the learning rate."
    if len(losses) < FEWEST_POINTS:
        return f"The test ended after {len(losses)} steps, too few to read a curve from: lower find_lr.start_lr."
    basin = basin_of(lrs, losses, diverged=diverged)
    return distrust(basin) or basin


def _single_readings(curves: Sequence[Curve]) -> tuple[float | None, int]:
    """The largest over the smallest middle of several tests, None of one, and how many of them cannot be read alone."""
    if len(curves) == 1:
        return None, 0
    basins = []
    for curve in curves:
        lrs, losses, diverged = median_curve([curve])
        basins.append(readable(lrs, losses, diverged=diverged))
    middles = [basin.middle for basin in basins if isinstance(basin, Basin)]
    return significant(max(middles) / min(middles)) if middles else None, len(basins) - len(middles)


def significant(number: float) -> float:
    """`number` to three significant digits: more would promise what a range test cannot tell."""
    return float(f"{number:.3g}")
