from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from PIL import Image


@pytest.mark.draws
def test_the_picture_is_900_pixels_wide_also_with_a_regret_below_zero(
    module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    ways = [
        ("onecycle", "onecycle `find-lr`", 0.6, 0.002),
        ("constant", "0.1", 0.0, 0.2),
        ("without max_lr", "P", 0.0, -0.01),
    ]
    scores = pd.DataFrame(ways, columns=["kind", "way", "cost", "regret"]).assign(refused=False, fallback=0.0)
    for part in ("held out", "first"):
        module("picture").draw_regret(scores.assign(task="a", part=part), tmp_path / "images" / "regret.png")
        with Image.open(tmp_path / "images" / "regret.png") as drawn:
            assert drawn.width == 900
