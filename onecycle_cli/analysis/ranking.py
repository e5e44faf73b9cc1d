"""Ranking of sweep values by their mean validation loss over seeds, with a test against noise. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from onecycle_cli.errors import need_room_for_scipy

LEVEL = 0.05
"""The significance level of the test of two means: chance alone exceeds the difference in fewer than one of twenty
trials."""


@dataclass(frozen=True)
class CellResult:
    """The result of one sweep cell.

    `values` are the cell's varied fields, without the seed. The scores are None if the run did not reach its end.
    """

    values: Mapping[str, Any]
    valid_loss: float | None
    valid_accuracy: float | None


@dataclass(frozen=True)
class Ranked:
    """The combined result of the cells with equal values: means and standard deviations over `n` seeds.

    The standard deviations are None if `n` is less than 2. `not_finished` counts the cells that diverged, collapsed or
    failed.
    """

    values: Mapping[str, Any]
    n: int
    valid_loss: float | None
    valid_loss_sd: float | None
    valid_accuracy: float | None
    valid_accuracy_sd: float | None
    not_finished: int


def ranked(cells: Sequence[CellResult]) -> list[Ranked]:
    """Returns one row per combination of values, in ascending order of mean validation loss.

    Values with a run that did not finish come after all others, however low the loss of their other runs.
    """
    groups: dict[tuple[tuple[str, str], ...], list[CellResult]] = {}
    for cell in cells:
        groups.setdefault(tuple((field, repr(value)) for field, value in cell.values.items()), []).append(cell)
    rows = [_row(group) for group in groups.values()]
    return sorted(rows, key=lambda row: (row.not_finished > 0, math.inf if row.valid_loss is None else row.valid_loss))


def _row(group: Sequence[CellResult]) -> Ranked:
    losses = [cell.valid_loss for cell in group if cell.valid_loss is not None]
    accuracies = [cell.valid_accuracy for cell in group if cell.valid_accuracy is not None]
    return Ranked(
        group[0].values,
        n=len(losses),
        valid_loss=fmean(losses) if losses else None,
        valid_loss_sd=stdev(losses) if len(losses) > 1 else None,
        valid_accuracy=fmean(accuracies) if accuracies else None,
        valid_accuracy_sd=stdev(accuracies) if len(accuracies) > 1 else None,
        not_finished=len(group) - len(losses),
    )


def verdict(rows: Sequence[Ranked], valid_images: int) -> str:
    """Returns a sentence that says whether the first row beats the others by more than noise, with the numbers."""
    complete = [row for row in rows if row.valid_loss is not None and not row.not_finished]
    if not complete:
        return "No value finished with every seed, so there is no best value."
    best, *others = complete
    if not others:
        return "Only one value finished with every seed, so there is nothing to compare it with."
    if best.valid_loss_sd is None:
        accuracy = best.valid_accuracy or 0
        error = math.sqrt(accuracy * (1 - accuracy) / valid_images)
        return (
            f"With one run per value, the noise between runs is unknown: the standard error of an accuracy on "
            f"{valid_images:,} images alone is {100 * error:.2f} points. Use --seeds 3 to measure it."
        )
    alike = [row for row in others if not _differ(best, row)]
    second = others[0]
    gap, error = (second.valid_loss or 0) - (best.valid_loss or 0), _standard_error(best, second)
    told = f"the second value's validation loss is {gap:.3g} higher, with a standard error of {error:.2g}"
    if not alike:
        return f"The first value is better than all others by more than noise: {told}."
    if len(alike) == len(others):
        return f"The differences are within noise: {told}."
    return f"The first {len(alike) + 1} values are within noise of each other: {told}."


def _standard_error(one: Ranked, other: Ranked) -> float:
    """Returns the standard error of the difference between two mean validation losses."""
    return math.sqrt(sum((row.valid_loss_sd or 0) ** 2 / row.n for row in (one, other)))


def _differ(one: Ranked, other: Ranked) -> bool:
    """Whether two mean validation losses differ by a two-sided Welch's t-test at `LEVEL`."""
    need_room_for_scipy()
    from scipy.stats import ttest_ind_from_stats

    if other.valid_loss_sd is None:
        return False
    if _standard_error(one, other) == 0:
        return one.valid_loss != other.valid_loss
    test = ttest_ind_from_stats(
        *(one.valid_loss, one.valid_loss_sd, one.n),
        *(other.valid_loss, other.valid_loss_sd, other.n),
        equal_var=False,
    )
    return bool(test.pvalue < LEVEL)
