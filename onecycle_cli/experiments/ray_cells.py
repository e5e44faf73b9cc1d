"""Cells of a sweep on a Ray cluster: each is a task. A cell whose worker or node is lost resumes elsewhere."""

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch

from onecycle_cli import __version__
from onecycle_cli.data.images import Source, Split
from onecycle_cli.data.open_data import source_signature
from onecycle_cli.errors import MachineError, OnecycleError
from onecycle_cli.experiments.cell_processes import POLL_SECONDS
from onecycle_cli.experiments.cell_work import is_free, locked, record_failure
from onecycle_cli.experiments.cells import ATTEMPT, Cell, is_done
from onecycle_cli.experiments.initial_weights import load_initial_weights
from onecycle_cli.experiments.ray_cluster import RayOptions, must_answer
from onecycle_cli.experiments.ray_files import Receiver
from onecycle_cli.experiments.ray_node import Order, TaskEnd
from onecycle_cli.experiments.recipe_images import read_recipe_source
from onecycle_cli.experiments.session import Session
from onecycle_cli.models import NO_CODE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.signals import held_back

LARGEST_SENT = 2 * 2**30
"""The largest set of images, in bytes, that is sent to nodes: each keeps it in memory."""

GRACE_SECONDS = 60.0
"""The longest wait for tasks that were cancelled: they write a checkpoint after the current step."""


def run_on_ray(cells: Sequence[Cell], session: Session, options: RayOptions, after_each: Callable[[], None]) -> None:
    """Runs cells as Ray tasks until none is left to do. Calls `after_each` often, and after each cell.

    Ray is connected already. `MachineError` if a node lacks onecycle or has another version of it.
    """
    driver = _Driver(session, options, len(cells))
    try:
        while driver.running or any(not is_done(cell, session.run) for cell in cells):
            with held_back():  # in Ray's C++ code, the exception of a signal would become a SystemError
                for cell in cells:
                    driver.start(cell)
                driver.wait()
            after_each()
    finally:
        driver.cancel()


class _Driver:
    """The tasks of a sweep, and what they need from the machine of the command."""

    def __init__(self, session: Session, options: RayOptions, cells: int) -> None:
        import ray

        self._session, self._options, self._cells, self._ended = session, options, cells, 0
        self._sweep = RunDir(session.run.path.absolute())
        self._images = _Images(session)
        self._losses: Counter[str] = Counter()
        self._given_up: dict[str, str] = {}
        self._receiver: Any = None
        self.running: dict[Any, Cell] = {}
        resources = {"num_cpus": options.cpus_per_cell, "num_gpus": options.gpus_per_cell}
        self._task = ray.remote(max_retries=0, **resources)(_entry())

    def start(self, cell: Cell) -> None:
        """Starts the task of a cell that is free and has none."""
        if cell.name in self._given_up:
            self._record(cell)
            return
        if any(cell.name == other.name for other in self.running.values()) or not is_free(cell, self._sweep):
            return
        device = self._session.hardware.device
        hardware = self._session.hardware
        if device.type == "cuda":  # a task sees only the GPUs that it was given, and these are numbered from 0
            hardware = replace(hardware, device=torch.device("cuda"))
        order = Order(
            cell,
            self._sweep.path,
            self._sweep.facts[ATTEMPT],
            self._images.signature(cell),
            hardware,
            self._options.cpus_per_cell,
            self._session.code is not None and self._session.code.trusted,
            Path.cwd(),
        )
        task = self._task.remote(__version__, pickle.dumps(order), self._receiver, self._images.sent(cell))
        self.running[task] = cell

    def wait(self) -> None:
        """Waits a moment, or until a task has ended, and reads how tasks ended."""
        import ray

        if not self.running:
            sleep(POLL_SECONDS)
            return
        ended, _ = ray.wait(list(self.running), timeout=POLL_SECONDS)
        for task in ended:
            cell = self.running.pop(task)
            try:
                end = ray.get(task)
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, ray.exceptions.RayActorError):
                    self._receiver = None  # a new one takes its place
                    self._lost(cell, error.cause)
                else:
                    self._failed(cell, f"its task ended with {_first_line(error.cause)}")
            except ray.exceptions.RayError as error:
                self._lost(cell, error)
            else:
                self._read(cell, end)

    def cancel(self) -> None:
        """Ends all tasks: each after its current step, with a checkpoint."""
        import ray

        with suppress(ray.exceptions.RayError):  # the cluster may be gone, and then its tasks are, too
            with held_back():
                for task in self.running:
                    ray.cancel(task)
            left, began = list(self.running), monotonic()
            while left and monotonic() - began < GRACE_SECONDS:
                with held_back():
                    _, left = ray.wait(left, num_returns=len(left), timeout=POLL_SECONDS)
        self.running.clear()

    def _read(self, cell: Cell, end: TaskEnd | str) -> None:
        if isinstance(end, str):
            raise MachineError(end, f"Install onecycle-cli {__version__} on every node: pip install onecycle-cli.")
        if end.how == "no receiver" and self._receiver is None:
            self._receiver = _receiver(self._sweep)
        elif end.how == "no images":
            if problem := self._images.send(cell):
                self._failed(cell, f"its images are not on {end.host}, and {problem}")
        elif end.how == "ran":
            self._told(cell, f" on {end.host}")

    def _told(self, cell: Cell, where: str = "") -> None:
        facts = RunDir(self._sweep.path / cell.name).facts
        self._ended += 1
        error = f", {facts['error']}" if facts.get("error") else ""
        self._session.report(f"Cell {self._ended} of {self._cells}: {cell.name} {facts['status']}{where}{error}")

    def _lost(self, cell: Cell, error: Exception) -> None:
        self._losses[cell.name] += 1
        times, most = self._losses[cell.name], self._options.retries
        self._must_have_head()
        if times > most:
            self._failed(cell, f"its worker was lost {times} times, at last: {_first_line(error)}")
            return
        self._release(cell)
        self._session.report(f"{cell.name}: its worker was lost; retry {times} of {most}. {_first_line(error)}")

    def _must_have_head(self) -> None:
        """Ends the sweep if the head node was lost: Ray itself ends the process after 60 s."""
        import ray

        try:
            must_answer(ray.get_runtime_context().gcs_address)
        except MachineError as error:
            self.running.clear()
            what = f"The head node of the Ray cluster was lost. {error.what}"
            raise MachineError(what, "Start the cluster again, and then the same command: it resumes.") from None

    def _failed(self, cell: Cell, why: str) -> None:
        self._release(cell)
        self._given_up[cell.name] = why

    def _record(self, cell: Cell) -> None:
        """Records that a cell was given up, as soon as no process has it: its own may still be about to end."""
        with locked(cell, self._sweep) as free:
            if free and not is_done(cell, self._sweep):
                record_failure(cell, self._sweep, self._given_up[cell.name])
                self._told(cell)

    def _release(self, cell: Cell) -> None:
        import ray

        if self._receiver is not None:
            try:
                ray.get(self._receiver.release.remote(cell.name))
            except ray.exceptions.RayActorError:
                self._receiver = None


