"""What a Ray task does on its node: it runs one cell of a sweep."""

import os
import socket
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from onecycle_cli.data.images import Source
from onecycle_cli.data.open_data import source_signature
from onecycle_cli.errors import OnecycleError, naming
from onecycle_cli.experiments.cell_work import Bench
from onecycle_cli.experiments.cells import ATTEMPT, Cell
from onecycle_cli.experiments.ray_files import Begun, Sender, names_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.models import OwnCode
from onecycle_cli.progress import silent
from onecycle_cli.run_dir.facts import this_process
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware


@dataclass(frozen=True)
class Order:
    """A cell that a task is to run.

    `attempt` identifies the sweep's folder: a node that finds another one at this path does not share it. `images` is
    the signature of the images, None to take those of the node whatever they are. `folder` is the working directory of
    the command, to which paths in a recipe are relative.
    """

    cell: Cell
    sweep: Path
    attempt: str
    images: str | None
    hardware: Hardware
    threads: int
    trusted: bool
    folder: Path


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended: it ran the cell, another process has the cell, or it lacks something to run it."""

    how: Literal["ran", "busy", "no receiver", "no images"]
    host: str


def run_order(order: Order, receiver: Any, source: Source | None) -> TaskEnd:
    """Runs a cell on this node: in the sweep's folder if the node shares it, else through the actor `receiver`.

    `source` has the images, if the command has sent them.
    """
    import torch

    torch.set_num_threads(order.threads)
    with suppress(OSError):
        os.chdir(order.folder)
    host, sweep = socket.gethostname(), RunDir(order.sweep)
    if source is None and not _has_images(order):
        return TaskEnd("no images", host)
    # Ray's memory is read-only; nothing writes to images.
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")
    if _is_shared(order):
        session = Session(sweep, order.hardware, silent, OwnCode(order.trusted))
        ran = Bench().take(order.cell, session, source, threads=order.threads)
    elif receiver is None:
        return TaskEnd("no receiver", host)
    else:
        ran = _run_apart(order, receiver, source)
    return TaskEnd("ran" if ran else "busy", host)


def _has_images(order: Order) -> bool:
    if order.images is None:
        return True
    with suppress(OnecycleError, OSError):
        return source_signature(order.cell.recipe.data) == order.images
    return False


def _is_shared(order: Order) -> bool:
    with suppress(OnecycleError, OSError):
        return RunDir(order.sweep).facts.get(ATTEMPT) == order.attempt
    return False


def _run_apart(order: Order, receiver: Any, source: Source | None) -> bool:
    """Runs a cell in a temporary folder, and sends its files; False if another process has the cell."""
    import ray

    name = order.cell.name
    begun: Begun | None = ray.get(receiver.begin.remote(order.cell))
    if begun is None:
        return False

    def write(file: str, content: bytes) -> None:
        ray.get(receiver.write.remote(name, begun.token, file, content))

    with TemporaryDirectory(prefix="onecycle-") as folder:
        run = RunDir(Path(folder) / name)
        run.path.mkdir()
        for file, content in begun.files.items():
            with naming(run.path / file):
                (run.path / file).write_bytes(content)
        session = Session(run, order.hardware, silent, OwnCode(order.trusted))
        with Sender(run, write).following():
            run.update(threads=order.threads, **this_process())
            Bench().run(order.cell, session, source)
        ray.get(receiver.end.remote(name, begun.token, names_of(run)))
    return True
