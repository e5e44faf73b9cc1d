"""Image folders that are made from others: fewer images, other classes, wrong labels. The same ones on each machine.

Each function makes a folder beside its source, if it is missing, and returns its path. Images that do not change are
hard links.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

TEST_IMAGES = 2_000
"""The most test images of a made set: a score of 10,000 would take longer than the training it is for."""


def subset(source: Path, images: int, classes: tuple[str, ...] = ()) -> Path:
    """So many of the training images in `source`, the same share of each class, and all its test images.

    Drawn once and for all with a fixed seed. `classes` names those that are kept.
    """
    kept = classes or _classes(source)

    def fill(folder: Path) -> None:
        for number, name in enumerate(kept):
            _link(_drawn(source / "train" / name, images // len(kept), number), folder / "train" / name)
            shutil.copytree(source / "test" / name, folder / "test" / name, copy_function=os.link)

    return _made("-".join([source.name, *classes, str(images)]), source, fill)


def some(source: Path, images: int, *, classes: tuple[str, ...] = (), unequal: float = 1.0) -> Path:
    """So many training images and at most `TEST_IMAGES` test images, the same number of each class.

    With `unequal`, each class has this share of the training images of the class before it.
    """
    kept = classes or _classes(source)

    def fill(folder: Path) -> None:
        for number, name in enumerate(kept):
            wanted = round(images // len(kept) * unequal**number)
            _link(_drawn(source / "train" / name, wanted, number), folder / "train" / name)
            _link(_drawn(source / "test" / name, TEST_IMAGES // len(kept), number), folder / "test" / name)

    mark = [f"unequal{unequal:g}"] if unequal < 1 else []
    return _made("-".join([source.name, "some", *classes, str(images), *mark]), source, fill)


def with_wrong_labels(source: Path, share: float) -> Path:
    """The images of `source`; this share of the training images has the label of another class, drawn evenly."""
    classes = _classes(source)

    def fill(folder: Path) -> None:
        for number, name in enumerate(classes):
            rng = np.random.default_rng(1_000 + number)
            others = [other for other in classes if other != name]
            for file in sorted((source / "train" / name).iterdir()):
                label = others[rng.integers(len(others))] if rng.random() < share else name
                _link([file], folder / "train" / label, prefix=f"{name}-")
            _link(sorted((source / "test" / name).iterdir()), folder / "test" / name)

    return _made(f"{source.name}-wrong{share:g}", source, fill)


def rotated(source: Path, images: int) -> Path:
    """Images by class and rotation, four classes for each: so many training images, `TEST_IMAGES` test images."""
    classes = _classes(source)

    def fill(folder: Path) -> None:
        for number, name in enumerate(classes):
            for split, wanted in (("train", images), ("test", TEST_IMAGES)):
                for i, file in enumerate(_drawn(source / split / name, wanted // len(classes), number)):
                    turn = 90 * (i % 4)
                    target = folder / split / f"{name}-{turn}"
                    target.mkdir(parents=True, exist_ok=True)
                    Image.open(file).rotate(turn).save(target / f"{file.stem}.png")

    return _made(f"{source.name}-rotated-{images}", source, fill)


def pairs(source: Path, images: int) -> Path:
    """Two images side by side, a class for each pair of classes: so many training images, `TEST_IMAGES` test images."""
    classes = _classes(source)

    def fill(folder: Path) -> None:
        for split, wanted in (("train", images), ("test", TEST_IMAGES)):
            rng = np.random.default_rng(7)
            files = {name: sorted((source / split / name).iterdir()) for name in classes}
            for pair in [(left, right) for left in classes for right in classes]:
                target = folder / split / "".join(pair)
                target.mkdir(parents=True)
                for i in range(wanted // len(classes) ** 2):
                    one, other = (Image.open(files[name][rng.integers(len(files[name]))]) for name in pair)
                    both = Image.new(one.mode, (2 * one.width, one.height))
                    both.paste(one, (0, 0))
                    both.paste(other, (one.width, 0))
                    both.save(target / f"{i}.png")

    return _made(f"{source.name}-pairs-{images}", source, fill)


def joined(source: Path, other: Path, images: int) -> Path:
    """The classes of two sets, in colour and with 32 pixels: so many training images, `TEST_IMAGES` test images."""
    sets = {one: _classes(one) for one in (source, other)}
    classes = sum(map(len, sets.values()))

    def fill(folder: Path) -> None:
        for one, names in sets.items():
            for number, label in enumerate(names):
                for split, wanted in (("train", images), ("test", TEST_IMAGES)):
                    target = folder / split / label
                    target.mkdir(parents=True)
                    for file in _drawn(one / split / label, wanted // classes, number):
                        Image.open(file).convert("RGB").resize((32, 32)).save(target / f"{file.stem}.png")

    return _made(f"{source.name}-and-{other.name}-{images}", source, fill)


def _classes(source: Path) -> tuple[str, ...]:
    return tuple(sorted(folder.name for folder in (source / "train").iterdir() if folder.is_dir()))


def _drawn(folder: Path, images: int, seed: int) -> list[Path]:
    files = sorted(folder.iterdir())
    chosen = np.random.default_rng(seed).choice(len(files), min(images, len(files)), replace=False)
    return [files[i] for i in chosen]


def _link(files: list[Path], folder: Path, prefix: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        os.link(file, folder / f"{prefix}{file.name}")


def _made(name: str, source: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `name` beside `source`, filled by `fill` if it is missing; a folder that is there is whole."""
    target = source.with_name(name)
    if not target.exists():
        beside = source.with_name(f".{name}-{os.getpid()}")
        fill(beside)
        beside.replace(target)
    return target
