"""Times onecycle, the bare loop and the peers side by side on this machine's CPU: make benchmark DATA=data/cifar10.

ResNet-20, batch 512, flip and reflected crop, on some thousands of the images in the folder DATA (train/<class>/,
test/<class>/). Each contender is a process of its own; all take their turn, several times over. Appends every repeat to
benchmarks/results/speed.csv; benchmarks/tables.py makes the table and the chart of it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rows import append, installed

HERE = Path(__file__).parent
CONTENDERS = {
    "onecycle, bfloat16": ("ours.py", "--precision", "bfloat16", "--range-steps", "100"),
    "bare loop, bfloat16": ("bare.py", "--precision", "bfloat16"),
    "Lightning, bf16-mixed": ("peers.py", "lightning", "--precision", "bfloat16", "--range-steps", "20"),
    "onecycle, float32": ("ours.py", "--precision", "float32", "--range-steps", "20"),
    "bare loop, float32": ("bare.py", "--precision", "float32"),
    "Lightning, float32": ("peers.py", "lightning", "--range-steps", "20"),
    "fastai, float32": ("peers.py", "fastai", "--range-steps", "20"),
    "torch-lr-finder, float32": ("peers.py", "torch-lr-finder", "--range-steps", "20"),
}
MEASURED = ("train", "validate", "range_test", "peak_bytes")
PACKAGES = ("torch", "fastai", "lightning", "torch-lr-finder", "onecycle-cli")


def main() -> None:
    """Runs all contenders in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_240, help="training images; a fifth as many are scored")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--contender", choices=CONTENDERS, action="append", help="repeatable; default: all")
    asked = parser.parse_args()
    if not all((asked.data / split).is_dir() for split in ("train", "test")):
        sys.exit(f"{asked.data} holds no images: it needs train/<class>/ and test/<class>/.")
    machine = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",  # one run's rows share it
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
    } | {package: installed(package) for package in PACKAGES}
    with tempfile.TemporaryDirectory() as folder:
        _some_of(asked.data, Path(folder, "images"), {"train": asked.images, "test": asked.images // 5})
        for repeat in range(1, asked.repeats + 1):
            for name in asked.contender or CONTENDERS:
                script, *words = CONTENDERS[name]
                words += ["--batch-size", str(asked.batch_size)]
                words += [] if script == "bare.py" else ["--data", f"{folder}/images"]
                command = [sys.executable, str(HERE / "contenders" / script), *words]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
                measured = json.loads(done.stdout.splitlines()[-1])
                append(
                    "speed", {"contender": name, "repeat": repeat} | {k: measured.get(k) for k in MEASURED} | machine
                )
                print(f"{repeat} {name}: {measured}", file=sys.stderr)


def _some_of(data: Path, folder: Path, images: Mapping[str, int]) -> None:
    """Links to the first images of each class: of all classes together, so many of each split."""
    for split, wanted in images.items():
        classes = sorted(path for path in (data / split).iterdir() if path.is_dir())
        share, more = divmod(wanted, len(classes))
        for number, source in enumerate(classes):
            target = folder / split / source.name
            target.mkdir(parents=True)
            for file in sorted(source.iterdir())[: share + (number < more)]:
                (target / file.name).symlink_to(file.absolute())


def _processor() -> str:
    import torch

    return str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor()


if __name__ == "__main__":
    main()
