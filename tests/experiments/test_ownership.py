"""Who of several commands records a sweep."""

from contextlib import suppress
from pathlib import Path

import pytest

from onecycle_cli.experiments.ownership import shared
from onecycle_cli.run_dir.run import RunDir


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="sweep", recipe_name="d", recipe_yaml="", facts={}, name="s")


def test_a_second_command_records_nothing_while_the_first_is_there(run: RunDir) -> None:
    with shared(run) as first:
        assert first.owns()
        before = (run.path / "run.json").read_bytes()
        with suppress(KeyboardInterrupt), shared(run) as second:
            assert not second.owns()
            second.finish({})
            raise KeyboardInterrupt
        assert (run.path / "run.json").read_bytes() == before
    assert run.status == "finished"


def test_a_second_command_takes_over_from_one_that_failed(run: RunDir) -> None:
    first = shared(run)
    first.__enter__()
    attempt = run.facts["attempt"]
    with shared(run) as second:
        assert not second.owns()
        first.__exit__(ValueError, ValueError("of the first"), None)
        assert run.facts["status"] == "failed"
        assert second.owns()
        # The same attempt: a cell that failed in it is not run again.
        assert (run.facts["status"], run.facts["attempt"]) == ("running", attempt)
        second.finish({"cells": 1})
    assert run.summary == {"cells": 1}


def test_what_the_first_has_finished_is_left_as_it_is(run: RunDir) -> None:
    first = shared(run)
    first.__enter__().finish({"cells": 1})
    with shared(run) as second:
        assert not second.owns()
        first.__exit__(None, None, None)
        before = (run.path / "run.json").read_bytes()
        assert second.owns()
        second.finish({})
    assert (run.path / "run.json").read_bytes() == before
    assert run.summary == {"cells": 1}


def test_each_start_is_an_attempt_of_its_own(run: RunDir) -> None:
    attempts = set()
    for _ in range(2):
        with shared(run):
            attempts.add(run.facts["attempt"])
    assert len(attempts) == 2
