import csv
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]


def written(results: Path, values: dict[str, list[int]]) -> None:
    """Makes a table of soak.csv, of one part."""
    results.mkdir(parents=True)
    count = len(next(iter(values.values())))
    with (results / "soak.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["soak", "part", "run", *values])
        writer.writerows(["a", 1, 10 * (row + 1), *(column[row] for column in values.values())] for row in range(count))


def test_the_growth_is_that_of_the_second_half(module: Module, results: Path) -> None:
    soak = module("soak")
    grows = [*range(0, 10_000, 1000), *range(10_000, 11_000, 100)]
    written(results, dict.fromkeys(soak.COUNTED, [5] * 20) | {"private_bytes": grows})
    told = soak.slopes()
    assert told[0] == "a, part 1: runs 110 to 200"
    assert told[1] == "private_bytes: +10 ± 0 a run, 10000 to 10900"
    assert set(told[2:]) == {f"{name}: +0 ± 0 a run, 5 to 5" for name in soak.COUNTED[1:]}


def test_the_error_of_a_slope_is_larger_where_neighbours_are_alike(module: Module) -> None:
    soak = module("soak")
    assert soak.error_of(1.0, np.array([1.0, -1.0] * 10)) == 1
    assert soak.error_of(1.0, np.repeat([1.0, -1.0, 1.0, -1.0], 10)) > 2


def test_what_is_left_behind_is_found(module: Module, tmp_path: Path) -> None:
    soak = module("soak")
    for name in ("run/.lock", "run/.summary.json", "run/model.safetensors", ".made-1/x", "cache/.few.lock"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = soak.leftovers(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in found} == {"run/.summary.json", ".made-1"}


def test_a_row_of_the_soak_counts_what_this_process_holds(
    module: Module, monkeypatch: pytest.MonkeyPatch, results: Path, tmp_path: Path
) -> None:
    soak = module("soak")
    made: list[str] = []
    monkeypatch.setattr(soak, "KINDS", [lambda _, name: made.append(name)] * 5)
    monkeypatch.setattr(soak, "FEW", 2)
    monkeypatch.setattr(soak, "MANY", 3)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what the soak sets is undone, too
    monkeypatch.setattr(tempfile, "tempdir", None)
    soak.in_a_row(tmp_path, "mine", 10)
    (tmp_path / "tmp").rename(tmp_path / "other")
    (tmp_path / "data").rename(tmp_path / "images")
    soak.in_a_row(tmp_path, "mine", 15)  # it goes on where it was stopped
    rows = pd.read_csv(results / "soak.csv")
    assert made == [f"run-{number:05d}" for number in range(1, 16)]
    assert (rows.run.tolist(), rows.part.tolist()) == ([5, 10, 15], [1, 1, 2])
    assert (rows.private_bytes < rows.rss_bytes).all()
    assert (rows.temporary_files == 0).all()
    assert (rows.data_files == 2 * (10 + 2) + 10 * (2 + 3)).all()


@pytest.mark.slow
def test_each_kind_of_training_of_the_soak_comes_to_its_end(start: Callable[..., str], results: Path) -> None:
    start("soak.py", "in-a-row", "--runs", 10)
    rows = pd.read_csv(results / "soak.csv")
    assert rows.run.tolist() == [10]
    assert (rows.temporary_files == 0).all()


@pytest.mark.slow
def test_trainings_at_once_are_counted_and_compared(start: Callable[..., str], results: Path) -> None:
    start("soak.py", "at-once", "--processes", 2, "--repeats", 1, "--reserve", 1)
    row = json.loads(pd.read_csv(results / "soak_at_once.csv").iloc[0].to_json())
    assert [row[name] for name in ("runs", "recipes", "distinct_bits", "failed", "left_in_runs")] == [2, 2, 2, 0, 0]
