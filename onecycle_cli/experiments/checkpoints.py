"""Checkpoints: the state of a training, from which it continues to the same final weights, bit by bit.

A checkpoint is written to a temporary file and renamed, and the previous one stays until the next is complete. So at
any time at least one is complete.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Any

from torch import Tensor

from onecycle_cli.errors import InputError, naming
from onecycle_cli.models.weights import load_weights
from onecycle_cli.progress import Report
from onecycle_cli.run_dir.files import BEFORE_TRAINING, BEST_MODEL, CHECKPOINT, STEPS
from onecycle_cli.run_dir.rows import Rows
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.checkpoint import read_checkpoint, write_checkpoint
from onecycle_cli.training.step_blocks import SeenStep


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`. `step` is the number of the epoch's last update. Fields that older runs lack are None."""

    epoch: int
    step: int
    lr: float
    momentum: float
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float
    images_per_second: float
    valid_balanced_accuracy: float | None = None
    valid_top5_accuracy: float | None = None


@dataclass(frozen=True)
class Sums:
    """Sums over the steps of an unfinished epoch. `loss` is the weighted sum over images, `correct` a count.

    `seconds` is the training time, without scoring.
    """

    images: int = 0
    weight: float = 0.0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Position:
    """The progress of a training: the next update `step`, the `sums` of the current epoch, and the finished `epochs`.

    `seconds` is the time spent so far, over all processes that worked on the training.
    """

    step: int
    sums: Sums
    epochs: tuple[Epoch, ...]
    seconds: float

    def after(self, steps: Sequence[SeenStep], seconds: float) -> "Position":
        """Returns the position after further `steps` of the same epoch, which took `seconds`."""
        loss = self.sums.loss
        for step in steps:
            loss += step.train_loss * step.weight
        sums = Sums(
            self.sums.images + sum(step.images for step in steps),
            self.sums.weight + sum(step.weight for step in steps),
            loss,
            self.sums.correct + sum(step.correct for step in steps),
            self.sums.seconds + seconds,
        )
        return replace(self, step=steps[-1].step + 1, sums=sums, seconds=self.seconds + seconds)


@dataclass(frozen=True)
class Checkpoint:
    """A position with the `state` of its trainer. `images` is the signature of the training images."""

    position: Position
    state: Mapping[str, Tensor]
    images: str


class Checkpoints:
    """Writes the checkpoints of a run. One is due every `every` seconds; `write` writes one at any time.

    The rows of the run's `tables` are flushed to disk before the checkpoint that refers to them. It has the checksum of
    the steps so far, and the start of the run, by which it is known from a checkpoint of another run.
    """

    def __init__(self, run: RunDir, every: float, images: str, tables: Sequence[Rows]) -> None:
        self._run, self._every, self._images, self._tables = run, every, images, tables
        self._last = monotonic()

    @property
    def due(self) -> bool:
        """Whether `every` seconds have passed since the last checkpoint."""
        return monotonic() - self._last >= self._every

    def write(self, position: Position, state: Mapping[str, Tensor]) -> None:
        """Writes a checkpoint and deletes all but the last two. Weights that are not finite are not written."""
        self._last = monotonic()
        if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
            return
        for table in self._tables:
            table.to_disk()
        values = asdict(position) | {"images": self._images, "started": self._run.facts["started"]}
        if (steps := self._run.path / STEPS).is_file():
            size = steps.stat().st_size
            values |= {"steps": [size, _sha256_of_first(size, steps)]}
        name = CHECKPOINT.format(step=position.step)
        self._run.write_with(name, lambda path: write_checkpoint(path, state, values))
        for step in steps_kept(self._run)[:-2]:
            (self._run.path / CHECKPOINT.format(step=step)).unlink()


def newest_checkpoint(run: RunDir, report: Report) -> Checkpoint | None:
    """Returns the newest intact checkpoint of a run, or None if it has none. Damaged ones are reported.

    A checkpoint of another run is damage too, and so are steps before it that have changed. `InputError` if the run has
    checkpoints, but all of them are damaged, or if a file has changed that the training would not write again.
    """
    for name in (*BEFORE_TRAINING, BEST_MODEL):
        run.intact(name)
    if (run.path / BEST_MODEL).is_file():
        load_weights(run.path / BEST_MODEL)
    damage: InputError | None = None
    for step in reversed(steps_kept(run)):
        try:
            path = run.path / CHECKPOINT.format(step=step)
            state, values = read_checkpoint(path)
            _must_fit(values, path, run)
        except InputError as error:
            report(f"{error.what} The one before it is tried.")
            damage = error
            continue
        return Checkpoint(_position(values), state, values["images"])
    if damage is not None:
        raise damage
    return None


def _must_fit(values: Mapping[str, Any], path: Path, run: RunDir) -> None:
    """Checks that the file is a checkpoint of the run, and that the steps before it are as they were.

    Checkpoints of older versions say nothing of either.
    """
    if values.get("started", run.facts["started"]) != run.facts["started"]:
        raise InputError(f"{path} is a checkpoint of another run.", "Put the run's own back, or train again.")
    if "steps" not in values:
        return
    size, sha256 = values["steps"]
    if not (run.path / STEPS).is_file() or _sha256_of_first(size, run.path / STEPS) != sha256:
        what = f"{run.path / STEPS} is damaged: its rows are not those before {path.name}."
        raise InputError(what, "Put the whole table back, or train again from the beginning.")


def _sha256_of_first(size: int, path: Path) -> str:
    """Returns the SHA-256 of the first `size` bytes of a file: 0.1 s for the table of a million steps."""
    digest = hashlib.sha256()
    with naming(path), path.open("rb") as file:
        while size and (block := file.read(min(size, 2**20))):
            digest.update(block)
            size -= len(block)
    return digest.hexdigest()


def _position(values: Mapping[str, Any]) -> Position:
    epochs = tuple(Epoch(**epoch) for epoch in values["epochs"])
    sums = {"weight": values["sums"]["images"]} | values["sums"]  # older checkpoints have no class weights
    return Position(values["step"], Sums(**sums), epochs, values["seconds"])


def steps_kept(run: RunDir) -> list[int]:
    """Returns the steps at which the run has checkpoints, ascending."""
    before, after = CHECKPOINT.split("{step}")
    names = [path.name for path in run.path.glob(f"{before}*{after}")]
    numbers = [name.removeprefix(before).removesuffix(after) for name in names]
    return sorted(int(number) for number in numbers if number.isdecimal())
