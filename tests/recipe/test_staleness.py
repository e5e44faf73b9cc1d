"""Which settings make a range test stale."""

import json
from collections.abc import Callable

import pytest

from onecycle_cli.recipe import (
    Difference,
    Recipe,
    curve_settings,
    differences,
    finder_momentum,
    load,
    result_settings,
    shipped_names,
    shipped_path,
)
from onecycle_cli.recipe.staleness import NEWER, UNSAID

Tiny = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.architecture", "resnet20"),
        ("model.dropout", 0.5),
        ("model.init", "/runs/first"),
        ("data.batch_size", 32),
        ("data.padding", 2),
        ("data.valid_fraction", 0.3),
        ("optimizer.weight_decay", 0.1),
        ("optimizer.name", "adamw"),
        ("optimizer.label_smoothing", 0.1),
        ("optimizer.class_weights", "balanced"),
        ("optimizer.max_grad_norm", 1.0),
        ("data.accumulate", 2),
        ("find_lr.momentum", 0.5),
    ],
)
def test_a_setting_that_changes_the_curve_is_named(tiny: Tiny, field: str, value: object) -> None:
    found, wanted = (curve_settings(recipe, "float32") for recipe in (tiny(), tiny({field: value})))
    (named,) = differences(found, wanted)
    assert (named.field, named.there, named.here) == (field, found.get(field, UNSAID.get(field)), value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule.epochs", 50),
        ("schedule.max_lr", 0.5),
        ("schedule.pct_start", 0.2),
        ("seed", 5),
        ("runtime.log_every", 1),
        ("runtime.log_to", ["mlflow"]),
        ("runtime.deterministic", True),
        ("runtime.ema", 0.999),
        ("find_lr.num_steps", 50),
    ],
)
def test_a_setting_that_does_not_change_the_curve_is_none_of_its_business(
    tiny: Tiny, field: str, value: object
) -> None:
    assert differences(curve_settings(tiny(), "float32"), curve_settings(tiny({field: value}), "float32")) == []


def test_where_an_archive_is_downloaded_from_changes_no_curve_and_no_result(tiny: Tiny) -> None:
    plain = {"data.source": "cifar10"}
    mirrored = plain | {"data.mirrors": ["https://example.org/a.tar.gz"]}
    for settings in (curve_settings, result_settings):
        assert settings(tiny(plain), "float32") == settings(tiny(mirrored), "float32")


@pytest.mark.parametrize(
    ("there", "here", "words"),
    [
        (0.5, [1e-3, 1e-1], "1 there, [0.01, 1] here"),
        ([1e-3, 1e-1], None, "[0.01, 1] there, 1 here"),
        ([1e-3, 1e-1], {"body": 1e-3, "head": 1e-1}, "[0.01, 1] there, {body: 0.01, head: 1} here"),
    ],
)
def test_of_max_lr_the_ratios_between_the_layer_groups_count(
    tiny: Tiny, there: object, here: object, words: str
) -> None:
    found, wanted = (curve_settings(tiny({"schedule.max_lr": max_lr}), "float32") for max_lr in (there, here))
    assert [str(named) for named in differences(found, wanted)] == [f"schedule.max_lr, relative: {words}"]


def test_of_several_stages_the_last_counts(tiny: Tiny) -> None:
    whole = {"freeze_to": None, "epochs": 1, "max_lr": [1e-3, 1e-1]}
    head = {"freeze_to": "head", "epochs": 1, "max_lr": None}

    def settings(*stages: dict, train_frozen_norms: bool = False) -> dict:
        fine_tune = {"stages": stages, "train_frozen_norms": train_frozen_norms}
        recipe = tiny({"schedule.epochs": len(stages), "schedule.max_lr": 0.5, "fine_tune": fine_tune})
        return curve_settings(recipe, "float32")

    plain = curve_settings(tiny(), "float32")
    assert differences(plain, settings(head, whole | {"max_lr": None})) == []
    assert differences(plain, settings(head, whole)) == [Difference("schedule.max_lr, relative", 1.0, [0.01, 1.0])]
    assert differences(plain, settings(whole, head)) == [Difference("fine_tune.freeze_to", None, "head")]
    assert differences(settings(head), settings(head, train_frozen_norms=True)) == [
        Difference("fine_tune.train_frozen_norms", False, True)
    ]


def test_lrs_of_the_same_ratios_are_the_same_setting(tiny: Tiny) -> None:
    found, wanted = (
        curve_settings(tiny({"schedule.max_lr": max_lr}), "float32") for max_lr in ([1e-3, 1e-1], [2e-3, 2e-1])
    )
    assert differences(json.loads(json.dumps(found)), wanted) == []


