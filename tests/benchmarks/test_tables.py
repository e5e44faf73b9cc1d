import shutil
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_all_tables_are_printed_and_the_figure_is_drawn(start: Callable[..., str], results: Path) -> None:
    shutil.copytree(ROOT / "benchmarks" / "results", results)
    printed = start("tables.py")
    names = ("cifar10-resnet8", "torch-lr-finder, float32", "from scratch", "momentum\n", "mnist-resnet8\n")
    assert [name for name in names if name not in printed] == []
    assert (results / "speed.png").is_file()


def test_what_was_not_measured_has_no_table(start: Callable[..., str], results: Path) -> None:
    results.mkdir()
    shutil.copy(ROOT / "benchmarks" / "results" / "accuracy.csv", results)
    assert start("tables.py").startswith("| recipe | epochs |")
    assert not (results / "speed.png").exists()
