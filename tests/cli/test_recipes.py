"""`recipes`: list, show, copy, check, schema."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from onecycle_cli.recipe import shipped_names, shipped_path

Command = Callable[..., Result]


def test_on_its_own_it_lists_the_shipped_recipes(onecycle: Command) -> None:
    lines = onecycle("recipes").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == shipped_names()
    assert "8x8 pixels" in next(line for line in lines if line.startswith("digits"))


def test_show_prints_the_file_as_it_is(onecycle: Command) -> None:
    assert onecycle("recipes", "show", "images").stdout == shipped_path("images").read_text()


def test_copy_makes_a_new_file_and_never_writes_over_one(onecycle: Command) -> None:
    assert onecycle("recipes", "copy", "digits").stdout == "digits.yaml\n"
    assert Path("digits.yaml").read_text() == shipped_path("digits").read_text()
    Path("digits.yaml").write_text("mine")
    again = onecycle("recipes", "copy", "digits")
    assert again.exit_code == 2
    assert "digits.yaml exists already" in again.stderr
    assert Path("digits.yaml").read_text() == "mine"
    assert onecycle("recipes", "copy", "digits", "other.yaml").exit_code == 0
    Path("folder").mkdir()
    assert onecycle("recipes", "copy", "digits", "folder").stdout == "folder/digits.yaml\n"
    assert "There is no folder nowhere" in onecycle("recipes", "copy", "digits", "nowhere/x.yaml").stderr


def test_check_tells_every_wrong_recipe_and_goes_on(onecycle: Command) -> None:
    text = shipped_path("digits").read_text()
    Path("good.yaml").write_text(text)
    Path("bad.yaml").write_text(text.replace("width: 1", "width: wide").replace("epochs: 15", "epochs: 0"))
    result = onecycle("recipes", "check", "bad.yaml", "nowhere.yaml", "good.yaml", "digits")
    assert result.exit_code == 2
    assert result.stdout == "good.yaml: ok\ndigits: ok\n"
    assert "bad.yaml: 2 fields are wrong" in result.stderr
    assert "There is no recipe at nowhere.yaml" in result.stderr
    assert onecycle("recipes", "check", "good.yaml").exit_code == 0


def test_the_schema_describes_every_section(onecycle: Command) -> None:
    schema = json.loads(onecycle("recipes", "schema").stdout)
    assert list(schema["properties"])[:4] == ["name", "description", "seed", "data"]
    assert schema["additionalProperties"] is False
    for variant in ("BlogOneCycleSettings", "CosineSettings"):
        assert "peak" in schema["$defs"][variant]["properties"]["max_lr"]["description"]
    assert "three_phase" not in schema["$defs"]["BlogOneCycleSettings"]["properties"]
