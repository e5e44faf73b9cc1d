"""onecycle at the same task as the peers: python benchmarks/contenders/ours.py --data FOLDER --precision bfloat16.

Two epochs are trained and the second is timed, validation excluded, as `epochs.csv` has it; then the scoring of the
validation images, and where asked a range test. Prints one JSON object.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd

from onecycle_cli.experiments.prepared_recipe import fresh, prepare
from onecycle_cli.experiments.range_test import range_test
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import resolve_hardware


def main() -> None:
    """Trains, scores, tests the range."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--range-steps", type=int, default=0)
    asked = parser.parse_args()
    values = {"data.source": "image_folder", "data.path": str(asked.data.absolute()), "schedule.epochs": 2}
    values |= {"data.batch_size": asked.batch_size, "schedule.max_lr": 0.1}
    values |= {"runtime.device": "cpu", "runtime.precision": asked.precision}
    recipe = with_values(load(shipped_path("cifar10-resnet20")), values)
    hardware = resolve_hardware("cpu", asked.precision)
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder), recipe)
        train(recipe, Session(run, hardware, silent))
        epochs = pd.read_csv(run.path / "epochs.csv")
        result = {"train": epochs.images_per_second[1], "precision": hardware.precision}
        prepared = prepare(recipe, Session(_run(Path(folder), recipe), hardware, silent))
        trainer, times = fresh(recipe, prepared), []
        for _ in range(8):
            started = time.perf_counter()
            trainer.evaluate(prepared.valid)
            times.append(time.perf_counter() - started)
        result["validate"] = len(prepared.data.valid) / statistics.median(times[1:])
        if asked.range_steps:
            # Up to lr 1 nothing diverges, so that the whole test is run.
            recipe = with_values(recipe, {"find_lr.num_steps": asked.range_steps, "find_lr.end_lr": 1.0})
            run, started = _run(Path(folder), recipe), time.perf_counter()
            (points,) = range_test(recipe, prepared, Session(run, hardware, silent)).repeats
            result["range_test"] = len(points) * recipe.data.batch_size / (time.perf_counter() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result | {"peak_bytes": peak}))


def _run(folder: Path, recipe: Recipe) -> RunDir:
    text = to_yaml(recipe)
    return RunDir.create(folder, command="train", recipe_name=recipe.name, recipe_yaml=text, facts={}, name=None)


if __name__ == "__main__":
    main()
