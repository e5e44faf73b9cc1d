"""The max_lr suggestions of other libraries, for comparison with the library a user comes from.

Each rule gets the loss of every step as its library does: with the library's smoothing, stop, and choice of steps. The
formulas follow what the libraries compute; the tests compare them with the libraries' code.
"""

from collections.abc import Callable

import numpy as np

from onecycle_cli.analysis.lr_range.curve import Columns, smoother


def steep(lrs: Columns, smoothed: Columns) -> float:
    """fastai `steep`: the lr at the most negative forward slope of the loss over ln(lr)."""
    return float(lrs[np.argmin(np.diff(smoothed) / np.diff(np.log(lrs)))])


def minimum(lrs: Columns, smoothed: Columns) -> float:
    """fastai `minimum`: a tenth of the lr at the least loss."""
    return float(lrs[smoothed.argmin()]) / 10


def valley(lrs: Columns, smoothed: Columns) -> float:
    """fastai `valley`: about the middle of the longest decreasing subsequence (not contiguous) of the loss.

    Its end is the first index at which the greatest length is reached; its start is taken as `end - length`, an
    estimate that may be -1 (the last point, as an index). The answer is at `start + int(w) + int(w / 2)`, with w a
    third of the way from start to end.
    """
    lengths = np.ones(len(smoothed), dtype=np.int64)
    for i in range(1, len(smoothed)):
        longer = lengths[:i][smoothed[:i] > smoothed[i]]
        lengths[i] = 1 + (longer.max() if len(longer) else 0)
    end = int(lengths.argmax())
    # fastai keeps the first start it finds, and stays at (0, 0) if nothing decreases.
    start = end - int(lengths[end]) if end else 0
    third = (end - start) / 3
    return float(lrs[start + int(third) + int(third / 2)])


def slide(lrs: Columns, smoothed: Columns) -> float:
    """fastai `slide`: a window of 15 steps slides left from the end until the slopes at its ends are within 0.005.

    The slope is per step, not per lr. The answer is the lr at the left edge before that.
    """
    slope = np.gradient(smoothed)
    right, width, threshold = -1, 15, 0.005
    answer = lrs[right - width]
    while right - width >= -len(smoothed) and abs(slope[right] - slope[right - width]) > threshold:
        answer = lrs[right - width]
        right -= 1
    return float(answer)


def torch_lr_finder(lrs: Columns, smoothed: Columns) -> float:
    """torch-lr-finder: the steepest slope of the loss per step, without the first ten steps and the last five."""
    return float(lrs[10:-5][np.gradient(smoothed[10:-5]).argmin()])


def ignite(lrs: Columns, smoothed: Columns) -> float:
    """ignite: the steepest central difference of the loss per step, up to its least value."""
    falling = smoothed[: int(smoothed.argmin()) + 1]
    return float(lrs[1 + int((falling[2:] - falling[:-2]).argmin())])


def lightning(lrs: Columns, smoothed: Columns) -> float:
    """Lightning from 2.5.3 on: the steepest slope of the loss over lr, without the first ten steps and the last one."""
    return float(lrs[10:-1][np.gradient(smoothed[10:-1], lrs[10:-1]).argmin()])


def lightning_before(lrs: Columns, smoothed: Columns) -> float:
    """Lightning before 2.5.3: the steepest slope per step, without the first ten steps and the last one."""
    return float(lrs[10:-1][np.gradient(smoothed[10:-1]).argmin()])


def _debiased(losses: Columns) -> Columns:
    smooth = smoother(0.98)
    return np.array([smooth(loss) for loss in losses])


def _plain(losses: Columns) -> Columns:
    """Returns a moving average that starts at the first loss, without bias correction."""
    averages = losses.copy()
    for i in range(1, len(losses)):
        averages[i] = 0.05 * losses[i] + 0.95 * averages[i - 1]
    return averages


def _stopped(lrs: Columns, smoothed: Columns, factor: float) -> tuple[Columns, Columns]:
    """Returns the steps up to the first whose average is more than `factor` times the least so far."""
    above = np.flatnonzero(smoothed > factor * np.minimum.accumulate(smoothed))
    end = int(above[0]) + 1 if len(above) else len(lrs)
    return lrs[:end], smoothed[:end]


def _fastai(rule: Callable[[Columns, Columns], float], lrs: Columns, losses: Columns) -> float:
    """Applies a rule as fastai does, without the first tenth of the steps and the last five."""
    kept = slice(len(lrs) // 10, -5)
    stopped_lrs, smoothed = _stopped(lrs, _debiased(losses), 4)
    return rule(stopped_lrs[kept], smoothed[kept])


def _lightning(rule: Callable[[Columns, Columns], float], lrs: Columns, losses: Columns) -> float:
    return rule(*_stopped(lrs, _debiased(losses), 4))


def _plainly(rule: Callable[[Columns, Columns], float], lrs: Columns, losses: Columns) -> float:
    return rule(*_stopped(lrs, _plain(losses), 5))


PEERS: dict[str, tuple[Callable[..., float], Callable[[Columns, Columns], float]]] = {
    "fastai_valley": (_fastai, valley),
    "fastai_slide": (_fastai, slide),
    "fastai_minimum": (_fastai, minimum),
    "fastai_steep": (_fastai, steep),
    "torch_lr_finder": (_plainly, torch_lr_finder),
    "ignite": (_plainly, ignite),
    "lightning": (_lightning, lightning),
    "lightning_before_2_5_3": (_lightning, lightning_before),
}
"""The rule of each library by name, with the function that prepares the curve as the library does."""


def peer_answers(lrs: Columns, losses: Columns) -> dict[str, float | None]:
    """Returns the suggestion of each peer for the losses before the first that is not finite; None if a peer fails.

    A peer fails if its library's code would: on a curve with too few points for its rule.
    """
    answers: dict[str, float | None] = {}
    for name, (reading, rule) in PEERS.items():
        try:
            answers[name] = reading(rule, lrs, losses)
        except (IndexError, ValueError):  # numpy raises these for too few points
            answers[name] = None
    return answers
