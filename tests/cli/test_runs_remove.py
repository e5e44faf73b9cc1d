"""`runs remove`, `runs restore`, `runs trash`: the way there, the way back, and the end."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.fixture
def family(once: Callable, onecycle: Command, tiny_digits: list[str]) -> None:
    """A range test, a training with its max_lr, and an evaluation of that training."""

    def make() -> None:
        for words in (
            ("find-lr", *tiny_digits, "--name", "found"),
            ("train", *tiny_digits, "--max-lr-from", "found", "--name", "trained"),
            ("evaluate", "trained", "--name", "scored"),
        ):
            assert onecycle(*words).exit_code in (0, 3)

    once("a family of runs", make)
    for run, field, other in (("trained", "max_lr_from", "found"), ("scored", "trained_run", "trained")):
        file = Path("runs", run, "run.json")
        facts = json.loads(file.read_text())
        assert facts[field].endswith(f"/runs/{other}")
        file.write_text(json.dumps(facts | {field: str(Path("runs", other).absolute())}))  # they may be a copy


def names(onecycle: Command) -> list[str]:
    return [Path(row["run"]).name for row in json.loads(onecycle("runs", "--json").stdout)]


@pytest.mark.usefixtures("family")
def test_what_is_removed_comes_back_with_the_command_that_is_printed(onecycle: Command) -> None:
    result = onecycle("runs", "remove", "scored", "runs/trained", "scored")
    assert result.exit_code == 0, result.stderr
    assert names(onecycle) == ["found"]
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["runs/scored", "runs/trained"]
    undo = result.stderr.removeprefix("To undo it: onecycle ")
    assert shlex.split(undo)[:2] == ["runs", "restore"]
    listed = [line.split()[1] for line in onecycle("runs", "trash").stdout.splitlines()[1:]]
    assert listed == ["scored", "trained"]
    back = onecycle(*shlex.split(undo))
    assert (back.exit_code, back.stdout) == (0, "runs/scored\nruns/trained\n")
    assert names(onecycle) == ["found", "trained", "scored"]


@pytest.mark.usefixtures("family")
def test_a_run_that_others_name_needs_force_which_says_who_they_are(onecycle: Command) -> None:
    here = Path("runs").absolute()
    for runs, line in (
        (("scored", "found"), f"  {here}/trained: max_lr_from {here}/found\n"),
        (("found", "trained"), f"  {here}/scored: trained_run {here}/trained\n"),
    ):
        refused = onecycle("runs", "remove", *runs)
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert line in refused.stderr
        assert names(onecycle) == ["found", "trained", "scored"]
    forced = onecycle("runs", "remove", "found", "--force")
    assert (forced.exit_code, f"  {here}/trained: max_lr_from" in forced.stderr) == (0, True)
    assert names(onecycle) == ["trained", "scored"]


def test_all_runs_are_checked_before_the_first_one_moves(onecycle: Command, trained: str) -> None:
    running = Path("runs/running")
    running.mkdir()
    facts = json.loads(Path("runs", trained, "run.json").read_text())
    (running / "run.json").write_text(json.dumps(facts | {"status": "running", "host": "node7"}))
    refused = onecycle("runs", "remove", trained, "running")
    assert (refused.exit_code, "is running on another machine, node7" in refused.stderr) == (2, True)
    assert onecycle("runs", "remove", trained, "nobody").exit_code == 2
    assert sorted(names(onecycle)) == ["running", "trained"]
    assert onecycle("runs", "remove", trained, "running", "--force").exit_code == 0
    assert names(onecycle) == []


def test_the_trash_is_emptied_after_a_clear_word_only(onecycle: Command, trained: str) -> None:
    onecycle("runs", "remove", trained)
    refused = onecycle("runs", "trash", "--empty")
    assert (refused.exit_code, "Add --yes" in refused.stderr) == (2, True)
    assert onecycle("runs", "trash", "--yes").exit_code == 2
    (row,) = json.loads(onecycle("runs", "trash", "--json").stdout)
    assert (row["name"], row["bytes"] > 10_000, Path(row["path"]).is_dir()) == (trained, True, True)
    emptied = onecycle("runs", "trash", "--empty", "--yes")
    assert (emptied.exit_code, emptied.stderr.startswith("Deleted 1 run, 0.")) == (0, True)
    assert list(Path("runs/.trash").iterdir()) == []
    assert onecycle("runs", "trash", "--empty").stderr == "Deleted 0 runs, 0.0 MiB.\n"
    assert onecycle("runs", "restore", trained).exit_code == 2


def test_the_command_that_undoes_names_the_folder_of_runs(onecycle: Command, trained: str) -> None:
    Path("runs").rename("my runs")
    undo = onecycle("runs", "remove", "my runs/trained").stderr.removeprefix("To undo it: onecycle ")
    assert onecycle(*shlex.split(undo)).stdout == f"{Path('my runs').absolute()}/{trained}\n"


def test_a_run_is_removed_once_however_it_is_named(
    onecycle: Command, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path("runs", trained).absolute()
    (run / "inner").mkdir()
    monkeypatch.chdir(run / "inner")
    result = onecycle("runs", "remove", "..", run)
    assert (result.exit_code, result.stdout.count("moved to")) == (0, 1), result.output
    assert [path.name[16:] for path in (run.parent / ".trash").iterdir()] == [trained]
