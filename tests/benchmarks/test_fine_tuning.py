from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from typer.testing import Result


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_each_way_is_trained_from_the_run_with_a_max_lr_of_its_own(
    start: Callable[..., str],
    image_folder: Callable[..., Path],
    onecycle: Callable[..., Result],
    results: Path,
) -> None:
    folder = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")), images=32)
    tiny = {"image_size": 8, "path": folder, "source": "image_folder", "batch_size": 16}
    words = [f"--set=data.{field}={value}" for field, value in tiny.items()]
    words += ["--set=model.width=0.25", "--set=find_lr.num_steps=20", "--set=runtime.precision=float32", "--device=cpu"]
    trained = onecycle("train", "cifar10-resnet8", *words, "--epochs", 2, "--max-lr", 0.1, "--name", "start")
    assert trained.exit_code == 0, trained.stderr
    ways = ("from scratch", "the head, then all of it")
    chosen = [f"--way={way}" for way in ways]
    start("fine_tuning.py", "runs/start", folder, "--epochs", "3", "--seeds", "4", *chosen, "--", *words)
    rows = pd.read_csv(results / "fine_tuning.csv")
    assert list(zip(rows.way, rows.seed, strict=True)) == [(way, 4) for way in ways]
    assert list(rows.epochs) == [3, 3]
    assert rows[rows.way == ways[1]].options.str.contains("runs/start").all()
    assert rows.max_lr.notna().all()


def test_the_head_has_some_epochs_for_itself_if_there_are_some_to_spare(
    module: Callable[[str], ModuleType],
) -> None:
    ways = module("fine_tuning").ways
    assert "the head, then all of it" not in ways(Path("x"), 1)
    for epochs, stages in (
        (2, None),
        (3, "[{freeze_to: head, epochs: 1}, {epochs: 2}]"),
        (10, "[{freeze_to: head, epochs: 2}, {epochs: 8}]"),
    ):
        way = ways(Path("x"), epochs).get("the head, then all of it")
        assert (way and way["fine_tune.stages"]) == stages
