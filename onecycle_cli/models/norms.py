"""Tells the normalization layers of any network from its other layers."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

TORCH_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, nn.LocalResponseNorm, nn.CrossMapLRN2d)
"""The base classes of torch's norm layers; those of batch and instance norm, and of most layers of timm, derive from
them."""


def is_norm(module: nn.Module) -> bool:
    """Returns whether a module is a normalization layer: batch, instance, group, layer or RMS norm, or one like them.

    A layer of another base class is one if its class has "norm" in its name, its own parameters are vectors, as scales
    and shifts are, and the modules inside it (an activation, a dropout) have none. So timm's RmsNorm and EvoNorm are
    norms, and a block that contains a norm or a convolution is not.
    """
    if isinstance(module, TORCH_NORMS):
        return True
    if "norm" not in type(module).__name__.lower():
        return False
    own = list(module.parameters(recurse=False))
    has_own_state = bool(own) or any(True for _ in module.buffers(recurse=False))
    inner = len(list(module.parameters())) - len(own)
    return has_own_state and not inner and all(sum(size > 1 for size in tensor.shape) <= 1 for tensor in own)
