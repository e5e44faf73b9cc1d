"""The owner of a sweep: of all commands that work on the same sweep, one records its status and writes its tables."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.cells import begin_attempt
from onecycle_cli.run_dir.run import RunDir


class Ownership:
    """The ownership of a sweep's folder: its lock, which the operating system frees when the owner dies.

    A command that comes later joins: it runs free cells and records nothing. It becomes the owner when the owner has
    ended, however that was. `records` says whether this command records the status of the sweep.
    """

    def __init__(self, run: RunDir, stack: ExitStack, following: AbstractContextManager[object]) -> None:
        self._run, self._stack, self._following = run, stack, following
        self._owns = False
        self.records = False
        if self._lock():
            self.record()
            begin_attempt(run)

    def owns(self) -> bool:
        """Whether this command owns the sweep; takes it over if no other command does."""
        if not self._owns and self._lock() and self._run.facts["status"] != "finished":
            self.record()
        return self._owns

    def _lock(self) -> bool:
        try:
            self._stack.enter_context(self._run.alone())
        except InputError:
            return False
        self._owns = True
        return True

    def record(self) -> None:
        """Records from now on how the sweep goes on and ends; what the owner before has finished needs no record."""
        if not self.records:
            self._run.resume()
            self._stack.enter_context(self._following)
            self._stack.enter_context(self._run.recording())
            self.records = True

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Writes the summary and the final status of the sweep, unless another owner has done so."""
        if self.records:
            self._run.finish("finished", summary)


@contextmanager
def shared(run: RunDir, following: AbstractContextManager[object] | None = None) -> Iterator[Ownership]:
    """Owns the sweep in `run` inside the block, or joins the command that does.

    `following` is entered while this command records the sweep.
    """
    with ExitStack() as stack:
        yield Ownership(run, stack, following or nullcontext())
