import json
from collections.abc import Callable
from pathlib import Path


def test_training_scoring_and_the_range_test_are_timed(
    start: Callable[..., str], image_folder: Callable[..., Path]
) -> None:
    folder = image_folder("train/cat", "train/dog", "test/cat", "test/dog", images=8, size=(32, 32))
    words = ("--data", folder, "--precision", "float32", "--batch-size", 4, "--range-steps", 10)
    measured = json.loads(start("contenders/ours.py", *words))
    assert set(measured) == {"train", "validate", "precision", "range_test", "peak_bytes"}
    assert measured.pop("precision") == "float32"
    assert all(value > 0 for value in measured.values())
