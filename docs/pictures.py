"""Makes the pictures of the README and of docs/: `make pictures`, or `python docs/pictures.py speed.png tail.png`.

The commands of a picture run in the root of the checkout, with their runs in runs/pictures/. Some take minutes, some
hours on two cores. A picture whose run is there already is drawn from it again.

The folders of images, each with train/<class>/ or <class>/ in it: data/cifar10-5000 (500 training images of each class
of CIFAR-10), data/mnist-2000, data/clothing (alexeygrigorev/clothing-dataset-small), and data/sign-digits
(ardamavi/Sign-Language-Digits-Dataset, Apache-2.0), of which the tutorial has three classes.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
IMAGES = Path(__file__).parent / "images"
RUNS = "runs/pictures"


@dataclass(frozen=True)
class Picture:
    """A picture: the commands that make it, and the file that they leave; None if they write it in its place."""

    commands: tuple[str, ...]
    file: str | None = None


SMALL = "--set data.source=image_folder --set data.path=data/cifar10-5000"
COMPARED = f"cifar10-resnet8 {SMALL} --set schedule.epochs=5 --batch-size 128"
PHOTOS = f"{RUNS}/photos"
TUTORIAL = f"images --set data.path={PHOTOS} --batch-size 16"

PICTURES = {
    "augmentation.png": Picture(
        (
            "onecycle data show images --set data.path=data/clothing --set augmentation=standard --images 16"
            f" --output {RUNS}/augmentation.png",
        ),
        "augmentation.png",
    ),
    "compare.png": Picture(
        (
            *(
                f"onecycle train {COMPARED} --max-lr {max_lr} --seed {seed} --name compared-{max_lr}-{seed}"
                for max_lr in ("0.1", "0.5")
                for seed in (0, 1)
            ),
            f"onecycle sweep-wd {COMPARED} --set find_lr.num_steps=60 --name compared-swept",
            "onecycle compare compared-0.1-0 compared-0.1-1 compared-0.5-0 compared-0.5-1 compared-swept"
            f" --plot {RUNS}/compare.png",
        ),
        "compare.png",
    ),
    "fine_tuning.png": Picture(
        (
            "onecycle train cifar10-resnet8 --max-lr 1 --name cifar10",
            "onecycle train cifar10-resnet8 --set data.source=image_folder --set data.path=data/mnist-2000"
            " --batch-size 64 --set data.mean=null --set data.std=null --set data.horizontal_flip=false"
            f" --init {RUNS}/cifar10 --epochs 3 --set schedule.max_lr=[0.1,1]"
            " --set 'fine_tune={stages: [{freeze_to: head, epochs: 1, max_lr: 0.1}, {epochs: 2}]}'"
            " --max-lr auto --name numbers",
        ),
        "numbers/training.png",
    ),
    "lr_range.png": Picture(("onecycle find-lr cifar10-resnet8 --name lr-range",), "lr-range/lr_range.png"),
    "regret.png": Picture(("python benchmarks/suggestion/score.py",)),
    "speed.png": Picture(("python benchmarks/tables.py",)),
    "sweep.png": Picture(
        (f"onecycle sweep-wd cifar10-resnet8 {SMALL} --weight-decays 1e-2,1e-3,1e-4 --name weight-decays",),
        "weight-decays/sweep.png",
    ),
    "tail.png": Picture(
        (
            "onecycle sweep cifar10-resnet56 --set model.architecture=resnet20 --epochs 10"
            " --param schedule.pct_start=0.4316,0.25 --seeds 3 --name tail",
            f"onecycle compare tail --plot {RUNS}/tail.png",
        ),
        "tail.png",
    ),
    "training.png": Picture(
        ("onecycle train cifar10-resnet20 --max-lr 0.135 --name training",), "training/training.png"
    ),
    "tutorial_batch.png": Picture(
        (f"onecycle data show {TUTORIAL} --output {RUNS}/tutorial_batch.png",), "tutorial_batch.png"
    ),
    "tutorial_lr_range.png": Picture((f"onecycle find-lr {TUTORIAL} --name tutorial-lr",), "tutorial-lr/lr_range.png"),
    "tutorial_training.png": Picture(
        (f"onecycle train {TUTORIAL} --max-lr auto --name tutorial",), "tutorial/training.png"
    ),
}
"""Every picture of the pages, by its name in docs/images/."""


def copy_photos() -> None:
    """Makes the folder of the tutorial, if it is not there: 100 photos of each of three signs."""
    for name, sign in {"rock": 0, "paper": 5, "scissors": 2}.items():
        folder = ROOT / PHOTOS / name
        if not folder.exists():
            folder.mkdir(parents=True)
            for photo in sorted((ROOT / "data" / "sign-digits" / "train" / str(sign)).iterdir())[:100]:
                shutil.copy(photo, folder)


def words_of(command: str) -> list[str]:
    """Returns the words of a command; the runs of onecycle are kept in their own folder."""
    program, *words = shlex.split(command)
    if program == "python":
        return [sys.executable, *words]
    keeps_runs = words[0] not in ("data", "model", "recipes")
    return [sys.executable, "-m", "onecycle_cli", *words, *(("--runs-dir", RUNS) if keeps_runs else ())]


def make(name: str) -> None:
    """Makes one picture; a command whose run or file is there already does not run again."""
    picture = PICTURES[name]
    if any(PHOTOS in command for command in picture.commands):
        copy_photos()
    for command in picture.commands:
        words = words_of(command)
        made = [words[words.index(option) + 1] for option in ("--name", "--output", "--plot") if option in words]
        if not any((ROOT / path).exists() for one in made for path in (one, f"{RUNS}/{one}")):
            print(f"{name}: {command}", flush=True)
            subprocess.run(words, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    if picture.file is not None:
        shutil.copyfile(ROOT / RUNS / picture.file, IMAGES / name)


def main() -> None:
    """Makes the pictures that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="such as speed.png; all if left out")
    (ROOT / RUNS).mkdir(parents=True, exist_ok=True)
    for name in parser.parse_args().names or PICTURES:
        make(name)


if __name__ == "__main__":
    main()
