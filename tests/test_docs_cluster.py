"""The scripts of docs/cluster.md run as they stand, with stand-ins for what a cluster has."""

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

PAGE = (Path(__file__).parent.parent / "docs" / "cluster.md").read_text()
SLURM = PAGE[PAGE.index("\n## SLURM\n") :]
BATCH, ARRAY, SWEEP_LOOP, TRAIN_LOOP = re.findall(r"^```sh\n(.*?)^```", SLURM, re.MULTILINE | re.DOTALL)

ASKING = """#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as asked, asked.makefile("rw") as lines:
    asked.connect({address!r})
    print(json.dumps([sys.argv[1:], dict(os.environ)]), file=lines, flush=True)
    pid = json.loads(lines.readline())
    signal.signal(signal.SIGUSR1, lambda number, _: os.kill(pid, number))
    code, out, err = json.loads(lines.readline())
sys.stdout.write(out), sys.stderr.write(err), sys.exit(code)
"""
"""The program `onecycle` of the shell: it asks this process to start the command, and passes its signal on."""

SRUN_THAT_SIGNALS = """
"$@" &
while kill -0 $! && [ ${#rows[@]} -lt 6 ]; do
    sleep 0.03
    for table in runs/*/steps.csv; do [ -e "$table" ] && mapfile -t rows < "$table"; done
done
kill -USR1 $!
wait $!
"""
"""As `srun` when `--signal=USR1@120` comes after a few steps."""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts shell scripts on the path, by their names."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def put(**scripts: str) -> None:
        for name, text in scripts.items():
            file = tmp_path / "bin" / name
            file.write_text(f"#!/bin/bash\n{text}\n")
            file.chmod(0o755)

    return put


@pytest.fixture
def onecycle_program(started: Callable[..., Any]) -> Iterator[str]:
    """The path of a program `onecycle` that has this process start the command: to import torch takes seconds."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        address = f"{short}/asked"  # a socket's path has at most 107 characters
        server.bind(address)
        server.listen()

        def answer() -> None:
            with suppress(OSError):  # when it is shut down
                while True:
                    asked, _ = server.accept()
                    with asked, asked.makefile("rw") as lines:
                        words, environment = json.loads(lines.readline())
                        process = started(*words, **environment)
                        print(process.pid, file=lines, flush=True)
                        out, err = process.communicate()
                        print(json.dumps([process.returncode, out, err]), file=lines, flush=True)

        program = Path(short, "onecycle")
        program.write_text(ASKING.format(python=sys.executable, address=address))
        program.chmod(0o755)
        thread = threading.Thread(target=answer)
        thread.start()
        yield str(program)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def start(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=os.environ | environment)


def test_the_batch_script_is_requeued_by_its_signal_and_goes_on_to_the_same_bits(
    onecycle: Callable[..., Result], onecycle_program: str, programs: Callable[..., None], tiny_digits: list[str]
) -> None:
    words = ["train", *tiny_digits, "--epochs", "6"]
    script = BATCH.replace("train cifar10-resnet56 --max-lr 0.8", " ".join(words))
    assert script != BATCH
    programs(onecycle=f'exec {onecycle_program} "$@"', srun=SRUN_THAT_SIGNALS, scontrol='echo "$@" >> asked')
    first = start(script, SLURM_JOB_ID="7")
    assert first.returncode == 75, first.stderr
    assert Path("asked").read_text() == "requeue 7\n"
    (run,) = Path("runs").iterdir()
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    programs(srun='exec "$@"')
    second = start(script, SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1")
    assert (second.returncode, "Going on at step " in second.stderr) == (0, True), second.stderr
    assert onecycle(*words, "--name", "undisturbed").exit_code == 0
    assert {path.name for path in Path("runs").iterdir()} == {run.name, "undisturbed"}
    for name in ("steps.csv", "model.safetensors"):
        assert (run / name).read_bytes() == Path("runs/undisturbed", name).read_bytes()


def test_the_array_gives_each_task_its_seed_and_name(programs: Callable[..., None]) -> None:
    programs(srun='echo "$@"')
    said = start(ARRAY, SLURM_ARRAY_TASK_ID="12").stdout
    assert "--seed 12 --name seed-12 --requeue" in said


@pytest.mark.parametrize(
    ("loop", "again"),
    [(SWEEP_LOOP, SWEEP_LOOP.split("onecycle ")[1].split(";")[0]), (TRAIN_LOOP, "train --resume long --deadline 55m")],
)
def test_a_loop_starts_again_after_75_and_after_no_other_code(
    programs: Callable[..., None], loop: str, again: str
) -> None:
    programs(onecycle='echo "$@" >> calls; exit $(sed -n "$(wc -l < calls)p" codes)')
    for codes in ("75\n75\n0\n", "75\n2\n"):
        Path("codes").write_text(codes)
        Path("calls").unlink(missing_ok=True)
        start(loop)
        calls = Path("calls").read_text().splitlines()
        assert len(calls) == len(codes.split())
        assert set(calls[1:]) == {again}
