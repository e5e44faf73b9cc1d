"""Cyclical learning rates: many cycles, one after another, each of the same length."""

from functools import partial

from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule


def triangular(
    *,
    max_lr: float,
    initial_lr: float,
    step_size: int,
    max_momentum: float,
    base_momentum: float,
    mode: str = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Smith's triangular policies: `step_size` steps up to `max_lr`, as many down to `initial_lr`, and again.

    Mode "triangular" keeps its height, "triangular2" halves it after each cycle, "exp_range" multiplies it by `gamma`
    at each step. Momentum runs the other way, over the same share of its range. Source: Smith, "Cyclical Learning Rates
    for Training Neural Networks" (arXiv 1506.01186), with torch's `CyclicLR` for what it does to momentum.
    """
    return partial(
        _triangular,
        lrs=(initial_lr, max_lr),
        momentums=(max_momentum, base_momentum),
        step_size=step_size,
        mode=mode,
        gamma=gamma,
    )


def _triangular(
    step: int,
    *,
    lrs: tuple[float, float],
    momentums: tuple[float, float],
    step_size: int,
    mode: str,
    gamma: float,
) -> LrMomentum:
    cycle, into = divmod(step, 2 * step_size)
    height = 1 - abs(into / step_size - 1)
    if mode == "triangular2":
        height *= 0.5**cycle  # after a thousand cycles 2 ** cycle is no float
    elif mode == "exp_range":
        height *= gamma**step
    (low, high), (rest, peak) = lrs, momentums
    return LrMomentum(low + (high - low) * height, rest + (peak - rest) * height)
