from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Module = Callable[[str], ModuleType]


def test_rows_are_appended_below_one_header(module: Module, results: Path) -> None:
    rows = module("rows")
    rows.append("suggestion/some", {"a": 1, "b": None}, {"a": 2, "b": "x, y"})
    rows.append("suggestion/some", {"a": 3, "b": ""})
    assert (results / "suggestion" / "some.csv").read_text() == 'a,b\n1,\n2,"x, y"\n3,\n'


def test_results_go_to_the_committed_folder_if_no_other_is_named(
    module: Module, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = module("rows")
    assert rows.results() == results
    monkeypatch.delenv("ONECYCLE_BENCHMARK_RESULTS")
    assert rows.results() == rows.COMMITTED == Path(rows.__file__).parent / "results"


def test_a_package_that_is_missing_has_no_version(module: Module) -> None:
    assert module("rows").installed("no-such-package-anywhere") is None
    assert module("rows").installed("torch")
