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
            return _over_the_larger(first, head, times=largest, digits=9)
        case BodyAndHead(body=first, head=head):
            body, head = _over_the_larger(first, head, times=largest, digits=9)
            return BodyAndHead(body=body, head=head)
    return largest


def relative(max_lr: MaxLr) -> Relative:
    """`max_lr` with its largest lr 1, in JSON's values; None where all are alike.

    Rounded to six digits, so that what was scaled and written down has the same ratios to the bit.
    """
    match max_lr:
        case (first, head) if first != head:
            return list(_over_the_larger(first, head, times=1, digits=6))
        case BodyAndHead(body=first, head=head) if first != head:
            body, head = _over_the_larger(first, head, times=1, digits=6)
            return {"body": body, "head": head}
    return None


def _over_the_larger(first: float, head: float, *, times: float, digits: int) -> tuple[float, float]:
    larger = max(first, head)
    return float(f"{times * first / larger:.{digits}g}"), float(f"{times * head / larger:.{digits}g}")
