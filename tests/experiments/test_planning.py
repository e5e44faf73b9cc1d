"""What is known of a recipe before its data are opened."""

from onecycle_cli.experiments.planning import known_steps_per_epoch, recipe_schedule
from onecycle_cli.recipe import load, shipped_path


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
    from onecycle_cli.recipe import with_values

    recipe = load(shipped_path("cifar10-resnet56"))
    values = {"schedule.shape": "torch", "schedule.anneal_strategy": "linear", "schedule.three_phase": True}
    at = recipe_schedule(with_values(recipe, values), 98)
    # torch peaks one step earlier than the blog, and ends on initial_lr / final_div_factor exactly.
    assert round(at(4017).lr, 3) == 0.8
    assert round(at(9309).lr, 9) == 0.0008
