"""The folder of a run, made by an experiment, and what goes into it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.session import continued_run, hardware_of, new_run
from onecycle_cli.recipe import Recipe, load, to_yaml

Tiny = Callable[..., Recipe]


def test_a_new_run_has_its_recipe_its_seed_and_its_hardware(tiny: Tiny) -> None:
    session = new_run("train", tiny({"seed": 7}), auto=True)
    facts = session.run.facts
    assert session.run.path.parent == Path("runs")
    assert (facts["command"], facts["status"], facts["seed"], facts["auto"]) == ("train", "running", 7, True)
    assert (facts["device"], facts["precision"]) == ("cpu", "float32")
    assert facts["command_line"].startswith("onecycle")
    assert load(session.run.path / "recipe.yaml") == tiny({"seed": 7})


def test_a_name_that_is_taken_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    new_run("train", tiny(), runs_dir=tmp_path / "mine", name="a")
    with pytest.raises(InputError, match="A run named 'a' already exists"):
        new_run("train", tiny(), runs_dir=tmp_path / "mine", name="a")


def test_a_device_that_is_missing_is_told_before_a_folder_is_made(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="There is no device mps"):
        new_run("train", tiny({"runtime.device": "mps"}))
    assert not Path("runs").exists()


def test_the_same_command_continues_its_run_and_another_one_is_refused(tiny: Tiny) -> None:
    first = continued_run("sweep", tiny(), name="a")
    first.run.finish("finished", {})
    again = continued_run("sweep", tiny(), name="a")
    assert again.run.path == first.run.path
    assert again.run.facts["status"] == "finished"  # another command may have it in use
    with pytest.raises(InputError, match="A run named 'a' already exists"):
        continued_run("tune", tiny(), name="a")


def test_a_command_that_is_started_twice_at_once_has_one_run(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(recipe: Recipe) -> str:
        monkeypatch.setattr("onecycle_cli.experiments.session.to_yaml", to_yaml)
        new_run("sweep", recipe, name="a")  # by the other process, after this one saw that there is none
        return to_yaml(recipe)

    monkeypatch.setattr("onecycle_cli.experiments.session.to_yaml", meanwhile)
    found = continued_run("sweep", tiny(), runs_dir=Path.cwd() / "runs", name="a")
    assert found.run.path.name == "a"
    assert [path.name for path in found.run.path.parent.iterdir()] == ["a"]


def test_a_note_is_told_and_kept_once(tiny: Tiny) -> None:
    told: list = []
    session = new_run("train", tiny(), report=told.append)
    session.note("One.")
    session.note("One.")
    assert told == ["One.", "One."]
    assert session.run.facts["notes"] == ["One."]


def test_a_session_in_another_folder_keeps_its_hardware_and_its_report(tiny: Tiny) -> None:
    session = new_run("sweep", tiny())
    cell = session.run.inner("seed=1", "")
    moved = session.at(cell)
    assert (moved.run, moved.hardware, moved.report) == (cell, session.hardware, session.report)
    assert moved.hardware == hardware_of(tiny())
