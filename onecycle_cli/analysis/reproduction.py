"""Comparison of own runs with the six published runs of the 1cycle blog post. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from onecycle_cli.errors import need_room_for_scipy

LEVEL = 0.05
"""The significance level of the comparisons: chance alone exceeds their limits in one of twenty."""

TOO_WIDE = 0.015
"""The half-width of an interval of accuracies that is too wide to tell anything: 1.5 points, more than any difference
between the published runs."""

PUBLISHED_IMAGES = 10_000
"""The number of test images that the published accuracies were measured on."""


@dataclass(frozen=True)
class Paper:
    """An experiment in one of Smith's papers: its accuracy, the standard deviation over its runs, and its set-up."""

    accuracy: float
    deviation: float | None
    setup: str


@dataclass(frozen=True)
class Published:
    """One of the blog post's runs: the shipped recipe, and the figures that were published.

    `accuracy` and `loss` are those of the test images after the last epoch, of one run. `paper` is the nearest
    experiment of Smith's papers; None if there is none.
    """

    recipe: str
    accuracy: float
    loss: float
    paper: Paper | None = None


PUBLISHED: Mapping[str, Published] = {
    "E1": Published(
        "cifar10-resnet56",
        accuracy=0.9353,
        loss=0.2691,
        paper=Paper(0.920, 0.002, "arXiv 1803.09820: 4 runs, Nesterov momentum, no reflection padding"),
    ),
    "E2": Published("cifar10-resnet56-short-cycle", 0.9258, 0.3540),
    "E3": Published("cifar10-resnet56-superconvergence", 0.9231, 0.2425),
    "E3b": Published("cifar10-resnet56-superconvergence-70", 0.9308, 0.2356),
    "E4": Published(
        "cifar10-resnet56-constant-momentum",
        accuracy=0.9339,
        loss=0.2914,
        paper=Paper(0.914, 0.003, "arXiv 1803.09820: 4 runs, Nesterov momentum, no reflection padding"),
    ),
    "E4b": Published(
        "cifar10-resnet56-superconvergence-constant-momentum",
        accuracy=0.9225,
        loss=0.2455,
        paper=Paper(0.9244, None, "arXiv 1708.07120: one run, 10,000 steps of 1,000 images"),
    ),
}
"""The runs by name. Source: Gugger, "The 1cycle policy", and its notebook; Smith's papers and their logs."""

CLAIMS: Sequence[tuple[str, str, str]] = (
    ("E1", "E2", "a long cycle and a short tail beat a short cycle and a long tail"),
    ("E1", "E3", "95 epochs up to lr 0.8 beat 50 epochs up to lr 3"),
    ("E3b", "E3", "super-convergence gains from 70 epochs instead of 50"),
    ("E1", "E4", "cycling momentum beats constant momentum, at max_lr 0.8"),
    ("E3", "E4b", "cycling momentum beats constant momentum, at max_lr 3"),
)
"""What the blog post draws from pairs of its runs: the better run, the other, and the claim."""


@dataclass(frozen=True)
class Measured:
    """Own runs of one experiment: a validation accuracy and loss for each seed whose run came to its end.

    `not_finished` counts the seeds that diverged or failed; `images` are those that were scored.
    """

    accuracies: Sequence[float]
    losses: Sequence[float]
    not_finished: int
    images: int

    @property
    def n(self) -> int:
        """The number of runs that came to their end."""
        return len(self.accuracies)

    @property
    def accuracy(self) -> float | None:
        """The mean accuracy; None without a finished run."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the accuracy over the seeds, at least one image; None with fewer than two seeds."""
        return max(stdev(self.accuracies), 1 / self.images) if self.n > 1 else None

    @property
    def loss(self) -> float | None:
        """The mean validation loss; None without a finished run."""
        return fmean(self.losses) if self.losses else None


Verdict = Literal["reproduced", "higher", "lower", "too noisy", "not all finished", "no result"]


@dataclass(frozen=True)
class Against:
    """Own runs against the published one.

    `difference` is the own mean accuracy minus the published accuracy. `standard_error` is that of a difference between
    the mean of `n` runs and one further run; with one run, that of two accuracies on the scored images.
    """

    difference: float | None
    standard_error: float | None
    verdict: Verdict


