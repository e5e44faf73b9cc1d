"""Steps that come to the host in blocks."""

from collections.abc import Iterator

import pytest
import torch

from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.step_blocks import in_blocks
from onecycle_cli.training.trainer import Step


def steps(count: int) -> Iterator[Step]:
    for n in range(count):
        yield Step(n, 1, 0.1, 0.9, 32, torch.tensor(0.5 * n), torch.tensor(32.0), torch.tensor(n))


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [1] * 7), ("cuda", [3, 3, 1])])
def test_a_gpu_is_waited_for_once_a_block_and_a_cpu_has_a_block_for_each_step(device: str, sizes: list[int]) -> None:
    blocks = list(in_blocks(steps(7), Hardware(torch.device(device), "float32"), 3))
    assert [len(block.steps) for block in blocks] == sizes
    seen = [step for block in blocks for step in block.steps]
    assert [(step.step, step.train_loss, step.correct) for step in seen] == [(n, 0.5 * n, n) for n in range(7)]
    assert all(block.images_per_second > 0 for block in blocks)


def test_no_steps_make_no_block() -> None:
    assert list(in_blocks(steps(0), Hardware(torch.device("cpu"), "float32"), 3)) == []
