"""Whether a max_lr can be read from a basin, and how sure it is."""

from typing import Literal

import numpy as np

from onecycle_cli.analysis.lr_range.basin import ONSET_RISE, Basin

Confidence = Literal["high", "medium", "low"]

LEAST_FALL = 3.0
"""A fall must be so many times its standard error.

Simulated without any fall (2,000 curves each of 40, 100 and 400 steps over 4 to 7 decades), 1 to 3 % pass; more do
where the noise of a batch lasts for several. What such a curve says has little weight, and its confidence is low.
"""

CLEAR_SIGNAL, FAINT_SIGNAL = 14.0, 7.0
"""Falls in standard errors: from the first on, confidence is high, from the second on medium."""

LEVEL = 0.25
"""So much of the fall may lie behind at the end of the start; more, and the loss fell from the first steps on."""

FAR_APART = 3.0
"""A factor between the suggestions of single tests that leaves no high confidence in their median."""


def distrust(basin: Basin) -> str | None:
    """Why no learning rate can be read from a basin, as a sentence; None where one can."""
    never = f"The loss never fell: its average went from {basin.start_loss:.4g} to {basin.least_loss:.4g} at best"
    rounding = 1e-9 * float(np.abs(basin.losses).max())
    if basin.fall <= LEAST_FALL * basin.standard_error + rounding:
        return (
            f"{never}, which the noise of single batches ({basin.noise:.2g}) explains: larger batches or several tests "
            "(--repeats 5) tell more."
        )
    if basin.lowest < basin.start_steps:
        return f"{never}, in the first steps, and rose from there: lower find_lr.start_lr."
    if not basin.rose and basin.risen < max(ONSET_RISE, 2 * basin.standard_error / basin.fall):
        return "The loss never rose again after its fall: raise find_lr.end_lr."
    if basin.ridge is not None:
        first, between, second = basin.ridge
        return (
            f"The loss has two basins, around lr {first:.3g} and {second:.3g}, and is up again between them, at "
            f"{between:.3g}: look at the figure, or read several tests with --repeats 3."
        )
    return None


def confidence(basin: Basin, *, spread: float | None, unread: int) -> tuple[Confidence, str]:
    """How sure a suggestion is, and why it is no surer.

    `spread` is the factor between the readings of single tests, of which `unread` gave none. What the words stand for
    on the tasks of benchmarks/suggestion is told in docs/suggestion.md.
    """
    if basin.depth[basin.start_steps - 1] > LEVEL:
        return "low", "The loss falls from the first steps on, so that the basin begins lower: lower find_lr.start_lr."
    if basin.signal < CLEAR_SIGNAL:
        word: Confidence = "medium" if basin.signal >= FAINT_SIGNAL else "low"
        return word, (
            f"The fall is {basin.signal:.2g} times its standard error, so a typical max_lr has a say: several tests "
            "(--repeats 3) tell more."
        )
    if not basin.rose:
        return "medium", f"The loss had risen by only {basin.risen:.0%} of its fall in the end: raise find_lr.end_lr."
    if basin.ends_falling:
        return "medium", "The loss was still at its least when it was suddenly not finite."
    if unread:
        return "medium", f"{unread} of the single tests cannot be read alone."
    if spread is not None and spread > FAR_APART:
        return "medium", "The single tests lie far apart."
    return "high", ""
