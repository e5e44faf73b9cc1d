"""Recipes that version 0.1.0 wrote into the folders of runs, when each section had the fields of all variants.

older/ holds some, with their settings in settings.json: what `curve_settings` and `result_settings` gave for them.
"""

import json
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import (
    Recipe,
    curve_settings,
    differences,
    load,
    parse,
    result_settings,
    shipped_path,
    to_yaml,
    with_values,
)

OLDER = Path(__file__).parent / "older"
SETTINGS = json.loads((OLDER / "settings.json").read_text())
DIGITS = shipped_path("digits").read_text()
NOW: dict[str, dict[str, object]] = {
    "one_cycle": {},
    "torch": {"schedule.shape": "torch", "schedule.three_phase": True, "schedule.anneal_strategy": "linear"},
    "triangular": {"schedule.policy": "triangular", "schedule.step_size_epochs": 2.5},
    "multistep": {"schedule.policy": "multistep", "schedule.milestones": [8, 12], "schedule.gamma": 0.1},
    "cosine": {"schedule.policy": "cosine"},
    "torchvision": {"data.path": "/photos", "schedule.max_lr": [1e-3, 1e-2]},
}
"""What makes of a shipped recipe the one that is in the file of this name."""


def of_now(name: str) -> Recipe:
    base = load(shipped_path("fine-tune" if name == "torchvision" else "digits"))
    return with_values(base, {"schedule.max_lr": 0.5} | NOW[name])


@pytest.mark.parametrize("name", NOW)
def test_a_recipe_of_an_older_run_is_the_same_recipe_and_is_written_without_what_it_does_not_use(name: str) -> None:
    text = (OLDER / f"{name}.yaml").read_text()
    assert "anneal_strategy" in text
    assert "mode: triangular\n" in text
    recipe = parse(text, name)
    assert recipe == of_now(name)
    assert parse(to_yaml(recipe), "again.yaml") == recipe
    assert ("anneal_strategy" in to_yaml(recipe)) == (name == "torch")


@pytest.mark.parametrize("name", NOW)
def test_the_settings_of_an_older_run_are_those_of_the_same_recipe_now(name: str) -> None:
    recipe = of_now(name)
    assert differences(SETTINGS[name]["curve"], curve_settings(recipe, "float32")) == []
    assert differences(SETTINGS[name]["result"], result_settings(recipe, "float32")) == []


@pytest.mark.parametrize("name", ["one_cycle", "torch", "torchvision"])
def test_where_no_policy_was_overridden_the_settings_are_the_same_to_the_letter(name: str) -> None:
    # Their hash names the folder of a tuning and the cells of a sweep, which go on where they were left.
    recipe = of_now(name)
    assert json.loads(json.dumps(result_settings(recipe, "float32"))) == SETTINGS[name]["result"]
    assert json.loads(json.dumps(curve_settings(recipe, "float32"))) == SETTINGS[name]["curve"]


def test_an_older_run_under_another_policy_differs_in_its_policy_and_not_in_the_fields_of_both() -> None:
    here = result_settings(of_now("cosine"), "float32")
    assert [str(named) for named in differences(SETTINGS["one_cycle"]["result"], here)] == [
        "schedule.policy: one_cycle there, cosine here"
    ]
    torch = result_settings(of_now("torch"), "float32")
    assert [str(named) for named in differences(SETTINGS["one_cycle"]["result"], torch)] == [
        "schedule.shape: blog there, torch here"
    ]


@pytest.mark.parametrize(
    ("source", "was"),
    [
        ("digits", "  path: /photos\n  layout: flat\n  mirrors: ['https://x.org/a']\n"),
        ("cifar10", "  path: /photos\n  layout: auto\n  mirrors: []\n"),
        ("image_folder", "  path: /photos\n  layout: auto\n  mirrors: ['https://x.org/a']\n"),
    ],
)
def test_the_images_of_an_older_run_have_the_fields_of_their_source_alone(source: str, was: str) -> None:
    text = DIGITS.replace("  source: digits\n", f"  source: {source}\n{was}")
    own = {"image_folder": {"path": "/photos", "layout": "auto"}, "cifar10": {"mirrors": ()}, "digits": {}}
    data = parse(text, "my.yaml").data.model_dump()
    assert {name: data[name] for name in ("path", "layout", "mirrors") if name in data} == own[source]


def test_a_path_is_no_field_of_the_digits_in_a_recipe_of_a_person() -> None:
    with pytest.raises(InputError, match=r"data\.path: is a field of source image_folder"):
        parse(DIGITS.replace("  source: digits\n", "  source: digits\n  path: photos\n"), "my.yaml")


def with_field(line: str) -> str:
    return DIGITS.replace("  shape: blog\n", f"  shape: blog\n  {line}\n")


@pytest.mark.parametrize(
    "line", ["milestones: null", "gamma:", "step_size: null", "three_phase: false", "anneal_strategy: cos"]
)
def test_a_foreign_field_that_is_null_or_has_its_former_default_is_left_out(line: str) -> None:
    assert parse(with_field(line), "my.yaml") == parse(DIGITS, "my.yaml")


@pytest.mark.parametrize(
    "line", ["milestones: []", "three_phase: 0", "three_phase: true", "mode: exp_range", "anneal_strategy: linear"]
)
def test_a_foreign_field_with_another_value_is_refused(line: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(with_field(line), "my.yaml")
    assert f"schedule.{line.partition(':')[0]}: is a field of " in caught.value.what
