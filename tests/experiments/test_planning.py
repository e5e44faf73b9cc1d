"""What is known of a recipe before its data are opened."""

import pytest

from onecycle_cli.experiments.planning import known_steps_per_epoch, recipe_schedule
from onecycle_cli.recipe import load, shipped_path, with_values
from onecycle_cli.schedules import LrMomentum


def test_the_cifar_recipes_know_their_steps() -> None:
    assert known_steps_per_epoch(load(shipped_path("cifar10-resnet56"))) == 98
    assert known_steps_per_epoch(load(shipped_path("cifar10-resnet8"))) == 97
    assert known_steps_per_epoch(load(shipped_path("digits"))) == 23
    assert known_steps_per_epoch(load(shipped_path("images"))) is None


def test_the_schedule_of_the_seed_experiment_comes_from_its_recipe() -> None:
    at = recipe_schedule(load(shipped_path("cifar10-resnet56")), 98)
    assert at(4018) == (0.8, 0.85)
    assert round(at(9309).lr, 6) == 0.000862


def test_the_torch_shape_gets_its_own_settings() -> None:
    recipe = load(shipped_path("cifar10-resnet56"))
    values = {"schedule.shape": "torch", "schedule.anneal_strategy": "linear", "schedule.three_phase": True}
    at = recipe_schedule(with_values(recipe, values), 98)
    # torch peaks one step earlier than the blog, and ends on initial_lr / final_div_factor exactly.
    assert round(at(4017).lr, 3) == 0.8
    assert round(at(9309).lr, 9) == 0.0008


def planned(values: dict[str, object], steps_per_epoch: float = 10) -> list[LrMomentum]:
    recipe = with_values(load(shipped_path("digits")), {"schedule.max_lr": 1.0, "schedule.epochs": 4} | values)
    at = recipe_schedule(recipe, steps_per_epoch)
    return [at(step) for step in range(round(4 * steps_per_epoch))]


def test_legs_in_epochs_turn_at_the_ends_of_epochs() -> None:
    values = planned({"schedule.pct_start": None, "schedule.legs": [1, 2, 1]})
    assert [values[step].lr for step in (0, 10, 30)] == pytest.approx([0.1, 1.0, 0.1])
    halves = planned({"schedule.pct_start": None, "schedule.legs": [1.5, 1.5, 1]}, steps_per_epoch=3)
    # 4.5 rounds to the even 4, and the way down takes the 5 that are left of 9.
    assert [halves[step].lr for step in (0, 4, 9)] == pytest.approx([0.1, 1.0, 0.1])


def test_the_two_legs_of_the_torch_and_fastai_shapes_are_their_pct_start() -> None:
    for shape in ("torch", "fastai"):
        legs = planned({"schedule.shape": shape, "schedule.pct_start": None, "schedule.legs": [1, 3]})
        assert legs == planned({"schedule.shape": shape, "schedule.pct_start": 0.25})


def test_the_seeds_legs_in_epochs_are_its_pct_start() -> None:
    recipe = load(shipped_path("cifar10-resnet56"))
    legs = with_values(recipe, {"schedule.pct_start": None, "schedule.legs": [41, 41, 13]})
    one, other = recipe_schedule(recipe, 98), recipe_schedule(legs, 98)
    assert all(one(step) == other(step) for step in range(9310))


def test_triangular_goes_from_max_lr_divided_by_div_factor_and_back_in_two_step_sizes() -> None:
    values = planned({"schedule.policy": "triangular", "schedule.step_size": 5})
    assert [values[step].lr for step in (0, 5, 10, 15, 20)] == pytest.approx([0.1, 1, 0.1, 1, 0.1])
    assert values == planned({"schedule.policy": "triangular", "schedule.step_size_epochs": 0.5})
    second = planned({"schedule.policy": "triangular", "schedule.step_size": 5, "schedule.mode": "triangular2"})
    assert second[15].lr == pytest.approx(0.55)


def test_schedules_without_a_cycle_hold_max_momentum() -> None:
    constant = planned({"schedule.policy": "constant"})
    assert set(constant) == {(1.0, 0.95)}
    multistep = planned({"schedule.policy": "multistep", "schedule.milestones": [2, 3], "schedule.gamma": 0.1})
    assert [multistep[step].lr for step in (0, 19, 20, 29, 30, 39)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = planned({"schedule.policy": "cosine"})
    # From max_lr itself, not from max_lr / div_factor, towards a hundredth of it.
    assert [cosine[step].lr for step in (0, 20)] == pytest.approx([1, 0.505])
    assert {value.momentum for value in multistep + cosine} == {0.95}


def test_a_schedule_may_be_made_shorter_than_its_epochs() -> None:
    values = planned({"schedule.pct_start": None, "schedule.legs": [1, 2, 1]}, steps_per_epoch=2.5)
    assert len(values) == 10
    assert max(range(10), key=lambda step: values[step].lr) == 2
