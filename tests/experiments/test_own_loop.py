"""The range test in a loop of one's own: its lrs, its ends, what it refuses, and that it is find-lr's."""

import itertools
import math
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.lr_range.from_arrays import suggest
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_loop import RangeTest
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.files import LR_RANGE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware


def basin(lr: float) -> float:
    return 2.3 if lr < 0.01 else 1.3 if lr < 1 else 4.0


def run(test: RangeTest, loss: Callable[[float], Any] = basin) -> RangeTest:
    for lr in test:
        test.record(loss(lr))
    return test


def test_the_lrs_are_as_worked_out_by_hand() -> None:
    # Nine factors of 10 ** (1 / 3) from a thousandth to 1.
    test = run(RangeTest(1e-3, 1.0, 10), lambda lr: lr)
    assert test.lrs == pytest.approx([10 ** (step / 3 - 3) for step in range(10)])
    assert test.losses == test.lrs
    linear = run(RangeTest(0.1, 1.0, 10, mode="linear"), lambda lr: lr)
    assert linear.lrs == pytest.approx([step / 10 for step in range(1, 11)])


def test_a_loss_that_has_risen_ends_it_after_its_steps() -> None:
    test = run(RangeTest(1e-4, 10, 61))
    assert (len(test.lrs), test.end) == (61, "risen")
    assert list(test) == []


def test_a_loss_that_has_not_risen_makes_it_go_on_to_ten_times_the_end() -> None:
    test = run(RangeTest(1e-4, 0.1, 31))
    assert test.lrs[30] == pytest.approx(0.1)
    assert test.lrs[-1] == pytest.approx(1.0)
    assert (len(test.lrs), test.end) == (41, "risen")
    assert run(RangeTest(1e-4, 0.01, 21), lambda lr: 1 - lr).end == "not risen"


def test_a_loss_that_is_not_finite_ends_it_at_once() -> None:
    test = run(RangeTest(1e-4, 10, 61), lambda lr: basin(lr) if lr < 0.5 else math.nan)
    assert test.end == "diverged"
    assert math.isnan(test.losses[-1])
    assert test.lrs[-2] < 0.5 <= test.lrs[-1]


def test_its_suggestion_is_that_of_the_same_numbers() -> None:
    test = run(RangeTest(1e-4, 10, 61))
    assert test.suggest() == suggest(test.lrs, test.losses)
    assert 0.03 < test.suggest().max_lr < 0.2
    assert test.suggest(optimizer="adamw", div_factor=25) == suggest(
        test.lrs, test.losses, optimizer="adamw", div_factor=25
    )


@given(noise=st.lists(st.floats(-0.3, 0.3), min_size=100, max_size=100), end_lr=st.floats(0.01, 100))
def test_whatever_the_losses_it_ends_and_can_be_read(noise: list[float], end_lr: float) -> None:
    noises = iter(noise)
    test = run(RangeTest(1e-4, end_lr, 20), lambda lr: basin(lr) + next(noises))
    assert test.end in ("diverged", "risen", "not risen")
    assert test.lrs == sorted(test.lrs)
    assert test.suggest().reason


