"""Finding a batch size with real training steps on real digits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.experiments import batch_size as module
from onecycle_cli.experiments.batch_size import FITS, TOO_LARGE, FoundBatchSize, find_batch_size
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[Recipe], RunDir]:
    def make(recipe: Recipe) -> RunDir:
        text, runs = to_yaml(recipe), tmp_path / "runs"
        return RunDir.create(
            runs, command="find-batch-size", recipe_name=recipe.name, recipe_yaml=text, facts={}, name=None
        )

    return make


@pytest.fixture
def found(
    tiny: Tiny, new_run: Callable[[Recipe], RunDir], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[RunDir, FoundBatchSize]]:
    """Finds a batch size for 359 of the digits, with five timed steps a size."""
    monkeypatch.setattr(module, "TIMED_SECONDS", 0.0)

    def find(values: dict[str, Any] | None = None, report: Callable = silent) -> tuple[RunDir, FoundBatchSize]:
        recipe = tiny({"data.valid_fraction": 0.8} | (values or {}))
        run = new_run(recipe)
        return run, find_batch_size(recipe, Session(run, CPU, report))

    return find


def test_on_a_cpu_sizes_double_and_one_of_them_is_taken_for_its_speed(found: Callable) -> None:
    news: list[str] = []
    run, result = found(report=news.append)
    sizes = [trial.batch_size for trial in result.trials]
    assert sizes == [16 * 2**n for n in range(len(sizes))]
    assert len(sizes) >= 3
    assert sizes[-1] <= 359  # the training images
    assert result.batch_size in sizes
    assert {(trial.status, trial.peak_memory_gib) for trial in result.trials} == {(FITS, None)}
    assert "of the highest speed" in result.reason
    assert result.steps_per_epoch == -(-359 // result.batch_size)
    table = pd.read_csv(run.path / "batch_size.csv")
    assert table["batch_size"].tolist() == sizes
    assert (table["images_per_second"] > 0).all()
    assert [line.split(":")[0] for line in news] == [f"batch size {size:,}" for size in sizes]
    assert run.facts["images"]["train"] == 359


def test_no_batch_is_larger_than_the_training_images_whatever_the_recipe_says(found: Callable) -> None:
    _, result = found({"data.valid_fraction": 0.9, "data.batch_size": 5000})  # 179 images
    assert max(trial.batch_size for trial in result.trials) <= 179


def test_a_training_after_it_is_the_one_without_it(found: Callable, tiny: Tiny, new_run: Callable) -> None:
    before = train(tiny(), Session(new_run(tiny()), CPU, silent)).summary["valid_loss"]
    found({"data.valid_fraction": 0.9})
    assert train(tiny(), Session(new_run(tiny()), CPU, silent)).summary["valid_loss"] == before


@pytest.mark.gpu
def test_on_a_gpu_the_largest_that_fits_is_found_and_its_neighbour_does_not_fit(tiny: Tiny, new_run: Callable) -> None:
    recipe = tiny({"data.image_size": 64, "model.width": 4, "runtime.device": "cuda"})
    device = torch.device("cuda", torch.cuda.current_device())
    free, _ = torch.cuda.mem_get_info(device)
    held = torch.empty(free - 6 * 2**30, dtype=torch.uint8, device=device)  # 6 GiB are left, less than the digits want
    result = find_batch_size(recipe, Session(new_run(recipe), Hardware(device, "float32"), silent))
    largest = max(trial.batch_size for trial in result.trials if trial.status == FITS)
    smallest = min(trial.batch_size for trial in result.trials if trial.status == TOO_LARGE)
    assert result.batch_size < largest < smallest
    assert smallest - largest <= max(8, largest / 32)
    assert all(0 < trial.peak_memory_gib < 6 for trial in result.trials if trial.status == FITS)
    # Training with it goes well, in what is left.
    chosen = with_values(recipe, {"data.batch_size": result.batch_size, "schedule.epochs": 8})
    assert train(chosen, Session(new_run(chosen), Hardware(device, "float32"), silent)).summary["epochs"] == 8
    del held


def test_the_sizes_are_those_of_micro_batches_where_a_step_has_several(found: Callable) -> None:
    told: list[object] = []
    run, result = found({"data.accumulate": 4}, told.append)
    assert result.trials[0].batch_size == 16
    (note,) = (text for text in run.facts["notes"] if "micro-batch" in text)
    assert "a batch is 4 of them (data.accumulate)" in note
