"""Names the parameters that weight decay is for: matrices and kernels, not norms, biases or positional embeddings."""

import re
from collections.abc import Iterator

from torch import nn

from onecycle_cli.models.norms import is_norm

_SPARED = re.compile(
    r"pos(ition(al)?)?_?emb|relative_position_bias|rel_pos_[hw]|_tokens?\d*$|layer_scale|bias(_[kv])?$"
)
"""The names of positional embeddings, class tokens, scales of layers and biases in timm, torchvision and CLIP."""


def spared_from_decay(model: nn.Module) -> set[str]:
    """Returns the names of the parameters of a network that do not decay without `decay_norm_and_bias`.

    They are those of norm layers, all with one dimension or none, biases of any shape, positional embeddings, class
    tokens and scales of layers by their names, and what the network itself names (timm's `no_weight_decay`).
    """
    named = set(_named_by_the_network(model))
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            own = path if isinstance(module, nn.Embedding) else name
            if parameter.ndim <= 1 or is_norm(module) or _SPARED.search(own.rpartition(".")[2]):
                named.add(name)
    return named


def _named_by_the_network(model: nn.Module) -> Iterator[str]:
    for path, module in model.named_modules():
        if callable(without := getattr(module, "no_weight_decay", None)):
            yield from (f"{path}.{name}" if path else name for name in without())
