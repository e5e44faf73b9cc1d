"""Which images a training had in which split, kept with its run by content: a later look finds the same ones again."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.data.images import Contents, ImageData, Labels, Split
from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.files import IMAGES
from onecycle_cli.run_dir.run import RunDir

ROW = np.dtype([("split", "S5"), ("label", "<u4"), ("content", "<u8")])
"""A row of `images.npy`, 17 bytes: train, valid or test; the number of the class; the hash of the decoded pixels."""

FIX = "Restore the images as they were, or name a folder of classes with --data."


@dataclass(frozen=True)
class KeptImages:
    """The images of a training, as the rows of its `images.npy` in the order of its splits."""

    rows: NDArray[np.void]

    def of(self, split: str) -> NDArray[np.void]:
        """The rows of one split; none where there was no such split."""
        rows: NDArray[np.void] = self.rows[self.rows["split"] == split.encode()]
        return rows

    @property
    def scored(self) -> str:
        """The split that the run is scored on: test where it had one, else valid."""
        return "test" if len(self.of("test")) else "valid"


def keep_images(data: ImageData, run: RunDir) -> None:
    """Writes `images.npy`: a row for each image that the run works on, split by split, in their order."""
    rows = _rows(data)
    run.write_with(IMAGES, lambda path: _save(path, rows))


def kept_images(run: RunDir) -> KeptImages | None:
    """The images that a training had; None for one of an older version, which did not keep them."""
    path = run.path / IMAGES
    if not path.is_file():
        return None
    try:
        rows = np.array(np.lib.format.open_memmap(path, mode="r"))  # unlike np.load, it reads this one format alone
        if rows.dtype != ROW:
            raise ValueError("its columns are others")
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path} is damaged: {error}.", "Name a folder of classes with --data.") from None
    return KeptImages(rows)


def copies_note(data: ImageData) -> str | None:
    """How many validation and test images are exact copies of training images, in words; None where none are."""
    trained = np.unique(data.train.contents)
    names = {"valid": "validation images" if data.valid_is != "test split" else "test images", "test": "test images"}
    told = [
        f"{copies:,} of {len(split):,} {names[name]}"
        for name, split in data.splits.items()
        if name != "train" and (copies := int(np.isin(split.contents, trained).sum()))
    ]
    if not told:
        return None
    return f"Exact copies of training images: {' and '.join(told)}. Their scores are better than those of new images."


def rebuilt_split(kept: KeptImages, data: ImageData) -> tuple[Split, bool]:
    """The split that the run was to be scored on, found again among the images of now by content.

    Also whether they lie elsewhere than they did: renamed, or moved to another split. `InputError` says what changed
    where any image has come, gone, or has another class.
    """
    before, now = kept.rows, _rows(data)
    _must_be_the_same(before, now)
    wanted = kept.of(kept.scored)
    current = data.splits.get(kept.scored)
    if current is not None and _counted(wanted) == _counted(now[now["split"] == kept.scored.encode()]):
        return current, False
    left = _counted(wanted)
    chosen = []
    for position, key in enumerate(_keys(now)):
        if left[key]:
            left[key] -= 1
            chosen.append(position)
    return _taken(data, np.array(chosen)), True


def trained_on(kept: KeptImages, contents: Contents) -> int:
    """How many images with these hashes the model was trained on."""
    return int(np.isin(contents, kept.of("train")["content"]).sum())


def _rows(data: ImageData) -> NDArray[np.void]:
    parts = [_rows_of(name, split.labels, split.contents) for name, split in data.splits.items()]
    return np.concatenate(parts)


def _rows_of(split: str, labels: Labels, contents: Contents) -> NDArray[np.void]:
    rows = np.zeros(len(labels), dtype=ROW)
    rows["split"], rows["label"], rows["content"] = split.encode(), labels, contents
    return rows


def _save(path: object, rows: NDArray[np.void]) -> None:
    with open(str(path), "wb") as file:  # noqa: PTH123 - np.save adds an ending to a path
        np.save(file, rows)


def _keys(rows: NDArray[np.void]) -> list[tuple[int, int]]:
    return list(zip(rows["content"].tolist(), rows["label"].tolist(), strict=True))


def _counted(rows: NDArray[np.void]) -> Counter[tuple[int, int]]:
    return Counter(_keys(rows))


def _must_be_the_same(before: NDArray[np.void], now: NDArray[np.void]) -> None:
    lost = _counted(before) - _counted(now)
    if not lost and len(before) == len(now):
        return
    then_there, here_now = Counter(before["content"].tolist()), Counter(now["content"].tolist())
    gone, new = (then_there - here_now).total(), (here_now - then_there).total()
    told = {"gone": gone, "new": new, "in another class": lost.total() - gone}
    changes = ", ".join(f"{count:,} {what}" for what, count in told.items() if count)
    raise InputError(
        f"The images have changed since the training, so its split cannot be rebuilt: of {len(before):,}, {changes}.",
        FIX,
    )


def _taken(data: ImageData, positions: NDArray[np.int64]) -> Split:
    """The images at these positions of all splits one after another, copied."""
    parts, first = [], 0
    for split in data.splits.values():
        inside = positions[(positions >= first) & (positions < first + len(split))] - first
        parts.append(split.at(inside))
        first += len(split)
    return Split(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.contents for part in parts]),
    )
