"""Seeding against torch.manual_seed."""

import pytest
import torch

from onecycle_cli.training.seeding import seed_device


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_numbers_are_those_after_torch_manual_seed(seed: int) -> None:
    torch.manual_seed(seed)
    expected = torch.rand(8)
    torch.rand(3)
    seed_device(seed, torch.device("cpu"))
    assert torch.equal(torch.rand(8), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_on_a_gpu_they_are_too(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(8, device=name)
    seed_device(5, torch.device(name))
    assert torch.equal(torch.rand(8, device=name), expected)
