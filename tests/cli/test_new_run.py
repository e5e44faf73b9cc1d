"""What every command that makes a run has in common."""

import json
from collections.abc import Callable

import pytest

Command = Callable[..., object]


@pytest.mark.parametrize(
    ("command", "nothing"),
    [("find-lr", "max_lr"), ("train", "max_lr"), ("tune", "max_lr"), ("find-batch-size", "batch_size")],
)
def test_a_run_that_fails_has_a_json_object_with_the_reason_too(
    onecycle: Command, tiny_digits: list[str], command: str, nothing: str
) -> None:
    words = [*tiny_digits, "--set", "data.source=image_folder", "--set", "data.path=nowhere", "--name", "failed"]
    result = onecycle(command, *words, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["run"], found[nothing]) == (2, "runs/failed", None)
    assert "There is no folder" in found["reason"]
    assert "There is no folder" in result.stderr
