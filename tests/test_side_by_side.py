"""Commands that are started at once in one folder: each has its own run, and computes what it computes alone."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from typer.testing import Result

from onecycle_cli.recipe import Recipe, to_yaml

Tiny = Callable[..., Recipe]
COMMANDS = [["find-lr", "recipe.yaml"], ["train", "recipe.yaml", "--max-lr", "0.05"]]
RESULTS = {
    "find-lr": ("lr_range.csv", "suggestion.json", "recipe.yaml"),
    "train": ("steps.csv", "model.safetensors", "recipe.yaml"),
}


def started_anew(*words: str, **environment: str) -> subprocess.Popen[str]:
    whole = [sys.executable, "-m", "onecycle_cli", *words]
    quiet = {"OMP_NUM_THREADS": str(torch.get_num_threads()), **environment}
    return subprocess.Popen(whole, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | quiet)


def results(run: Path) -> dict[str, bytes | str]:
    command = next(command for command in RESULTS if f"-{command}-" in run.name)
    found: dict[str, bytes | str] = {name: (run / name).read_bytes() for name in RESULTS[command]}
    if command == "train":
        epochs = pd.read_csv(run / "epochs.csv", dtype=str).drop(columns=["seconds", "images_per_second"])
        found["epochs.csv"] = epochs.to_csv()
    return found


@pytest.mark.parametrize("each", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_commands_started_at_once_share_a_cache_and_nothing_else(
    tmp_path: Path,
    tiny: Tiny,
    image_folder: Callable[..., Path],
    onecycle: Callable[..., Result],
    started: Callable[..., Any],
    each: int,
) -> None:
    folder = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
    images = {"data.source": "image_folder", "data.path": str(folder), "data.valid_fraction": 0.0}
    Path("recipe.yaml").write_text(to_yaml(tiny(images | {"data.batch_size": 8, "name": "mine"})))

    # Many of them have no cache of fonts either, which matplotlib makes the first time.
    fonts = {"MPLCONFIGDIR": str(tmp_path / "fonts")}
    together = [started_anew(*words, **fonts) if each > 1 else started(*words) for words in COMMANDS * each]
    told = [process.communicate() for process in together]
    assert [process.returncode for process in together] == [0] * 2 * each, told
    assert sum("decoding" in err for _, err in told) == 1
    runs = sorted(Path("runs").iterdir())
    assert len(runs) == 2 * each
    printed = "".join(out for out, _ in told)
    assert all(f"{run}/" in printed for run in runs)
    assert {path.name for path in Path("runs").rglob(".*")} == {".lock"}  # nothing half-written

    decoded = next(Path("photos.onecycle-cache").glob("*px-*ch/images.npy"))
    made = decoded.stat().st_mtime_ns
    for words in COMMANDS:
        alone = onecycle(*words, "--runs-dir", "alone")
        assert (alone.exit_code, "decoding" in alone.stderr) == (0, False)
    assert decoded.stat().st_mtime_ns == made
    expected = {run.name.split("-", 2)[2].removesuffix("-mine"): results(run) for run in Path("alone").iterdir()}
    assert expected.keys() == RESULTS.keys()
    for run in runs:
        command = next(command for command in RESULTS if f"-{command}-" in run.name)
        assert results(run) == expected[command], run.name
