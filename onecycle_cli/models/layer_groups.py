"""The layer groups of any network, from its input to its output: stem, layer1, layer2, ..., head.

Fine-tuning freezes whole groups, and each can have a separate lr. timm's networks say themselves what belongs together
(`group_matcher`, `get_classifier`); the groups of other networks follow from the tree of their modules.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

STEM, HEAD = "stem", "head"

FEWEST = 3
"""The least number of groups before the head: with fewer, the largest module is split into its parts."""


def layer_groups(model: nn.Module, classes: int) -> dict[str, list[str]]:
    """Returns the layer groups of a network: the names of the parameters in each, in the order of the model.

    `classes` is the number of outputs of the network, which identifies its head. The groups are stem, layer1, layer2
    and so on, and head; a network of a single layer has only a head. Each parameter is in exactly one group.
    """
    names = [name for name, _ in model.named_parameters()]
    if hasattr(model, "group_matcher") and hasattr(model, "get_classifier"):
        head, body = _timm_groups(model)
    else:
        head = _head(model, classes)
        parts = [part for part in _parts(model) if not head.issuperset(part.parameters)]
        body = [part.parameters for part in _joined(parts)]
    body = [[name for name in part if name not in head] for part in body]
    named = dict(zip(_names(), filter(None, body), strict=False)) | {HEAD: [name for name in names if name in head]}
    assert sorted(name for group in named.values() for name in group) == sorted(names)
    return named


def _names() -> Iterator[str]:
    yield STEM
    number = 0
    while True:
        number += 1
        yield f"layer{number}"


def _timm_groups(model: Any) -> tuple[set[str], list[list[str]]]:
    """Returns the names of a timm network's head, and its other groups: those of `group_matcher`, by stage."""
    from timm.models import group_parameters

    classifier = model.get_classifier()
    heads = classifier if isinstance(classifier, tuple | list) else (classifier,)
    in_head = {id(p) for one in heads if isinstance(one, nn.Module) for p in one.parameters()}
    head = {name for name, p in model.named_parameters() if id(p) in in_head}
    found = group_parameters(model, model.group_matcher(coarse=True))
    groups = [found[number] for number in sorted(found)]
    # What is after the last stage but not the classifier, such as a norm layer, belongs to the last stage.
    if len(groups) > 1 and head and head & set(groups[-1]):
        groups[-2:] = [[*groups[-2], *groups[-1]]]
    return head, groups


@dataclass
class _Part:
    """A part of a network, and the names of its parameters. `is_layer` is whether it has a matrix of weights."""

    name: str
    module: nn.Module
    parameters: list[str]
    is_layer: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_layer = any(parameter.ndim > 1 for parameter in self.module.parameters())


def _head(model: nn.Module, classes: int) -> set[str]:
    """Returns the parameters of the last module that has one with `classes` rows; else of the last with parameters."""
    owners: dict[str, list[str]] = {}
    last, last_fitting = "", None
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[0]
        owners.setdefault(last, []).append(name)
        if parameter.ndim > 0 and parameter.shape[0] == classes:
            last_fitting = last
    return set(owners.get(last if last_fitting is None else last_fitting, []))


def _parts(model: nn.Module) -> list[_Part]:
    """Splits a network into parts in order. The largest part is split as long as there are few of them."""
    parts = _children("", model)
    while sum(part.is_layer for part in parts) <= FEWEST:
        largest = max(filter(_can_be_split, parts), key=_size, default=None)
        if largest is None:
            break
        at = parts.index(largest)
        parts[at : at + 1] = _children(f"{largest.name}.", largest.module)
    return parts


def _children(prefix: str, module: nn.Module) -> list[_Part]:
    """Returns the children of a module that have parameters; its own parameters come first, as a part."""
    own = [f"{prefix}{name}" for name, _ in module.named_parameters(recurse=False)]
    parts = [_Part(prefix, nn.Module(), own)] if own else []
    for name, child in module.named_children():
        names = [f"{prefix}{name}.{inner}" for inner, _ in child.named_parameters()]
        if names:
            parts.append(_Part(f"{prefix}{name}", child, names))
    return parts


def _can_be_split(part: _Part) -> bool:
    """Whether a part holds several modules with parameters."""
    return sum(any(True for _ in module.parameters(recurse=False)) for module in part.module.modules()) > 1


def _size(part: _Part) -> int:
    return sum(parameter.numel() for parameter in part.module.parameters())


def _joined(parts: list[_Part]) -> list[_Part]:
    """Joins each part without a matrix of weights, such as a norm layer, to the part before it."""
    joined: list[_Part] = []
    waiting: list[str] = []  # before the first layer
    for part in parts:
        if part.is_layer:
            joined.append(part)
            part.parameters[:0], waiting = waiting, []
        elif joined:
            joined[-1].parameters += part.parameters
        else:
            waiting += part.parameters
    return joined or ([_Part("", nn.Module(), waiting)] if waiting else [])
