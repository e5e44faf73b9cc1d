"""A run's folder: never written over, whole files, and a status for every way to end."""

import contextlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError, Terminated
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def test_from_the_first_moment_there_is_a_recipe_and_what_is_known(make: Make) -> None:
    run = make(seed=3, device="cpu")
    assert (run.path / "recipe.yaml").read_text() == "a: 1\n"
    facts = json.loads((run.path / "run.json").read_text())
    assert (facts["command"], facts["recipe"], facts["status"]) == ("train", "digits", "running")
    assert (facts["seed"], facts["device"]) == (3, "cpu")
    assert facts["versions"]["torch"]
    assert facts["started"].endswith("+00:00")
    assert sorted(path.name for path in run.path.iterdir()) == ["recipe.yaml", "run.json"]


def test_the_folder_is_named_by_time_command_and_recipe(make: Make) -> None:
    date, time, rest = make("find-lr").path.name.split("-", 2)
    assert (len(date), len(time), rest) == (8, 6, "find-lr-digits")


def test_runs_that_start_at_once_each_get_a_folder(make: Make) -> None:
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(make().path)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8


def test_what_ends_the_making_of_a_folder_leaves_no_half_of_a_run(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        make(name="mine", no_json=object())
    assert list((tmp_path / "runs").iterdir()) == []
    with pytest.raises(InputError):
        make(name="no name")
    outer = make(name="mine")
    outer.update(more=1)
    with pytest.raises(OSError, match="not empty"):
        [outer.inner("cell", "b: 2\n") for _ in range(2)]
    assert sorted(path.name for path in outer.path.iterdir()) == ["cell", "recipe.yaml", "run.json"]


def test_what_a_kill_left_of_the_making_is_no_run(make: Make, tmp_path: Path) -> None:
    run = make()
    run.path.rename(tmp_path / "runs" / ".new-1")
    assert all_runs(tmp_path / "runs") == []


def test_a_name_is_taken_once(make: Make) -> None:
    run = make(name="mine")
    assert run.path.name == "mine"
    (run.path / "kept").write_text("x")
    with pytest.raises(InputError, match="A run named 'mine' already exists"):
        make(name="mine")
    assert (run.path / "kept").read_text() == "x"


@pytest.mark.parametrize("name", ["../mine", "a/b", "", ".hidden", "-x", "a b", "a\n"])
def test_a_name_cannot_leave_the_runs_folder(make: Make, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name of a run"):
        make(name=name)


def test_a_file_that_is_not_made_to_its_end_does_not_appear(make: Make) -> None:
    run = make()
    run.write_text("x", "old")

    def half(path: Path) -> None:
        path.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run.write_with("x", half)
    assert (run.path / "x").read_text() == "old"


@pytest.mark.parametrize(
    ("error", "status"),
    [(KeyboardInterrupt(), "interrupted"), (Terminated(), "interrupted"), (ValueError("why"), "failed")],
)
def test_however_a_run_ends_its_status_tells(make: Make, error: BaseException, status: str) -> None:
    run = make()
    with pytest.raises(type(error)), run.recording():
        raise error
    assert run.facts["status"] == status
    assert run.facts["ended"] > run.facts["started"]
    assert run.facts["seconds"] >= 0
    if status == "failed":
        assert run.facts["error"] == "why"


def test_where_the_end_of_a_run_finds_no_memory_the_first_error_is_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    run = make()
    monkeypatch.setattr("json.dumps", refuse)
    with pytest.raises(ValueError, match="first"), run.recording():
        raise ValueError("first")


def test_a_run_that_comes_to_its_end_is_finished_unless_it_says_otherwise(make: Make) -> None:
    for status in ("finished", "diverged"):
        run = make()
        with run.recording():
            run.finish(status, {"accuracy": 0.5})
        assert run.facts["status"] == status
        assert run.summary == {"accuracy": 0.5}
    plain = make()
    with plain.recording():
        pass
    assert plain.facts["status"] == "finished"
    assert plain.summary == {}


def test_notes_are_kept_in_their_order(make: Make) -> None:
    run = make()
    run.note("one")
    run.note("two")
    assert run.facts["notes"] == ["one", "two"]


def test_an_inner_run_has_its_own_recipe_and_shares_the_facts(make: Make) -> None:
    run = make("sweep-wd", device="cpu")
    inner = run.inner("weight_decay=1e-3", "b: 2\n")
    assert inner.path == run.path / "weight_decay=1e-3"
    assert (inner.path / "recipe.yaml").read_text() == "b: 2\n"
    assert inner.facts["device"] == "cpu"
    assert all_runs(run.path.parent)[0].path == run.path
    assert len(all_runs(run.path.parent)) == 1


def test_an_inner_run_begins_anew_whatever_became_of_the_outer_one(make: Make) -> None:
    run = make("sweep")
    run.note("of the sweep")
    with contextlib.suppress(ValueError), run.recording():
        raise ValueError("once")
    inner = run.inner("seed=0", "b: 2\n").facts
    assert (inner["status"], inner["notes"], inner["ended"]) == ("running", [], None)
    assert "error" not in inner


def test_a_run_that_goes_on_is_running_again(make: Make) -> None:
    run = make("sweep")
    with contextlib.suppress(ValueError), run.recording():
        raise ValueError("once")
    assert run.facts["status"] == "failed"
    run.resume()
    assert (run.facts["status"], run.facts["ended"], run.facts["error"]) == ("running", None, None)


def test_a_folder_in_which_another_process_works_is_refused(make: Make) -> None:
    run = make("sweep")
    with run.alone(), pytest.raises(InputError, match="Another process is using"), RunDir(run.path).alone():
        pass
    with run.alone():
        pass


def test_a_table_that_still_grows_is_read_as_far_as_its_rows_are_whole(make: Make) -> None:
    run = make()
    assert run.read_growing_table("t.csv") == []
    with run.table("t.csv", ("step", "note")) as table:
        assert run.read_growing_table("t.csv") == []
        table.append([{"step": 0, "note": "größer"}, {"step": 1, "note": "größer"}])
    whole = (run.path / "t.csv").read_bytes()
    for cut in range(len(whole) + 1):
        (run.path / "t.csv").write_bytes(whole[:cut])
        rows = run.read_growing_table("t.csv")
        assert rows == [{"step": str(step), "note": "größer"} for step in range(max(0, whole[:cut].count(b"\n") - 1))]


def test_the_last_row_is_the_last_whole_one(make: Make) -> None:
    run = make()
    assert run.last_row("t.csv") is None
    with run.table("t.csv", ("step", "loss")) as table:
        table.append([{"step": 0, "loss": 2.5}, {"step": 1, "loss": None}])
    whole = (run.path / "t.csv").read_bytes()
    for cut in range(len(whole) + 1):
        (run.path / "t.csv").write_bytes(whole[:cut])
        rows = run.read_growing_table("t.csv")
        assert run.last_row("t.csv") == (rows[-1] if rows else None)


def test_the_last_row_of_a_long_table_is_found_without_reading_the_rest(make: Make) -> None:
    run = make()
    with run.table("t.csv", ("step", "loss")) as table:
        table.append({"step": step, "loss": 0.5} for step in range(5_000))
    middle = (run.path / "t.csv").stat().st_size // 2
    with (run.path / "t.csv").open("r+b") as file:
        file.seek(middle)
        file.write(b"\xff")
    assert run.last_row("t.csv") == {"step": "4999", "loss": "0.5"}
    with pytest.raises(InputError, match="not UTF-8"):
        run.read_growing_table("t.csv")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"", "it is empty"),
        (b"a,b\n", "it is empty"),
        (b"a,b\n1,2\n3", "a row is incomplete"),
        (b"a,b\n\xff,1\n", "not UTF-8 text"),
    ],
)
def test_a_damaged_table_is_told(make: Make, written: bytes, says: str) -> None:
    run = make()
    with pytest.raises(InputError, match="is missing"):
        run.read_table("t.csv")
    (run.path / "t.csv").write_bytes(written)
    with pytest.raises(InputError, match=says):
        run.read_table("t.csv")


@pytest.mark.parametrize("written", [b"a,b\n1\n2,3\n", b"a,b\n1,2,3\n"])
def test_a_row_that_is_cut_with_others_after_it_is_damage_in_a_growing_table_too(make: Make, written: bytes) -> None:
    run = make()
    (run.path / "t.csv").write_bytes(written)
    with pytest.raises(InputError, match="a row is incomplete"):
        run.read_growing_table("t.csv")


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (b"", "it is not JSON"),
        (b'{"command": "tra', "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[" * 100_000, "it is not JSON"),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b'{"command": "train", "status": "running"}', "it has no recipe, started"),
    ],
)
def test_damaged_facts_are_told(make: Make, written: bytes, says: str) -> None:
    run = make()
    (run.path / "run.json").write_bytes(written)
    with pytest.raises(InputError, match=f"run.json is damaged: {says}"):
        _ = run.facts


def test_a_run_whose_process_is_gone_is_interrupted(make: Make) -> None:
    run = make()
    assert run.status == "running"
    run.update(process_started=0.0, process_began=None)
    assert (run.status, run.facts["status"]) == ("interrupted", "running")
    run.update(status="finished")
    assert run.status == "finished"