def _entry() -> Callable[..., TaskEnd | str]:
    """Returns the function of a task, which Ray sends as code: so it can tell that a node has another onecycle."""

    def entry(version: str, order: bytes, receiver: Any, source: Any) -> Any:
        import pickle
        import socket

        host = socket.gethostname()
        try:
            import onecycle_cli

            if onecycle_cli.__version__ != version:
                return f"The node {host} has onecycle {onecycle_cli.__version__}, and this machine has {version}."
            from onecycle_cli.experiments.ray_node import run_order
        except ImportError as error:
            return f"The node {host} cannot import onecycle: {error}."
        # The bytes are those of this command, through a cluster whose members all run each other's code anyway.
        return run_order(pickle.loads(order), receiver, source)  # noqa: S301

    return entry


def _receiver(sweep: RunDir) -> Any:
    """Starts the actor that writes the files of cells, on this machine."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Receiver).remote(str(sweep.path))


class _Images:
    """The images of the cells, and those that were sent to the cluster, each set once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._signatures: dict[Any, str] = {}
        self._sent: dict[Any, Any] = {}
        self._take_any: set[Any] = set()

    def signature(self, cell: Cell) -> str | None:
        """Returns the signature that a node's images must have; None if any will do."""
        data = cell.recipe.data
        if self._key(cell) in self._take_any:
            return None
        if data.images not in self._signatures:
            self._signatures[data.images] = source_signature(data)
        return self._signatures[data.images]

    def sent(self, cell: Cell) -> Any:
        """Returns the reference to the images in the cluster, None if they were not sent."""
        return self._sent.get(self._key(cell))

    def send(self, cell: Cell) -> str | None:
        """Reads the images and sends them to the cluster, once; returns why they cannot be sent, or None."""
        import ray

        key = self._key(cell)
        if key in self._sent or key in self._take_any:
            return None
        try:
            start = load_initial_weights(cell.recipe, self._session.report, self._session.code or NO_CODE)
            source = read_recipe_source(cell.recipe, self._session.report, start)
        except OnecycleError:
            self._take_any.add(key)  # the cell itself tells the same
            return None
        size = sum(split.images.nbytes for split in (source.train, source.valid, source.test) if split is not None)
        if size > LARGEST_SENT:
            return (
                f"{size / 2**30:.1f} GiB are more than the {LARGEST_SENT / 2**30:g} GiB that are sent: put them at the "
                "same path on each node."
            )
        self._session.report(f"Sending {size / 2**20:.0f} MiB of images to the cluster.")
        self._sent[key] = ray.put(_in_memory(source))
        return None

    @staticmethod
    def _key(cell: Cell) -> Any:
        data = cell.recipe.data
        weights = None if data.interpolation else cell.recipe.model.init
        return data.images, data.image_size, data.channels, data.resize, data.interpolation, weights


def _in_memory(source: Source) -> Source:
    """Returns the same images without a mapped file, which Ray could not share."""
    import numpy as np

    def loaded(split: Split | None) -> Split | None:
        return None if split is None else replace(split, images=np.asarray(split.images))

    train = loaded(source.train)
    assert train is not None
    return replace(source, train=train, valid=loaded(source.valid), test=loaded(source.test))


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
