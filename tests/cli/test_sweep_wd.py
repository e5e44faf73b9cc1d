"""`sweep-wd` as a person runs it."""

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.mark.draws
def test_sweep_wd_prints_a_table_the_choice_and_the_command_that_follows(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    result = onecycle("sweep-wd", *tiny_digits, "--weight-decays", "1e-2,1e-4")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split() == [
        "weight_decay",
        "argmin_lr",
        "onset_lr",
        "reach_lr",
        "stop_lr",
        "max_lr",
        "confidence",
        "status",
    ]
    assert " in a step at the peak" in result.stdout or "of the highest. Reaches: " in result.stdout
    command = result.stdout.splitlines()[-1].split()[2:]
    assert command[0] == "train"
    assert onecycle(*command).exit_code == 0


def test_sweep_wd_quiet_prints_the_chosen_weight_decay_and_json_all_rows(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    words = ("sweep-wd", *tiny_digits, "--weight-decays", "1e-3")
    assert onecycle(*words, "--quiet").stdout == "1e-3\n"
    found = json.loads(onecycle(*words, "--json").stdout)
    assert found["weight_decay"] == 1e-3
    assert [row["weight_decay"] for row in found["rows"]] == [1e-3]


def test_sweep_wd_without_any_suggestion_exits_with_4(onecycle: Command, tiny_digits: list[str]) -> None:
    too_low = ("--set", "find_lr.start_lr=1e-12", "--set", "find_lr.end_lr=1e-8", "--set", "find_lr.num_steps=10")
    low = (*too_low, "--weight-decays", "1e-3")
    result = onecycle("sweep-wd", *tiny_digits, *low)
    assert (result.exit_code, result.stdout) == (4, "")
    assert "No weight decay" in result.stderr
    assert "  1e-3: The loss never fell" in result.stderr
    again = onecycle("sweep-wd", *tiny_digits, *low, "--json")
    found = json.loads(again.stdout)
    assert (again.exit_code, found["weight_decay"], found["max_lr"], len(found["rows"])) == (4, None, None, 1)
    assert "No weight decay" in found["reason"]
