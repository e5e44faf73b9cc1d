"""The list of runs: what is known, what is wanted, in which order."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.annotations import Annotations, add_labels, add_note
from onecycle_cli.run_dir.files import ANNOTATIONS, RUN, SUMMARY
from onecycle_cli.run_dir.listing import Filter, ListedRun, column_names, listed_runs, must_have_column, sort_by
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def listed(name: str = "a", summary: dict[str, Any] | None = None, **facts: Any) -> ListedRun:
    known = {"command": "train", "recipe": "digits", "started": "2026-03-01T12:00:00+00:00"} | facts
    labels = known.pop("labels", ())
    return ListedRun(RunDir(name), known, known.pop("status", "finished"), summary or {}, Annotations(labels))


def test_a_listed_run_has_facts_summary_and_annotations(make: Make, tmp_path: Path) -> None:
    run = make(name="a", seed=3)
    run.finish(
        "diverged", {"status": "diverged", "loss": 0.5, "seconds": 1.5, "diagnosis": {"rule": "x"}, "tried": [1]}
    )
    add_labels(run, ["new", "old"])
    add_note(run, "one")
    add_note(run, "two")
    (one,) = listed_runs(tmp_path / "runs")
    assert (one.facts, one.summary, one.status) == (run.facts, run.summary, "diverged")
    columns = {"run": str(run.path), "status": "diverged", "command": "train", "recipe": "digits", "seed": 3}
    columns |= {"labels": "new,old", "notes": "one\ntwo", "loss": 0.5, "seconds": 1.5}
    times = {name: run.facts[name] for name in ("started", "ended")}
    assert one.columns == columns | times


def test_what_is_damaged_is_listed_without_it_and_what_is_no_run_is_not(make: Make, tmp_path: Path) -> None:
    run = make(name="a")
    run.write_text(SUMMARY, "{")
    run.write_text(ANNOTATIONS, "{")
    make(name="broken").write_text(RUN, "{")
    make(name="foreign").update(command=["not", "text"])
    (tmp_path / "runs" / "file").touch()
    (tmp_path / "runs" / "folder").mkdir()
    (one,) = listed_runs(tmp_path / "runs")
    assert (one.run.path, one.summary, one.annotations) == (run.path, {}, Annotations())
    assert listed_runs(tmp_path / "nowhere") == []


def test_a_filter_takes_any_recipe_and_status_and_all_labels() -> None:
    runs = [
        listed("a", recipe="digits", labels=("x",)),
        listed("b", recipe="mnist", labels=("x", "y")),
        listed("c", recipe="other", status="failed", labels=("x", "y")),
    ]

    def kept(**wanted: Any) -> str:
        return "".join(str(one.run.path) for one in runs if Filter(**wanted).keeps(one))

    assert kept() == "abc"
    assert kept(recipes=["digits", "other"]) == "ac"
    assert kept(statuses=["failed", "running"]) == "c"
    assert kept(labels=["x"]) == "abc"
    assert kept(labels=["x", "y"]) == "bc"
    assert kept(labels=["y"], recipes=["mnist"]) == "b"


def test_since_compares_times_whatever_their_offset() -> None:
    since = datetime(2026, 3, 1, 12, tzinfo=UTC)
    for started, keeps in (
        ("2026-03-01T12:00:00+00:00", True),
        ("2026-03-01T11:59:59.999999+00:00", False),
        ("2026-03-01T12:30:00+01:00", False),
        ("of old", False),
        ("2026-03-02", False),  # without an offset it cannot be compared
    ):
        assert Filter(since=since).keeps(listed(started=started)) is keeps, started


def test_that_nothing_fits_is_explained() -> None:
    runs = [listed("a", recipe="digits", labels=("paper",))]
    assert Filter(recipes=["digit"]).explain(runs) == "No run has the recipe 'digit': did you mean digits?"
    assert Filter(labels=["zzz"]).explain(runs) == "No run has the label 'zzz'."
    assert Filter(recipes=["digits"], statuses=["failed"]).explain(runs) == "None of 1 runs fits all filters."


def test_runs_are_sorted_numbers_before_text_and_missing_ones_last_either_way() -> None:
    values = {"a": 2, "b": None, "c": 0.5, "d": "text", "e": 2, "f": [1]}
    runs = [listed(name, {} if value is None else {"value": value}) for name, value in values.items()]

    def order(**how: Any) -> str:
        return "".join(str(one.run.path) for one in sort_by("value", runs, **how))

    assert order() == "caedbf"
    assert order(reverse=True) == "daecbf"


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())))
def test_sorting_loses_no_run_and_takes_values_of_any_kind(values: list[Any]) -> None:
    runs = [listed(str(number), {"value": value}) for number, value in enumerate(values)]
    for reverse in (False, True):
        found = sort_by("value", runs, reverse=reverse)
        assert sorted(map(id, found)) == sorted(map(id, runs))
        numbers = [one.columns["value"] for one in found if isinstance(one.columns["value"], int | float)]
        assert numbers == sorted(numbers, reverse=reverse)


def test_a_column_that_no_run_has_is_told_with_near_ones() -> None:
    runs = [listed("a", {"valid_loss": 1.0}), listed("b", {"max_lr": 0.1})]
    assert column_names(runs)[-2:] == ["valid_loss", "max_lr"]
    must_have_column("max_lr", runs)
    must_have_column("anything", [])
    with pytest.raises(InputError, match="Did you mean valid_loss") as told:
        must_have_column("valid_los", runs)
    assert told.value.what == "No run has a column 'valid_los'."
    with pytest.raises(InputError, match="The columns are run, status, command"):
        must_have_column("zzz", runs)
