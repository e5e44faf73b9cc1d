"""Counts the multiply-adds of a forward pass of any network."""

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

SMALL_IMAGE = 3 * 256 * 256
"""The largest number of values of an image for which `multiply_adds` computes a real pass, 2 ms for ResNet-8 on digits.

The first use of the `meta` device imports 900 modules, 1.4 s of CPU (torch 2.14), which a larger image may cost too.
"""


def multiply_adds(model: nn.Module, image: Tensor) -> int | None:
    """Returns the multiply-adds of one forward pass of one image, in convolutions and in products of matrices.

    The products are those of linear layers and of attention. `image` is float32 (1, channels, height, width), on the
    device of `model`. A pass of an image larger than `SMALL_IMAGE` runs on torch's `meta` device, which computes
    nothing and allocates no memory, unless the network cannot run there. The mode and the statistics of `model` do not
    change. None if the network cannot run on a single image.
    """
    training = model.training
    try:
        model.eval()
        if image.numel() > SMALL_IMAGE:
            with suppress(Exception):  # a network may read values, or have tensors that are no buffers
                return _counted_on_meta(model, image)
        with suppress(Exception):
            return _counted(model, image)
        return None
    finally:
        model.train(training)


def _counted(model: nn.Module, image: Tensor) -> int:
    counter = _Counter()
    with torch.no_grad(), counter:
        model(image)
    return counter.multiply_adds


def _counted_on_meta(model: nn.Module, image: Tensor) -> int:
    from torch.func import functional_call

    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    without_values = {name: tensor.to("meta") for name, tensor in tensors.items()}
    counter = _Counter()
    with torch.no_grad(), counter:
        functional_call(model, without_values, (image.to("meta"),))
    return counter.multiply_adds


class _Counter(TorchFunctionMode):
    """Counts the multiply-adds of each call of a function of torch inside a `with` block.

    Counting operations below the functions, with a TorchDispatchMode, imports the 900 modules of `meta`, too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.multiply_adds: int = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if count := COUNTS.get(getattr(function, "__name__", "")):
            with suppress(AttributeError, TypeError, IndexError, ValueError):  # arguments of another kind
                self.multiply_adds += count(result, *args, *(kwargs or {}).values())
        return result


def _of_weights(result: Tensor, _images: Tensor, weights: Tensor, *_: Any) -> int:
    return result.numel() * weights[0].numel()


def _of_transposed(_result: Tensor, images: Tensor, weights: Tensor, *_: Any) -> int:
    return images.numel() * weights[0].numel()


def _of_product(result: Tensor, one: Tensor, *_: Any) -> int:
    return result.numel() * one.shape[-1]


def _of_sum_and_product(result: Tensor, _added: Tensor, one: Tensor, *_: Any) -> int:
    return result.numel() * one.shape[-1]


def _of_einsum(_result: Tensor, equation: str, *operands: Any) -> int:
    if len(operands) == 1 and not isinstance(operands[0], Tensor):
        (operands,) = operands
    inputs = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[Any, int] = {}
    for letters, operand in zip(inputs, operands, strict=True):
        before, dots, after = letters.partition("...")
        names = [*before, *(("...", n) for n in range(operand.ndim - len(before + after)) if dots), *after]
        sizes |= zip(names, operand.shape, strict=True)
    return math.prod(sizes.values()) if len(operands) > 1 else 0


def _of_attention(_result: Tensor, queries: Tensor, keys: Tensor, values: Tensor, *_: Any) -> int:
    return queries[..., 0].numel() * keys.shape[-2] * (keys.shape[-1] + values.shape[-1])


def _of_heads(_result: Any, queries: Tensor, keys: Tensor, values: Tensor, features: int, *_: Any) -> int:
    """The projections of queries, keys, values and results, and the two products of `multi_head_attention_forward`."""
    rows = queries.numel() // queries.shape[-1]
    projections = features * (queries.numel() + keys.numel() + values.numel() + rows * features)
    return projections + 2 * rows * features * keys.shape[0]


COUNTS: dict[str, Any] = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "linear"), _of_weights),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _of_transposed),
    **dict.fromkeys(("matmul", "__matmul__", "mm", "bmm"), _of_product),
    **dict.fromkeys(("addmm", "baddbmm"), _of_sum_and_product),
    "einsum": _of_einsum,
    "scaled_dot_product_attention": _of_attention,
    "multi_head_attention_forward": _of_heads,
}
"""How to count the multiply-adds of a function of torch from its result and its arguments, by its name."""
