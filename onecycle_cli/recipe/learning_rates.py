"""Learning rates that differ between the layer groups of a network: their ratios, and how to scale them."""

from collections.abc import Sequence

from onecycle_cli.recipe.max_lr import BodyAndHead, MaxLr

Relative = list[float] | dict[str, float] | None


def lr_ratios(max_lr: MaxLr, groups: Sequence[str]) -> dict[str, float]:
    """Returns the lr of each layer group, divided by the largest lr in `max_lr`.

    From [first, head], the lr grows by the same factor from group to group, as in fastai's `slice(first, head)`.
    """
    match relative(max_lr):
        case [first, head]:
            last = len(groups) - 1
            return {group: first * (head / first) ** (number / last) for number, group in enumerate(groups)}
        case {"body": body, "head": head}:
            return dict.fromkeys(groups, body) | {"head": head}
    return dict.fromkeys(groups, 1.0)


def scaled(max_lr: MaxLr, largest: float) -> MaxLr:
    """Scales `max_lr` to the largest lr `largest`, with the same ratios. A single lr, or None, becomes `largest`."""
    match max_lr:
        case (first, head):
            return _over_the_larger(first, head, times=largest, digits=12)
        case BodyAndHead(body=first, head=head):
            body, head = _over_the_larger(first, head, times=largest, digits=12)
            return BodyAndHead(body=body, head=head)
    return largest


def relative(max_lr: MaxLr) -> Relative:
    """Scales `max_lr` so that its largest lr is 1, as JSON values; None if all layer groups have the same lr.

    The result is rounded to six digits, so that a `max_lr` that was scaled and written to a file has exactly the same
    ratios. It is rounded to nine digits first: otherwise a number halfway between two of six digits, such as 10 / 512,
    could be rounded either way.
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
    larger = max(first, head)  # divides before multiplying: the smallest floats times another number are 0
    return _rounded(times * (first / larger), digits), _rounded(times * (head / larger), digits)


def _rounded(number: float, digits: int) -> float:
    return float(f"{number:.{digits}g}")
