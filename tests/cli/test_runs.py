"""`runs`: the list of what was run."""

import json
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., object]


def test_runs_are_listed_with_status_and_result(onecycle: Command, tiny_digits: list[str]) -> None:
    assert onecycle("runs").stdout == "run  status  result\n"
    onecycle("find-lr", *tiny_digits, "--name", "found")
    onecycle("train", *tiny_digits, "--name", "trained")
    onecycle("sweep-wd", *tiny_digits, "--name", "swept", "--weight-decays", "1e-3")
    onecycle("evaluate", "trained", "--name", "scored")
    onecycle("find-lr", *tiny_digits, "--set", "data.batch_size=5000", "--name", "failed")
    lines = [line.split(maxsplit=2) for line in onecycle("runs").stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == [f"runs/{n}" for n in ("found", "trained", "swept", "scored", "failed")]
    assert [line[1] for line in lines] == ["finished"] * 4 + ["failed"]
    assert [line[2].split()[0] for line in lines[:4]] == ["max_lr", "valid_accuracy", "weight_decay", "accuracy"]
    assert len(lines[4]) == 2


def test_runs_as_json_are_read_by_scripts(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("train", *tiny_digits, "--name", "trained", "--runs-dir", "elsewhere")
    (run,) = json.loads(onecycle("runs", "--runs-dir", "elsewhere", "--json").stdout)
    summary = json.loads(Path("elsewhere/trained/summary.json").read_text())
    assert run["run"] == "elsewhere/trained"
    assert (run["command"], run["recipe"], run["status"]) == ("train", "digits", "finished")
    assert (run["result"], run["value"]) == ("valid_accuracy", summary["valid_accuracy"])