def test_a_run_of_before_there_was_a_field_is_as_one_with_its_default(tiny: Tiny) -> None:
    saved = curve_settings(tiny(), "float32")
    older = {field: saved[field] for field in saved if field not in ("model.init", "model.source", "model.pretrained")}
    assert differences(older, saved) == []
    torchvision = saved | {"model.source": "torchvision"}
    assert differences(older, torchvision) == [Difference("model.source", "onecycle", "torchvision")]


def test_the_precision_that_was_resolved_counts(tiny: Tiny) -> None:
    named = differences(curve_settings(tiny(), "float32"), curve_settings(tiny(), "bfloat16"))
    assert named == [Difference("runtime.precision", "float32", "bfloat16")]


@pytest.mark.parametrize("name", shipped_names())
def test_the_settings_come_back_from_json_as_they_were(name: str) -> None:
    settings = curve_settings(load(shipped_path(name)), "float32")
    assert differences(json.loads(json.dumps(settings)), settings) == []


@pytest.mark.parametrize(
    ("field", "there", "here", "words"),
    [
        ("optimizer.weight_decay", 1e-4, 5e-4, "1e-4 there, 5e-4 here"),
        ("optimizer.weight_decay", 0.0, 3.16e-3, "0 there, 3.16e-3 here"),
        ("model.dropout", 0.05, 0.0500001, "0.05 there, 0.0500001 here"),
        ("data.batch_size", 128, 1024, "128 there, 1024 here"),
        ("data.horizontal_flip", True, False, "true there, false here"),
        ("data.mean", [0.4914, 0.4822, 0.4465], None, "[0.4914, 0.4822, 0.4465] there, null here"),
        ("model.shortcut", "A", "B", "A there, B here"),
    ],
)
def test_a_difference_is_told_in_the_words_of_a_recipe(field: str, there: object, here: object, words: str) -> None:
    assert str(Difference(field, there, here)) == f"{field}: {words}"


def test_a_setting_that_is_on_one_side_alone_differs() -> None:
    assert differences({"model.depth": 8}, {"model.width": 1.0}) == [
        Difference("model.depth", 8, None),
        Difference("model.width", None, 1.0),
    ]


def test_the_range_test_has_the_high_momentum_unless_told_otherwise(tiny: Tiny) -> None:
    assert finder_momentum(tiny()) == 0.95
    assert finder_momentum(tiny({"find_lr.momentum": 0.0})) == 0.0


@pytest.mark.parametrize(
    ("field", "value"),
    [("schedule.epochs", 50), ("find_lr.num_steps", 50), ("seed", 5), ("data.batch_size", 32), ("model.width", 2.0)],
)
def test_a_setting_that_changes_the_result_of_a_run_is_among_its_settings(
    tiny: Tiny, field: str, value: object
) -> None:
    (named,) = differences(result_settings(tiny(), "float32"), result_settings(tiny({field: value}), "float32"))
    assert (named.field, named.here) == (field, value)


def test_names_and_what_is_shown_on_the_way_change_no_result(tiny: Tiny) -> None:
    other = tiny(
        {
            "name": "x",
            "description": "y",
            "runtime.log_every": 1,
            "runtime.log_to": ["wandb"],
            "sweep_wd.weight_decays": [0.5],
        }
    )
    assert result_settings(tiny(), "float32") == result_settings(other, "float32")


def test_a_range_test_older_than_class_weights_had_none(tiny: Tiny) -> None:
    old = curve_settings(tiny(), "float32")
    del old["optimizer.class_weights"]
    assert differences(old, curve_settings(tiny(), "float32")) == []
    (named,) = differences(old, curve_settings(tiny({"optimizer.class_weights": "balanced"}), "float32"))
    assert str(named) == "optimizer.class_weights: none there, balanced here"


def test_class_weights_are_among_the_settings_of_a_result_where_there_are_some(tiny: Tiny) -> None:
    assert "optimizer.class_weights" not in result_settings(tiny(), "float32")
    weighted = result_settings(tiny({"optimizer.class_weights": "balanced"}), "float32")
    assert weighted["optimizer.class_weights"] == "balanced"


def test_settings_newer_than_a_sweep_are_among_those_of_a_result_where_they_are_on(tiny: Tiny) -> None:
    assert not {*NEWER} & result_settings(tiny(), "float32").keys()
    on = {"data.accumulate": 2, "optimizer.max_grad_norm": 1.0, "runtime.ema": 0.99, "data.resize": "pad"}
    settings = result_settings(tiny(on), "float32")
    assert {name: settings[name] for name in on} == on
    named = differences(result_settings(tiny(), "float32"), settings)
    assert {one.field: one.there for one in named} == {name: UNSAID[name] for name in on}