def test_it_reads_a_trained_network_as_find_lr_does(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    """The losses of a real find-lr, played back: the same steps, the same end, the same suggestion."""
    recipe = tiny({"find_lr.end_lr": 0.1})
    folder = RunDir.create(tmp_path, command="find-lr", recipe_name="x", recipe_yaml="", facts={}, name="x")
    expected = find_lr(recipe, Session(folder, Hardware(torch.device("cpu"), "float32"), silent))
    table = pd.read_csv(folder.path / LR_RANGE)
    losses = iter(table.train_loss)
    test = run(RangeTest(1e-3, 0.1, 40), lambda _: next(losses))
    assert len(test.lrs) == len(table) > 40
    assert test.lrs == pytest.approx(table.lr.to_list(), rel=1e-8)
    assert test.suggest(total_steps=24) == expected


@pytest.mark.parametrize("loss", [1.5, np.float32(1.5), torch.tensor(1.5, requires_grad=True), torch.tensor([1.5])])
def test_a_loss_is_any_one_number(loss: Any) -> None:
    test = RangeTest(1e-4, 10)
    next(test)
    test.record(loss)
    assert test.losses == [1.5]


@pytest.mark.parametrize("loss", [None, "x", [1.0, 2.0], torch.tensor([1.0, 2.0]), np.ones(3)])
def test_what_is_not_one_number_is_refused_and_the_step_can_be_told_again(loss: Any) -> None:
    test = RangeTest(1e-4, 10)
    next(test)
    with pytest.raises(InputError, match=r"(?s)The loss of step 0 is not one number.*mean over the batch"):
        test.record(loss)
    test.record(1.0)
    assert test.losses == [1.0]


def test_a_loss_that_was_forgotten_is_told_with_its_step() -> None:
    test = RangeTest(1e-4, 10)
    next(test)
    test.record(2.0)
    next(test)
    with pytest.raises(
        InputError, match=r"No loss was recorded for step 1, at lr 0\.000112.*\nCall record\(loss\) once"
    ):
        next(test)


def test_a_loss_without_a_step_is_refused() -> None:
    test = RangeTest(1e-4, 10)
    with pytest.raises(InputError, match="no step to record a loss for"):
        test.record(1.0)
    next(test)
    test.record(1.0)
    with pytest.raises(InputError, match="no step to record a loss for"):
        test.record(1.0)


def test_a_loop_that_was_left_goes_on_where_it_was() -> None:
    test = RangeTest(1e-4, 10, 61)
    for lr, _ in zip(test, range(5), strict=False):
        test.record(basin(lr))
        if len(test.losses) == 3:
            break
    assert run(test).lrs == run(RangeTest(1e-4, 10, 61)).lrs


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        ((10, 1e-4), {}, "start_lr is 10 and end_lr 0.0001"),
        ((0, 1), {}, "start_lr is 0"),
        ((1e-4, math.inf), {}, "end_lr inf"),
        ((1e-4, 1, 9), {}, "num_steps is 9"),
        ((1e-4, 1, 5001), {}, "num_steps is 5001"),
        ((1e-4, 1, 20.0), {}, "num_steps is 20.0"),
        ((1e-4, 1), {"mode": "log"}, "mode is 'log'"),
        ((1e-4, 1), {"smoothing": 1}, "smoothing is 1"),
        ((1e-4, 1), {"stop_factor": 1}, "stop_factor is 1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: Any, settings: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        RangeTest(*arguments, **settings)


def test_nothing_is_read_written_or_drawn_of_no_loss() -> None:
    for act in (lambda test: test.suggest(), lambda test: test.plot("a.png")):
        with pytest.raises(InputError, match="has no loss yet"):
            act(RangeTest(1e-4, 10))
    assert not Path("a.png").exists()


def test_the_csv_holds_the_steps_and_the_figure_is_a_png() -> None:
    test = run(RangeTest(1e-4, 10, 61))
    test.to_csv("curve.csv")
    table = pd.read_csv("curve.csv")
    assert list(table) == ["step", "lr", "train_loss", "smoothed_loss"]
    assert suggest(table.lr, table.train_loss) == test.suggest()
    test.plot(Path("curve.png"), title="mine")
    assert Path("curve.png").read_bytes()[1:4] == b"PNG"


def test_no_file_is_overwritten() -> None:
    test = run(RangeTest(1e-4, 10, 61))
    Path("there").write_text("mine")
    for act in (test.to_csv, test.plot):
        with pytest.raises(InputError, match="there exists already"):
            act("there")
        with pytest.raises(InputError, match="There is no folder nowhere"):
            act("nowhere/there")
    assert Path("there").read_text() == "mine"


def test_the_example_of_its_docstring_tests_every_group_at_its_share() -> None:
    torch.manual_seed(0)
    inputs = torch.randn(64, 4)
    targets = (inputs.sum(1) > 0).long()
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[2].parameters(), "lr": 0.04}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    seen: list[tuple[float, float]] = []

    def loss_function(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(group["lr"] for group in optimizer.param_groups))
        return torch.nn.functional.cross_entropy(outputs, targets)

    code = RangeTest.__doc__.split("record` its loss:\n")[1].split("\n\n    The lr is")[0]
    loader = [(inputs[:32], targets[:32]), (inputs[32:], targets[32:])]
    names: dict[str, Any] = {"RangeTest": RangeTest, "itertools": itertools, "loss_function": loss_function}
    names |= {"loader": loader, "model": model, "optimizer": optimizer}
    exec(textwrap.dedent(code), names)
    test = names["test"]
    assert [fast for _, fast in seen] == test.lrs
    assert [slow for slow, _ in seen] == pytest.approx([lr / 4 for lr in test.lrs])
