"""What is known of a run when it starts."""

import os
import platform
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from onecycle_cli import __version__
from onecycle_cli.run_dir.facts import (
    as_it_was_asked,
    began,
    clock_facts,
    command_line,
    is_before,
    is_process_gone,
    iso,
    order,
    process_facts,
    this_process,
    words_of,
)


def test_the_command_line_can_be_pasted_into_a_shell() -> None:
    assert command_line(["train", "my recipe.yaml", "--set", "a=b"]) == "onecycle train 'my recipe.yaml' --set a=b"


def test_a_command_line_is_read_as_the_shell_reads_it_and_a_cut_one_has_no_words() -> None:
    words = ["train", "my recipe.yaml", "--set", "a=b"]
    assert words_of({"command_line": command_line(words)}) == ["onecycle", *words]
    assert [words_of(facts) for facts in ({}, {"command_line": None}, {"command_line": "a 'b"})] == [[]] * 3


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (command_line(["train", "my recipe.yaml"]), "onecycle train 'my recipe.yaml'"),
        ("onecycle train x; touch trace", "onecycle train 'x;' touch trace"),
        ("onecycle train $(touch trace) `touch trace` | sh & touch trace\ntouch trace", None),
        ("touch trace # onecycle", ""),
    ],
)
def test_a_command_line_of_a_stranger_is_one_command_of_ours(tmp_path: Path, line: str, asked: str | None) -> None:
    again = as_it_was_asked({"command_line": line})
    assert asked in (again, None)
    subprocess.run(["sh", "-c", f"onecycle() {{ :; }}\n{again}"], check=True)
    assert not (tmp_path / "trace").exists()


def test_the_versions_are_those_that_run() -> None:
    versions = process_facts()["versions"]
    assert versions["onecycle-cli"] == __version__
    assert versions["python"] == platform.python_version()
    assert torch.__version__.startswith(versions["torch"])


def git(*words: str) -> str:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    return subprocess.run(["git", *identity, *words], capture_output=True, text=True, check=True).stdout.strip()


def committed(path: Path) -> str:
    """Makes the folder of the test a repository with one file, and returns its commit."""
    git("init", "-q")
    path.write_text("1")
    git("add", path.name)
    git("commit", "-q", "-m", "x")
    return git("rev-parse", "HEAD")


def test_the_commit_is_that_of_the_folder_and_tells_of_changes(tmp_path: Path) -> None:
    assert process_facts()["git_commit"] is None
    git("init", "-q")
    assert process_facts()["git_commit"] is None
    commit = committed(tmp_path / "a")
    (tmp_path / "new").touch()
    assert process_facts()["git_commit"] == commit
    (tmp_path / "a").write_text("2")
    assert process_facts()["git_commit"] == f"{commit}+changes"


def test_a_branch_and_a_file_may_have_names_that_are_not_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    commit = committed(tmp_path / name)
    git("branch", "-m", name)
    git("config", "core.quotePath", "false")
    assert process_facts()["git_commit"] == commit
    (tmp_path / name).write_text("2")
    assert process_facts()["git_commit"] == f"{commit}+changes"


def test_a_branch_whose_name_breaks_a_line_is_no_change(tmp_path: Path) -> None:
    commit = committed(tmp_path / "a")
    git("branch", "-m", "a\u2028b")
    assert process_facts()["git_commit"] == commit


