"""Which settings make a range test stale."""

from collections.abc import Callable

import pytest

from onecycle_cli.recipe import Recipe, curve_settings, differences, finder_momentum

Tiny = Callable[..., Recipe]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model.architecture", "resnet20"),
        ("model.dropout", 0.5),
        ("data.batch_size", 32),
        ("data.padding", 2),
        ("data.valid_fraction", 0.3),
        ("optimizer.weight_decay", 0.1),
        ("optimizer.name", "adamw"),
        ("optimizer.label_smoothing", 0.1),
        ("find_lr.momentum", 0.5),
    ],
)
def test_a_setting_that_changes_the_curve_is_named(tiny: Tiny, field: str, value: object) -> None:
    found, wanted = (curve_settings(recipe, "float32") for recipe in (tiny(), tiny({field: value})))
    named = differences(found, wanted)
    assert len(named) == 1
    assert named[0].startswith(f"{field}: ")
    assert f"{value} here" in named[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule.epochs", 50),
        ("schedule.max_lr", 0.5),
        ("schedule.pct_start", 0.2),
        ("seed", 5),
        ("runtime.log_every", 1),
        ("find_lr.num_steps", 50),
        ("data.mirrors", ["https://example.org/a.tar.gz"]),
    ],
)
def test_a_setting_that_does_not_change_the_curve_is_none_of_its_business(
    tiny: Tiny, field: str, value: object
) -> None:
    assert differences(curve_settings(tiny(), "float32"), curve_settings(tiny({field: value}), "float32")) == []


def test_the_precision_that_was_resolved_counts(tiny: Tiny) -> None:
    named = differences(curve_settings(tiny(), "float32"), curve_settings(tiny(), "bfloat16"))
    assert named == ["runtime.precision: float32 there, bfloat16 here"]


def test_the_range_test_has_the_high_momentum_unless_told_otherwise(tiny: Tiny) -> None:
    assert finder_momentum(tiny()) == 0.95
    assert finder_momentum(tiny({"find_lr.momentum": 0.0})) == 0.0
