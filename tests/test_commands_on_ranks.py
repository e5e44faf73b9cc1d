"""The commands on several ranks, as a person sees them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from typer.testing import Result

Command = Callable[..., Result]
OnRanks = Callable[..., list[Any]]
Outcome = tuple[int, str, str]


@pytest.fixture
def commanded(on_ranks: OnRanks, onecycle: Command) -> Callable[..., list[Outcome]]:
    """Runs a command on two ranks; returns exit code, standard output and standard error of each."""

    def run(*words: object) -> list[Outcome]:
        def command() -> Outcome:
            result = onecycle(*words)
            return result.exit_code, result.stdout, result.stderr

        return on_ranks(2, command)

    return run


def test_only_the_first_rank_shows_the_result(commanded: Callable[..., list[Outcome]], tiny_digits: list[str]) -> None:
    (code, out, _), second = commanded("train", *tiny_digits, "--name", "run", "--json")
    assert code == 0
    assert json.loads(out)["status"] == "finished"
    assert second == (0, "", "")
    scored = commanded("evaluate", "run", "--quiet")
    assert scored == [(0, f"{json.loads(out)['valid_accuracy']:.4f}\n", ""), (0, "", "")]


def test_a_range_test_ends_with_the_same_exit_code_on_every_rank(
    commanded: Callable[..., list[Outcome]], tiny_digits: list[str]
) -> None:
    first, second = commanded("find-lr", *tiny_digits, "--quiet", "--set", "find_lr.end_lr=0.01")
    assert first[0] == second[0]
    assert second[1:] == ("", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["train", "nosuch"], "error: There is no shipped recipe 'nosuch'."),
        (["train", "digits"], "error: There is no max_lr: schedule.max_lr of digits is empty."),
        (["train", "--resume", "nosuch"], "error: runs/nosuch is not a run"),
        (["evaluate", "nosuch"], "error: runs/nosuch is not a run"),
        (["find-lr", "digits", "--batch-size", "3"], "data.batch_size 3 is too small for 2 processes"),
        (["sweep", "digits", "--param", "model.width=0.5,1"], "2 processes were started together (WORLD_SIZE)"),
        (["train", "digits", "--max-lr", "1", "--processes", "3"], "--processes 3, but this command was started as 2"),
        (["train", "digits", "--max-lr", "1", "--device", "mps"], "cannot train together on the device mps"),
    ],
)
def test_an_error_is_told_once(commanded: Callable[..., list[Outcome]], words: list[str], said: str) -> None:
    outcomes = commanded(*words)
    assert [code for code, _, _ in outcomes] == [2, 2]
    assert "".join(err for _, _, err in outcomes).count(said) == (2 if words[0] == "sweep" else 1)
    assert "Rank" not in "".join(err for _, _, err in outcomes)


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)} | more


@pytest.mark.slow
def test_processes_starts_the_command_as_ranks(started: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here with an error, which ends them before torch has computed anything."""
    from torch.distributed.elastic.rendezvous import dynamic_rendezvous

    monkeypatch.setattr(dynamic_rendezvous, "get_method_name", lambda: "a method")  # for two seconds, for its log
    done = started("train", "nosuch", "--max-lr", "0.1", "--processes", "2", **environment())
    _, err = done.communicate()
    assert done.returncode == 2
    assert err == "error: There is no shipped recipe 'nosuch'.\n`onecycle recipes` lists them.\n"


