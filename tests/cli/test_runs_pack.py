"""`runs pack` and `runs unpack`: a run on another machine is the same run."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import onecycle_cli
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]


@pytest.fixture
def packed(once: Callable, onecycle: Command, tiny_digits: list[str]) -> None:
    """A range test, a training from its max_lr, one from that model, one that was cut short, and a sweep: x.tar.gz."""

    def make() -> None:
        for words in (
            ("find-lr", *tiny_digits, "--name", "found"),
            ("train", *tiny_digits, "--max-lr-from", "found", "--name", "trained"),
            ("train", *tiny_digits, "--init", "trained", "--name", "tuned"),
            ("sweep-wd", *tiny_digits, "--name", "swept", "--weight-decays", "1e-3,1e-4"),
        ):
            assert onecycle(*words).exit_code in (0, 3)
        shutil.copytree("runs/trained", "runs/cut")
        for name in ("model.safetensors", "summary.json"):
            Path("runs/cut", name).unlink()
        facts = json.loads(Path("runs/cut/run.json").read_text())
        Path("runs/cut/run.json").write_text(json.dumps(facts | {"status": "interrupted", "files": {}}))

    once("runs to pack", make)
    recipe = Path("runs/tuned/recipe.yaml")
    here = f"  init: {Path('runs/trained').absolute()}"
    RunDir("runs/tuned").update(files={})
    recipe.write_text(re.sub("^  init: /.*/runs/trained$", here, recipe.read_text(), flags=re.MULTILINE))
    result = onecycle("runs", "pack", "found", "trained", "tuned", "cut", "swept", "x.tar.gz")
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["runs", "files", "size", "file"]


@pytest.mark.usefixtures("packed")
def test_unpacked_runs_are_used_as_before(onecycle: Command, tiny_digits: list[str]) -> None:
    scores = onecycle("evaluate", "trained", "--quiet").stdout
    expected = Path("runs/trained/model.safetensors").read_bytes()
    Path("runs").rename("away")  # the machine that they came from
    result = onecycle("runs", "unpack", "x.tar.gz", "--runs-dir", "there")
    assert result.stdout == "there/cut\nthere/found\nthere/swept\nthere/trained\nthere/tuned\n"
    init = f"  there/tuned: model.init {Path('runs/trained').absolute()}\n"
    assert "Paths that do not exist on this machine:\n" in result.stderr
    assert init in result.stderr
    for path in Path("away").rglob("*"):
        if path.is_file() and not path.name.startswith(".") and "evaluate" not in str(path):
            assert Path("there", path.relative_to("away")).read_bytes() == path.read_bytes()
    runs = ("--runs-dir", "there")
    assert onecycle("evaluate", "trained", "--quiet", *runs).stdout == scores
    assert onecycle_cli.open_run("there/trained").epochs.equals(onecycle_cli.open_run("away/trained").epochs)
    assert len(onecycle_cli.open_run("there/swept").cells) == 2
    assert onecycle("train", *tiny_digits, "--max-lr-from", "found", "--quiet", *runs).exit_code in (0, 3)
    assert onecycle("train", "--resume", "cut", "--quiet", *runs).exit_code in (0, 3)
    assert Path("there/cut/model.safetensors").read_bytes() == expected


@pytest.mark.usefixtures("packed")
def test_runs_that_exist_are_not_overwritten(onecycle: Command) -> None:
    refused = onecycle("runs", "unpack", "x.tar.gz")
    assert (refused.exit_code, "There is a run runs/cut already." in refused.stderr) == (2, True)
    again = onecycle("runs", "pack", "found", "x.tar.gz")
    assert (again.exit_code, "x.tar.gz exists already" in again.stderr) == (2, True)


def test_a_wrong_command_line_is_told(onecycle: Command, trained: str) -> None:
    for words, says in (
        (("pack", "x.tar.gz"), "The new file is missing"),
        (("pack", trained), "'trained' does not end in .tar.gz or .tgz"),
        (("pack", "nobody", "x.tar.gz"), "is not a run"),
        (("unpack", "x.tar.gz"), "There is no file x.tar.gz"),
        (("unpack", "runs"), "There is no file runs"),
    ):
        result = onecycle("runs", *words)
        assert (result.exit_code, says in result.stderr) == (2, True), (words, result.stderr)


def test_a_run_of_another_machine_is_packed_with_a_note(onecycle: Command, trained: str) -> None:
    facts = Path("runs", trained, "run.json")
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"status": "running", "host": "node\x1b7"}))
    result = onecycle("runs", "pack", trained, "x.tar.gz")
    assert (result.exit_code, "runs/trained is running on node\\x1b7, or was killed there" in result.stderr) == (
        0,
        True,
    )
    onecycle("runs", "unpack", "x.tar.gz", "--runs-dir", "there")
    assert json.loads(Path("there/trained/run.json").read_text())["status"] == "interrupted"
