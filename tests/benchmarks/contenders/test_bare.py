import json
from collections.abc import Callable

import pytest


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_bare_loop_is_timed(start: Callable[..., str], precision: str) -> None:
    words = ("--steps", 1, "--batch-size", 4, "--depth", 8, "--precision", precision)
    measured = json.loads(start("contenders/bare.py", *words))
    assert set(measured) == {"train", "validate", "peak_bytes"}
    assert all(value > 0 for value in measured.values())
