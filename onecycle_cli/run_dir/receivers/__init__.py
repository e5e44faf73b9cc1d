"""What gets the rows and results of a run beside the files of its folder, by its name in `runtime.log_to`.

Each runs in a process of its own, which reads the run's folder: so nothing in a training waits for it, and its library
cannot change the training's process. A receiver is a file here, a name in `RECEIVERS`, and one in `runtime.log_to`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from onecycle_cli.errors import missing_packages
from onecycle_cli.run_dir.receivers.receiver import Receiver


@dataclass(frozen=True)
class Entry:
    """Where a receiver is: the `module` and the class `name`. Its package and its extra have the receiver's name."""

    module: str
    name: str

    def load(self) -> type[Receiver]:
        """Imports the receiver's class, which imports its library when it is used."""
        found: type[Receiver] = getattr(import_module(f"onecycle_cli.run_dir.receivers.{self.module}"), self.name)
        return found


RECEIVERS = {
    "tensorboard": Entry("tensorboard", "TensorBoardRun"),
    "mlflow": Entry("mlflow", "MlflowRun"),
    "wandb": Entry("wandb", "WandbRun"),
}
"""All receivers, by name."""


def must_be_installed(names: Iterable[str]) -> None:
    """Checks that the packages of receivers are there, without importing them. `MachineError` if one is missing."""
    for name in names:
        found = find_spec(name)
        if found is None or found.origin is None:  # a folder of that name, such as W&B makes, has no origin
            raise missing_packages(f"runtime.log_to {name}", name, name)
