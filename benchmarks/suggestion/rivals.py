"""Measures other ways to do without a hand-picked max_lr on the tasks of suggestions, and goes on where it was stopped.

    python benchmarks/suggestion/rivals.py lr_free               # all tasks: hours on two cores
    python benchmarks/suggestion/rivals.py own_loops --task digits-vit-32

`lr_free`: whole runs with optimizers that need no lr (lr_free_optimizers.py), two seeds each: the same network, batches
and number of steps as the 1cycle runs of measure.py. `own_loops`: what the range tests of other libraries suggest in
their own loops (library_finders.py), three seeds each. Rows are appended to benchmarks/results/suggestion/, one by one;
what is there is not measured again. `--processes` is that of measure.py. Needs the extra `benchmark`.
"""

import argparse
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from measure import OneThread, keep, machine, rows, work_off
from tasks import TASKS

RIVAL_SEEDS = range(2)
"""The first seeds of the truth, so that a run has the weights and the batches of a 1cycle run."""

OWN_LOOP_SEEDS = range(100, 103)
"""The first seeds of the committed curves."""

OWN_LOOP_TASKS = (
    "cifar10-5000-resnet8-128",
    "mnist-mlp-2048",
    "cifar10-2000-cnn-unnormalized-32",
    "cifar10-2000-vit-64-adamw",
    "digits-vit-32",
    "sign-digits-resnet8-8",
    "fours-and-nines-1000-cnn-16-nesterov",
    "mnist-2000-wrong-labels-mlp-16",
    "cifar10-rotated-4000-resnet8-64-adamw",
    "trash-efficientnet-32",
    "trash-vit-32-adamw",
    "clothing-nfnet-64",
    "sign-digits-resnet-16-nesterov",
    "cifar10-2000-efficientnet-group-norm-32",
    "digits-mlp-128-without-momentum",
    "mnist-1000-resnet8-group-norm-8",
    "mnist-5000-mlp-64-adamw",
)
"""Cheap and different ones; the last seven are held out. None mixes images or freezes layers, which needs more than a
loss and an optimizer."""

ONE_LR = {("Prodigy", "clothing-unequal-fine-tuned-discriminative-64")}
"""Not measured: Prodigy refuses different lrs for different layers."""


def main() -> None:
    """Shares the missing measurements among processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("lr_free", "own_loops"))
    parser.add_argument("--task", choices=TASKS, action="append", help="may be given several times; default: all")
    parser.add_argument("--data", type=Path, default=Path("data"), help="the folder with cifar10/ and mnist/")
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    work_off(jobs_of(asked.what, asked.task or list(TASKS), asked.data), asked.data, asked.processes)


def jobs_of(what: str, names: Sequence[str], data: Path) -> list[partial[None]]:
    """What is to be measured of the tasks `names`, in parts that processes can share; one seed of all, then the next.

    Of other tasks than `OWN_LOOP_TASKS` there are no own loops.
    """
    if what == "lr_free":
        return [partial(lr_free, name, data, seed) for seed in RIVAL_SEEDS for name in names]
    return [partial(own_loops, name, data, seed) for seed in OWN_LOOP_SEEDS for name in OWN_LOOP_TASKS if name in names]


def lr_free(name: str, data: Path, seed: int) -> None:
    """The runs of a task with one seed and each optimizer that are not there yet."""
    from lr_free_optimizers import OPTIMIZERS, put_into, ready_to_score

    from onecycle_cli.experiments.prepared_recipe import fresh

    done = {(row["task"], int(row["seed"]), row["optimizer"]) for row in rows("lr_free")}
    missing = [one for one in OPTIMIZERS if (name, seed, one) not in done and (one, name) not in ONE_LR]
    if not missing:
        return
    with closing(OneThread(name, data, seed)) as task:
        settings, own = task.recipe.optimizer, task.prepared.trainer.optimizer
        for one in missing:
            rival, total = OPTIMIZERS[one], task.steps
            started = perf_counter()
            task.prepared.trainer.optimizer = own
            trainer = fresh(task.recipe, task.prepared)
            adapter = put_into(trainer, rival, settings.weight_decay if settings.name == rival.decay else 0.0, total)
            finish = partial(ready_to_score, trainer, adapter, total)
            result = task.run(trainer, rival.schedule(total), total, finish)
            seconds = round(perf_counter() - started, 1)
            key = {"task": name, "seed": seed, "optimizer": one}
            keep("lr_free", key | result | {"seconds": seconds} | machine() | {"package": _installed(rival.package)})
            print(f"{name} seed {seed} {one}: {result['valid_accuracy']:.4f} in {seconds:.0f} s", flush=True)


def own_loops(name: str, data: Path, seed: int) -> None:
    """The range tests of a task with one seed by each library that are not there yet."""
    from library_finders import FINDERS, Setting, answers_of

    done = {(row["task"], int(row["seed"]), row["library"]) for row in rows("own_loops")}
    missing = [library for library in FINDERS if (name, seed, library) not in done]
    if not missing:
        return
    with closing(OneThread(name, data, seed)) as task:
        for library in missing:
            setting = Setting(task.recipe, task.prepared)
            started = perf_counter()
            answers, steps = answers_of(library, setting)
            seconds = round(perf_counter() - started, 1)
            key = {"task": name, "seed": seed, "library": library}
            taken = {"steps": steps, "seconds": seconds} | machine() | {"precision": "float32"}
            taken["package"] = _installed(FINDERS[library][0])
            keep("own_loops", *(key | {"rule": rule, "max_lr": lr} | taken for rule, lr in answers.items()))
            told = ", ".join(f"{rule} {lr:.3g}" if lr else f"{rule} nothing" for rule, lr in answers.items())
            print(f"{name} seed {seed} {library}: {told} in {seconds:.1f} s", flush=True)


def _installed(package: str) -> str:
    return f"{package} {version(package)}"


if __name__ == "__main__":
    main()
