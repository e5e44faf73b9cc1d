"""`find-lr` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.recipe import load, to_yaml

Command = Callable[..., Result]
RUNS = Path("runs")


def only_run() -> Path:
    (run,) = RUNS.iterdir()
    return run


@pytest.mark.draws
def test_find_lr_prints_its_result_and_where_everything_is(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("find-lr", *tiny_digits)
    assert result.exit_code == 0
    lines = {line[:21].strip(): line[21:] for line in result.stdout.splitlines()}
    assert float(lines["max_lr"]) == pytest.approx(10 * float(lines["initial_lr"]), rel=0.01)
    assert lines["confidence"] in ("high", "medium", "low")
    assert lines["accuracy lost"].endswith("with 90 % probability")
    assert lines["best max_lr"].startswith("from ")
    assert "of the basin: the loss falls from" in lines["why"]
    assert Path(lines["curve"]).is_file()
    assert Path(lines["figure"]).is_file()
    assert lines["next"] == f"onecycle train {only_run()}/recipe.yaml --max-lr-from {only_run()}"
    assert "range test 40/40 steps" in result.stderr


def test_find_lr_quiet_prints_one_number_alone(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("find-lr", *tiny_digits, "--epochs", 9, "--quiet")
    assert float(result.stdout) > 0
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def test_find_lr_json_is_one_object_with_the_run_and_the_summary(onecycle: Command, tiny_digits: list[str]) -> None:
    found = json.loads(onecycle("find-lr", *tiny_digits, "--json").stdout)
    assert Path(found["run"]) == only_run()
    saved = json.loads((only_run() / "suggestion.json").read_text())
    assert saved.pop("curve_settings")["data.batch_size"] == 128
    assert saved.pop("steps_per_epoch") == 12
    del saved["sha256"]
    assert saved == {k: v for k, v in found.items() if k != "run"}


def test_find_lr_without_a_suggestion_exits_with_4_and_has_the_reason(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    low = ("--set", "find_lr.start_lr=1e-12", "--set", "find_lr.end_lr=1e-8", "--set", "find_lr.num_steps=10")
    for form in ((), ("--quiet",), ("--json",)):
        result = onecycle("find-lr", *tiny_digits, *low, *form)
        assert result.exit_code == 4
        if form == ("--json",):
            found = json.loads(result.stdout)
            assert (found["max_lr"], "never fell" in found["reason"]) == (None, True)
            assert Path(found["run"], "lr_range.csv").is_file()
        else:
            assert result.stdout == ""
        assert "never fell" in result.stderr
        assert "lr_range.csv" in result.stderr
        assert "Test for longer: --repeats 3 --set find_lr.num_steps=20\n" in result.stderr
    assert {line.split(maxsplit=2)[2] for line in onecycle("runs").stdout.splitlines()[1:]} == {"no max_lr"}


def test_a_range_test_without_a_suggestion_names_the_training_at_its_guess(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    # At lrs up to 100, the loss explodes, which gives the guess; 12 steps are too few for a fall beyond noise.
    noisy = ("--set", "find_lr.num_steps=12", "--set", "find_lr.end_lr=100", "--repeats", 2)
    result = onecycle("find-lr", *tiny_digits, *noisy, "--name", "noisy")
    assert result.exit_code == 4, result.output
    guess = json.loads(Path("runs/noisy/suggestion.json").read_text())["typical_max_lr"]
    assert f"Train at the guess: onecycle train runs/noisy/recipe.yaml --max-lr {guess:g}\n" in result.stderr
    assert "Test for longer: --set find_lr.num_steps=24\n" in result.stderr  # it has been repeated
    latest = onecycle("train", *tiny_digits, "--max-lr-from", "latest")
    assert latest.exit_code == 2
    assert "runs/noisy, the newest range test for a recipe named 'digits', suggests no max_lr." in latest.stderr
    assert f"--max-lr {guess:g}" in latest.stderr


def test_the_options_of_find_lr_reach_the_recipe_of_the_run(onecycle: Command, tiny_digits: list[str]) -> None:
    flags = ["--batch-size", 100, "--weight-decay", "5e-3", "--seed", 4, "--mode", "linear", "--valid-every", 10]
    result = onecycle("find-lr", *tiny_digits, *flags, "--device", "cpu", "--name", "mine", "--runs-dir", "elsewhere")
    assert result.exit_code in (0, 4)
    recipe = load(Path("elsewhere/mine/recipe.yaml"))
    assert (recipe.data.batch_size, recipe.optimizer.weight_decay, recipe.seed) == (100, 5e-3, 4)
    assert (recipe.find_lr.mode, recipe.find_lr.valid_every, recipe.runtime.device) == ("linear", 10, "cpu")
    assert "valid_loss" in pd.read_csv("elsewhere/mine/lr_range.csv").columns


def test_little_confidence_is_told_on_standard_error_even_where_one_number_is_asked_for(
    onecycle: Command, easy: Callable
) -> None:
    # The loss is down by 43 to 48 % of its fall at the end of the start, where 25 % make the confidence low.
    Path("high.yaml").write_text(to_yaml(easy({"find_lr.start_lr": 0.03, "find_lr.num_steps": 80})))
    result = onecycle("find-lr", "high.yaml", "--quiet", "--name", "low")
    assert float(result.stdout) > 0
    assert "times the middle" in result.stderr
    train = onecycle("train", "high.yaml", "--max-lr-from", "low", "--quiet")
    assert "The confidence in it is low. " in train.stderr
    assert "falls from the first steps on" in train.stderr
