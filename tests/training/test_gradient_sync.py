"""Gradients that are averaged over ranks."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onecycle_cli.training.gradient_sync import GradientSync
from onecycle_cli.training.joining import joined

OnRanks = Callable[..., list[Any]]


class Sometimes(nn.Module):
    """A network with a layer that takes part only when it is told to, and one that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.always, self.sometimes, self.never = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.wanted = False

    def forward(self, images: Tensor) -> Tensor:
        return self.sometimes(self.always(images)) if self.wanted else self.always(images)


def test_the_gradient_is_the_mean_of_those_of_all_ranks(on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined() as ranks:
            model = nn.Linear(2, 1, bias=False)
            sync = GradientSync(model, synchronize_batch_norm=False)
            sync(torch.full((1, 2), ranks.rank + 1.0)).sum().backward()
            return model.weight.grad.tolist()

    assert on_ranks(3, share) == [[[2.0, 2.0]]] * 3


def test_layers_may_take_no_part(on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined():
            model = Sometimes()
            sync, seen = GradientSync(model, synchronize_batch_norm=False), []
            for wanted in (False, True, False):
                model.zero_grad()
                model.wanted = wanted
                sync(torch.ones(1, 2)).sum().backward()
                seen.append([name for name, one in model.named_parameters() if one.grad is not None])
            return seen

    two = ["always.weight", "sometimes.weight"]
    assert on_ranks(2, share) == [[["always.weight"], two, ["always.weight"]]] * 2


def test_deferred_gradients_are_averaged_with_the_next_ones(on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined() as ranks:
            model = nn.Linear(1, 1, bias=False)
            sync = GradientSync(model, synchronize_batch_norm=False)
            sync(torch.zeros(1, 1)).sum().backward()
            images, seen = torch.full((1, 1), float(ranks.rank)), []
            for deferred in (True, False):
                with sync.deferred(deferred):
                    sync(images).sum().backward()
                seen.append(model.weight.grad.item())
            return seen

    assert on_ranks(2, share) == [[0.0, 1.0], [1.0, 1.0]]


def test_the_statistics_of_the_first_rank_become_those_of_all(on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined() as ranks:
            norm = nn.BatchNorm1d(2)
            norm.running_mean.fill_(ranks.rank)
            norm.num_batches_tracked.fill_(5 + ranks.rank)
            GradientSync(nn.Sequential(norm), synchronize_batch_norm=False).take_statistics_of_first()
            return norm.running_mean.tolist(), norm.num_batches_tracked.item()

    assert on_ranks(2, share) == [([0.0, 0.0], 5)] * 2


@pytest.mark.parametrize("synchronized", [True, False])
def test_batch_norm_is_synchronized_if_asked(synchronized: bool, on_ranks: OnRanks) -> None:
    def share() -> Any:
        with joined() as ranks:
            model = nn.BatchNorm1d(1, affine=False).train()
            model.register_parameter("one", nn.Parameter(torch.ones(1)))
            images = torch.tensor([[1.0], [3.0]]) + 10 * ranks.rank
            GradientSync(nn.Sequential(model), synchronize_batch_norm=synchronized)(images)
            return model.running_mean.item()

    first, second = on_ranks(2, share)
    assert first == pytest.approx(0.7 if synchronized else 0.2)
    assert second == pytest.approx(0.7 if synchronized else 1.2)
