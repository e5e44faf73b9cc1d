"""Leslie Smith's learning rate range test and the 1cycle policy, as a library and as the command `onecycle`.

    import onecycle_cli as onecycle

For a training loop of your own: `RangeTest` runs the range test, `suggest` reads one that you ran with any tool,
`one_cycle` and the other schedules give lr and momentum of each step, and `torch_scheduler` makes a torch scheduler of
one. For recipes and runs: `load_recipe`, `find_lr`, `train`, `open_run` and `load_model`. Errors for people are
`OnecycleError`s. docs/python.md has complete programs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onecycle_cli.analysis.lr_range import Suggestion
    from onecycle_cli.analysis.lr_range.from_arrays import suggest
    from onecycle_cli.errors import InputError, MachineError, NoSuggestionError, OnecycleError
    from onecycle_cli.experiments.classifier import load_model
    from onecycle_cli.experiments.library import find_lr, train
    from onecycle_cli.experiments.own_loop import RangeTest
    from onecycle_cli.experiments.saved_run import open_run
    from onecycle_cli.recipe.from_python import load_recipe
    from onecycle_cli.schedules import LrMomentum, constant, cosine, multistep, one_cycle, triangular
    from onecycle_cli.training.torch_scheduler import torch_scheduler

__version__ = "0.1.0"
__all__ = [
    "InputError",
    "LrMomentum",
    "MachineError",
    "NoSuggestionError",
    "OnecycleError",
    "RangeTest",
    "Suggestion",
    "__version__",
    "constant",
    "cosine",
    "find_lr",
    "load_model",
    "load_recipe",
    "multistep",
    "one_cycle",
    "open_run",
    "suggest",
    "torch_scheduler",
    "train",
    "triangular",
]

_HOMES = {
    "InputError": "errors",
    "LrMomentum": "schedules",
    "MachineError": "errors",
    "NoSuggestionError": "errors",
    "OnecycleError": "errors",
    "RangeTest": "experiments.own_loop",
    "Suggestion": "analysis.lr_range",
    "constant": "schedules",
    "cosine": "schedules",
    "find_lr": "experiments.library",
    "load_model": "experiments.classifier",
    "load_recipe": "recipe.from_python",
    "multistep": "schedules",
    "one_cycle": "schedules",
    "open_run": "experiments.saved_run",
    "suggest": "analysis.lr_range.from_arrays",
    "torch_scheduler": "training.torch_scheduler",
    "train": "experiments.library",
    "triangular": "schedules",
}
"""The module that each public name comes from. A new name stands here, in `__all__` and under `TYPE_CHECKING`."""


def __getattr__(name: str) -> Any:
    # `onecycle --help` imports this package: torch and pandas are loaded with the first use of what needs them.
    if name not in _HOMES:
        raise AttributeError(f"module 'onecycle_cli' has no attribute {name!r}")
    value = getattr(import_module(f"onecycle_cli.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
