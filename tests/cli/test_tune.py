"""`tune` as a person and as a script run it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.experiments import batch_size
from onecycle_cli.recipe import to_yaml

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _few_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each batch size makes its speed stable, which no test here needs."""
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


def test_tune_prints_what_it_chose_and_the_training_that_follows(onecycle: Command, easy: Callable) -> None:
    Path("easy.yaml").write_text(to_yaml(easy({"sweep_wd.weight_decays": [1e-3]})))
    words = ("tune", "easy.yaml", "--budget", "24h")
    result = onecycle(*words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split() == ["stage", "was", "chosen"]
    command = result.stdout.splitlines()[-1].split()[2:]
    assert command[0] == "train"
    assert onecycle(*command).exit_code == 0
    recipe = onecycle(*words, "--quiet").stdout.strip()
    assert recipe == command[1]
    found = json.loads(onecycle(*words, "--json").stdout)
    assert found["recipe"] == recipe
    assert [decision["stage"] for decision in found["decisions"]] == ["batch size", "weight decay", "momentum"]


@pytest.mark.parametrize("budget", ["soon", "0m", "-5m", "10 days", ""])
def test_a_budget_that_is_no_time_is_told(onecycle: Command, budget: str) -> None:
    result = onecycle("tune", "digits", f"--budget={budget}")
    assert result.exit_code == 2
    assert "90s, 10m or 2h" in result.stderr


@pytest.mark.parametrize("setting", ["fine_tune.stages=[{epochs: 2}]", "schedule.max_lr=[1e-3, 1e-2]"])
def test_a_recipe_of_more_than_one_max_lr_is_refused(onecycle: Command, tiny_digits: list[str], setting: str) -> None:
    result = onecycle("tune", *tiny_digits, "--set", setting)
    assert result.exit_code == 2
    assert "one cycle with one max_lr" in result.stderr
