"""Searches for max_lr: by whole runs, and by short cycles over the whole grid."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.util import find_spec

import numpy as np
import pandas as pd
from answers import Answer, Judged, groups
from numpy.typing import NDArray

RANGES = {"sgd": (1e-3, 10.0), "adamw": (1e-5, 0.1)}
"""From and to which max_lr a search goes, by optimizer, evenly over log lr."""

DRAWS, SEED = 200, 0
"""How often a search is repeated on each task; the seed of all of them."""

WORST_OF = 5
"""The number of tests of other ways on a task. What a search loses is therefore given by the expected values of the
least, the second ... and the greatest of so many searches: their mean is the mean of all searches."""

TPE_START, TPE_DRAWS = 2, 40
"""The runs that Optuna draws at random. By default it is ten, which would make this a random search. A trial
takes a millisecond, therefore there are fewer searches."""

Floats = NDArray[np.float64]


def searched(tasks: Sequence[Judged]) -> Iterator[Answer]:
    """The best of so many whole runs at a max_lr that is drawn at random, evenly spread, or by Optuna's TPE."""
    ways: dict[str, Callable[[Judged], tuple[Floats, Floats]]] = {
        "random search": lambda judged: trained(judged, uniform_shares()),
        "quasi-random search": lambda judged: trained(judged, quasi_random_shares()),
    }
    if find_spec("optuna"):
        ways["Optuna's TPE"] = tpe
    for judged in tasks:
        for way, search in ways.items():
            max_lrs, seen = search(judged)
            for runs in (2, 4, 8) if search is not tpe else (4, 8):
                regrets = judged.truth.best - judged.truth.accuracy(winners(max_lrs[:, :runs], seen[:, :runs]))
                for seed, regret in enumerate(expected_order(regrets)):
                    yield Answer(
                        f"search with {runs} runs",
                        f"{way}, {runs} runs",
                        judged.name,
                        seed,
                        None,
                        float(runs),
                        float(regret),
                    )


@cache
def uniform_shares() -> Floats:
    """A row a search, a column a run: the share of the way over the range."""
    return np.random.default_rng(SEED).random((DRAWS, 8))


@cache
def quasi_random_shares() -> Floats:
    """The same, evenly spread: of the first two, four and eight values one is in each half, quarter and eighth.

    The sequence of van der Corput with a random digital shift in each row.
    """
    rng = np.random.default_rng(SEED)
    order = np.array([0, 4, 2, 6, 1, 5, 3, 7])
    return np.asarray(((order ^ rng.integers(8, size=(DRAWS, 1))) + rng.random((DRAWS, 1))) / 8)


def trained(judged: Judged, shares: Floats) -> tuple[Floats, Floats]:
    """The max_lrs at these shares of the range, and the accuracies that runs at them would have, with their noise."""
    low, high = np.log(RANGES[judged.plan.optimizer])
    max_lrs = np.exp(low + shares * (high - low))
    noise = np.random.default_rng(SEED + 1).standard_normal(max_lrs.shape)
    return max_lrs, judged.truth.accuracy(max_lrs) + judged.truth.noise * noise


def winners(max_lrs: Floats, seen: Floats) -> Floats:
    """Of each row the max_lr with the best accuracy that was seen."""
    return np.take_along_axis(max_lrs, seen.argmax(axis=1)[:, None], axis=1)[:, 0]


def expected_order(regrets: Floats) -> Floats:
    """The expected values of the least to the greatest of `WORST_OF` searches."""
    return np.asarray(np.sort(regrets.reshape(-1, WORST_OF), axis=1).mean(axis=0))


def tpe(judged: Judged) -> tuple[Floats, Floats]:
    """The same as `trained` for searches of eight runs by Optuna's TPE."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    low, high = RANGES[judged.plan.optimizer]
    noise = judged.truth.noise * np.random.default_rng(SEED + 1).standard_normal((TPE_DRAWS, 8))
    max_lrs, seen = np.empty((TPE_DRAWS, 8)), np.empty((TPE_DRAWS, 8))
    for draw in range(TPE_DRAWS):
        sampler = optuna.samplers.TPESampler(n_startup_trials=TPE_START, seed=SEED + draw)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for run in range(8):
            trial = study.ask()
            max_lrs[draw, run] = trial.suggest_float("max_lr", low, high, log=True)
            seen[draw, run] = judged.truth.accuracy(max_lrs[draw, run]) + noise[draw, run]
            study.tell(trial, seen[draw, run])
    return max_lrs, seen


def short_grids(tasks: Sequence[Judged], short: pd.DataFrame) -> Iterator[Answer]:
    """Short cycles at each max_lr of the grid: the least validation loss wins, or the best three are trained longer."""
    for judged in tasks:
        for seed, cycles in groups(short[short.task == judged.name], "seed"):
            by_share = dict(groups(cycles[cycles.max_lr.isin(judged.task.grid)], "share"))
            rungs = [rung for _, rung in sorted(by_share.items()) if len(rung) == len(judged.task.grid)]
            for rung in rungs:
                share = rung.share.iloc[0]
                way = f"grid of {len(rung)} cycles of 1/{1 / share:.0f} of a run"
                yield _short_answer(judged, way, int(seed), [rung])
            if len(rungs) >= 2:
                better = rungs[1][rungs[1].max_lr.isin(_least(rungs[0], 3).max_lr)]
                way = f"successive halving, {len(rungs[0])} cycles and the best 3 again, twice as long"
                yield _short_answer(judged, way, int(seed), [rungs[0], better])


def _short_answer(judged: Judged, way: str, seed: int, rungs: Sequence[pd.DataFrame]) -> Answer:
    best = _least(rungs[-1], 1)
    cost = sum(int(rung.steps.sum()) for rung in rungs) / judged.steps
    return Answer("grid of short cycles", way, judged.name, seed, float(best.max_lr.iloc[0]), cost)


def _least(cycles: pd.DataFrame, count: int) -> pd.DataFrame:
    """The cycles with the least validation losses; a diverged one, without a loss, comes last."""
    return cycles.sort_values(["valid_loss", "max_lr"], na_position="last").head(count)
