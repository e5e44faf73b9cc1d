"""Keeps the content hashes of a training's images by split, so that a later evaluation finds the same images."""

from collections import Counter
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.data.images import Contents, ImageData, Labels, Split
from onecycle_cli.errors import InputError, is_of_machine, naming
from onecycle_cli.run_dir.files import IMAGES
from onecycle_cli.run_dir.run import RunDir

ROW = np.dtype([("split", "S5"), ("label", "<u4"), ("content", "<u8")])
"""A row of `images.npy`, 17 bytes: the split (train, valid, test), the class number, the hash of the pixels."""

FIX = "Restore the images as they were, or name a folder of classes with --data."


@dataclass(frozen=True)
class KeptImages:
    """The images of a training, as the rows of its `images.npy`."""

    rows: NDArray[np.void]

    def of(self, split: str) -> NDArray[np.void]:
        """Returns the rows of a split; empty if the training had no such split."""
        rows: NDArray[np.void] = self.rows[self.rows["split"] == split.encode()]
        return rows

    @property
    def scored(self) -> str:
        """The split that the run is scored on: "test" if it has one, else "valid"."""
        return "test" if len(self.of("test")) else "valid"


def keep_images(data: ImageData, run: RunDir) -> None:
    """Writes `images.npy` to the run's folder: a row for each image, split by split."""
    file = BytesIO()  # np.save writes to a file through C's buffers, where an error has no name
    np.save(file, _rows(data))
    run.write_with(IMAGES, lambda path: path.write_bytes(file.getbuffer()))


def kept_images(run: RunDir) -> KeptImages | None:
    """Reads `images.npy`. None for a run of an older version, which has no such file; `InputError` if it is damaged."""
    if not run.has(IMAGES):
        return None
    path = run.intact(IMAGES)
    try:
        with naming(path):
            rows = np.array(np.lib.format.open_memmap(path, mode="r"))  # unlike np.load, it reads no other format
        if rows.dtype != ROW:
            raise ValueError("its columns are others")
    except (ValueError, EOFError, OSError) as error:
        if is_of_machine(error):
            raise
        raise InputError(f"{path} is damaged: {error}.", "Name a folder of classes with --data.") from None
    return KeptImages(rows)


def copies_note(data: ImageData) -> str | None:
    """Returns a sentence on validation and test images that are copies of training images; None without copies."""
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
    """Finds the images of the run's scored split among the images of today, by content.

    Also returns whether files were renamed or moved to another split. `InputError` with the changes if an image was
    added, removed, or has another class.
    """
    before, now = kept.rows, _rows(data)
    _must_be_the_same(before, now)
    wanted = kept.of(kept.scored)
    current = data.splits.get(kept.scored)
    if current is not None and _counted(wanted) == _counted(now[now["split"] == kept.scored.encode()]):
        return current, False
    left, keys = _counted(wanted), _keys(now)
    chosen = []
    # Of copies in several splits, those in the scored split are taken first: their files are the likelier ones.
    for position in np.argsort(now["split"] != kept.scored.encode(), kind="stable").tolist():
        if left[keys[position]]:
            left[keys[position]] -= 1
            chosen.append(position)
    return _taken(data, np.sort(chosen)), True


def trained_on(kept: KeptImages, contents: Contents) -> int:
    """Counts the images with these hashes that the model was trained on."""
    return int(np.isin(contents, kept.of("train")["content"]).sum())


def _rows(data: ImageData) -> NDArray[np.void]:
    parts = [_rows_of(name, split.labels, split.contents) for name, split in data.splits.items()]
    return np.concatenate(parts)


def _rows_of(split: str, labels: Labels, contents: Contents) -> NDArray[np.void]:
    rows = np.zeros(len(labels), dtype=ROW)
    rows["split"], rows["label"], rows["content"] = split.encode(), labels, contents
    return rows


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
    """Copies the images at these positions; positions count through all splits in order."""
    parts, first = [], 0
    for split in data.splits.values():
        inside = positions[(positions >= first) & (positions < first + len(split))] - first
        parts.append(split.at(inside))
        first += len(split)
    files = [part.files for part in parts if part.files is not None]
    return Split(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.contents for part in parts]),
        np.concatenate(files) if len(files) == len(parts) else None,
    )