def test_an_old_git_that_cannot_tell_whose_filters_there_are_gives_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As git before 2.26, which does not know `--show-scope`."""
    commit, real = committed(tmp_path / "a"), shutil.which("git")
    old = tmp_path / "bin" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\ncase "$*" in *--show-scope*) exit 129;; esac\nexec {real} "$@"\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{old.parent}{os.pathsep}{os.environ['PATH']}")
    assert process_facts()["git_commit"] == f"{commit}+unchecked"


@pytest.mark.parametrize("kind", ["filter", "monitor", "hook", "fetch"])
def test_no_program_runs_that_the_repository_of_the_folder_names(tmp_path: Path, kind: str) -> None:
    commit, trace = committed(tmp_path / "a"), tmp_path / "trace"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho ran > {trace}\nexit 1\n")
    program.chmod(0o755)
    if kind == "filter":
        (tmp_path / ".git/info/attributes").write_text("a filter=own\n")
        git("config", "filter.own.clean", str(program))
    elif kind == "monitor":
        git("config", "core.fsmonitor", str(program))
    elif kind == "hook":
        program.rename(tmp_path / ".git/hooks/post-index-change")
    else:
        for name, value in {"url": tmp_path / ".git", "promisor": "true", "uploadpack": program}.items():
            git("config", f"remote.origin.{name}", str(value))
        tree = git("rev-parse", "HEAD^{tree}")
        (tmp_path / ".git/objects" / tree[:2] / tree[2:]).unlink()
    os.utime(tmp_path / "a", (0, 0))  # git has to look into it
    found = process_facts()["git_commit"]
    assert not trace.exists()
    assert found == {"filter": f"{commit}+unchecked", "fetch": None}.get(kind, commit)
    subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, check=False, timeout=30)
    assert trace.exists()


def test_this_process_is_there() -> None:
    assert not is_process_gone(this_process())


def test_a_process_that_ended_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as ended:
        facts = this_process() | {"pid": ended.pid, "process_started": psutil.Process(ended.pid).create_time()}
        facts["process_began"] = began(ended.pid)
        assert not is_process_gone(facts)
        ended.kill()
        # Until its parent asks after it, its number is still there.
        while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert is_process_gone(facts)
    assert is_process_gone(facts)


def test_a_number_that_another_process_has_by_now_is_gone() -> None:
    facts = this_process()
    earlier = facts | {"process_started": facts["process_started"] - 3600}
    for began_before in (None, f"{facts['process_began']}0"):
        assert is_process_gone(earlier | {"process_began": began_before})


def test_a_number_that_another_process_has_soon_after_is_gone() -> None:
    """As in a container that starts again: its first processes have the numbers that they had before."""
    facts = this_process()
    if facts["process_began"] is None:
        pytest.skip("only Linux tells when a process began, counted from boot")
    boot, ticks = facts["process_began"].split()
    assert is_process_gone(facts | {"process_began": f"{boot} {int(ticks) - 3000}"})
    assert not is_process_gone(facts | {"process_began": f"another-{boot} {ticks}"})  # the time in seconds counts
    assert not is_process_gone(facts | {"process_began": None})


def test_a_process_is_still_there_when_the_clock_was_set() -> None:
    facts = this_process()
    if facts["process_began"] is None:
        pytest.skip("only Linux tells when a process began, counted from boot")
    for moved in (86_400, -86_400):
        assert not is_process_gone(facts | {"process_started": facts["process_started"] + moved})


@pytest.mark.parametrize("foreign", ["yesterday", "", "~", "2026-01-01", "20260101"])
def test_a_foreign_time_of_one_run_does_not_hide_that_the_clock_was_behind_another(foreign: str) -> None:
    now, later = datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC)
    keys = [foreign, iso(later), foreign]
    assert clock_facts(now, keys) == {"clock_behind": 86_400.000001}
    assert clock_facts(now, keys[::2]) == clock_facts(now, []) == {}


def test_a_time_of_another_zone_counts_as_the_runs_are_sorted_by_it() -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    for text in ("2026-06-01T01:00:00.000000+01:00", "2026-06-01T01:00:00"):
        key = order({"started": iso(now), **clock_facts(now, [text])})
        assert key > text


def test_of_two_processes_of_one_boot_it_is_known_which_began_first() -> None:
    assert is_before("boot 9", "boot 10") is True
    assert is_before("boot 10", "boot 10") is False
    for one, other in (("boot 9", "other 10"), (None, "boot 9"), ("boot 9", None), ("boot", "boot"), (None, None)):
        assert is_before(one, other) is None
    assert is_before(began(1), began(os.getpid())) in (True, None)


def test_a_process_of_another_host_or_of_an_older_version_cannot_be_looked_at() -> None:
    gone = this_process() | {"process_started": 0.0, "process_began": None}
    assert is_process_gone(gone)
    assert not is_process_gone(gone | {"host": "elsewhere"})
    assert not is_process_gone(gone | {"process_started": None})
    assert not is_process_gone({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("host", None),
        ("host", 3),
        ("pid", None),
        ("pid", "12"),
        ("pid", True),
        ("pid", -1),
        ("pid", 2**80),
        ("process_started", "x"),
        ("process_started", float("nan")),
    ],
)
def test_a_process_of_odd_facts_is_gone(name: str, value: Any) -> None:
    assert is_process_gone(this_process() | {"process_began": None, name: value})


def test_a_process_without_a_host_or_a_number_is_gone() -> None:
    for name in ("host", "pid"):
        assert is_process_gone({key: value for key, value in this_process().items() if key != name})
