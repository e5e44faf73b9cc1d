from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest


def test_they_are_thirty_or_more_different_ones_that_timm_has(module: Callable[[str], ModuleType]) -> None:
    import timm

    networks = module("architectures").NETWORKS
    assert len({network.family for network in networks}) == len(networks) >= 30
    assert all(timm.is_model(network.architecture) for network in networks)
    assert {network.image_size for network in networks} == {32, 64}


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_network_gets_a_suggestion_and_a_training_and_is_not_run_again(
    start: Callable[..., str], image_folder: Callable[..., Path], results: Path
) -> None:
    import timm

    folder = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in ("a", "b")), images=24)
    words = [
        "--set=find_lr.num_steps=20",
        "--set=data.batch_size=16",
        "--set=data.image_size=32",
        "--set=runtime.precision=float32",
    ]
    chosen = ["--network", "lcnet_050", "--", *words]
    start("architectures.py", folder, *chosen)
    rows = pd.read_csv(results / "architectures.csv")
    assert list(rows.architecture) == ["lcnet_050"]
    assert rows.trained_with.notna().all()
    assert (rows.timm == timm.__version__).all()
    assert start("architectures.py", folder, *chosen) == ""
    assert len(pd.read_csv(results / "architectures.csv")) == 1
