"""Two checkouts are compared by the files of their runs."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_a_checkout_has_the_results_of_itself(start: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    tiny = ("model.width=0.25", "schedule.epochs=1", "find_lr.num_steps=40", "find_lr.end_lr=10", "data.batch_size=128")
    printed = start("same_results.py", ROOT, *(word for setting in tiny for word in ("--set", setting)))
    lines = printed.splitlines()
    assert {line.split()[0] for line in lines} == {"same"}
    assert {"same  found/lr_range.csv", "same  trained/model.safetensors", "same  swept/summary.json"} <= set(lines)


def test_a_file_that_differs_or_is_missing_is_named(
    module: Callable[[str], ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, seconds, lr in (("before", 1, 0.1), ("after", 2, 0.2)):
        run = tmp_path / name / "run"
        run.mkdir(parents=True)
        (run / "same.json").write_text(json.dumps({"seconds": seconds, "path": str(run)}))
        (run / "other.csv").write_text(f"lr,seconds\n{lr},{seconds}\n")
        (run / "run.json").write_text(str(seconds))
        (run / "picture.png").write_text(str(seconds))
    (tmp_path / "after" / "run" / "new.csv").write_text("lr\n")
    assert module("same_results").compare(tmp_path / "before", tmp_path / "after") == 2
    assert capsys.readouterr().out.splitlines() == [
        "DIFFERS  run/new.csv",
        "DIFFERS  run/other.csv",
        "same  run/same.json",
    ]
