"""The same images through each source give the same training, to the bit."""

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torchvision
from PIL import Image
from pyarrow import ipc, parquet

from onecycle_cli import train
from onecycle_cli.data.cache import cache_folder
from onecycle_cli.recipe import Recipe

CLASSES = ["airplane", "automobile", "bird"]
HUGGING_FACE = {
    "huggingface": '{"info": {"features": {"label": {"names": ["airplane", "automobile", "bird"], '
    '"_type": "ClassLabel"}}}}'
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as that of CIFAR-10: `train/<class>/<number>.png`, numbered through all classes, in a random order."""
    generator = np.random.default_rng(0)
    for split, images in (("train", 60), ("test", 20)):
        for number, label in enumerate(generator.integers(0, 3, images)):
            file = tmp_path / "photos" / split / CLASSES[label] / f"{number:05}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(40 * label, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
    return tmp_path / "photos"


def numbered(folder: Path, split: str) -> list[Path]:
    """The images of a split in the order of their numbers, which is that of a table."""
    return sorted((folder / split).glob("*/*.png"), key=lambda file: file.name)


def as_csv(folder: Path) -> dict[str, Any]:
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "path", "label"])
        for split in ("test", "train"):
            writer.writerows((split, image.relative_to(folder), image.parent.name) for image in numbered(folder, split))
    return {"source": "csv", "path": str(folder / "table.csv")}


def table_of(folder: Path, split: str) -> Any:
    files = numbered(folder, split)
    images = [{"bytes": file.read_bytes(), "path": file.name} for file in files]
    table = pa.table({"image": images, "label": [CLASSES.index(file.parent.name) for file in files]})
    return table.replace_schema_metadata(HUGGING_FACE)


def as_parquet(folder: Path) -> dict[str, Any]:
    (folder / "tables").mkdir()
    train = table_of(folder, "train")
    parquet.write_table(train.slice(0, 25), folder / "tables" / "train-00000-of-00002.parquet")
    parquet.write_table(train.slice(25), folder / "tables" / "train-00001-of-00002.parquet")
    parquet.write_table(table_of(folder, "test"), folder / "tables" / "test-00000-of-00001.parquet")
    return {"source": "parquet", "path": str(folder / "tables")}


def as_datasets(folder: Path) -> dict[str, Any]:
    saved = folder / "saved"
    for split in ("train", "test"):
        (saved / split).mkdir(parents=True)
        table = table_of(folder, split)
        with pa.OSFile(str(saved / split / "data.arrow"), "wb") as file, ipc.new_stream(file, table.schema) as stream:
            stream.write_table(table, 16)
        (saved / split / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (saved / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    return {"source": "datasets", "path": str(saved)}


def as_torchvision(folder: Path) -> dict[str, Any]:
    batches = cache_folder() / "torchvision" / "CIFAR10" / "cifar-10-batches-py"
    batches.mkdir(parents=True)
    for split, name in (("train", "data_batch_1"), ("test", "test_batch")):
        files = numbered(folder, split)
        rows = np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1).ravel() for file in files])
        labels = [CLASSES.index(file.parent.name) for file in files]
        (batches / name).write_bytes(pickle.dumps({"data": rows, "labels": labels}))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}))
    return {"source": "torchvision", "dataset": "CIFAR10"}


SOURCES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "image_folder": lambda folder: {"source": "image_folder", "path": str(folder)},
    "csv": as_csv,
    "parquet": as_parquet,
    "datasets": as_datasets,
    "torchvision": as_torchvision,
}


def test_a_training_on_the_same_images_is_the_same_to_the_bit(
    tiny: Callable[..., Recipe], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cifar10 = torchvision.datasets.CIFAR10
    monkeypatch.setattr(cifar10, "train_list", [["data_batch_1", None]])
    monkeypatch.setattr(cifar10, "test_list", [["test_batch", None]])
    monkeypatch.setattr(cifar10, "meta", cifar10.meta | {"md5": None})
    common = {"data.channels": 3, "data.valid_fraction": 0.25, "data.batch_size": 16, "data.image_size": 32}
    models = {}
    for source in SOURCES:
        values = {f"data.{name}": value for name, value in SOURCES[source](folder).items()}
        models[source] = train(tiny(common | values), runs_dir="runs", name=source).model()
    expected = models.pop("image_folder")
    assert expected.classes == tuple(CLASSES)
    for source, model in models.items():
        assert (model.classes, model.mean, model.std) == (expected.classes, expected.mean, expected.std), source
        for (name, one), other in zip(expected.state_dict().items(), model.state_dict().values(), strict=True):
            assert one.equal(other), (source, name)
