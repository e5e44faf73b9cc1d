"""`tune`, the recipe's untuned start and a random search of the same time, by the test accuracy they lead to.

    python benchmarks/tuning.py mnist-resnet8 --budget 180 --seeds 0,1,2 -- --set data.path=data/mnist-2000 --epochs 10

What stands behind `--` goes to `onecycle` as it is. A fifth of the training images is held out for validation, and each
way is judged by its last training's test images, which none of them looked at before:

- start: the recipe as it is, with the max_lr that its range test suggests;
- tune: `onecycle tune` within the budget, then a training with the recipe that comes out;
- random: Optuna's random sampler over batch size, weight decay, max_lr and momentum, with whole trainings for trials
  until the budget is over; the training with the least validation loss counts.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from command import onecycle, told, words_and_options
from rows import append, installed

from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Override, Recipe, find, load, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import resolve_hardware

if TYPE_CHECKING:
    import optuna

HELD_OUT = ("--set", "data.valid_fraction=0.2")

FACTORS = (1 / 4, 1 / 2, 1)
"""Of the recipe's batch size. Random search is given the range in which `tune` looks."""


def main() -> None:
    """A row for each way and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--budget", type=float, default=180, help="seconds")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--way", choices=WAYS, action="append", help="repeatable; default: all")
    words, options = words_and_options()
    asked = parser.parse_args(words)
    options = [*HELD_OUT, *options]
    for seed in map(int, asked.seeds.split(",")):
        for way in asked.way or WAYS:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                found = WAYS[way](asked.recipe, options, seed, asked.budget, Path(folder))
            found["seconds"] = round(time.perf_counter() - started, 1)
            keep(asked.recipe, options, way, seed, asked.budget, found)
            reached = f"{told(found['test_accuracy'])} in {found['seconds']:.0f} s, {found['trials']} trainings"
            print(f"{way}, seed {seed}: {reached}", flush=True)


def start(recipe: str, options: Sequence[str], seed: int, _: float, folder: Path) -> dict[str, Any]:
    """The recipe as it is."""
    return scores(onecycle("train", recipe, "--max-lr", "auto", *options, "--seed", seed, "--runs-dir", folder), 1)


def tune(recipe: str, options: Sequence[str], seed: int, budget: float, folder: Path) -> dict[str, Any]:
    """`tune`, then the training that follows."""
    words = ("--budget", f"{budget:g}s", "--seed", seed, "--runs-dir", folder)
    tuned = onecycle("tune", recipe, *options, *words)
    trained = onecycle("train", tuned["recipe"], "--runs-dir", folder)
    return scores(trained, sum(len(decision["trials"]) - 1 for decision in tuned["decisions"]) + 3)


def random_search(recipe: str, options: Sequence[str], seed: int, budget: float, folder: Path) -> dict[str, Any]:
    """Whole trainings with random values, the best of them by validation loss."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = load(find(recipe), overrides(options))
    base = with_values(base, {"seed": seed})
    hardware = resolve_hardware(base.runtime.device, base.runtime.precision)
    summaries: list[dict[str, Any]] = []

    def trained(trial: "optuna.Trial") -> float:
        one = with_values(base, drawn(trial, base))
        run = RunDir.create(
            folder, command="train", recipe_name=one.name, recipe_yaml=to_yaml(one), facts={}, name=None
        )
        summaries.append(train(one, Session(run, hardware, silent)).summary)
        loss = summaries[-1]["valid_loss"]
        return float("inf") if loss is None else loss

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    study.optimize(trained, timeout=budget, catch=())
    return scores(summaries[study.best_trial.number], len(summaries))


WAYS: dict[str, Callable[[str, Sequence[str], int, float, Path], dict[str, Any]]] = {
    "start": start,
    "tune": tune,
    "random": random_search,
}


def drawn(trial: "optuna.Trial", base: Recipe) -> dict[str, Any]:
    """The values of a trial."""
    sizes = [int(factor * base.data.batch_size) for factor in FACTORS]
    max_momentum, base_momentum = trial.suggest_categorical("momentum", ["0.95 0.85", "0.95 0.95", "0.9 0.9"]).split()
    return {
        "data.batch_size": trial.suggest_categorical("batch_size", sizes),
        "optimizer.weight_decay": trial.suggest_float("weight_decay", 1e-4, 1e-2, log=True),
        "schedule.max_lr": trial.suggest_float("max_lr", 1e-3, 10, log=True),
        "schedule.max_momentum": float(max_momentum),
        "schedule.base_momentum": float(base_momentum),
    }


def overrides(options: Sequence[str]) -> list[Override]:
    """The overrides in words such as `--set FIELD=VALUE` and `--epochs N`."""
    fields = {"--epochs": "schedule.epochs", "--batch-size": "data.batch_size"}
    found = []
    for flag, value in zip(options[::2], options[1::2], strict=True):
        field, text = value.split("=", 1) if flag == "--set" else (fields[flag], value)
        found.append(Override(field, text, flag))
    return found


def scores(summary: dict[str, Any], trials: int) -> dict[str, Any]:
    """What is kept of the training that a way ends with."""
    if summary["test_accuracy"] is None and summary["status"] != "diverged":
        sys.exit(f"{summary['recipe']} has no test images, so nothing can be told of the ways to tune it.")
    names = ("max_lr", "weight_decay", "batch_size", "epochs", "valid_loss", "test_accuracy")
    return {name: summary[name] for name in names} | {"trials": trials}


def keep(recipe: str, options: Sequence[str], way: str, seed: int, budget: float, found: dict[str, Any]) -> None:
    """Appends a row to benchmarks/results/tuning.csv."""
    import torch

    from onecycle_cli import __version__

    hardware = resolve_hardware("auto", "auto")
    append(
        "tuning",
        {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "recipe": recipe,
            "options": " ".join(options),
            "way": way,
            "budget": budget,
            "seed": seed,
            **found,
            "device_name": hardware.name,
            "threads": torch.get_num_threads(),
            "precision": hardware.precision,
            "torch": torch.__version__,
            "optuna": installed("optuna"),
            "onecycle_cli": __version__,
        },
    )


if __name__ == "__main__":
    main()
