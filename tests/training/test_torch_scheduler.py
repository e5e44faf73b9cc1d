"""A schedule as a torch scheduler: against torch's own step by step, group by group, and through interruptions."""

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from onecycle_cli.errors import InputError
from onecycle_cli.schedules import Schedule, constant, one_cycle, triangular
from onecycle_cli.training.torch_scheduler import torch_scheduler


def sgd(*lrs: float) -> torch.optim.SGD:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=1.0, momentum=0.5)


def adamw(*lrs: float) -> torch.optim.AdamW:
    groups = [{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in lrs]
    return torch.optim.AdamW(groups, betas=(0.5, 0.99))


def momentum_of(group: dict[str, Any]) -> float:
    return group["betas"][0] if "betas" in group else group["momentum"]


def used(optimizer: Optimizer, scheduler: LRScheduler, steps: int) -> list[list[tuple[float, float]]]:
    """The lr and the momentum of each group in each of so many updates."""
    seen = []
    for _ in range(steps):
        seen.append([(float(group["lr"]), momentum_of(group)) for group in optimizer.param_groups])
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own says that its last step is the last
            scheduler.step()
    return seen


@given(
    make=st.sampled_from([sgd, adamw]),
    lrs=st.lists(st.floats(1e-4, 10), min_size=1, max_size=3),
    total_steps=st.integers(20, 60),
    pct_start=st.floats(0.1, 0.45),
    anneal_strategy=st.sampled_from(["cos", "linear"]),
    three_phase=st.booleans(),
)
def test_the_torch_shape_sets_every_group_as_torchs_own_scheduler_does(
    make: Any, lrs: list[float], total_steps: int, pct_start: float, anneal_strategy: Any, three_phase: bool
) -> None:
    shared = {"pct_start": pct_start, "anneal_strategy": anneal_strategy, "three_phase": three_phase}
    oracle = make(*lrs)
    of_torch = torch.optim.lr_scheduler.OneCycleLR(
        oracle, max_lr=lrs, total_steps=total_steps, div_factor=25, final_div_factor=1e4, **shared
    )
    expected = used(oracle, of_torch, total_steps)
    optimizer = make(*lrs)
    schedule = one_cycle(total_steps, max(lrs), shape="torch", div_factor=25, final_div_factor=1e4, **shared)
    got = used(optimizer, torch_scheduler(optimizer, schedule), total_steps)
    for ours, theirs in zip(got, expected, strict=True):
        for (lr, momentum), (their_lr, their_momentum) in zip(ours, theirs, strict=True):
            assert lr == pytest.approx(their_lr, rel=1e-6, abs=1e-12 * max(lrs))
            assert momentum == pytest.approx(their_momentum, rel=1e-9)


def test_the_fastest_group_has_the_lrs_of_the_schedule_exactly_and_the_others_their_ratio() -> None:
    optimizer = sgd(0.003, 0.3, 0.03)
    schedule = one_cycle(20, 0.7)
    for step, groups in enumerate(used(optimizer, torch_scheduler(optimizer, schedule), 20)):
        value = schedule(step)
        assert groups[1] == value
        assert [lr for lr, _ in groups] == pytest.approx([0.01 * value.lr, value.lr, 0.1 * value.lr])
        assert {momentum for _, momentum in groups} == {value.momentum}


@pytest.mark.parametrize("own", [0.0, 1e-3, 7.0])
def test_the_own_lr_of_a_single_group_does_not_matter(own: float) -> None:
    optimizer, schedule = sgd(own), triangular(5, 0.7)
    seen = used(optimizer, torch_scheduler(optimizer, schedule), 30)
    assert [groups[0] for groups in seen] == [schedule(step) for step in range(30)]


def test_a_group_that_is_frozen_by_an_lr_of_0_stays_so() -> None:
    optimizer = sgd(0.0, 0.1)
    assert {groups[0][0] for groups in used(optimizer, torch_scheduler(optimizer, one_cycle(10, 1.0)), 10)} == {0.0}


def test_momentum_is_beta1_the_other_betas_stay_and_either_can_be_left_alone() -> None:
    optimizer = adamw(1e-3)
    torch_scheduler(optimizer, one_cycle(10, 1.0))
    assert optimizer.param_groups[0]["betas"] == (0.95, 0.99)
    for alone in (adamw(1e-3), sgd(1e-3)):
        seen = used(alone, torch_scheduler(alone, one_cycle(10, 1.0), cycle_momentum=False), 10)
        assert {momentum for ((_, momentum),) in seen} == {0.5}


def test_an_optimizer_that_knows_no_momentum_gets_its_lr() -> None:
    optimizer = torch.optim.Adagrad([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = one_cycle(10, 1.0)
    scheduler = torch_scheduler(optimizer, schedule)
    optimizer.step()
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == scheduler.get_last_lr()[0] == schedule(1).lr


def test_an_lr_that_is_a_tensor_is_filled_in_place() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.1))
    lr = optimizer.param_groups[0]["lr"]
    schedule = one_cycle(10, 1.0)
    seen = used(optimizer, torch_scheduler(optimizer, schedule), 5)
    assert optimizer.param_groups[0]["lr"] is lr
    assert [groups[0][0] for groups in seen] == pytest.approx([schedule(step).lr for step in range(5)])


def test_steps_past_the_end_keep_the_last_value() -> None:
    optimizer, schedule = sgd(0.1), one_cycle(10, 1.0)
    seen = used(optimizer, torch_scheduler(optimizer, schedule), 15)
    assert {groups[0] for groups in seen[10:]} == {schedule(10)}


def test_a_group_that_is_added_on_the_way_has_its_ratio_from_the_next_step_on() -> None:
    optimizer, schedule = sgd(0.1), one_cycle(10, 1.0)
    scheduler = torch_scheduler(optimizer, schedule)
    used(optimizer, scheduler, 3)
    optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.01})
    seen = used(optimizer, scheduler, 3)
    assert seen[0][1][0] == 0.01
    assert seen[1] == [
        (schedule(4).lr, schedule(4).momentum),
        (pytest.approx(schedule(4).lr / 10), schedule(4).momentum),
    ]


