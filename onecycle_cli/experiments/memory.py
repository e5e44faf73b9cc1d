"""What to tell a person whose batch did not fit in memory."""

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
    """Turns a lack of memory in the steps of the block into a `MachineError` that names their batch size.

    How much the step still wanted when it failed, nobody knows, so what would fit is a guess; the command that is
    named measures it.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size, side = recipe.data.batch_size, recipe.data.image_size
        command = command_line(["find-batch-size", str(run.path / RECIPE)])
        smaller = half(size)
        guess = f"Half of it, --batch-size {smaller}, is a guess; " if smaller else ""
        raise MachineError(
            f"Out of memory with data.batch_size {size}, of images of {side}x{side} pixels: {_said(error)}",
            f"{guess}`{command}` finds what fits, and a smaller data.image_size or model.width takes less.",
        ) from None


def _said(error: Exception) -> str:
    """The line in which torch says what it asked for, without the place in its source."""
    lines = str(error).splitlines() or ["no more to be had"]
    return lines[0].rpartition("DefaultCPUAllocator: ")[2]
