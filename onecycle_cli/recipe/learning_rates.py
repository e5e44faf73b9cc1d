"""Learning rates that differ between the layer groups of a network: what of them a range test keeps, their ratios."""

from collections.abc import Sequence

from onecycle_cli.recipe.schedule_fields import BodyAndHead, MaxLr

Relative = list[float] | dict[str, float] | None


def lr_ratios(max_lr: MaxLr, groups: Sequence[str]) -> dict[str, float]:
    """The lr of each layer group, over the largest that `max_lr` names.

    Between two ends all steps are by the same factor, as fastai's `slice(first, head)` has it.
    """
    match relative(max_lr):
        case [first, head]:
            last = len(groups) - 1
            return {group: first * (head / first) ** (number / last) for number, group in enumerate(groups)}
        case {"body": body, "head": head}:
            return dict.fromkeys(groups, body) | {"head": head}
    return dict.fromkeys(groups, 1.0)


def scaled(max_lr: MaxLr, largest: float) -> MaxLr:
    """`max_lr` with its ratios kept and its largest lr as given; a number, or none yet, becomes that number."""
    match max_lr:
        case (first, head):
            return _over_the_larger(first, head, times=largest, digits=12)
        case BodyAndHead(body=first, head=head):
            body, head = _over_the_larger(first, head, times=largest, digits=12)
            return BodyAndHead(body=body, head=head)
    return largest


def relative(max_lr: MaxLr) -> Relative:
    """`max_lr` with its largest lr 1, in JSON's values; None where all are alike.

    Rounded to six digits, so that what was scaled and written down has the same ratios to the bit; to nine before, else
    what lies between two of six, such as 10 / 512, would go to either.
    """
    match max_lr:
        case (first, head) if first != head:
            first, head = _over_the_larger(first, head, times=1, digits=9)
            return [_rounded(first, 6), _rounded(head, 6)]
        case BodyAndHead(body=first, head=head) if first != head:
            body, head = _over_the_larger(first, head, times=1, digits=9)
            return {"body": _rounded(body, 6), "head": _rounded(head, 6)}
    return None


def _over_the_larger(first: float, head: float, *, times: float, digits: int) -> tuple[float, float]:
    larger = max(first, head)  # which divides first: the least floats times another are 0
    return _rounded(times * (first / larger), digits), _rounded(times * (head / larger), digits)


def _rounded(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")