@pytest.mark.parametrize("lr", [math.nan, math.inf])
def test_an_own_lr_that_is_no_number_is_refused(lr: float) -> None:
    with pytest.raises(InputError, match="finite lr of at least 0"):
        torch_scheduler(sgd(0.1, lr), constant(0.1))


class Training:
    """A small network with two groups, and the batches of its steps, which follow from the step alone."""

    def __init__(self, schedule: Schedule, make: Any) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
        groups = [{"params": layer.parameters(), "lr": lr} for layer, lr in ((self.model[0], 0.1), (self.model[2], 1))]
        self.optimizer = make(groups, lr=1.0)
        self.scheduler = torch_scheduler(self.optimizer, schedule)

    def run(self, steps: Sequence[int]) -> Iterator[float]:
        for step in steps:
            inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            loss = (self.model(inputs) - inputs.sum(1, keepdim=True)).square().mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            yield loss.item()

    def save(self) -> io.BytesIO:
        file = io.BytesIO()
        torch.save([part.state_dict() for part in (self.model, self.optimizer, self.scheduler)], file)
        file.seek(0)
        return file

    def load(self, file: io.BytesIO, order: Sequence[int]) -> None:
        states = torch.load(file, weights_only=True)
        for part in order:
            (self.model, self.optimizer, self.scheduler)[part].load_state_dict(states[part])


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)], ids=["optimizer first", "scheduler first"])
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("at", [0, 1, 9, 20, 29])
def test_a_training_that_was_interrupted_ends_bit_by_bit_as_one_that_was_not(
    make: Any, at: int, order: Sequence[int]
) -> None:
    whole = Training(one_cycle(30, 0.1), make)
    losses = list(whole.run(range(30)))
    first = Training(one_cycle(30, 0.1), make)
    assert list(first.run(range(at))) == losses[:at]
    second = Training(one_cycle(30, 0.1), make)
    second.load(first.save(), order)
    assert second.scheduler.state_dict() == first.scheduler.state_dict()
    assert second.scheduler.get_last_lr() == first.scheduler.get_last_lr()
    assert list(second.run(range(at, 30))) == losses[at:]
    for one, other in zip(whole.model.parameters(), second.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_state_of_another_schedule_is_refused_and_can_be_gone_on_with_on_purpose() -> None:
    first = Training(one_cycle(30, 0.1), torch.optim.SGD)
    list(first.run(range(7)))
    longer = Training(one_cycle(60, 0.1), torch.optim.SGD)
    with pytest.raises(InputError, match=r"at step 7 it had lr 0\.\d+ and momentum .*\n.*last_epoch=6"):
        longer.scheduler.load_state_dict(first.scheduler.state_dict())
    longer.optimizer.load_state_dict(first.optimizer.state_dict())
    on_purpose = torch_scheduler(longer.optimizer, one_cycle(60, 0.1), last_epoch=6)
    lr, momentum = one_cycle(60, 0.1)(7)
    assert [group["lr"] for group in longer.optimizer.param_groups] == pytest.approx([lr / 10, lr])
    assert longer.optimizer.param_groups[0]["momentum"] == momentum
    assert on_purpose.last_epoch == 7


def test_the_state_of_other_groups_is_refused() -> None:
    one, two = (torch_scheduler(sgd(*lrs), one_cycle(10, 1.0)) for lrs in ([0.1], [0.1, 0.2]))
    with pytest.raises(InputError, match="is of 1 parameter groups, the optimizer has 2"):
        two.load_state_dict(one.state_dict())


def test_a_scheduler_that_was_made_with_other_lrs_goes_on_with_those_of_the_state() -> None:
    first = sgd(0.1, 0.4)
    before = torch_scheduler(first, one_cycle(10, 1.0))
    used(first, before, 3)
    second = sgd(5.0, 5.0)
    after = torch_scheduler(second, one_cycle(10, 1.0))
    after.load_state_dict(before.state_dict())
    assert used(second, after, 5) == used(first, before, 5)
