"""Choice of the wrong predictions that an evaluation keeps: the most confident, and some of each frequent confusion.

Pure. A confusion is a pair of a true class and the class that was predicted instead.
"""

from collections import Counter
from collections.abc import Sequence

MOST = 64
"""The most wrong predictions that are kept."""

CONFUSIONS, EACH = 6, 6
"""The number of the most frequent confusions of which some predictions are kept, and how many of each."""


def worst_confusions(counts: Sequence[Sequence[int]], most: int = CONFUSIONS) -> list[tuple[int, int, int]]:
    """Returns the most frequent confusions of a confusion matrix, the worst first: true class, predicted class, images.

    `counts` has the true classes in rows. Of equal counts, the one with the larger share of its class comes first.
    """
    pairs = [
        (count, count / sum(row), true, predicted)
        for true, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if true != predicted and count
    ]
    ordered = sorted(pairs, key=lambda pair: (-pair[0], -pair[1], pair[2:]))
    return [(true, predicted, count) for count, _, true, predicted in ordered[:most]]


def kept(labels: Sequence[int], answers: Sequence[int], probabilities: Sequence[float]) -> list[int]:
    """Returns the positions of the wrong predictions to keep, the most confident first.

    `probabilities` are those of the answers. Some of each frequent confusion come first, then the most confident of the
    others, up to `MOST` in all.
    """
    wrong = [i for i, (label, answer) in enumerate(zip(labels, answers, strict=True)) if label != answer]
    ordered = sorted(wrong, key=lambda i: -probabilities[i])
    frequent = [pair for pair, _ in Counter((labels[i], answers[i]) for i in ordered).most_common(CONFUSIONS)]
    chosen = {i for pair in frequent for i in [j for j in ordered if (labels[j], answers[j]) == pair][:EACH]}
    chosen |= set([i for i in ordered if i not in chosen][: MOST - len(chosen)])
    return [i for i in ordered if i in chosen]
