from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from onecycle_cli.experiments import batch_size


@pytest.fixture(autouse=True)
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_each_experiment_and_each_published_order_is_a_row(
    start: Callable[..., str], image_folder: Callable[..., Path], results: Path
) -> None:
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=24, size=(32, 32))
    values = {"data.source": "image_folder", "data.path": path, "data.batch_size": 16}
    values |= {"model.architecture": "resnet8", "model.width": 0.25, "runtime.precision": "float32"}
    options = [word for field, value in values.items() for word in ("--set", f"{field}={value}")]
    printed = start("reproduce.py", "E1", "E3", "--", "--scale", "0.03", "--seeds", "1", *options)
    rows = pd.read_csv(results / "reproduce.csv")
    assert list(rows.experiment) == ["E1", "E3"]
    assert list(rows.blog_accuracy) == [0.9353, 0.9231]
    assert set(rows.scale) == {0.03}
    orders = pd.read_csv(results / "reproduce_order.csv")
    assert list(orders.better + orders.worse) == ["E1E3"]
    assert "cannot be compared" in printed
