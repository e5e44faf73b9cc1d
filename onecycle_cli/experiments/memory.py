"""The error message for a batch that does not fit in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from onecycle_cli.analysis.batch_size import half
from onecycle_cli.errors import MachineError, is_out_of_memory
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.facts import command_line
from onecycle_cli.run_dir.files import RECIPE
from onecycle_cli.run_dir.run import RunDir


@contextmanager
def telling_batch_size(recipe: Recipe, run: RunDir) -> Iterator[None]:
    """Turns an out-of-memory error inside the block into a `MachineError` that names the batch size.

    How much memory the step needed in total is unknown, so the size that the message suggests is a guess. The command
    that it names measures the size that fits.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size, side = recipe.data.batch_size, recipe.data.image_size
        trust = ["--trust-code"] if recipe.model.source == "module" else []
        command = command_line(["find-batch-size", str(run.path / RECIPE), *trust])
        smaller = half(size)
        guess = f"Half of it, --batch-size {smaller}, is a guess; " if smaller else ""
        parts = 2 * recipe.data.accumulate
        same = f" --set data.accumulate={parts} computes the same batch in {parts} parts." if 2 * parts <= size else ""
        raise MachineError(
            f"Out of memory with data.batch_size {size}, of images of {side}x{side} pixels: {_said(error)}",
            f"{guess}`{command}` finds what fits, and a smaller data.image_size or a smaller network takes less.{same}",
        ) from None


def _said(error: Exception) -> str:
    """Returns the line of torch's message that names the requested memory, without the source location."""
    lines = str(error).splitlines() or ["no more to be had"]
    return lines[0].rpartition("DefaultCPUAllocator: ")[2]
