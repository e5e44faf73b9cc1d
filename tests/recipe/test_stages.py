"""A recipe of several cycles, and the recipe of each."""

from collections.abc import Callable

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import (
    BodyAndHead,
    Recipe,
    frozen_groups,
    lacks_max_lr,
    last_stage,
    parse,
    stages,
    to_yaml,
    with_largest_max_lr,
    with_max_lr,
    with_values,
)

Tiny = Callable[..., Recipe]
GROUPS = ("stem", "layer1", "layer2", "layer3", "head")


@pytest.fixture
def staged(tiny: Tiny) -> Callable[..., Recipe]:
    """The digits with the head alone for one epoch, then all for two."""

    def make(schedule_max_lr: object, *max_lrs: object) -> Recipe:
        planned = [{"freeze_to": "head", "epochs": 1}, {"freeze_to": "layer2", "epochs": 2}]
        listed = [stage | {"max_lr": max_lr} for stage, max_lr in zip(planned, max_lrs, strict=True)]
        values = {"schedule.epochs": 3, "schedule.max_lr": schedule_max_lr}
        return tiny(values | {"fine_tune": {"stages": listed, "train_frozen_norms": True}})

    return make


def test_without_fine_tune_a_recipe_is_its_own_only_stage(tiny: Tiny) -> None:
    assert stages(tiny()) == [tiny()]
    assert frozen_groups(tiny(), GROUPS) == ()


def test_each_stage_is_a_recipe_of_its_own_cycle(staged: Callable) -> None:
    first, last = stages(staged(0.3, 0.1, None))
    assert (first.schedule.epochs, first.schedule.max_lr) == (1, 0.1)
    assert (last.schedule.epochs, last.schedule.max_lr) == (2, 0.3)
    assert frozen_groups(first, GROUPS) == ("stem", "layer1", "layer2", "layer3")
    assert frozen_groups(last, GROUPS) == frozen_groups(staged(0.3, 0.1, None), GROUPS) == ("stem", "layer1")
    assert first.fine_tune.train_frozen_norms
    assert stages(last) == [last]
    assert parse(to_yaml(last), "again.yaml") == last


def test_a_max_lr_is_for_the_last_stage_and_for_those_that_have_none(staged: Callable) -> None:
    def max_lrs(recipe: Recipe) -> list:
        return [stage.schedule.max_lr for stage in stages(recipe)]

    assert max_lrs(with_max_lr(staged(0.3, 0.1, [1e-3, 1e-2]), 0.8)) == [0.1, 0.8]
    assert max_lrs(with_max_lr(staged(None, None, 0.2), 0.8)) == [0.8, 0.8]
    assert max_lrs(with_largest_max_lr(staged(0.3, 0.1, [1e-3, 1e-2]), 0.8)) == [0.1, (0.08, 0.8)]
    apart = with_largest_max_lr(staged({"body": 1, "head": 4}, 0.1, None), 0.8)
    assert max_lrs(apart) == [0.1, BodyAndHead(body=0.2, head=0.8)]


def test_a_max_lr_is_lacking_where_a_stage_has_none(staged: Callable, tiny: Tiny) -> None:
    assert not lacks_max_lr(staged(None, 0.1, 0.2))
    assert lacks_max_lr(staged(None, None, 0.2))
    assert not lacks_max_lr(staged(0.3, None, None))
    assert lacks_max_lr(tiny({"schedule.max_lr": None}))


def test_a_stage_may_be_changed_like_any_recipe(staged: Callable) -> None:
    assert with_values(last_stage(staged(0.3, 0.1, None)), {"seed": 7}).seed == 7


def test_a_group_that_the_network_lacks_is_told_with_those_that_it_has(staged: Callable) -> None:
    with pytest.raises(InputError, match="freeze_to layer2, but the network has the layer groups stem, layer1, head"):
        frozen_groups(last_stage(staged(0.3, 0.1, None)), ("stem", "layer1", "head"))
