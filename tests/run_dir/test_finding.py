"""Finding the runs that are there."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.files import RUN, SUGGESTION
from onecycle_cli.run_dir.finding import all_runs, find_run, latest_suggestions, runs_in, suggesting_runs
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def test_runs_are_listed_oldest_first_and_other_folders_passed_over(make: Make, tmp_path: Path) -> None:
    assert all_runs(tmp_path / "nowhere") == []
    made = [make(name=name).path for name in ("z", "a", "m")]
    (tmp_path / "runs" / "other").mkdir()
    assert [run.path for run in all_runs(tmp_path / "runs")] == made


def test_a_run_is_found_by_folder_and_by_name(make: Make, tmp_path: Path) -> None:
    path = make(name="mine").path
    assert find_run(tmp_path / "runs", "mine").path == path
    assert find_run(tmp_path, str(path)).path == path
    with pytest.raises(InputError, match="is not a run: there is no such folder"):
        find_run(tmp_path / "runs", "other")
    (tmp_path / "runs" / "other").mkdir()
    with pytest.raises(InputError, match="is not a run: it has no run.json"):
        find_run(tmp_path / "runs", "other")


def test_a_folder_of_images_does_not_hide_the_run_of_the_same_name(make: Make, tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()  # the tests run in here
    with pytest.raises(InputError, match="^cats is not a run"):
        find_run(tmp_path / "runs", "cats")
    path = make(name="cats").path
    assert find_run(tmp_path / "runs", "cats").path == path


def test_a_sweep_stands_for_the_runs_inside_it_and_any_other_run_for_itself(make: Make) -> None:
    alone, sweep = make("train"), make("sweep-wd")
    assert [run.path for run in runs_in(sweep)] == [sweep.path]
    heavy, light = (sweep.inner(f"weight_decay={value}", "a: 1\n").path for value in ("1e-2", "1e-4"))
    (light / RUN).write_text("{")
    sweep.inner("weight_decay=1e-2.unfinished-1", "a: 1\n")
    assert [run.path for run in runs_in(sweep)] == [heavy, light]
    assert [run.path for run in runs_in(alone)] == [alone.path]


def test_the_latest_suggestions_are_of_finished_tests_of_that_recipe_newest_first(make: Make, tmp_path: Path) -> None:
    def suggested(max_lr: float | None, status: str = "finished", **settings: str) -> RunDir:
        run = make("find-lr", **settings)
        run.write_json(SUGGESTION, {"max_lr": max_lr})
        run.update(status=status)
        return run

    with pytest.raises(InputError, match="no finished range test with a suggestion for a recipe named 'digits'"):
        latest_suggestions(tmp_path / "runs", "digits")
    first = suggested(0.1)
    later = suggested(0.2)
    suggested(None)
    suggested(0.3, status="running")
    suggested(0.4, recipe="other")
    make("train").update(status="finished")
    value = make("sweep-wd").inner("weight_decay=1e-3", "a: 1\n")
    value.write_json(SUGGESTION, {"max_lr": 0.5})
    value.update(status="finished")
    found = latest_suggestions(tmp_path / "runs", "digits")
    assert [run.path for run in found] == [value.path, later.path, first.path]


def test_the_runs_that_suggest_a_max_lr_are_those_of_every_command_oldest_first(make: Make, tmp_path: Path) -> None:
    def suggested(run: RunDir, max_lr: float | None = 0.1) -> Path:
        run.write_json(SUGGESTION, {"max_lr": max_lr})
        return run.path

    assert suggesting_runs(tmp_path / "nowhere") == []
    found = suggested(make("find-lr"))
    sweep = make("sweep-wd")
    first = suggested(sweep.inner("weight_decay=1e-3", "a: 1\n"))
    trained = suggested(make("train"))
    suggested(make("find-lr"), None)
    make("train")
    (make("find-lr").path / SUGGESTION).write_text("{")
    last = suggested(sweep.inner("weight_decay=1e-4", "a: 1\n"))
    assert [run.path for run in suggesting_runs(tmp_path / "runs")] == [found, first, trained, last]


def test_a_damaged_run_is_told_where_it_is_named_and_passed_over_in_a_list(make: Make, tmp_path: Path) -> None:
    run = make(name="damaged")
    (run.path / RUN).write_text("{")
    make(name="whole")
    with pytest.raises(InputError, match="run.json is damaged"):
        _ = run.facts
    assert [run.path.name for run in all_runs(tmp_path / "runs")] == ["whole"]


def suggesting(run: RunDir, max_lr: float = 0.1) -> RunDir:
    run.write_json(SUGGESTION, {"max_lr": max_lr})
    run.update(status="finished")
    return run


def test_a_damaged_cell_that_ran_again_stops_nobody_from_the_latest_suggestion(make: Make, tmp_path: Path) -> None:
    sweep = make("sweep-wd")
    cell = suggesting(sweep.inner("weight_decay=1e-3", "a: 1\n"))
    (cell.path / RUN).write_text("{")
    with pytest.raises(InputError, match="damaged") as refused:
        latest_suggestions(tmp_path / "runs", "digits")
    assert "run the sweep again" in str(refused.value)
    cell.path.rename(cell.path.with_name("weight_decay=1e-3.unfinished-1"))
    suggesting(sweep.inner("weight_decay=1e-3.unfinished-2", "a: 1\n"))
    again = suggesting(sweep.inner("weight_decay=1e-3", "a: 1\n"))
    assert [run.path for run in latest_suggestions(tmp_path / "runs", "digits")] == [again.path]


def test_what_is_no_run_stops_nobody_from_the_latest_suggestion(make: Make, tmp_path: Path) -> None:
    found = suggesting(make("find-lr"))
    (tmp_path / "runs/notes").mkdir()
    (tmp_path / "runs/notes" / RUN).write_text('{"my": "own"}')
    assert [run.path for run in latest_suggestions(tmp_path / "runs", "digits")] == [found.path]


@pytest.mark.parametrize("where", ["run", "sweep", "suggestion", "lost", "facts"])
def test_where_a_later_suggestion_may_be_hidden_by_damage_the_latest_is_not_told(
    make: Make, tmp_path: Path, where: str
) -> None:
    suggesting(make("find-lr"))
    outer = make("sweep-wd") if where == "sweep" else make("find-lr")
    inner = suggesting(outer.inner("cell", "a: 1\n") if where == "sweep" else outer)
    match where:
        case "suggestion":
            (inner.path / SUGGESTION).write_text("{")
        case "lost":
            inner.keep()
            (inner.path / SUGGESTION).unlink()
        case "facts":
            (outer.path / RUN).unlink()
        case _:
            (outer.path / RUN).write_text("{")
    with pytest.raises(InputError, match=r"\.json is (damaged|missing)|has no run\.json"):
        latest_suggestions(tmp_path / "runs", "digits")
