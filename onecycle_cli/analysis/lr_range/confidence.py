"""Confidence in a suggestion: whether a basin gives a max_lr, and how reliable that is."""

import numpy as np

from onecycle_cli.analysis.lr_range.basin import ONSET_RISE, Basin
from onecycle_cli.analysis.lr_range.error_bar import Confidence

LEAST_FALL = 3.0
"""The smallest fall, in standard errors, that counts as a fall.

In simulations without any fall (2,000 curves each of 40, 100 and 400 steps over 4 to 7 decades), 1 to 3 % of curves
pass; more pass if the noise lasts for several batches. Such a curve has little weight in the suggestion, and low
confidence.
"""

CLEAR_SIGNAL, FAINT_SIGNAL = 10.0, 7.0
"""The falls, in standard errors, from which confidence is high, and from which it is medium."""

SHORT_RUN = 100
"""The steps below which a planned run counts as short: confidence is low.

On the tasks of benchmarks/suggestion, runs of 40 to 96 steps lost 1.3 points on average, and longer ones with a clear
curve 0.2."""

LEVEL = 0.25
"""The largest share of the fall at the end of the start. With more, the loss fell from the first steps on."""

FAR_APART = 3.0
"""The factor between the suggestions of single tests above which confidence in their median is not high."""


def distrust(basin: Basin) -> str | None:
    """Returns the reason why a basin gives no learning rate, as a sentence; None if it gives one."""
    never = f"The loss never fell: its average went from {basin.start_loss:.4g} to {basin.least_loss:.4g} at best"
    rounding = 1e-9 * float(np.abs(basin.losses).max())
    if basin.fall <= LEAST_FALL * basin.standard_error + rounding:
        return (
            f"{never}, which the noise of single batches ({basin.noise:.2g}) explains: larger batches, more steps or "
            "more tests show more."
        )
    if basin.lowest < basin.start_steps:
        return f"{never}, in the first steps, and rose from there: lower start_lr."
    if not basin.rose and basin.risen < max(ONSET_RISE, 2 * basin.standard_error / basin.fall):
        return "The loss never rose again after its fall: raise end_lr."
    if basin.ridge is not None:
        first, between, second = basin.ridge
        return (
            f"The loss has two basins, around lr {first:.3g} and {second:.3g}, and rises between them, at "
            f"{between:.3g}: look at the figure, or run several tests."
        )
    return None


def confidence(basin: Basin, *, total_steps: int | None, spread: float | None, unread: int) -> tuple[Confidence, str]:
    """Returns the confidence in a suggestion, and the reason why it is not higher ("" if it is high).

    `total_steps` is the length of the planned run, None if it is unknown. `spread` is the factor between the middles of
    single tests, `unread` the number of tests that gave none. docs/suggestion.md describes what each level means on the
    tasks of benchmarks/suggestion.
    """
    if basin.depth[basin.start_steps - 1] > LEVEL:
        return "low", "The loss falls from the first steps on, so the basin begins lower: lower start_lr."
    if total_steps is not None and total_steps < SHORT_RUN:
        return "low", (
            f"A range test tells little about a run of only {total_steps} steps: compare whole runs at a third of this "
            "max_lr and at three times as much."
        )
    if not basin.rose:
        return "low", f"The loss rose by only {basin.risen:.0%} of its fall at the end: raise end_lr."
    if basin.signal < CLEAR_SIGNAL:
        return "low" if basin.signal < FAINT_SIGNAL else "medium", (
            f"The fall is {basin.signal:.2g} times its standard error, so the suggestion is drawn towards a typical "
            "max_lr: run several tests."
        )
    if basin.ends_falling:
        return "medium", "The loss was still at its least when it suddenly became infinite or NaN."
    if unread:
        return "medium", f"{unread} of the single tests gave no max_lr."
    if spread is not None and spread > FAR_APART:
        return "medium", "The single tests differ widely."
    return "high", ""
