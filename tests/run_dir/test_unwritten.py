"""The run of a process that writes nothing."""

from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.unwritten import UnwrittenRun

FACTS = {
    "command": "train",
    "recipe": "digits",
    "status": "running",
    "started": "2026-01-01T00:00:00+00:00",
    "notes": [],
}


@pytest.fixture
def run(tmp_path: Path) -> UnwrittenRun:
    return UnwrittenRun(tmp_path / "there", FACTS)


def test_it_has_the_facts_that_it_is_given_and_those_that_are_added(run: UnwrittenRun) -> None:
    run.update(ranks=2)
    run.note("a note")
    assert run.facts == FACTS | {"ranks": 2, "notes": ["a note"]}
    assert run.status == "running"


def test_nothing_is_written(run: UnwrittenRun, tmp_path: Path) -> None:
    with run.alone(), run.recording(), run.table("steps.csv", ("step",)) as table:
        table.append([{"step": 0}])
        table.to_disk()
        run.write_text("a.txt", "text")
        run.write_with("b.bin", lambda path: path.write_bytes(b"1"))
        run.rename("a.txt", "c.txt")
        run.finish("finished", {"accuracy": 1.0})
    assert run.summary == {"accuracy": 1.0}
    assert run.status == "finished"
    assert list(tmp_path.iterdir()) == []


def test_its_end_is_recorded_in_memory(run: UnwrittenRun) -> None:
    assert run.summary == {}
    with pytest.raises(InputError), run.recording():
        raise InputError("No.", "Mend it.")
    assert run.status == "failed"


def test_a_table_that_grows_elsewhere_is_empty_here(run: UnwrittenRun) -> None:
    assert run.read_growing_table("steps.csv") == []
