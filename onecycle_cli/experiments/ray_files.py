"""The files of a cell that runs on a Ray node without the sweep's folder: they travel to the machine that has it.

They go there while the cell runs, so that it resumes on another node, and each is whole when it appears.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from onecycle_cli.errors import InputError, naming
from onecycle_cli.experiments.cell_work import cell_folder, locked
from onecycle_cli.experiments.cells import Cell, is_done
from onecycle_cli.experiments.checkpoints import steps_kept
from onecycle_cli.run_dir.files import CHECKPOINT, RUN, SENT
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import write_whole

SEND_SECONDS = 1.0
"""The time between two looks for a new checkpoint."""


@dataclass(frozen=True)
class Begun:
    """A cell that a task may run: its files so far, and the token with which the task sends more."""

    token: str
    files: dict[str, bytes]


class Receiver:
    """Writes the files of cells into the sweep's folder, on the machine that has it. Each cell is locked meanwhile.

    Only the last task that began a cell may write: one that Ray has given up may still be running.
    """

    def __init__(self, sweep: str) -> None:
        self._sweep = RunDir(sweep)
        self._tokens: dict[str, str] = {}
        self._locks: dict[str, Any] = {}

    def begin(self, cell: Cell) -> Begun | None:
        """Locks the cell and returns its files; None if another process has it, or it is done."""
        if cell.name not in self._locks:
            lock = locked(cell, self._sweep)
            if not lock.__enter__():
                lock.__exit__(None, None, None)
                return None
            self._locks[cell.name] = lock
        if is_done(cell, self._sweep):
            self.release(cell.name)
            return None
        run = cell_folder(cell, self._sweep)
        self._tokens[cell.name] = uuid4().hex
        return Begun(self._tokens[cell.name], {path.name: _content(path) for path in _files(run)})

    def write(self, name: str, token: str, file: str, content: bytes) -> None:
        """Writes a whole file of a cell, and deletes all but the last two checkpoints."""
        run = self._run(name, token)
        write_whole(run.path / Path(file).name, lambda beside: beside.write_bytes(content))
        for step in steps_kept(run)[:-2]:
            (run.path / CHECKPOINT.format(step=step)).unlink()

    def end(self, name: str, token: str, files: Sequence[str]) -> None:
        """Ends the work on a cell that has sent all of its `files`; others are deleted."""
        for path in _files(self._run(name, token)):
            if path.name not in files:
                path.unlink()
        self.release(name)

    def release(self, name: str) -> None:
        """Frees a cell. Its task, if it is still running, can send nothing more."""
        self._tokens.pop(name, None)
        if lock := self._locks.pop(name, None):
            lock.__exit__(None, None, None)

    def _run(self, name: str, token: str) -> RunDir:
        if self._tokens.get(name) != token:
            raise InputError(f"Another task runs {name} now.", "This one ends.")
        return RunDir(self._sweep.path / name)


class Sender:
    """Sends the files of a run that have changed, by calling `write` with a name and the content of each."""

    def __init__(self, run: RunDir, write: Callable[[str, bytes], None]) -> None:
        self._run, self._write = run, write
        self._sent = {path.name: _version(path) for path in _files(run)}
        self._newest = max(steps_kept(run), default=-1)
        self._lock = threading.Lock()

    @contextmanager
    def following(self) -> Iterator[None]:
        """Sends each new checkpoint while the block runs, and everything at its end, however it ends."""
        stop = threading.Event()

        def follow() -> None:
            while not stop.wait(SEND_SECONDS):
                self._send_checkpoint()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._send_all()

    def _send_checkpoint(self) -> None:
        """Sends the newest checkpoint, after the tables that it refers to; nothing if there is no new one."""
        newest = max(steps_kept(self._run), default=-1)
        if newest == self._newest or not self._is_running():
            return
        checkpoint = self._run.path / CHECKPOINT.format(step=newest)
        with suppress(FileNotFoundError):  # two newer ones have come: the next look finds them
            content = _content(checkpoint)
            for path in _files(self._run):
                if path.name != RUN and not _is_checkpoint(path):
                    self._send(path)
            # run.json may say by now that the run has ended, and then it is the last of all files to go.
            if self._is_running():
                self._write(RUN, _content(self._run.path / RUN))
            self._write(checkpoint.name, content)
            self._sent[checkpoint.name] = _version(checkpoint)
            self._newest = newest

    def _is_running(self) -> bool:
        return self._run.status == "running"

    def _send_all(self) -> None:
        """Sends all files, `run.json` last: with it the cell counts as ended."""
        for path in _files(self._run):
            if path.name != RUN:
                self._send(path)
        self._write(RUN, _content(self._run.path / RUN))

    def _send(self, path: Path) -> None:
        version = _version(path)
        if self._sent.get(path.name) != version:
            self._write(path.name, _content(path))
            self._sent[path.name] = version


def names_of(run: RunDir) -> list[str]:
    """Returns the names of the files of a run, without hidden ones."""
    return [path.name for path in _files(run)]


def _files(run: RunDir) -> list[Path]:
    # What was sent to MLflow and the like is written where the sweep's folder is, while the cell runs on the node.
    others = (".", SENT.split("{", maxsplit=1)[0])
    return [path for path in sorted(run.path.iterdir()) if not path.name.startswith(others) and path.is_file()]


def _content(path: Path) -> bytes:
    with naming(path):
        return path.read_bytes()


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _is_checkpoint(path: Path) -> bool:
    return path.name.startswith(CHECKPOINT.split("{step}", maxsplit=1)[0])
