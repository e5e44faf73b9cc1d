"""The networks for small images: CIFAR ResNets, ResNet-18 with a 3x3 stem, ResNet-9, and a plain CNN.

All accept images of 8x8 pixels or more, with any number of channels and classes. Their initial weights are torch's
default initialization, as in the seed experiment. All exist with batch norm, with group norm and without norm layers.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUP_CHANNELS = 8
"""The number of channels in each group of a group norm, if it divides the number of channels of the layer."""


def norm_layer(norm: str, channels: int) -> nn.Module:
    """Returns the norm layer of kind "batch", "group" or "none" for images with so many channels."""
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group":
        return nn.GroupNorm(math.gcd(channels, max(1, channels // GROUP_CHANNELS)), channels)
    return nn.Identity()


def conv3x3(in_channels: int, out_channels: int, stride: int = 1, *, norm: str) -> nn.Conv2d:
    """Returns a 3x3 convolution that divides the image size by `stride`; with a bias if no norm layer follows."""
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=norm == "none")


class _Subsample(torch.autograd.Function):
    """A strided slice whose gradient is channels last in memory.

    autograd makes the gradient of a slice row-major, whatever the layout of the image, and so all gradients of earlier
    layers. This slows down each operation on them on a CPU (see benchmarks/README.md).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int) -> Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        return _subsampled(x, stride)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        whole = torch.empty(
            ctx.shape, dtype=gradient.dtype, device=gradient.device, memory_format=torch.channels_last
        ).zero_()
        whole[:, :, :: ctx.stride, :: ctx.stride] = gradient
        return whole, None


def _subsampled(x: Tensor, stride: int) -> Tensor:
    return x[:, :, ::stride, ::stride].contiguous(memory_format=torch.channels_last)


class Subsample(nn.Module):
    """Selects every `stride`-th pixel of every `stride`-th row."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # TorchScript records no function of Python
            return _subsampled(x, self.stride)
        return _Subsample.apply(x, self.stride)  # type: ignore[no-any-return]


class PadChannels(nn.Module):
    """Adds `new_channels` channels of zeros, half of them before and half after the existing channels."""

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        before = self.new_channels // 2
        return F.pad(x, (0, 0, 0, 0, before, self.new_channels - before))


def shortcut(kind: str, in_channels: int, out_channels: int, stride: int, norm: str) -> nn.Module:
    """Returns the shortcut of a block: the identity if the shape does not change, else kind A or B.

    Kind A pads with zero channels, kind B is a 1x1 convolution (options A and B of He et al. 2015). The convolution
    follows a `Subsample` and has no stride, which is the same function. A stride in the convolution crashes oneDNN: its
    AVX-512 kernel for the gradient of the weights writes out of bounds for 16 output channels or fewer and a batch
    that its threads cannot share evenly (torch 2.15, two threads, batches of 1, 5 and 29: 63 of 936 shapes crashed or
    gave wrong gradients; none of 936 without a stride).
    """
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    if kind == "A":
        return nn.Sequential(Subsample(stride), PadChannels(out_channels - in_channels))
    projection = nn.Conv2d(in_channels, out_channels, 1, bias=norm == "none")
    return nn.Sequential(Subsample(stride), projection, norm_layer(norm, out_channels))


class ResidualScale(nn.Module):
    """Multiplies by one trained number, which is 0 at the start.

    It ends each residual branch of a ResNet without norm layers: its signal would else double with each block (De and
    Smith 2020, "Batch normalization biases residual blocks towards the identity function", SkipInit).
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def last_norm(norm: str, channels: int) -> nn.Module:
    """Returns what ends a residual branch: the norm layer, or a `ResidualScale` in networks without norm layers."""
    return ResidualScale() if norm == "none" else norm_layer(norm, channels)


