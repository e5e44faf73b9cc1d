"""Reading a learning rate range test: a curve in, a suggested `max_lr` for one cycle with its reason out.

Pure, and free of torch: a suggestion can be computed again from `lr_range.csv` on any machine. How the rule was found,
and how it compares with others, is told in docs/suggestion.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onecycle_cli.lr_range.basin import BANDWIDTH, Basin, basin_of, start_steps
from onecycle_cli.lr_range.curve import FEWEST_POINTS, Columns, Curve, median_curve, noise
from onecycle_cli.lr_range.peers import peer_answers

Confidence = Literal["high", "medium", "low"]

LEAST_FALL = 4.0
"""A fall must be so many times its standard error.

Simulated without any fall (2,000 curves each of 40, 100 and 400 steps over 4 to 7 decades), at most 1 % pass.
"""


CLEAR_SIGNAL, FAINT_SIGNAL = 14.0, 7.0
"""Falls in standard errors: from the first on, confidence is high, from the second on medium."""

FAR_APART = 3.0
"""A factor between the suggestions of single tests that leaves no high confidence in their median."""

RULE = "basin"

SHARES = {"sgd": 1.2, "adamw": 1 / 3}
"""The peak of a cycle over the middle of the basin, by optimizer: fitted on the tasks of benchmarks/suggestion."""

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
    basin = basin_of(lrs, losses, diverged=diverged) if len(losses) >= FEWEST_POINTS else None
    doubt = distrust(losses, basin)
    if basin is None or doubt is not None:
        return Suggestion(None, None, None, None, None, RULE, doubt or "", peers)
    share = SHARES[plan.optimizer]
    max_lr = significant(share * basin.middle)
    left, right = basin.edges
    apart = spread(curves)
    sure, why_not_surer = confidence(basin, losses, apart)
    return Suggestion(
        max_lr,
        conservative_max_lr=significant(share * basin.quantile(CONSERVATIVE_SHARE)),
        initial_lr=significant(max_lr / plan.div_factor),
        confidence=sure,
        spread=apart,
        rule=RULE,
        reason=(
            f"{share:.2g} times the middle, lr {basin.middle:.3g}, of the basin: the loss falls from "
            f"{basin.start_loss:.4g} to {basin.least_loss:.4g}, by half of that at lr {left:.3g}, and is back "
            + (f"there at {right:.3g}." if right < lrs[-1] else "in an explosion.")
            + why_not_surer
        ),
        peers=peers,
    )


def distrust(losses: Columns, basin: Basin | None) -> str | None:
    """Why no learning rate can be read from the finite losses of a test, as a sentence; None where one can."""
    if len(losses) == 0:
        return "The loss was not finite at the first step: the model or the data are broken, not the learning rate."
    if basin is None:
        return f"The test ended after {len(losses)} steps, too few to read a curve from: lower find_lr.start_lr."
    rounding = 1e-9 * max(abs(basin.start_loss), 1.0)
    at_the_start = basin.lowest < start_steps(len(losses))
    if at_the_start or basin.fall <= LEAST_FALL * standard_error(basin, losses) + rounding:
        return (
            f"The loss never fell: its average went from {basin.start_loss:.4g} to {basin.least_loss:.4g} at best, "
            f"which the noise of single batches ({batch_noise(basin, losses):.2g}) explains."
        )
    if not basin.rose:
        return "The loss never rose again to half of its fall: raise find_lr.end_lr."
    ridge = basin.ridge
    if ridge is not None:
        first, between, second = ridge
        return (
            f"The loss has two basins, around lr {first:.3g} and {second:.3g}, and is up again between them, at "
            f"{between:.3g}: look at the figure, or read several tests with --repeats 3."
        )
    return None


def batch_noise(basin: Basin, losses: Columns) -> float:
    """The standard deviation of a batch's loss, up to where the loss is least."""
    return noise(losses[: max(basin.lowest + 1, FEWEST_POINTS)])


def standard_error(basin: Basin, losses: Columns) -> float:
    """Of the fall: that of the median at the start and that of the smoothed loss, for normal noise."""
    start, per_decade = start_steps(len(losses)), len(losses) / np.log10(basin.lrs[-1] / basin.lrs[0])
    smoothed = 2 * np.sqrt(np.pi) * BANDWIDTH * per_decade
    return batch_noise(basin, losses) * float(np.sqrt(np.pi / 2 / start + 1 / smoothed))


def spread(curves: Sequence[Curve]) -> float | None:
    """The largest over the smallest middle that the single tests give; None of a single one."""
    if len(curves) == 1:
        return None
    middles = []
    for curve in curves:
        lrs, losses, diverged = median_curve([curve])
        if len(losses) >= FEWEST_POINTS:
            middles.append(basin_of(lrs, losses, diverged=diverged).middle)
    return significant(max(middles) / min(middles)) if middles else None


def confidence(basin: Basin, losses: Columns, apart: float | None) -> tuple[Confidence, str]:
    """How sure a suggestion is, and why it is no surer; `apart` is the spread of single tests.

    What the words stand for on the tasks of benchmarks/suggestion is told in docs/suggestion.md.
    """
    signal = basin.fall / max(standard_error(basin, losses), 1e-12)
    if basin.edges[0] <= basin.lrs[start_steps(len(losses)) - 1]:
        return "low", " The loss falls from the first steps on, so that the basin begins lower: lower find_lr.start_lr."
    if signal < CLEAR_SIGNAL:
        words: Confidence = "medium" if signal >= FAINT_SIGNAL else "low"
        return words, f" The fall is {signal:.2g} times its standard error: several tests (--repeats 3) tell more."
    if apart is not None and apart > FAR_APART:
        return "medium", " The single tests lie far apart."
    return "high", ""


def significant(number: float) -> float:
    """`number` to three significant digits: more would promise what a range test cannot tell."""
    return float(f"{number:.3g}")
