"""Finding recipes, and what the shipped ones hold."""

from pathlib import Path

import pytest
import yaml

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import Recipe, find, load, shipped_names, shipped_path
from onecycle_cli.recipe.schedule_fields import OneCycleSettings

SECTIONS = list(Recipe.model_fields)
OPTIONAL = ("fine_tune", "augmentation")


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_is_complete_in_order_and_named_after_its_file(name: str) -> None:
    text = shipped_path(name).read_text()
    assert load(shipped_path(name)).name == name
    found = list(yaml.safe_load(text))
    assert found == [section for section in SECTIONS if section in found or section not in OPTIONAL]


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_opens_with_its_purpose_its_command_and_what_to_expect(name: str) -> None:
    header = shipped_path(name).read_text().split("\n\n")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert f"onecycle train {name}" in header or "onecycle train my-photos.yaml" in header
    assert any(word in header for word in ("measured", "Measured", "depend"))


def test_the_experiments_of_the_blog_have_its_numbers() -> None:
    def numbers(name: str) -> tuple[object, ...]:
        s = load(shipped_path(name)).schedule
        assert isinstance(s, OneCycleSettings)
        return (s.epochs, s.max_lr, s.div_factor, s.final_div_factor, s.pct_start, s.max_momentum, s.base_momentum)

    assert numbers("cifar10-resnet56") == (95, 0.8, 10, 100, 0.4316, 0.95, 0.85)
    assert numbers("cifar10-resnet56-short-cycle") == (95, 0.8, 10, 100, 0.25, 0.95, 0.85)
    assert numbers("cifar10-resnet56-superconvergence") == (50, 3, 20, 100, 0.45, 0.95, 0.85)
    assert numbers("cifar10-resnet56-superconvergence-70") == (70, 3, 20, 100, 0.45, 0.95, 0.85)
    assert numbers("cifar10-resnet56-constant-momentum") == (95, 0.8, 10, 100, 0.4316, 0.9, 0.9)
    assert numbers("cifar10-resnet56-superconvergence-constant-momentum") == (50, 3, 20, 100, 0.45, 0.9, 0.9)


def test_a_recipe_is_found_by_path_and_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("x")
    assert find(str(tmp_path / "mine.yaml")) == tmp_path / "mine.yaml"
    assert find("digits") == shipped_path("digits")


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("digit", "no shipped recipe 'digit'", "Did you mean digits"),
        ("recipes/digits.yaml", "There is no recipe at recipes/digits.yaml", "onecycle recipes copy digits"),
        ("nowhere.yaml", "There is no recipe at nowhere.yaml", "onecycle recipes"),
        (".", "is a folder", "Name the YAML file"),
    ],
)
def test_a_recipe_that_is_not_there_is_told_with_what_is(text: str, what: str, fix: str) -> None:
    with pytest.raises(InputError) as caught:
        find(text)
    assert what in caught.value.what
    assert fix in caught.value.fix


def test_the_name_of_a_shipped_recipe_means_it_beside_a_folder_of_that_name(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert find("images") == shipped_path("images")
