"""Ways of choosing max_lr without a range test of ours: constants, rules of libraries, optimizers without a lr."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
from answers import Answer, Judged, groups

from onecycle_cli.analysis.lr_range.basin import turn_of
from onecycle_cli.analysis.lr_range.curve import median_curve
from onecycle_cli.analysis.lr_range.peers import PEERS, peer_answers

OWN_RANGE = {name: "Lightning" if "lightning" in name else "fastai" for name in PEERS}
"""The range that each library tests by default."""

LIBRARIES = {
    "fastai_valley": "fastai `valley` (its default)",
    "fastai_slide": "fastai `slide`",
    "fastai_minimum": "fastai `minimum`",
    "fastai_steep": "fastai `steep`",
    "torch_lr_finder": "torch-lr-finder",
    "ignite": "ignite",
    "lightning": "Lightning",
    "lightning_before_2_5_3": "Lightning before 2.5.3",
}

LIBRARY_STEPS = 100
"""Of a range test of a library: the default of all but ignite, whose own default is a whole training."""


def _ultralytics(judged: Judged) -> float:
    """Its `optimizer=auto` takes AdamW up to 10,000 iterations, and SGD with 0.01 beyond."""
    return 0.002 * 5 / (4 + judged.task.classes) if judged.plan.optimizer == "adamw" else 0.01


def _by_optimizer(sgd: float, adamw: float) -> Callable[[Judged], float]:
    return lambda judged: adamw if judged.plan.optimizer == "adamw" else sgd


def _by_batch_size(judged: Judged) -> float:
    return 1e-3 if judged.plan.optimizer == "adamw" else 0.1 * judged.batch_size / 256


FALLBACK = "0.15; AdamW: 0.01"
"""The constant that stands for the max_lr of a refusal in one of the tables."""

CONSTANTS: dict[str, Callable[[Judged], float]] = {
    FALLBACK: _by_optimizer(0.15, 0.01),
    "0.11; AdamW: 0.01": _by_optimizer(0.11, 0.01),
    "0.1; AdamW: 0.001": _by_optimizer(0.1, 1e-3),
    "0.1 x batch size / 256; AdamW: 0.001": _by_batch_size,
    "0.01; AdamW: 0.01 / (4 + classes) (ultralytics)": _ultralytics,
}


def constants(tasks: Sequence[Judged]) -> Iterator[Answer]:
    """A max_lr that no measurement of the task is needed for."""
    for judged in tasks:
        for way, max_lr in CONSTANTS.items():
            yield Answer("constant", way, judged.name, 0, max_lr(judged))
        alike = [other for other in tasks if other.plan.optimizer == judged.plan.optimizer and other is not judged]
        if alike:
            typical = float(np.exp(np.mean(np.log([other.truth.best_lr for other in alike]))))
            yield Answer("constant", "mean of the best of the other tasks", judged.name, 0, typical)


def libraries(tasks: Sequence[Judged]) -> Iterator[Answer]:
    """Each library's rule on a range test of our loop over the library's own range."""
    for judged in tasks:
        cost = LIBRARY_STEPS / judged.steps
        for kind in sorted(set(OWN_RANGE.values())):
            for seed, curve in judged.tests_over(kind):
                lrs, losses, _ = median_curve([curve])
                for name, max_lr in peer_answers(lrs, losses).items():
                    if OWN_RANGE[name] == kind:
                        yield Answer("library's rule", LIBRARIES[name], judged.name, seed, max_lr, cost)


def own_loops(tasks: Sequence[Judged], rows: pd.DataFrame) -> Iterator[Answer]:
    """What each library answers in its own loop."""
    for judged in tasks:
        for row in rows[rows.task == judged.name].to_dict("records"):
            max_lr = row["max_lr"] if row["max_lr"] > 0 else None
            way = f"{row['library']} `{row['rule']}`, its own loop"
            cost = row["steps"] / judged.steps
            yield Answer("library's own loop", way, judged.name, int(row["seed"]), max_lr, cost)


def simple(tasks: Sequence[Judged]) -> Iterator[Answer]:
    """A tenth of the onset and of the least loss, both on the smooth curve of our range test."""
    for judged in tasks:
        for seed, curve in judged.tests_over("recipe"):
            turn = turn_of([curve])
            onset = turn.onset_lr / 10 if turn and turn.onset_lr else None
            least = turn.argmin_lr / 10 if turn else None
            cost = len(curve.lrs) / judged.steps
            yield Answer("simple rule", "onset / 10", judged.name, seed, onset, cost)
            yield Answer("simple rule", "least loss / 10", judged.name, seed, least, cost)


def without_lr(tasks: Sequence[Judged], rows: pd.DataFrame) -> Iterator[Answer]:
    """Whole runs of optimizers without a learning rate; a regret below zero beats the best cycle."""
    for judged in tasks:
        for (optimizer, seed), run in groups(rows[rows.task == judged.name], ["optimizer", "seed"]):
            regret = judged.truth.best - float(run.valid_accuracy.iloc[0])
            yield Answer("without max_lr", optimizer, judged.name, int(seed), None, 0.0, regret)
