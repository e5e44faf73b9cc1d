"""Labels and notes: added, removed, never lost."""

import json
import multiprocessing
from collections.abc import Callable

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.annotations import (
    LONGEST_LABEL,
    Annotations,
    add_labels,
    add_note,
    checked_label,
    read_annotations,
    remove_labels,
)
from onecycle_cli.run_dir.files import ANNOTATIONS, RUN
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def test_labels_are_added_once_in_order_and_removed(make: Make) -> None:
    run = make()
    assert read_annotations(run) == Annotations()
    add_labels(run, ["paper", "final run"])
    assert add_labels(run, ["baseline", "paper"]).labels == ("paper", "final run", "baseline")
    assert remove_labels(run, ["paper"]).labels == read_annotations(run).labels == ("final run", "baseline")


def test_a_label_that_is_not_there_is_not_removed_and_nothing_else_is(make: Make) -> None:
    run = make()
    with pytest.raises(InputError, match="has no label 'b'") as told:
        remove_labels(run, ["b"])
    assert told.value.fix == "It has no labels."
    add_labels(run, ["a"])
    with pytest.raises(InputError, match="It has a\\."):
        remove_labels(run, ["a", "b"])
    assert read_annotations(run).labels == ("a",)


@pytest.mark.parametrize(
    "text", ["", " a", "a ", "a,b", "a\nb", "\x1b[31m", "\udcff", "\u202e", "x" * (LONGEST_LABEL + 1)]
)
def test_what_would_spoil_a_table_is_no_label(make: Make, text: str) -> None:
    with pytest.raises(InputError, match="cannot be a label"):
        add_labels(make(), ["good", text])


def test_a_label_has_one_unicode_form_so_that_it_is_found(make: Make) -> None:
    run = make()
    assert add_labels(run, ["Mu\u0308ller"]).labels == ("M\u00fcller",) == (checked_label("M\u00fcller"),)
    assert remove_labels(run, ["Mu\u0308ller"]).labels == ()


def test_notes_are_added_with_their_time_and_any_text_comes_back(make: Make) -> None:
    run = make()
    add_note(run, "first")
    hostile = "two\nlines \x1b[31m \udcff \\xff"
    first, second = add_note(run, hostile).notes
    assert (first.text, second.text) == ("first", hostile)
    assert read_annotations(run).notes == (first, second)
    assert first.written <= second.written
    assert first.written.endswith("+00:00")
    with pytest.raises(InputError, match="empty"):
        add_note(run, " \n")


def test_run_json_is_not_touched(make: Make) -> None:
    run = make()
    before = (run.path / RUN).read_bytes()
    add_labels(run, ["a"])
    add_note(run, "b")
    assert (run.path / RUN).read_bytes() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"labels": []}',
        '{"labels": [1], "notes": []}',
        '{"labels": [], "notes": [{"text": "a"}]}',
        '{"labels": [], "notes": [{"text": 1, "written": ""}]}',
        '{"labels": null, "notes": []}',
    ],
)
def test_a_damaged_file_is_told_and_not_overwritten(make: Make, text: str) -> None:
    run = make()
    (run.path / ANNOTATIONS).write_text(text)
    for change in (lambda: read_annotations(run), lambda: add_note(run, "new"), lambda: add_labels(run, ["new"])):
        with pytest.raises(InputError, match="annotations.json is damaged"):
            change()
    assert (run.path / ANNOTATIONS).read_text() == text


def test_notes_that_are_written_at_once_are_all_there(make: Make) -> None:
    run, fork = make(), multiprocessing.get_context("fork")

    def some(nth: int) -> None:
        for number in range(5):
            add_note(run, f"{nth} {number}")

    writers = [fork.Process(target=some, args=(nth,)) for nth in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert sorted(note.text for note in read_annotations(run).notes) == [f"{a} {b}" for a in range(3) for b in range(5)]
    assert len(json.loads((run.path / ANNOTATIONS).read_text())["notes"]) == 15
