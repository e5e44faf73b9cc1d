"""Leslie Smith's discipline for hyper-parameters, as a command line.

The command `onecycle` and this package are two faces of the same code. From Python, `load_model` gives back
what a run trained, and `open_run` its tables and results; the experiments are in `onecycle_cli.experiments`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onecycle_cli.experiments.classifier import load_model
    from onecycle_cli.experiments.saved_run import open_run

__version__ = "0.1.0"
__all__ = ["__version__", "load_model", "open_run"]


def __getattr__(name: str) -> Any:
    # `onecycle --help` imports this package; torch comes in only with the first use of what needs it.
    if name == "load_model":
        from onecycle_cli.experiments.classifier import load_model

        return load_model
    if name == "open_run":
        from onecycle_cli.experiments.saved_run import open_run

        return open_run
    raise AttributeError(f"module 'onecycle_cli' has no attribute {name!r}")
