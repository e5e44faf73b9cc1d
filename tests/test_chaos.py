"""A short form of `make chaos`."""

from pathlib import Path

from chaos import chaos


def test_runs_that_are_killed_and_go_on_end_as_one_that_was_not(tmp_path: Path) -> None:
    assert chaos(tmp_path, 2, ("sgd",)).total() >= 2
