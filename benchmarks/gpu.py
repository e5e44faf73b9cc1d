"""Times what matters on a CUDA GPU: python benchmarks/gpu.py FOLDER, with CIFAR-10 as train/<class>/ and test/<class>/.

Whole processes of the command line (the experiments E1 and E3b, the range test, a sweep of four values), the rate of
the training step beside a bare PyTorch loop, how much of the time the GPU is busy, and, where there are several GPUs,
the time of an epoch on one, two, four, ... of them. Appends each figure to benchmarks/results/gpu.csv. Runs from a bare
checkout and needs no network. `--quick` leaves out the two trainings.
"""

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from command import onecycle, run
from rows import append
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.profiler import ProfilerActivity, profile

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks" / "contenders")]
STEPS = 60
RECIPE = "cifar10-resnet56"
TRAININGS = {"train E1": (RECIPE, 60), "train E3b": ("cifar10-resnet56-superconvergence-70", 45)}


def main() -> None:
    """Measures all, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device, so there is nothing to measure here.")
    data = asked.data.absolute()
    if not (data / "train").is_dir():
        sys.exit(f"{data} holds no images: it needs train/<class>/ and test/<class>/.")
    for row in chain(commands(data, quick=asked.quick), steps(data), several(data, torch.cuda.device_count())):
        write(row, torch.cuda.get_device_name())


def commands(data: Path, *, quick: bool) -> Iterator[dict[str, object]]:
    """Whole processes with the image cache warm: seconds, and the accuracy of the trainings."""
    where = ["--set", "data.source=image_folder", "--set", f"data.path={data}"]
    run("data", "get", RECIPE, *where)
    wds = ["--weight-decays", "1e-2,1e-3,1e-4,1e-5"]
    with tempfile.TemporaryDirectory() as folder:
        runs = ["--runs-dir", folder]
        for name, words, target in (
            ("find-lr", ["find-lr", RECIPE], 8),
            ("sweep-wd of four values", ["sweep-wd", RECIPE, *wds], 12),
        ):
            seconds, found = timed(*words, *where, *runs)
            status = {"status": "finished" if found else "no suggestion"}
            yield {"measurement": f"{name}, whole process", "seconds": seconds, "target": target} | status
        for name, (recipe, target) in () if quick else TRAININGS.items():
            seconds, summary = timed("train", recipe, *where, *runs)
            accuracy = {"accuracy": summary["valid_accuracy"], "status": summary["status"]}
            yield {"measurement": f"{name}, whole process", "seconds": seconds, "target": target} | accuracy


def timed(*words: str) -> tuple[float, dict[str, Any]]:
    """The seconds that a command takes, and its result, if any: without a suggestion it ends with exit code 4."""
    started = time.perf_counter()
    found = onecycle(*words, ends=(0, 3, 4))
    return time.perf_counter() - started, found


def steps(data: Path) -> Iterator[dict[str, object]]:
    """Training steps of ResNet-56 at batch 512, ours replayed and eager, and the bare loop's: rate and busy share."""
    from onecycle_cli.training import cuda_graphs as graphs

    warm_up = graphs.WARM_UP
    for name, calls in (("onecycle", warm_up), ("onecycle without graphs", 10**9)):
        graphs.WARM_UP = calls
        yield from rate(name, ours(data))
    graphs.WARM_UP = warm_up
    yield from rate("bare loop", bare_loop())


def ours(data: Path, device: str = "cuda", changes: Mapping[str, Any] | None = None) -> Callable[[], object]:
    """A step of the training of ResNet-56, of the recipe with `changes` if there are any."""
    from onecycle_cli.experiments.prepared_recipe import fresh, prepare
    from onecycle_cli.experiments.session import Session
    from onecycle_cli.progress import silent
    from onecycle_cli.recipe import load, shipped_path, to_yaml, with_values
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.schedules import LrMomentum
    from onecycle_cli.training.hardware import resolve_hardware

    values = {"data.source": "image_folder", "data.path": str(data), "data.drop_last": True}
    recipe = with_values(load(shipped_path("cifar10-resnet56")), values | dict(changes or {}))
    folder = Path(tempfile.mkdtemp())
    run = RunDir.create(folder, command="train", recipe_name="x", recipe_yaml=to_yaml(recipe), facts={}, name=None)
    prepared = prepare(recipe, Session(run, resolve_hardware(device, "auto"), silent))
    taken = fresh(recipe, prepared).steps(lambda _: LrMomentum(0.1, 0.9))
    return lambda: next(taken)


def bare_loop(device: str = "cuda", depth: int = 56, batch_size: int = 512) -> Callable[[], object]:
    """A step of a plain loop over one resident batch, in the same precision and memory format."""
    from bare import resnet
    from torch.nn import functional as F

    model = resnet(depth).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)
    images = torch.randn(batch_size, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(10, (batch_size,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16):
            loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()

    return step


def rate(name: str, step: Callable[[], object]) -> Iterator[dict[str, object]]:
    """Milliseconds a step, and the share of the time in which the GPU computes."""
    for _ in range(10):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(STEPS):
        step()
    torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / STEPS
    yield {"measurement": f"{name}, a step of ResNet-56", "seconds": seconds}
    with profile(activities=[ProfilerActivity.CUDA]) as watched:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize()
    kernels = [
        (event.time_range.start, event.time_range.end)
        for event in watched.events()
        if event.device_type == DeviceType.CUDA
    ]
    # Tracing puts gaps between the kernels of a graph, so their time is divided by that of a step without it.
    target = {"target": 0.9} if name == "onecycle" else {}
    yield {"measurement": f"{name}, share of time busy", "share": busy(kernels) / 1e6 / STEPS / seconds} | target


def busy(kernels: Sequence[tuple[float, float]]) -> float:
    """The time in which some kernel runs, from the start and the end of each; two at once count once."""
    total, end = 0.0, -math.inf
    for first, last in sorted(kernels):
        total += max(0.0, last - max(first, end))
        end = max(end, last)
    return total


def several(data: Path, gpus: int, changes: Sequence[str] = ()) -> Iterator[dict[str, object]]:
    """The second epoch of a training on 1, 2, 4, ... GPUs, if there are several, with synchronized batch norm or not.

    `changes` are further words for `onecycle train`.
    """
    where = ["--set", "data.source=image_folder", "--set", f"data.path={data}", "--epochs", "2", "--max-lr", "0.1"]
    for count in (2**power for power in range(gpus.bit_length()) if gpus > 1):
        for name, sync in (("", "false"), (", synchronized batch norm", "true")) if count > 1 else (("", "false"),):
            ways = ["--processes", str(count), "--set", f"runtime.sync_batch_norm={sync}"]
            with tempfile.TemporaryDirectory() as folder:
                run("train", RECIPE, *where, *changes, *ways, "--runs-dir", folder, "--name", "run", "--quiet")
                epoch = pd.read_csv(Path(folder) / "run" / "epochs.csv").iloc[-1]
            yield {"measurement": f"an epoch on {count} GPUs{name}", "seconds": epoch.seconds}


COLUMNS = ("date", "measurement", "seconds", "share", "target", "accuracy", "status", "gpu", "torch", "onecycle_cli")


def write(row: dict[str, object], gpu: str) -> None:
    """Appends a row with the facts of the machine."""
    from onecycle_cli import __version__

    row |= {"date": f"{datetime.now(UTC):%Y-%m-%d}", "gpu": gpu}
    row |= {"torch": torch.__version__.split("+")[0], "onecycle_cli": __version__}
    append("gpu", {name: row.get(name) for name in COLUMNS})
    print(row, flush=True)


if __name__ == "__main__":
    main()
