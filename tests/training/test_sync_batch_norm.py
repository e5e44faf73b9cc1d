"""Batch norm over the images of several processes, against torch's over all of them in one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.training.joining import joined
from onecycle_cli.training.sync_batch_norm import SynchronizedBatchNorm

OnRanks = Callable[..., list[Any]]


def images(*shape: int) -> Tensor:
    """Images whose channels have a large mean beside their spread, as those of a deep network may."""
    drawn = torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (drawn + 30 * torch.arange(shape[1]).view(1, -1, *[1] * (len(shape) - 2))).float()


def passed(layer: nn.Module, pixels: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    """Output, gradients of the input and of the parameters, and the statistics after one pass in training."""
    pixels = pixels.clone().requires_grad_()
    output = layer(pixels)
    (output * weights).sum().backward()
    parameters = [p.grad for p in layer.parameters()]
    return (output.detach(), pixels.grad, *parameters, *layer.buffers())


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "images": (lambda: nn.BatchNorm2d(3), (7, 3, 4, 5)),
    "features": (lambda: nn.BatchNorm1d(3), (9, 3)),
    "without scales": (lambda: nn.BatchNorm2d(3, affine=False), (6, 3, 2, 2)),
    "without statistics": (lambda: nn.BatchNorm2d(3, track_running_stats=False), (6, 3, 2, 2)),
    "with a mean of all batches": (lambda: nn.BatchNorm2d(3, momentum=None), (6, 3, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_output_gradients_and_statistics_are_those_of_the_whole_batch(name: str, on_ranks: OnRanks) -> None:
    make, shape = LAYERS[name]
    pixels, weights = images(*shape), torch.randn(shape, generator=torch.Generator().manual_seed(4))
    whole = passed(make().train(), pixels, weights)

    def share() -> Any:
        with joined() as ranks, SynchronizedBatchNorm():
            own = slice(ranks.rank, None, ranks.count)
            output, gradient, *rest = passed(make().train(), pixels[own], weights[own])
            parameters = list(make().parameters())
            for tensor in rest[: len(parameters)]:
                ranks.add_up(tensor)  # as the gradients of parameters are, after the backward pass
            return [tensor.numpy() for tensor in (output, gradient, *rest)]

    for rank, (output, gradient, *rest) in enumerate(on_ranks(2, share)):
        assert output == pytest.approx(whole[0][rank::2].numpy(), abs=1e-4)
        assert gradient == pytest.approx(whole[1][rank::2].numpy(), abs=1e-4)
        assert len(rest) == len(whole) - 2
        for ours, theirs in zip(rest, whole[2:], strict=True):
            assert ours == pytest.approx(theirs.numpy(), rel=1e-5, abs=1e-4)


def test_a_layer_with_an_activation_keeps_it(on_ranks: OnRanks) -> None:
    class WithActivation(nn.BatchNorm2d):  # as in timm, whose layers torch's own conversion would replace
        def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
            return super().forward(input).relu()

    def share() -> Any:
        with joined(), SynchronizedBatchNorm():
            return WithActivation(3).train()(images(4, 3, 2, 2)).min().item()

    assert on_ranks(2, share) == [0.0, 0.0]


def test_in_scoring_the_kept_statistics_are_used(on_ranks: OnRanks) -> None:
    pixels = images(4, 3, 2, 2)

    def share() -> Any:
        with joined() as ranks, SynchronizedBatchNorm():
            return nn.BatchNorm2d(3).eval()(pixels[ranks.rank :]).detach().numpy()

    for rank, output in enumerate(on_ranks(2, share)):
        expected = F.batch_norm(pixels[rank:], torch.zeros(3), torch.ones(3))
        assert output == pytest.approx(expected.numpy())


def test_bfloat16_images_have_float32_statistics(on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined(), SynchronizedBatchNorm():
            layer = nn.BatchNorm2d(3).train()
            output = layer(images(6, 3, 2, 2).bfloat16())
            return output.dtype == torch.bfloat16, layer.running_mean.dtype == torch.float32

    assert on_ranks(2, share) == [(True, True)] * 2
