"""`find-batch-size` as a person and as a script run it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.experiments import batch_size

Command = Callable[..., Result]


@pytest.fixture
def few_images(tiny_digits: list[str]) -> list[str]:
    """179 training images, so that no batch is larger than 128."""
    return [*tiny_digits, "--set", "data.valid_fraction=0.9"]


@pytest.fixture(autouse=True)
def _few_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


def test_it_prints_a_table_the_size_and_the_command_that_follows(onecycle: Command, few_images: list[str]) -> None:
    result = onecycle("find-batch-size", *few_images, "--name", "sized")
    assert result.exit_code == 0
    table, below = result.stdout.split("\n\n")
    assert table.splitlines()[0].split() == ["batch_size", "status", "images_per_second", "peak_memory_gib"]
    found = dict(line.split(maxsplit=1) for line in below.splitlines())
    size = found["batch_size"]
    assert size in [line.split()[0] for line in table.splitlines()[1:]]
    assert found["max_lr"] == "has to be found again for another batch size"
    assert found["next"] == f"onecycle find-lr runs/sized/recipe.yaml --batch-size {size}"
    assert Path("runs/sized/recipe.yaml").is_file()
    assert onecycle("runs").stdout.splitlines()[1].split() == ["runs/sized", "finished", "batch_size", size]


def test_quiet_prints_the_bare_number(onecycle: Command, few_images: list[str]) -> None:
    result = onecycle("find-batch-size", *few_images, "--quiet")
    assert (int(result.stdout) >= 16, result.stderr) == (True, "")


def test_json_is_one_object_with_every_trial(onecycle: Command, few_images: list[str]) -> None:
    found = json.loads(onecycle("find-batch-size", *few_images, "--json").stdout)
    summary = json.loads(Path(found.pop("run"), "summary.json").read_text())
    assert found == {name: value for name, value in summary.items() if name != "sha256"}
    assert found["trials"][0]["batch_size"] == 16
    assert found["batch_size"] in [trial["batch_size"] for trial in found["trials"]]
