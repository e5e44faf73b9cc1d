"""The section `augmentation`: presets, the fields that override them, and what is refused."""

from collections.abc import Callable

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import (
    Override,
    Recipe,
    curve_settings,
    differences,
    load,
    parse,
    result_settings,
    shipped_path,
    to_yaml,
    varied,
)
from onecycle_cli.recipe.augmentation_fields import OFF, PRESETS

Tiny = Callable[..., Recipe]

DIGITS = shipped_path("digits").read_text()
ERASING = {"probability": 0.1, "scale": (0.02, 0.33), "ratio": (0.3, 3.3)}


def read(*settings: str, section: str = "") -> Recipe:
    """The digits recipe with a section `augmentation`, and with `--set` for each of `settings`."""
    pairs = [setting.partition("=")[::2] for setting in settings]
    return parse(f"{DIGITS}\n{section}\n", "my.yaml", [Override(field, text, "--set") for field, text in pairs])


def fields(recipe: Recipe) -> dict:
    values = recipe.augmentation.model_dump()
    del values["preset"]
    return values


@pytest.mark.parametrize(
    ("settings", "section", "expected"),
    [
        (("augmentation=standard",), "", {"trivial_augment": True, "random_erasing": ERASING}),
        ((), "augmentation: none", {}),
        ((), "augmentation: {preset: standard, random_erasing: null}", {"trivial_augment": True}),
        (("augmentation.mixup=0.2",), "", {"mixup": 0.2}),
        (("augmentation.mixup=0.2",), "augmentation: null", {"mixup": 0.2}),
        (("augmentation.cutmix=0.5",), "augmentation: {mixup: 0.2}", {"mixup": 0.2, "cutmix": 0.5}),
        (("augmentation=standard", "augmentation.trivial_augment=false"), "", {"random_erasing": ERASING}),
        (
            ("augmentation.random_erasing.probability=0.5",),
            "augmentation: standard",
            {"trivial_augment": True, "random_erasing": ERASING | {"probability": 0.5}},
        ),
        (("augmentation.random_erasing={}",), "", {"random_erasing": ERASING | {"probability": 0.5}}),
        (("augmentation.preset=none",), "augmentation: {preset: strong, mixup: 0.5}", {}),
        (("augmentation.mixup=0.3", "augmentation.preset=none"), "augmentation: strong", {"mixup": 0.3}),
        (
            ("augmentation.affine.degrees=10",),
            "",
            {"affine": {"degrees": 10.0, "translate": 0.0, "scale": (1.0, 1.0), "shear": 0.0}},
        ),
    ],
)
def test_the_fields_that_are_given_override_those_of_the_preset(settings: tuple, section: str, expected: dict) -> None:
    recipe = read(*settings, section=section)
    assert fields(recipe) == OFF | expected
    assert parse(to_yaml(recipe), "again.yaml") == recipe


@pytest.mark.parametrize("preset", PRESETS)
def test_a_resolved_preset_is_written_with_all_its_fields(preset: str) -> None:
    recipe = read(f"augmentation={preset}")
    text = to_yaml(recipe)
    assert f"augmentation:\n  preset: {preset}\n" in text
    assert all(f"  {name}:" in text for name in OFF)
    # Were the preset another one some day, the run's recipe would still say what it did.
    assert fields(parse(text.replace(f"preset: {preset}", "preset: strong"), "later.yaml")) == fields(recipe)


def test_another_preset_for_a_resolved_recipe_is_that_preset() -> None:
    resolved = parse(to_yaml(read("augmentation=strong")), "run.yaml")
    for values in ({"augmentation.preset": "light"}, {"augmentation": "light"}):
        assert varied(resolved, values, "sweep").augmentation == read("augmentation=light").augmentation


def test_a_recipe_without_the_section_is_written_without_it() -> None:
    assert "augmentation" not in to_yaml(load(shipped_path("digits")))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            "augmentation=strongg",
            "augmentation.preset: must be none, light, standard or strong, not the text 'strongg'",
        ),
        ("augmentation=strongg", "did you mean 'strong'?"),
        ("augmentation=3", "augmentation: must be a section with fields, not 3"),
        ("augmentation.preset=[1]", "augmentation.preset: must be none, light, standard or strong, not a list"),
        ("augmentation.mixpu=1", "augmentation.mixpu: is not a field; did you mean 'mixup'?"),
        ("augmentation.mixup=-1", "augmentation.mixup: must be at least 0, not -1"),
        ("augmentation.trivial_augment=1", "augmentation.trivial_augment: must be true or false, not 1"),
        ("augmentation.color_jitter.huge=1", "augmentation.color_jitter.huge: is not a field; did you mean 'hue'?"),
        ("augmentation.color_jitter.hue=0.6", "augmentation.color_jitter.hue: must be at most 0.5, not 0.6"),
        ("augmentation.color_jiter.hue=0.1", "there is no section 'color_jiter'; did you mean 'color_jitter'?"),
        ("augmentation.color_jitter=0.4", "augmentation.color_jitter: must be a section with fields, not 0.4"),
        ("augmentation.affine.scale=[0.5]", "augmentation.affine.scale: must be [lowest, highest], not [0.5]"),
        ("augmentation.affine.scale=[2,1]", "augmentation.affine.scale: must be [lowest, highest], not [2, 1]"),
        ("augmentation.random_erasing.scale=[0,1]", "augmentation.random_erasing.scale.0: must be above 0, not 0"),
        ("augmentation.random_erasing.probability=2", "random_erasing.probability: must be at most 1, not 2"),
        ("augmentation.random_resized_crop={}", "data.random_crop and augmentation.random_resized_crop both crop"),
    ],
)
def test_nonsense_is_told(settings: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        read(settings)
    assert says in caught.value.what


def test_two_ways_to_make_the_classes_equal_are_refused() -> None:
    with pytest.raises(InputError, match="both make all classes count the same"):
        read("data.sampler=balanced", "optimizer.class_weights=balanced")


def test_a_range_test_with_other_augmentation_is_stale_and_the_name_of_the_preset_does_not_count(tiny: Tiny) -> None:
    def settings(recipe: Recipe) -> dict:
        return curve_settings(recipe, "float32")

    plain, off = tiny(), tiny({"augmentation": "none"})
    assert settings(plain) == settings(off)
    assert result_settings(plain, "float32") == result_settings(off, "float32")
    mixed = tiny({"augmentation": {"mixup": 0.2}})
    (named,) = differences(settings(plain), settings(mixed))
    assert str(named) == "augmentation.mixup: 0 there, 0.2 here"
    (named,) = differences(result_settings(plain, "float32"), result_settings(mixed, "float32"))
    assert named.field == "augmentation.mixup"
    light = tiny({"augmentation": {"color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}}})
    assert differences(settings(light), settings(tiny({"augmentation": "light"}))) == []


def test_a_range_test_with_another_sampler_is_stale(tiny: Tiny) -> None:
    balanced = tiny({"data.sampler": "balanced"})
    for settings in (curve_settings, result_settings):
        (named,) = differences(settings(tiny(), "float32"), settings(balanced, "float32"))
        assert str(named) == "data.sampler: shuffled there, balanced here"
