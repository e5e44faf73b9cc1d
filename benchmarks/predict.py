"""Times `predict` beside torchvision's loader, with the same model: python benchmarks/predict.py RUN data/cifar10/test.

The folder has a folder of images for each class, which torchvision's ImageFolder needs, but `predict` does not. All
contenders classify all of its images, in turn, several times over. The starting of worker processes counts, the loading
of the model does not. Appends every repeat to benchmarks/results/predict.csv, with the load of the machine, and the
share of the images that got the class that `predict` gives: `predict` decodes large JPEGs at a smaller scale.
"""

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rows import append, installed

if TYPE_CHECKING:
    from onecycle_cli.experiments.classifier import Classifier
    from onecycle_cli.training.hardware import Hardware

PACKAGES = ("torch", "torchvision", "pillow", "onecycle-cli")
OURS = "onecycle predict"


def main() -> None:
    """Runs the contenders in turn. Worker processes import this file, so torch is imported here."""
    import torch

    from onecycle_cli.data.cores import cores
    from onecycle_cli.experiments.classifier import load_model
    from onecycle_cli.training.hardware import resolve_hardware

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--workers", type=int, default=cores(), help="of torchvision's loader; default: one a core")
    asked = parser.parse_args()
    model = load_model(asked.run)
    hardware = resolve_hardware("auto", "auto")
    contenders: dict[str, Callable[[], list[str]]] = {OURS: lambda: predicted(model, hardware, asked.folder)}
    for workers in sorted({0, asked.workers}):
        contenders[f"ImageFolder and DataLoader, {workers} workers"] = lambda count=workers: loaded(  # type: ignore[misc]
            model, hardware, asked.folder, count
        )
    facts = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",
        "device": hardware.name,
        "precision": hardware.precision,
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    } | {package: installed(package) for package in PACKAGES}
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    answers: dict[str, list[str]] = {}
    for repeat in range(1, asked.repeats + 1):
        for name, run in contenders.items():
            started = time.perf_counter()
            answers[name] = run()
            speeds[name].append(len(answers[name]) / (time.perf_counter() - started))
            same = [one == other for one, other in zip(answers[name], answers[OURS], strict=True)]
            measured = {"images_per_second": round(speeds[name][-1], 1), "same_class": round(statistics.mean(same), 4)}
            described: dict[str, object] = {"folder": asked.folder, "images": len(same), "image_size": model.image_size}
            described["load"] = round(os.getloadavg()[0], 1)  # of the last minute, other processes included
            append("predict", {"contender": name, "repeat": repeat} | measured | described | facts)
    for name, found in speeds.items():
        print(f"{name}: {statistics.median(found):,.0f} images a second")


def predicted(model: "Classifier", hardware: "Hardware", folder: Path) -> list[str]:
    """The class of each image, by `predict`."""
    from onecycle_cli.experiments.classifier import image_files, predict

    return [one.label for answers, _ in predict(model, image_files([folder]), hardware) for one in answers]


def loaded(model: "Classifier", hardware: "Hardware", folder: Path, workers: int) -> list[str]:
    """The class of each image, by a loop over torchvision's dataset and torch's loader, with the same network."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    steps = [v2.Resize(model.image_size), v2.CenterCrop(model.image_size), v2.PILToTensor()]
    steps += [v2.Grayscale()] if model.channels == 1 else []
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(model.mean, model.std)]
    loader = DataLoader(ImageFolder(folder, v2.Compose(steps)), batch_size=256, num_workers=workers)
    network, found = model.model.eval().to(hardware.device), []
    with torch.inference_mode(), hardware.autocast():
        for images, _ in loader:
            channels_last = images.to(hardware.device, memory_format=torch.channels_last)
            found += network(channels_last).argmax(1).tolist()
    return [model.classes[label] for label in found]


if __name__ == "__main__":
    main()