class BasicBlock(nn.Module):
    """A residual block: two 3x3 convolutions and a shortcut, with the last ReLU after the addition."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, shortcut_kind: str, norm: str) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride, norm=norm)
        self.norm1 = norm_layer(norm, out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, norm=norm)
        self.norm2 = last_norm(norm, out_channels)
        self.shortcut = shortcut(shortcut_kind, in_channels, out_channels, stride, norm)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.norm1(self.conv1(x)), inplace=True)
        out = self.norm2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out, inplace=True)


class ResNet(nn.Module):
    """A ResNet: stem, stages of blocks, global average pool, dropout, linear head."""

    def __init__(
        self, stem: nn.Module, stages: Sequence[nn.Module], *, features: int, dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits (B, classes) of images (B, channels, height, width)."""
        features = self.stages(self.stem(x)).mean((2, 3))
        logits: Tensor = self.head(self.dropout(features))
        return logits


def small_resnet(
    blocks: Sequence[int],
    widths: Sequence[int],
    *,
    shortcut_kind: str,
    norm: str,
    dropout: float,
    channels: int,
    classes: int,
) -> ResNet:
    """Builds a ResNet for small images: a 3x3 stem, then stages of basic blocks.

    Stage i has `blocks[i]` blocks of `widths[i]` channels. Each stage but the first halves the image size. Source: He
    et al. 2015, section 4.2.
    """
    stem = _conv_norm_relu(channels, widths[0], norm)
    stages = []
    in_channels = widths[0]
    for stage, (depth, width) in enumerate(zip(blocks, widths, strict=True)):
        strides = [1 if stage == 0 else 2] + [1] * (depth - 1)
        inputs = [in_channels] + [width] * (depth - 1)
        stages.append(
            nn.Sequential(*(BasicBlock(n, width, s, shortcut_kind, norm) for n, s in zip(inputs, strides, strict=True)))
        )
        in_channels = width
    return ResNet(stem, stages, features=in_channels, dropout=dropout, classes=classes)


def _conv_norm_relu(in_channels: int, out_channels: int, norm: str) -> nn.Sequential:
    convolution = conv3x3(in_channels, out_channels, norm=norm)
    return nn.Sequential(convolution, norm_layer(norm, out_channels), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """A residual block of ResNet-9: two 3x3 convolutions, each with norm layer and ReLU, added to the input."""

    def __init__(self, channels: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(*(_conv_norm_relu(channels, channels, norm) for _ in range(2)))
        if norm == "none":
            self.body.append(ResidualScale())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class ResNet9(nn.Module):
    """ResNet-9, which won DAWNBench in 2018: 64, 128, 256 and 512 channels, max pools, scaled logits.

    Source: Page, "How to train your ResNet", and davidcpage/cifar10-fast. Logits are an eighth of the head's output.
    """

    LOGIT_SCALE = 0.125

    def __init__(self, widths: Sequence[int], *, norm: str, dropout: float, channels: int, classes: int) -> None:
        super().__init__()
        first, second, third, fourth = widths
        self.body = nn.Sequential(
            _conv_norm_relu(channels, first, norm),
            nn.Sequential(_conv_norm_relu(first, second, norm), nn.MaxPool2d(2), Residual(second, norm)),
            nn.Sequential(_conv_norm_relu(second, third, norm), nn.MaxPool2d(2)),
            nn.Sequential(_conv_norm_relu(third, fourth, norm), nn.MaxPool2d(2), Residual(fourth, norm)),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(fourth, classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits (B, classes) of images (B, channels, height, width)."""
        features = self.body(x).amax((2, 3))
        logits: Tensor = self.head(self.dropout(features)) * self.LOGIT_SCALE
        return logits


class Cnn(nn.Module):
    """A plain CNN: a 3x3 convolution, norm layer, ReLU and 2x2 max pool per width, global average, linear head.

    It has no shortcuts. It is for teaching, and for comparing suggestions on a network that is not a ResNet.
    """

    def __init__(self, widths: Sequence[int], *, norm: str, dropout: float, channels: int, classes: int) -> None:
        super().__init__()
        inputs = [channels, *widths[:-1]]
        self.body = nn.Sequential(
            *(
                nn.Sequential(_conv_norm_relu(before, after, norm), nn.MaxPool2d(2))
                for before, after in zip(inputs, widths, strict=True)
            )
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the logits (B, classes) of images (B, channels, height, width)."""
        features = self.body(x).mean((2, 3))
        logits: Tensor = self.head(self.dropout(features))
        return logits
