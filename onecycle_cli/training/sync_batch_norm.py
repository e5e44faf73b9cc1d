"""Batch norm with the statistics of the whole batch, when several processes divide the batch among them.

torch's SyncBatchNorm runs on GPUs alone, and takes the place of a layer, which loses what the layer has beside batch
norm: the activation in those of timm. Here the function that all these layers call is replaced while a network runs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode


class SynchronizedBatchNorm(TorchFunctionMode):
    """A block in which batch norm, in training, uses the mean and the variance of the batches of all processes.

    Each process must run the same network the same number of times, on at least one image.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    input: Tensor,  # noqa: A002 - the names are those of torch's function
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    normalized: Tensor
    normalized, mean, variance, count = _Normalize.apply(input, weight, bias, eps)
    with torch.no_grad():
        if running_mean is not None:
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        if running_var is not None:
            unbiased = variance * (count / (count - 1))
            running_var.lerp_(unbiased.to(running_var.dtype), momentum)
    return normalized


class _Normalize(torch.autograd.Function):
    """Normalizes each channel by its statistics over all processes. Statistics and sums are float32.

    The gradient is that of Ioffe and Szegedy, "Batch Normalization" (2015), section 3. Those of scale and shift are
    sums over the images of this process alone, because the gradients of all parameters are combined over the processes
    afterwards.
    """

    @staticmethod
    def forward(
        ctx: Any, images: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        over = [dim for dim in range(images.dim()) if dim != 1]
        own_variance, own_mean = torch.var_mean(images.float(), over, correction=0)
        own_count = own_mean.new_full((1,), images.numel() // images.shape[1])
        # The mean first and then the spread around it: sums of squares would lose the digits of a small variance.
        sums = torch.cat([own_mean * own_count, own_count])
        distributed.all_reduce(sums)
        count = sums[-1]
        mean = sums[:-1] / count
        variance = (own_variance + (own_mean - mean).square()) * own_count
        distributed.all_reduce(variance)
        variance = variance / count
        ctx.save_for_backward(images, weight, mean, (variance + eps).rsqrt(), count)
        ctx.has_bias = bias is not None
        normalized = F.batch_norm(images, mean, variance, weight, bias, False, 0.0, eps)
        ctx.mark_non_differentiable(mean, variance, count)
        return normalized, mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        images, weight, mean, scale, count = ctx.saved_tensors
        over = [dim for dim in range(images.dim()) if dim != 1]
        shape = [1, -1] + [1] * (images.dim() - 2)
        gradient = gradients[0].float()
        spread = (images.float() - mean.view(shape)) * scale.view(shape)
        shift, stretch = gradient.sum(over), (gradient * spread).sum(over)
        sums = torch.cat([shift, stretch])
        distributed.all_reduce(sums)
        of_all = (sums / count).chunk(2)
        inner = gradient - of_all[0].view(shape) - spread * of_all[1].view(shape)
        by_channel = scale if weight is None else scale * weight.float()
        return (
            (inner * by_channel.view(shape)).to(images.dtype),
            None if weight is None else stretch.to(weight.dtype),
            shift if ctx.has_bias else None,
            None,
        )
