"""`runs label` and `runs note`: a person's own words about a run."""

import json
from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

Command = Callable[..., Result]


def test_a_labelled_run_is_found_by_its_labels(onecycle: Command, trained: str) -> None:
    result = onecycle("runs", "label", trained, "paper", "first try")
    assert result.stdout == "run     runs/trained\nlabels  paper, first try\n"
    assert onecycle("runs", "--label", "paper").stdout.splitlines()[1].endswith("  paper, first try")
    assert onecycle("runs", "label", trained, "first try", "--remove").exit_code == 0
    (row,) = json.loads(onecycle("runs", "--label", "paper", "--json").stdout)
    assert row["labels"] == ["paper"]
    nothing = onecycle("runs", "--label", "papr")
    assert (nothing.exit_code, nothing.stdout) == (0, "run  status  result\n")
    assert nothing.stderr == "No run has the label 'papr': did you mean paper?\n"


def test_a_note_is_added_to_the_earlier_ones_and_prints_safely(onecycle: Command, trained: str) -> None:
    onecycle("runs", "note", trained, "first")
    lines = onecycle("runs", "note", trained, "red \x1b[31m").stdout.splitlines()
    assert lines[0].split() == ["run", "runs/trained"]
    assert lines[1].endswith("+00:00  first")
    assert lines[2].endswith("+00:00  red \\x1b[31m")
    (row,) = json.loads(onecycle("runs", "--json").stdout)
    assert [note["text"] for note in row["notes"]] == ["first", "red \x1b[31m"]


def test_what_cannot_be_written_is_told(onecycle: Command, trained: str) -> None:
    for words, says in (
        (("label", trained, "a,b"), "cannot be a label"),
        (("label", trained, "a", "--remove"), "It has no labels."),
        (("label", "nobody", "a"), "is not a run"),
        (("note", trained, " "), "The note is empty."),
    ):
        result = onecycle("runs", *words)
        assert (result.exit_code, says in result.stderr) == (2, True), result.stderr
    assert not Path("runs/trained/annotations.json").exists()