WAYS = {
    "--processes": ["-m", "onecycle_cli", "train", "--processes", "2"],
    "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_killed_rank_costs_nothing_but_time(way: str, tiny_digits: list[str]) -> None:
    """The group starts again, goes on from its checkpoint, and comes to the bits of a group that was left alone."""
    words = [*tiny_digits, "--epochs", "8", "--set", "runtime.checkpoint_seconds=0", "--set", "model.dropout=0.2"]
    command = [sys.executable, *WAYS[way], *(["-m", "onecycle_cli", "train"] if way == "torchrun" else [])]

    def started(name: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [*command, *words, "--name", name], stdout=pipe, stderr=pipe, text=True, env=environment()
        )

    for name, rank in (("alone", None), ("first", 0), ("second", 1)):
        process = started(name)
        if rank is not None:
            assert _kill_rank(rank, process, Path("runs") / name / "steps.csv")
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
    for name in ("first", "second"):
        for file in ("steps.csv", "model.safetensors"):
            assert (Path("runs") / name / file).read_bytes() == (Path("runs/alone") / file).read_bytes(), name


def _kill_rank(rank: int, process: "subprocess.Popen[str]", table: Path) -> bool:
    """Kills a rank after some steps; whether it was still there."""
    while process.poll() is None:
        time.sleep(0.05)
        if table.is_file() and len(pd.read_csv(table)) > 20:
            children = psutil.Process(process.pid).children(recursive=True)
            found = [child for child in children if child.environ().get("RANK") == str(rank)]
            if found:
                found[0].send_signal(signal.SIGKILL)
                return True
    return False


@pytest.mark.slow
def test_a_weight_decay_sweep_runs_on_ranks_and_goes_on(
    commanded: Callable[..., list[Outcome]], onecycle: Command, tiny_digits: list[str]
) -> None:
    """The second command finds the cells of the first, which one process has run, and runs the others."""
    words = ["sweep-wd", *tiny_digits, "--set", "runtime.sync_batch_norm=true", "--name", "s"]
    alone = onecycle(*words, "--weight-decays", "1e-2")
    assert alone.exit_code in (0, 4)
    first, second = commanded(*words, "--weight-decays", "1e-2,1e-3,1e-4", "--json")
    assert first[0] in (0, 4)
    assert second[1:] == ("", "")
    table = pd.read_csv("runs/s/sweep.csv")
    assert table.weight_decay.tolist() == [1e-2, 1e-3, 1e-4]
    assert "1 of 3 cells were run before." in first[2]
    curve = pd.read_csv("runs/s/weight_decay=1e-3/lr_range.csv").train_loss
    assert curve[0] == pytest.approx(pd.read_csv("runs/s/weight_decay=0.01/lr_range.csv").train_loss[0], abs=1e-5)


def test_a_cell_that_fails_on_ranks_is_a_row(commanded: Callable[..., list[Outcome]], tiny_digits: list[str]) -> None:
    first, second = commanded("sweep-wd", *tiny_digits, "--set", "data.batch_size=3", "--name", "s", "--quiet")
    assert first[0] == 4
    assert second == (0, "", "")
    assert set(pd.read_csv("runs/s/sweep.csv").status) == {"failed"}


OWN = """
import torch
from torch import nn

class Fails(nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.head = nn.Linear(64 * channels, classes)

    def forward(self, images):
        if {where}:
            raise ValueError("not today")
        return self.head(images.flatten(1))

def network(classes, channels):
    return Fails(channels, classes)
"""


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("len(images) > 2 and torch.distributed.get_rank() == 1", "error: Rank 1 on"),
        ("torch.distributed.get_rank() == 1", "Rank 1 on"),
    ],
)
def test_an_error_of_one_rank_in_a_sweep_is_told_with_its_rank(
    commanded: Callable[..., list[Outcome]], where: str, said: str
) -> None:
    """In a step it ends the command, since the other ranks wait in theirs; before, it is the row of the cell."""
    Path("own.py").write_text(OWN.replace("{where}", where))
    values = {"model": "{source: module, function: own.py:network}", "data.batch_size": 128, "find_lr.num_steps": 20}
    settings = [f"--set={field}={value}" for field, value in values.items()]
    outcomes = commanded("sweep-wd", "digits", *settings, "--weight-decays", "1e-2,1e-3", "--trust-code")
    told = "".join(err for _, _, err in outcomes)
    assert said in told
    assert "not today" in told
    assert outcomes[0][0] != 0


def test_after_a_cell_that_fails_on_every_rank_the_next_one_runs(commanded: Callable[..., list[Outcome]]) -> None:
    """Here in the check of the network before the first cell."""
    seen = "pathlib.Path(f'seen-{torch.distributed.get_rank()}')"
    own = OWN.replace("{where}", f"not {seen}.exists() and not {seen}.touch()")
    Path("own.py").write_text("import pathlib\n" + own)
    values = {"model": "{source: module, function: own.py:network}", "data.batch_size": 128, "find_lr.num_steps": 20}
    settings = [f"--set={field}={value}" for field, value in values.items()]
    commanded("sweep-wd", "digits", *settings, "--weight-decays", "1e-2,1e-3", "--trust-code", "--name", "s")
    table = pd.read_csv("runs/s/sweep.csv")
    assert table.status[0] == "failed"
    assert "not today" in table.error[0]
    assert table.status[1] != "failed"
