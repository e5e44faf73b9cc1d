from collections.abc import Callable
from pathlib import Path

import pandas as pd


def test_both_classify_all_images_alike(
    start: Callable[..., str], results: Path, trained: str, image_folder: Callable[..., Path]
) -> None:
    folder = image_folder("a", "b", images=3, size=(8, 8))
    printed = start("predict.py", f"runs/{trained}", folder, "--repeats", 2, "--workers", 0)
    rows = pd.read_csv(results / "predict.csv")
    assert rows["contender"].tolist() == ["onecycle predict", "ImageFolder and DataLoader, 0 workers"] * 2
    assert set(rows["images"]) == {6}
    assert (rows["images_per_second"] > 0).all()
    assert (rows["same_class"] > 0.8).all()
    assert len(printed.splitlines()) == 2
