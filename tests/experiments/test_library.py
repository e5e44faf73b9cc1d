"""`find_lr` and `train` from Python leave what the commands leave."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.library import find_lr, train
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]


def test_find_lr_and_train_leave_the_files_of_the_commands(
    tiny: Tiny, onecycle: Callable, tiny_digits: list[str]
) -> None:
    recipe = tiny()
    found = find_lr(recipe, name="found")
    assert onecycle("find-lr", *tiny_digits, "--name", "found-by-command").exit_code == 0
    trained = train(recipe, max_lr=found.suggestion.max_lr, name="trained", runs_dir="runs")
    words = (*tiny_digits, "--max-lr-from", "found-by-command", "--name", "trained-by-command")
    assert onecycle("train", *words).exit_code == 0
    for made, name in ((found.run, "lr_range.csv"), (found.run, "suggestion.json"), (trained.run, "steps.csv")):
        other = made.path.with_name(f"{made.path.name}-by-command") / name
        assert (made.path / name).read_bytes() == other.read_bytes()
    assert trained.run.status == trained.status == "finished"
    assert trained.summary["max_lr"] == found.suggestion.max_lr
    assert trained.model().classes == tuple("0123456789")


def test_max_lr_may_come_from_a_range_test_that_was_run_before(tiny: Tiny) -> None:
    found = find_lr(tiny())
    latest = train(tiny(), max_lr_from="latest")
    assert latest.summary["max_lr"] == found.suggestion.max_lr
    assert latest.run.facts["max_lr_from"] == str(found.run.path.absolute())
    assert train(tiny(), max_lr_from=found.run.path).summary["max_lr"] == found.suggestion.max_lr
    other = tiny({"optimizer.weight_decay": 1e-3})
    with pytest.raises(InputError, match="ran under other settings"):
        train(other, max_lr_from="latest")
    assert train(other, max_lr_from="latest", force=True).status == "finished"


def test_auto_finds_max_lr_in_the_same_run(tiny: Tiny) -> None:
    trained = train(tiny({"schedule.max_lr": None}), max_lr="auto")
    assert trained.run.facts["found_max_lr"] == trained.summary["max_lr"]
    assert (trained.run.path / "lr_range.csv").is_file()


def test_what_is_reported_has_notes_and_progress(tiny: Tiny) -> None:
    told: list = []
    train(tiny(), report=told.append)
    assert {news.work for news in told if not isinstance(news, str)} >= {"training"}


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"max_lr": 0.1, "max_lr_from": "latest"}, "both name a max_lr"),
        ({"max_lr": "fast"}, "max_lr='fast' is no lr"),
        ({}, "There is no max_lr"),
        ({"max_lr": -1.0}, "schedule.max_lr"),
    ],
)
def test_a_max_lr_that_is_unclear_is_refused_before_a_folder_is_made(tiny: Tiny, how: dict, what: str) -> None:
    with pytest.raises(InputError, match=what):
        train(tiny({"schedule.max_lr": None}), **how)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("how", "what"), [({"budget": 5}, "budget is 5"), ({"budget": 1, "verify": True}, "both name")]
)
def test_a_budget_that_cannot_be_is_refused_before_a_folder_is_made(tiny: Tiny, how: dict, what: str) -> None:
    with pytest.raises(InputError, match=what):
        find_lr(tiny(), **how)
    assert not Path("runs").exists()


def test_a_budget_of_short_cycles_is_kept_in_the_run(tiny: Tiny) -> None:
    found = find_lr(tiny({"schedule.epochs": 20}), budget=0.3)
    assert found.run.verify["steps"].sum() <= 0.3 * 240
    assert found.suggestion.rule == "basin, verified"


def test_a_recipe_may_be_named() -> None:
    with pytest.raises(InputError, match="no shipped recipe 'digit'"):
        find_lr("digit")
