"""What is known of a run when it starts."""

import platform
import subprocess
from pathlib import Path

import torch

from onecycle_cli import __version__
from onecycle_cli.run_dir.facts import command_line, process_facts


def test_the_command_line_can_be_pasted_into_a_shell() -> None:
    assert command_line(["train", "my recipe.yaml", "--set", "a=b"]) == "onecycle train 'my recipe.yaml' --set a=b"


def test_the_versions_are_those_that_run() -> None:
    versions = process_facts()["versions"]
    assert versions["onecycle-cli"] == __version__
    assert versions["python"] == platform.python_version()
    assert torch.__version__.startswith(versions["torch"])


def test_the_commit_is_that_of_the_folder_and_tells_of_changes(tmp_path: Path) -> None:
    assert process_facts()["git_commit"] is None

    def git(*words: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        return subprocess.run(["git", *identity, *words], capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-q", "-m", "x")
    commit = git("rev-parse", "HEAD")
    assert process_facts()["git_commit"] == commit
    (tmp_path / "a").write_text("2")
    assert process_facts()["git_commit"] == f"{commit}+changes"
