"""Measures a training by one process and by two ranks on the same CPU.

    python benchmarks/ranks.py --lrs 0.001,0.01,0.1 --seeds 3 -- digits --epochs 3

What stands behind `--` goes to `onecycle train`. Three questions; each answer is a row of benchmarks/results/ranks.csv:

- `images a second`: in the last epoch, of one process with one thread, one with two, and two ranks with one each, in
  turn; the median over the seeds.
- `loss trace`: how far the losses of two ranks with synchronized batch norm are from those of one process, at most, in
  the first 50 steps, in float32, at each max_lr. Beside it the same for one process whose initial weights are
  multiplied by 1 + 1e-8 times normal noise: what the network makes of a difference in the last digits.
- `valid accuracy`: of one process, two ranks and two ranks with synchronized batch norm, for each seed.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import pandas as pd
from command import ROOT, run, words_and_options
from rows import append, installed

sys.path.insert(0, str(ROOT))
STEPS = 50
ONE: list[str] = []
TWO = ["--processes", "2"]
SYNCHRONIZED = [*TWO, "--set", "runtime.sync_batch_norm=true"]
NOISE = "1 process, weights x (1 + 1e-8 noise)"


def main() -> None:
    """Answers all three questions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lrs", default="0.001,0.01,0.1", help="the max_lr of the loss traces; empty: none")
    parser.add_argument("--seeds", type=int, default=3)
    words, options = words_and_options()
    asked = parser.parse_args(words)
    machine = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": installed("torch"),
        "options": " ".join(options),
    }
    with tempfile.TemporaryDirectory() as folder:
        lrs = asked.lrs.split(",") if asked.lrs else []
        for answer in (*traces(lrs, options, folder), *trainings(asked.seeds, options, folder)):
            append("ranks", machine | answer)
            print(answer, file=sys.stderr)


def traces(lrs: list[str], options: list[str], folder: str) -> Iterator[dict[str, object]]:
    """The largest difference of a loss from that of one process, at each max_lr."""
    for lr in lrs:
        here = [*options, "--max-lr", lr, "--set", "runtime.precision=float32"]
        alone = _trained(here, ONE, folder, threads=1)["train_loss"][:STEPS]
        for way, losses in (
            ("2 ranks, synchronized batch norm", _trained(here, SYNCHRONIZED, folder, threads=1)["train_loss"]),
            (NOISE, _with_noise(here, folder)),
        ):
            largest = max(abs(one - other) for one, other in zip(alone, losses, strict=False))
            yield _answer("loss trace", way, f"max_lr {lr}", float(f"{largest:.2g}"))


def trainings(seeds: int, options: list[str], folder: str) -> Iterator[dict[str, object]]:
    """The speed and the accuracy of each way, for each seed, in turn."""
    ways = {
        "1 process, 1 thread": (ONE, 1),
        "1 process, 2 threads": (ONE, 2),
        "2 ranks, 1 thread each": (TWO, 1),
        "2 ranks, 1 thread each, synchronized batch norm": (SYNCHRONIZED, 1),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for seed in range(seeds):
        for way, (words, threads) in ways.items():
            trained = _trained([*options, "--seed", str(seed)], words, folder, threads=threads)
            rates[way].append(trained["images_per_second"][-1])
            yield _answer("valid accuracy", way, f"seed {seed}", trained["valid_accuracy"][-1])
    for way, measured in rates.items():
        yield _answer("images a second", way, f"median of {seeds}", round(statistics.median(measured), 1))


def _answer(measured: str, way: str, case: str, value: float) -> dict[str, object]:
    return {"measured": measured, "way": way, "case": case, "value": value}


def _trained(options: list[str], words: list[str], folder: str, *, threads: int) -> dict[str, list[float]]:
    """The losses of the steps, and the speed and accuracy of the epochs, of a training."""
    runs = Path(tempfile.mkdtemp(dir=folder))
    with _threads(threads):
        run("train", *options, *words, "--runs-dir", runs, "--name", "run", "--quiet")
    steps, epochs = (pd.read_csv(runs / "run" / f"{table}.csv") for table in ("steps", "epochs"))
    return {
        "train_loss": steps.train_loss.tolist(),
        "images_per_second": epochs.images_per_second.tolist(),
        "valid_accuracy": epochs.valid_accuracy.tolist(),
    }


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


def _with_noise(options: list[str], folder: str) -> list[float]:
    """The losses of one process that starts from the weights of another one with the same recipe, and noise."""
    import torch

    from onecycle_cli.cli import app
    from onecycle_cli.experiments.trainers import initial_model

    def noisy(*given: object) -> torch.nn.Module:
        model = initial_model(*given)  # type: ignore[arg-type]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1 + 1e-8 * torch.randn(parameter.shape, generator=generator))
        return model

    torch.set_num_threads(1)
    runs = Path(tempfile.mkdtemp(dir=folder))
    with patch("onecycle_cli.experiments.prepared_recipe.initial_model", noisy):
        app(["train", *options, "--runs-dir", str(runs), "--name", "run", "--quiet"], standalone_mode=False)
    losses: list[float] = pd.read_csv(runs / "run" / "steps.csv")["train_loss"].tolist()
    return losses


def _processor() -> str:
    import torch

    return str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor()


if __name__ == "__main__":
    main()
