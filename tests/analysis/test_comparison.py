"""Which settings differ between runs, what runs are called, and means over seeds worked out by hand."""

from math import sqrt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.comparison import (
    Run,
    Spread,
    differing,
    distinct_names,
    groups,
    labels,
    numbered,
    over_seeds,
    settings_of,
    short_names,
)

RECIPE = {
    "name": "digits",
    "seed": 0,
    "data.batch_size": 64,
    "runtime.log_every": 20,
    "schedule.max_lr": 0.1,
    "find_lr.num_steps": 100,
    "sweep_wd.weight_decays": [1e-2, 1e-3],
}


def run(command: str = "train", status: str = "finished", results: dict[str, Any] | None = None, **changes: Any) -> Run:
    """A run of the recipe with some fields changed, their dots written as two underscores; None takes one away."""
    fields = RECIPE | {field.replace("__", "."): value for field, value in changes.items()}
    recipe = {field: value for field, value in fields.items() if value is not None}
    return Run("runs/x", command, status, settings_of(command, recipe), results or {})


def test_a_training_goes_by_what_changes_it() -> None:
    assert list(run().settings) == ["seed", "data.batch_size", "schedule.max_lr"]
    assert list(run("find-lr").settings) == ["seed", "data.batch_size", "find_lr.num_steps"]


def test_the_settings_that_differ_are_named_in_the_order_of_the_recipe_the_seed_last() -> None:
    runs = [run(), run(seed=1, schedule__max_lr=0.2), run(data__batch_size=32)]
    assert differing(runs) == ["data.batch_size", "schedule.max_lr", "seed"]
    assert differing([run(), run(schedule__max_lr=0.1, name="other", runtime__log_every=1)]) == []
    assert differing([run()]) == []


def test_one_and_1_0_are_the_same_setting() -> None:
    assert differing([run(model__width=1), run(model__width=1.0)]) == []


def test_a_field_that_a_recipe_of_an_older_version_lacks_is_a_difference() -> None:
    assert differing([run(data__batch_size=None), run()]) == ["data.batch_size"]


def test_settings_that_the_others_do_not_go_by_set_nobody_apart() -> None:
    assert differing([run(), run("find-lr"), run("find-lr")]) == []
    assert differing([run(), run("find-lr"), run("find-lr", find_lr__num_steps=50)]) == ["find_lr.num_steps"]


def test_a_name_is_as_short_as_it_can_be() -> None:
    fields = ["optimizer.name", "model.name", "optimizer.weight_decay", "schedule.epochs", "seed"]
    assert short_names(fields, taken=["run", "epochs"]) == {
        "optimizer.name": "optimizer.name",
        "model.name": "model.name",
        "optimizer.weight_decay": "weight_decay",
        "schedule.epochs": "schedule.epochs",
        "seed": "seed",
    }


@pytest.mark.parametrize(
    ("paths", "names", "pattern"),
    [
        (
            ["runs/20260101-1010-train-digits", "runs/20260101-1020-train-digits"],
            ["1010", "1020"],
            "runs/20260101-*-train-digits",
        ),
        (["runs/1010-train-digits", "runs/1020-find-lr-digits"], ["1010-train", "1020-find-lr"], "runs/*-digits"),
        (["swept/weight_decay=1e-2", "swept/weight_decay=1e-3"], ["weight_decay=1e-2", "weight_decay=1e-3"], "swept/*"),
        (["runs/a-b", "runs/a-b-2"], ["b", "b-2"], "runs/a-*"),
        (["a", "a-a"], ["a", "a-a"], "*"),
        (["runs/alone"], ["alone"], "runs/*"),
        (["here/digits", "there/digits"], ["here", "there"], "*/digits"),
    ],
)
def test_names_are_what_tells_the_paths_apart(paths: list[str], names: list[str], pattern: str) -> None:
    assert distinct_names(paths) == (names, pattern)


@given(st.lists(st.from_regex(r"[ab1e/-]{1,8}", fullmatch=True), min_size=1, max_size=5, unique=True))
def test_names_stay_apart_and_their_pattern_gives_the_paths_back(paths: list[str]) -> None:
    names, pattern = distinct_names(paths)
    assert len(set(names)) == len(paths)
    assert [pattern.replace("*", name) for name in names] == paths


def trained(seed: int, valid_accuracy: float | None, **changes: Any) -> Run:
    return run(results={"valid_accuracy": valid_accuracy}, seed=seed, **changes)


