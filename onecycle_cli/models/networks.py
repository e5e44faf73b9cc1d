"""The networks: ResNets for CIFAR-sized images, ResNet-18 with a stem to match, and ResNet-9.

All take images of any size from 8x8, with any number of channels and classes, and start from torch's default
initialization, as the seed experiment does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, or divides it by `stride`; batch norm follows, so it has no bias."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)


class _Subsample(torch.autograd.Function):
    """Slicing whose gradient stays channels last.

    Left to autograd, the gradient of a slice is row-major whatever the image was, and so are all gradients before it,
    which slows each operation on them on a CPU (see benchmarks/README.md).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        return x[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        ).zero_()
        whole[:, :, :: ctx.stride, :: ctx.stride] = gradient
        return whole, None


class Subsample(nn.Module):
    """Every `stride`-th pixel of every `stride`-th row."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return _Subsample.apply(x, self.stride)  # type: ignore[no-any-return]


class PadChannels(nn.Module):
    """Puts `new_channels` channels of zeros around those that are there, half of them before."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.new_channels // 2
        return F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


def shortcut(kind: str, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The way around a block: the identity where the shape stays, else kind A (zero-padded) or B (1x1 convolution).

    A 1x1 convolution with a stride looks at the subsampled pixels alone, so it is written as such. Left to the
    convolution, the stride crashes oneDNN: its AVX-512 kernel for the gradient of the weights writes where it should
    not for 16 output channels or fewer and a batch that its threads do not share evenly (torch 2.15, two threads,
    batches of 1, 5 and 29: 63 of 936 shapes crashed or gave wrong gradients; none of 936 without a stride).
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return nn.Sequential(Subsample(stride), PadChannels(out_channels - in_channels))
    projection = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(Subsample(stride), projection, nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, with the ReLU after the addition."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut_kind: str) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = shortcut(shortcut_kind, in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """A stem, stages of blocks, global average pool, dropout, linear head."""

    def __init__(
        self, stem: nn.Module, stages: Sequence[nn.Module], *, features: int, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, height, width) to logits (B, classes)."""
        features = self.stages(self.stem(x)).mean((2, 3))
        logits: Tensor = self.head(self.dropout(features))
        return logits


def small_resnet(
    blocks: Sequence[int],
    widths: Sequence[int],
    *,
    shortcut_kind: str,
    dropout: float,
    channels: int,
    classes: int,
) -> ResNet:
    """A ResNet for small images: a 3x3 stem, stages of basic blocks, each stage but the first at half the size.

    `blocks[i]` blocks of `widths[i]` channels make stage i. Source: He et al. 2015, section 4.2.
    """
    stem = nn.Sequential(conv3x3(channels, widths[0]), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
    stages = []
    in_channels = widths[0]
    for stage, (depth, width) in enumerate(zip(blocks, widths, strict=True)):
        strides = [1 if stage == 0 else 2] + [1] * (depth - 1)
        inputs = [in_channels] + [width] * (depth - 1)
        stages.append(
            nn.Sequential(*(BasicBlock(n, width, s, shortcut_kind) for n, s in zip(inputs, strides, strict=True)))
        )
        in_channels = width
    return ResNet(stem, stages, features=in_channels, dropout=dropout, classes=classes)


def _conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(conv3x3(in_channels, out_channels), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """`x` plus two convolutions of it, each with norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv_norm_relu(channels, channels), _conv_norm_relu(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class ResNet9(nn.Module):
    """The small wide network that won DAWNBench in 2018: 64, 128, 256, 512 channels, max pools, scaled logits.

    Source: Page, "How to train your ResNet", and davidcpage/cifar10-fast. Logits are an eighth of the head's output.
    """

    LOGIT_SCALE = 0.125

    def __init__(self, widths: Sequence[int], *, dropout: float, channels: int, classes: int) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.body = nn.Sequential(
            _conv_norm_relu(channels, first),
            nn.Sequential(_conv_norm_relu(first, second), nn.MaxPool2d(2), Residual(second)),
            nn.Sequential(_conv_norm_relu(second, third), nn.MaxPool2d(2)),
            nn.Sequential(_conv_norm_relu(third, fourth), nn.MaxPool2d(2), Residual(fourth)),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(fourth, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, height, width) to logits (B, classes)."""
        features = self.body(x).amax((2, 3))
        logits: Tensor = self.head(self.dropout(features)) * self.LOGIT_SCALE
        return logits
