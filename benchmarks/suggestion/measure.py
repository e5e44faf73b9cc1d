"""Measures what suggestions are judged by, and goes on where it was stopped.

    python benchmarks/suggestion/measure.py truth             # all tasks: hours on two cores
    python benchmarks/suggestion/measure.py curves --task mnist-2000-resnet8-32

`truth`: the 1cycle runs of each task over its grid of max_lr, five seeds each (the first tasks: three), and beyond its
ends, two seeds. `curves`: its range tests, five seeds each, and three over each library's own range. `short`: cycles of
a part of a run's length over the same grid. `decay`: cycles over a grid of weight decay and max_lr, and the range tests
of each weight decay. `forms`: range tests of some tasks in other lengths, ranges and modes. Rows are appended to
benchmarks/results/suggestion/, one by one; what is there is not measured again. `--processes` runs so many at once,
with a thread each; with 1 all is run in this process.
"""

import argparse
import csv
import math
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from filelock import FileLock
from rows import append, csv_file
from task import Task
from tasks import TASKS

from onecycle_cli.schedules import LrMomentum, Range

if TYPE_CHECKING:
    from onecycle_cli.schedules import Schedule
    from onecycle_cli.training.trainer import Trainer

TRUTH_SEEDS = {"first": range(3), "fitted": range(5), "checked": range(5), "held out": range(5)}
TAIL_SEEDS = range(2)
CURVE_SEEDS = range(100, 105)
"""Other seeds than the truth's: a finder sees other weights and other batches than the runs it is judged by."""

PEER_SEEDS = CURVE_SEEDS[:3]
"""The seeds with which the ranges of other libraries are tested too."""

PARTS = (1 / 24, 1 / 12, 1 / 6)
"""Of a run's steps, that short cycles take."""

SHORT_SEEDS = range(100, 102)

DECAY_TASKS = (
    "mnist-2000-resnet8-128",
    "cifar10-5000-resnet8-128",
    "mnist-2000-resnet8-32",
    "cifar10-rotated-4000-resnet8-256",
    "cifar10-2000-wrong-labels-resnet20-64",
)
DECAYS = (1e-2, 3.16e-3, 1e-3, 1e-4)
DECAY_GRID = (0.025, 0.08, 0.25, 0.8, 2.5)
DECAY_SEEDS = range(3)

RANGES = {"recipe": None, "fastai": (1e-7, 10.0), "Lightning": (1e-8, 1.0)}
"""From and to which lr a test goes: as the recipe says, or by default in other libraries, all in 100 steps.

torch-lr-finder's and ignite's start is the optimizer's lr, which their examples set to 1e-7, like fastai."""

FORM_TASKS = (
    "digits-resnet8-64",
    "mnist-2000-resnet8-32",
    "cifar10-2000-cnn-without-norm-64",
    "mnist-mlp-2048",
    "trash-cnn-32-adamw",
    "cifar10-2000-vit-64-adamw",
)
FORM_SEEDS = range(100, 103)
LENGTHS = (40, 100, 200, 400, 1_000)
LINEAR_LENGTHS = (100, 1_000)

CURVE_STEPS = 100
FEWEST_STEPS = 10
"""Of a short cycle."""

HOPELESS = 30.0
"""A range test is left where a loss is this many times the first one: every library has stopped long before."""


