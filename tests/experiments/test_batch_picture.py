"""The picture of a batch shows what a training gets."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onecycle_cli.data.batches import Batch, Normalization
from onecycle_cli.experiments.batch_picture import captions_of, draw_batch, pixels_of
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import new_run
from onecycle_cli.figures import pictures
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]


def test_its_images_are_those_of_the_first_step_of_a_training(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny({"augmentation": "standard", "data.batch_size": 16})
    drawn: dict[str, Any] = {}
    plot = pictures.plot_images
    monkeypatch.setattr(pictures, "plot_images", lambda path, **given: plot(path, **drawn.setdefault("all", given)))
    assert draw_batch(recipe, tmp_path / "batch.png", 5, silent) == 5
    assert (tmp_path / "batch.png").stat().st_size > 0
    prepared = prepare(recipe, new_run("train", recipe, runs_dir=tmp_path))
    (first,) = map(prepared.train.batch, islice(prepared.train.drawn(0), 1))
    assert np.array_equal(drawn["all"]["images"], pixels_of(first, prepared.train.normalization)[:5])
    assert drawn["all"]["captions"] == [[str(label)] for label in first.labels[:5].tolist()]


def test_the_normalization_is_undone() -> None:
    pixels = torch.randint(0, 256, (4, 5, 5, 3), dtype=torch.uint8)
    normalization = Normalization.of((0.4, 0.5, 0.1), (0.2, 0.01, 0.3), torch.device("cpu"))
    batch = Batch(normalization(pixels), torch.zeros(4, dtype=torch.int64))
    assert np.array_equal(pixels_of(batch, normalization), pixels.numpy())


def test_a_mixed_image_has_both_classes_with_the_larger_share_first() -> None:
    images, labels, others = torch.zeros(3, 1, 2, 2), torch.tensor([0, 1, 1]), torch.tensor([1, 0, 1])
    classes = ("cat", "dog")
    assert captions_of(Batch(images, labels), classes) == [["cat"], ["dog"], ["dog"]]
    mixed = captions_of(Batch(images, labels, others, torch.tensor([0.75, 0.25, 0.75])), classes)
    assert mixed == [["75% cat", "25% dog"], ["75% cat", "25% dog"], ["dog"]]


def test_the_initial_weights_need_not_be_there(tiny: Tiny, tmp_path: Path) -> None:
    recipe = tiny({"model.init": str(tmp_path / "missing.safetensors")})
    assert draw_batch(recipe, tmp_path / "batch.png", 4, silent) == 4