def spreads(*runs: Run) -> list[Spread]:
    return over_seeds(groups(runs, differing(runs)))


def test_the_mean_over_seeds_comes_with_its_standard_error() -> None:
    low = [trained(seed, value) for seed, value in enumerate([0.5, 0.6, 0.7])]
    high = [trained(seed, value, schedule__max_lr=1.0) for seed, value in enumerate([0.2, 0.4])]
    first, second = spreads(*low, *high)
    # Deviations of 0.1, 0, 0.1: their squares sum to 0.02, by n - 1 that is 0.01, whose root is 0.1.
    assert (first.settings, first.result, first.n, first.runs) == ({"schedule.max_lr": 0.1}, "valid_accuracy", 3, 3)
    assert first.mean == pytest.approx(0.6)
    assert first.standard_deviation == pytest.approx(0.1)
    assert first.standard_error == pytest.approx(0.1 / sqrt(3))
    assert second.settings == {"schedule.max_lr": 1.0}
    # Of two values: their difference by the root of two, and half of it.
    assert second.standard_deviation == pytest.approx(0.2 / sqrt(2))
    assert second.standard_error == pytest.approx(0.1)


def test_runs_that_did_not_come_to_their_end_count_as_runs_but_in_no_mean() -> None:
    whole = [trained(0, 0.5), trained(1, 0.7)]
    stopped, diverged = trained(2, 0.1), trained(3, None)
    runs = [
        *whole,
        *(
            Run(r.path, r.command, s, r.settings, r.results)
            for r, s in ((stopped, "interrupted"), (diverged, "diverged"))
        ),
    ]
    (spread,) = spreads(*runs)
    assert (spread.n, spread.runs, spread.mean) == (2, 4, pytest.approx(0.6))


def test_without_two_seeds_of_the_same_settings_there_is_no_mean() -> None:
    assert spreads(trained(0, 0.5), trained(1, 0.6, schedule__max_lr=1.0)) == []
    assert spreads(trained(0, 0.5)) == []


def test_one_value_of_a_setting_beside_two_of_another_has_no_deviation() -> None:
    two, one = spreads(trained(0, 0.5), trained(1, 0.6), trained(0, 0.9, schedule__max_lr=1.0))
    assert (two.n, one.n, one.mean, one.standard_deviation, one.standard_error) == (2, 1, 0.9, None, None)


def test_the_same_run_twice_is_no_second_draw() -> None:
    assert spreads(trained(0, 0.5), trained(0, 0.6)) == []
    (spread,) = spreads(trained(0, 0.5), trained(0, 0.6), trained(1, 0.8))
    assert (spread.n, spread.mean) == (2, pytest.approx(0.7))


def test_range_tests_are_averaged_by_the_max_lr_they_suggest_and_apart_from_trainings() -> None:
    tests = [run("find-lr", results={"max_lr": max_lr}, seed=seed) for seed, max_lr in enumerate([0.1, 0.3])]
    (spread,) = spreads(*tests, run(results={"max_lr": 9.0}))
    assert (spread.result, spread.n, spread.mean) == ("max_lr", 2, pytest.approx(0.2))


def labelled(*runs: Run) -> list[str]:
    fields = differing(runs)
    return labels(runs, fields, short_names(fields, taken=()))


def test_a_run_is_labelled_by_what_sets_it_apart_but_for_the_seed() -> None:
    runs = [run(seed=0), run(seed=1), run(schedule__max_lr=0.005, data__batch_size=32)]
    assert labelled(*runs) == ["batch_size 64, max_lr 0.1 (2 runs)"] * 2 + ["batch_size 32, max_lr 5e-3"]


def test_runs_that_differ_in_nothing_else_are_labelled_by_their_seed_or_their_folder() -> None:
    assert labelled(run(seed=0), run(seed=1)) == ["seed 0", "seed 1"]
    assert labelled(run(), run()) == ["runs/x", "runs/x"]


def test_a_training_and_a_range_test_of_the_same_settings_are_labelled_by_their_command() -> None:
    assert labelled(run(), run("find-lr")) == ["train", "find-lr"]


def test_names_that_several_runs_share_have_their_number() -> None:
    assert numbered(["E1", "E2", "E1"]) == ["E1 (2 runs)", "E2", "E1 (2 runs)"]