def main() -> None:
    """Shares the missing measurements among processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("truth", "curves", "short", "decay", "forms"))
    parser.add_argument("--task", choices=TASKS, action="append", help="may be given several times; default: all")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with cifar10/ and mnist/")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=5, help="the most seeds of a truth, to have all tasks early")
    asked = parser.parse_args()
    work_off(jobs_of(asked.what, asked.task or list(TASKS), asked.data, asked.seeds), asked.data, asked.processes)


def work_off(jobs: Sequence[partial[None]], data: Path, processes: int) -> None:
    """Does all jobs, whose first argument is a task, with so many processes."""
    for name in {job.args[0] for job in jobs}:  # before the processes, which must not both make a subset
        TASKS[name].resolved(data)
    if processes == 1:
        for job in jobs:
            job()
        return
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        for future in as_completed([pool.submit(job) for job in jobs]):
            future.result()


def jobs_of(what: str, names: Sequence[str], data: Path, seeds: int) -> list[partial[None]]:
    """What is to be measured of the tasks `names`, in parts that processes can share."""
    if what == "truth":
        # Small jobs, so that no process waits while the other does a whole grid: a seed of all tasks, then the next.
        jobs = [
            (seed, partial(truth, name, data, seed, part))
            for name in names
            for seed in TRUTH_SEEDS[TASKS[name].part][:seeds]
            for part in _thirds(TASKS[name], seed)
        ]
        return [job for _, job in sorted(jobs, key=lambda pair: pair[0])]
    if what == "short":
        return [partial(short, name, data, seed, part) for name in names for seed in SHORT_SEEDS for part in PARTS]
    if what == "decay":
        of_decay = [name for name in DECAY_TASKS if name in names]
        return [partial(decay, name, data, seed, wd) for name in of_decay for seed in DECAY_SEEDS for wd in DECAYS]
    if what == "forms":
        return [partial(forms, name, data, seed) for name in FORM_TASKS if name in names for seed in FORM_SEEDS]
    return [partial(curves, name, data, seed) for name in names for seed in CURVE_SEEDS]


def _thirds(task: Task, seed: int) -> list[Sequence[float]]:
    max_lrs = sorted(task.grid + (task.tails if seed in TAIL_SEEDS else ()))
    return [max_lrs[i::3] for i in range(3)]


def truth(name: str, data: Path, seed: int, max_lrs: Sequence[float]) -> None:
    """The runs of a task with one seed that are not there yet."""
    done = {(row["task"], int(row["seed"]), float(row["max_lr"])) for row in rows("truth")}
    missing = [max_lr for max_lr in max_lrs if (name, seed, max_lr) not in done]
    if not missing:
        return
    with closing(OneThread(name, data, seed)) as trainer:
        for max_lr in missing:
            started = perf_counter()
            result = trainer.train(max_lr)
            seconds = round(perf_counter() - started, 1)
            keep("truth", {"task": name, "seed": seed, "max_lr": max_lr} | result | {"seconds": seconds} | machine())
            print(
                f"{name} seed {seed} max_lr {max_lr:g}: {result['valid_accuracy']:.4f} in {seconds:.0f} s", flush=True
            )


def curves(name: str, data: Path, seed: int) -> None:
    """The range tests of a task with one seed that are not there yet."""
    done = {(row["task"], int(row["seed"]), row["range"]) for row in rows("curves")}
    ranges = RANGES if seed in PEER_SEEDS else ("recipe",)
    missing = [kind for kind in ranges if (name, seed, kind) not in done]
    if not missing:
        return
    with closing(OneThread(name, data, seed)) as trainer:
        for kind in missing:
            finder = trainer.recipe.find_lr
            points = list(trainer.range_test(*(RANGES[kind] or (finder.start_lr, finder.end_lr))))
            key = {"task": name, "seed": seed, "range": kind}
            keep("curves", *(key | {"lr": f"{lr:.5g}", "train_loss": f"{loss:.6g}"} for lr, loss in points))
            print(f"{name} seed {seed} {kind}: {len(points)} steps", flush=True)


def forms(name: str, data: Path, seed: int) -> None:
    """The range tests of a task in other forms, with one seed, that are not there yet."""
    done = {(row["task"], int(row["seed"]), row["form"]) for row in rows("forms")}
    with closing(OneThread(name, data, seed)) as trainer:
        finder = trainer.recipe.find_lr
        own = (finder.start_lr, finder.end_lr)
        # A decade lower for AdamW, whose own range begins lower.
        scale = 1.0 if trainer.recipe.optimizer.name == "sgd" else 0.1
        tests: dict[str, Range] = {f"{steps} steps": Range(*own, steps, "exponential") for steps in LENGTHS}
        tests |= {f"linear, {steps} steps": Range(*own, steps, "linear") for steps in LINEAR_LENGTHS}
        for start, end in ((1e-5, 10), (1e-4, 100), (1e-3, 3)):
            tests[f"{start:g} to {end:g}"] = Range(scale * start, scale * end, CURVE_STEPS, "exponential")
        for form, lrs in tests.items():
            if (name, seed, form) not in done:
                points = list(trainer.steps_of(lrs))
                key = {"task": name, "seed": seed, "form": form}
                keep("forms", *(key | {"lr": f"{lr:.5g}", "train_loss": f"{loss:.6g}"} for lr, loss in points))
                print(f"{name} seed {seed} {form}: {len(points)} steps", flush=True)


def short(name: str, data: Path, seed: int, share: float) -> None:
    """The short cycles of a task with one seed and one length that are not there yet."""
    done = {(row["task"], int(row["seed"]), row["share"], float(row["max_lr"])) for row in rows("short")}
    missing = [max_lr for max_lr in TASKS[name].grid if (name, seed, f"{share:.4f}", max_lr) not in done]
    if not missing:
        return
    with closing(OneThread(name, data, seed)) as trainer:
        for max_lr in missing:
            result = trainer.train(max_lr, share)
            keep("short", {"task": name, "seed": seed, "share": f"{share:.4f}", "max_lr": max_lr} | result)
        print(f"{name} seed {seed} share {share:.3f}", flush=True)


def decay(name: str, data: Path, seed: int, weight_decay: float) -> None:
    """The cycles and the range tests of a task at one weight decay, with one seed, that are not there yet."""
    done = {(row["task"], int(row["seed"]), float(row["weight_decay"]), float(row["max_lr"])) for row in rows("decay")}
    missing = [max_lr for max_lr in DECAY_GRID if (name, seed, weight_decay, max_lr) not in done]
    if not missing:
        return
    key: dict[str, Any] = {"task": name, "seed": seed, "weight_decay": weight_decay}
    with closing(OneThread(name, data, seed, weight_decay)) as trainer:
        for max_lr in missing:
            keep("decay", key | {"max_lr": max_lr} | trainer.train(max_lr))
    if not any((row["task"], float(row["weight_decay"])) == (name, weight_decay) for row in rows("decay_curves")):
        for test in range(3):
            key["seed"] = 100 + 10 * test + seed
            with closing(OneThread(name, data, key["seed"], weight_decay)) as trainer:
                finder = trainer.recipe.find_lr
                points = list(trainer.range_test(finder.start_lr, finder.end_lr))
            keep("decay_curves", *(key | {"lr": f"{lr:.5g}", "train_loss": f"{loss:.6g}"} for lr, loss in points))
    print(f"{name} seed {seed} weight decay {weight_decay:g}", flush=True)


class OneThread:
    """Trains a task with one seed, on a single thread: side by side, such processes get more done than one with two."""

    def __init__(self, name: str, data: Path, seed: int, weight_decay: float | None = None) -> None:
        import torch

        from onecycle_cli.experiments.prepared_recipe import prepare
        from onecycle_cli.experiments.session import Session
        from onecycle_cli.models import OwnCode
        from onecycle_cli.recipe import to_yaml, with_values
        from onecycle_cli.run_dir.run import RunDir
        from onecycle_cli.training.hardware import resolve_hardware

        torch.set_num_threads(1)
        self.recipe = with_values(TASKS[name].resolved(data), {"seed": seed})
        if weight_decay is not None:
            self.recipe = with_values(self.recipe, {"optimizer.weight_decay": weight_decay})
        self._folder = tempfile.TemporaryDirectory()
        hardware = resolve_hardware(self.recipe.runtime.device, self.recipe.runtime.precision)
        run = RunDir.create(
            Path(self._folder.name),
            command="train",
            recipe_name=name,
            recipe_yaml=to_yaml(self.recipe),
            facts={"seed": seed},
            name=None,
        )
        self.prepared = prepare(self.recipe, Session(run, hardware, lambda _: None, OwnCode(trusted=True)))

    def close(self) -> None:
        """Removes the run's folder."""
        self._folder.cleanup()

    def train(self, max_lr: float, share: float = 1.0) -> dict[str, Any]:
        """One cycle to the end, over a share of the run's steps, without a look at the validation images before."""
        from onecycle_cli.experiments.planning import recipe_schedule
        from onecycle_cli.experiments.prepared_recipe import fresh
        from onecycle_cli.recipe import with_largest_max_lr

        recipe = with_largest_max_lr(self.recipe, max_lr)
        total = max(FEWEST_STEPS, round(share * self.steps))
        schedule = recipe_schedule(recipe, total / recipe.schedule.epochs)
        return self.run(fresh(recipe, self.prepared), schedule, total)

    @property
    def steps(self) -> int:
        """The number of steps of a whole run."""
        return self.recipe.schedule.epochs * self.prepared.train.steps_per_epoch

    def run(
        self, trainer: "Trainer", schedule: "Schedule", total: int, before_scoring: Callable[[], None] = lambda: None
    ) -> dict[str, Any]:
        """So many steps of a trainer, and their result. A diverged run has the accuracy of a guess."""
        losses = []
        for step in trainer.steps(schedule):
            losses.append(float(step.loss))
            if not math.isfinite(losses[-1]) or len(losses) == total:
                break
        diverged = not math.isfinite(losses[-1])
        before_scoring()
        score = trainer.evaluate(self.prepared.valid)
        chance = 1 / self.prepared.classes
        return {
            "steps": len(losses),
            "train_loss": math.nan if diverged else fmean(losses[-20:]),
            "valid_loss": math.nan if diverged else score.loss,
            "valid_accuracy": chance if diverged or not math.isfinite(score.loss) else score.accuracy,
        }

    def range_test(self, start_lr: float, end_lr: float) -> Iterator[tuple[float, float]]:
        """The lr and the loss of each step of an exponential test of `CURVE_STEPS` steps."""
        return self.steps_of(Range(start_lr, end_lr, CURVE_STEPS, "exponential"))

    def steps_of(self, lrs: Range) -> Iterator[tuple[float, float]]:
        """The lr and the loss of each step of a test, up to one that is not finite or beyond hope."""
        from onecycle_cli.experiments.prepared_recipe import fresh
        from onecycle_cli.recipe import finder_momentum

        momentum = finder_momentum(self.recipe)
        first = None
        for step in fresh(self.recipe, self.prepared).steps(lambda step: LrMomentum(lrs.lr(step), momentum)):
            loss = float(step.loss)
            first = first or loss
            yield step.lr, loss
            if step.step == lrs.num_steps - 1 or not loss <= HOPELESS * first:
                return


def machine() -> dict[str, object]:
    """Where, when and with what a row was measured."""
    import torch

    from onecycle_cli.training.hardware import resolve_hardware

    hardware = resolve_hardware("auto", "auto")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": hardware.name,
        "precision": hardware.precision,
        "torch": torch.__version__.split("+")[0],
        "onecycle_cli": version("onecycle-cli"),
    }


def rows(name: str) -> list[dict[str, str]]:
    """What has been measured so far."""
    file = csv_file(f"suggestion/{name}")
    if not file.exists():
        return []
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def keep(name: str, *new: dict[str, Any]) -> None:
    """Appends rows at once, in turn with the other processes."""
    with FileLock(f"{csv_file(f'suggestion/{name}')}.lock"):
        append(f"suggestion/{name}", *new)


if __name__ == "__main__":
    main()