def against_published(published: Published, measured: Measured) -> Against:
    """Compares own runs with a published one: whether the latter is what one further own run could have given.

    With several runs, the limit is the prediction interval of Student's t at `LEVEL`, which assumes that the published
    run varies as ours do. With one, it is two standard errors. The mean of those that came to their end says nothing
    where others did not.
    """
    if measured.accuracy is None:
        return Against(None, None, "no result")
    difference = measured.accuracy - published.accuracy
    if measured.deviation is None:
        error = math.hypot(
            binomial_error(measured.accuracy, measured.images), binomial_error(published.accuracy, PUBLISHED_IMAGES)
        )
        limit = 2 * error
    else:
        error = measured.deviation * math.sqrt(1 + 1 / measured.n)
        limit = _student(measured.n - 1) * error
    if measured.not_finished:
        return Against(difference, error, "not all finished")
    if abs(difference) > limit:
        return Against(difference, error, "higher" if difference > 0 else "lower")
    return Against(difference, error, "too noisy" if limit > TOO_WIDE else "reproduced")


Order = Literal["same", "opposite", "within noise", "one run each", "not all finished", "no result"]


@dataclass(frozen=True)
class Ordered:
    """Two experiments against each other: the published `better` one and the `worse` one, and the same of own runs.

    The differences are accuracies, better minus worse. `published_error` is that of two accuracies on the published
    images. `standard_error` is None with one run of each, whose noise is unknown.
    """

    better: str
    worse: str
    claim: str
    published_difference: float
    published_error: float
    difference: float | None
    standard_error: float | None
    order: Order


def orders(measured: Mapping[str, Measured]) -> list[Ordered]:
    """Returns each of the blog post's claims about two experiments that both are in `measured`.

    An order is told where the difference is beyond noise, by Welch's t-test at `LEVEL`. One run of one experiment is
    taken to vary as those of the other do.
    """
    return [_ordered(*claim, measured) for claim in CLAIMS if {claim[0], claim[1]} <= measured.keys()]


def _ordered(better: str, worse: str, claim: str, measured: Mapping[str, Measured]) -> Ordered:
    one, other = PUBLISHED[better].accuracy, PUBLISHED[worse].accuracy
    errors = (binomial_error(accuracy, PUBLISHED_IMAGES) for accuracy in (one, other))
    published = (one - other, math.hypot(*errors))
    first, second = measured[better], measured[worse]
    if first.accuracy is None or second.accuracy is None:
        return Ordered(better, worse, claim, *published, None, None, "no result")
    difference = first.accuracy - second.accuracy
    if first.deviation is None and second.deviation is None:
        return Ordered(better, worse, claim, *published, difference, None, "one run each")
    known = [run for run in (first, second) if run.deviation is not None]
    deviations = [run.deviation or known[0].deviation or 0.0 for run in (first, second)]
    parts = [deviation**2 / run.n for deviation, run in zip(deviations, (first, second), strict=True)]
    error = math.sqrt(sum(parts))
    freedom = _welch(parts, [first.n, second.n]) if len(known) == 2 else known[0].n - 1
    order: Order = "same" if difference > 0 else "opposite"
    if first.not_finished or second.not_finished:
        order = "not all finished"
    elif abs(difference) <= error * _student(freedom):
        order = "within noise"
    return Ordered(better, worse, claim, *published, difference, error, order)


def binomial_error(accuracy: float, images: int) -> float:
    """Returns the standard error of an accuracy that was measured on so many images."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def _welch(parts: Sequence[float], counts: Sequence[int]) -> float:
    """Returns the degrees of freedom of Welch's t-test, from the squared standard errors of both means."""
    return sum(parts) ** 2 / sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))


def _student(freedom: float) -> float:
    """Returns the two-sided quantile of Student's t at `LEVEL`."""
    need_room_for_scipy()
    from scipy.stats import t

    return float(t.ppf(1 - LEVEL / 2, freedom))


def scaled_epochs(epochs: int, scale: float) -> int:
    """Returns the number of whole epochs next to `scale` times `epochs`, at least 1; halves go up."""
    return max(1, math.floor(epochs * scale + 0.5))
