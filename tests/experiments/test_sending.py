"""Rows are sent once, from the folder of a run, whatever fails."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from urllib.error import URLError

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments import sending as module
from onecycle_cli.experiments.sending import (
    Sender,
    Sending,
    Word,
    cause_of,
    follow,
    numbers_of_row,
    numbers_of_summary,
    prefix_of,
    tags_of,
)
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.receivers import RECEIVERS
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point
from onecycle_cli.run_dir.run import RunDir

STEPS = ("step", "epoch", "lr", "train_loss")


class Kept:
    """A receiver in memory. It fails while `down`, after the points of `lost_answers` have arrived."""

    has_parents = True
    takes_back: ClassVar[bool] = False
    environment: ClassVar[dict[str, str]] = {}
    runs: ClassVar[dict[str, dict[str, Any]]] = {}
    down: ClassVar[bool] = False
    lost_answers: ClassVar[int] = 0
    address: ClassVar[str] = "there"

    def __init__(self, card: Card) -> None:
        if Kept.down:
            raise ConnectionRefusedError(111, "Connection refused")
        self.new = card.key not in Kept.runs
        self.id, self.at = f"id of {card.key}", f"memory {card.name}"
        self.kept = Kept.runs.setdefault(card.key, {"points": [], "calls": [], "ends": [], "closed": 0})
        self.kept["card"] = card

    @staticmethod
    def place(_: Path) -> str:
        return Kept.address

    def send(self, points: Sequence[Point], first: int, time: float) -> None:
        if Kept.down:
            raise ConnectionRefusedError(111, "Connection refused")
        self.kept["points"] += points
        self.kept["calls"].append((len(points), first, time))
        if Kept.lost_answers:
            Kept.lost_answers -= 1
            raise TimeoutError(110, "Connection timed out")

    def end(self, end: End) -> None:
        self.kept["ends"].append(end)

    def close(self) -> None:
        self.kept["closed"] += 1


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECEIVERS, "kept", SimpleNamespace(load=lambda: Kept))
    for name, value in (
        ("takes_back", False),
        ("runs", {}),
        ("down", False),
        ("lost_answers", 0),
        ("address", "there"),
    ):
        monkeypatch.setattr(Kept, name, value)


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    """A run that goes on, without a row yet."""
    return new_run(tmp_path / "runs", to_yaml(tiny()), "a")


def new_run(folder: Path, recipe: str, name: str, command: str = "train") -> RunDir:
    return RunDir.create(folder, command=command, recipe_name="digits", recipe_yaml=recipe, facts={}, name=name)


def add_steps(run: RunDir, begin: int, end: int, keep: int | None = None, loss: float = 1.0) -> None:
    there = (run.path / "steps.csv").exists()
    with run.table("steps.csv", STEPS, keep=keep if keep is not None else 10**6 if there else None) as table:
        table.append({"step": n, "epoch": 1, "lr": n / 10, "train_loss": loss} for n in range(begin, end))


def sender(run: RunDir, parent: Sender | None = None) -> Sender:
    return Sender(run, "kept", lambda _: None, parent)


def only() -> dict[str, Any]:
    (kept,) = Kept.runs.values()
    return kept


def steps() -> list[int]:
    return [point.step for point in only()["points"]]


def test_rows_are_sent_as_they_come_and_once(run: RunDir) -> None:
    one = sender(run)
    one.update()
    assert Kept.runs == {}  # there is nothing to say yet
    add_steps(run, 0, 3)
    one.update()
    assert only()["points"][2] == Point(2, {"steps/lr": 0.2, "steps/train_loss": 1.0})
    one.update()
    add_steps(run, 3, 5)
    one.update()
    assert steps() == [0, 1, 2, 3, 4]
    assert [call[:2] for call in only()["calls"]] == [(3, 0), (2, 3)]
    assert only()["ends"] == []


def test_another_process_goes_on_where_the_one_before_was_killed(run: RunDir) -> None:
    add_steps(run, 0, 3)
    sender(run).update()
    add_steps(run, 3, 5)
    sender(run).update()
    assert steps() == [0, 1, 2, 3, 4]


def test_many_rows_go_in_parts(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 4)
    add_steps(run, 0, 10)
    sender(run).update()
    assert steps() == list(range(10))
    assert [call[:2] for call in only()["calls"]] == [(4, 0), (4, 4), (2, 8)]


def test_rows_whose_arrival_nobody_knows_of_are_sent_again_as_they_were(run: RunDir) -> None:
    add_steps(run, 0, 3)
    Kept.lost_answers = 1
    with pytest.raises(TimeoutError):
        sender(run).update()
    add_steps(run, 3, 5)  # and the table is younger now
    sender(run).update()
    first, second, third = only()["calls"]
    assert first == second == (3, 0, first[2])
    assert third[:2] == (2, 3)
    assert steps() == [0, 1, 2, 0, 1, 2, 3, 4]


def test_rows_that_a_resumed_run_computes_again_are_not_sent_again(run: RunDir) -> None:
    one = sender(run)
    add_steps(run, 0, 5)
    one.update()
    add_steps(run, 3, 4, keep=3)
    one.update()
    add_steps(run, 4, 7)
    one.update()
    assert steps() == list(range(7))
    assert only()["closed"] == 0


@pytest.mark.parametrize("is_new_process", [False, True])
def test_a_receiver_that_takes_rows_back_gets_the_whole_table_of_a_resumed_run(
    run: RunDir, monkeypatch: pytest.MonkeyPatch, is_new_process: bool
) -> None:
    monkeypatch.setattr(Kept, "takes_back", True)
    one = sender(run)
    add_steps(run, 0, 5)
    one.update()
    Kept.runs.clear()  # as a new event file hides the one before
    add_steps(run, 3, 4, keep=3)
    (sender(run) if is_new_process else one).update()
    assert steps() == [0, 1, 2, 3]


def test_a_receiver_that_has_forgotten_the_run_gets_all_of_it(run: RunDir) -> None:
    add_steps(run, 0, 3)
    sender(run).update()
    Kept.runs.clear()
    add_steps(run, 3, 5)
    sender(run).update()
    assert steps() == [0, 1, 2, 3, 4]


def test_another_place_gets_all_of_the_run(run: RunDir) -> None:
    add_steps(run, 0, 3)
    sender(run).update()
    Kept.runs.clear()
    Kept.address = "elsewhere"
    sender(run).update()
    assert steps() == [0, 1, 2]


def test_the_end_has_numbers_and_files_and_is_sent_once(run: RunDir) -> None:
    add_steps(run, 0, 2)
    for name in ("training.png", "model.safetensors"):
        (run.path / name).write_bytes(b"x")
    run.finish(
        "finished", {"valid_loss": 0.5, "epochs": 3, "only_answer": None, "stopped": True, "diagnosis": {"a": 1}}
    )
    for _ in range(2):
        sender(run).update()
    (end,) = only()["ends"]
    assert end.status == "finished"
    assert end.ended == datetime.fromisoformat(run.facts["ended"])
    assert end.numbers == {"summary/valid_loss": 0.5, "summary/epochs": 3.0}
    assert [path.name for path in (*end.figures, *end.models)] == ["training.png", "model.safetensors"]
    assert [path.name for path in end.files] == ["recipe.yaml", "summary.json"]
    assert only()["closed"] == 1


def test_a_run_that_goes_on_after_its_end_has_another_one(run: RunDir) -> None:
    add_steps(run, 0, 2)
    run.update(status="interrupted")
    sender(run).update()
    run.resume()
    add_steps(run, 2, 4)
    sender(run).update()
    run.finish("finished", {})
    sender(run).update()
    assert [end.status for end in only()["ends"]] == ["interrupted", "finished"]
    assert steps() == [0, 1, 2, 3]


def test_a_card_says_what_the_run_is(run: RunDir) -> None:
    run.update(git_commit="abc", versions={"torch": "2.11", "timm": None}, host="here")
    add_steps(run, 0, 1)
    sender(run).update()
    card = only()["card"]
    assert (card.folder, card.name, card.command, card.group, card.parent) == (run.path, "a", "train", None, None)
    assert card.started == datetime.fromisoformat(run.facts["started"])
    assert card.running
    assert card.parameters["schedule.max_lr"] == 0.1
    assert card.parameters["data.horizontal_flip"] is False
    assert card.parameters["data.mean"] == "null"
    expected = {"git_commit": "abc", "host": "here", "version.torch": "2.11", "command": "train", "recipe": "digits"}
    assert card.tags.items() >= expected.items()


def test_the_repeats_of_a_range_test_are_apart(run: RunDir) -> None:
    with run.table("lr_range.csv", ("seed", "step", "lr")) as table:
        table.append({"seed": seed, "step": step, "lr": step / 10} for seed in (7, 8) for step in range(2))
    sender(run).update()
    assert Kept.runs == {}  # it may begin anew under the same name
    run.finish("finished", {})
    sender(run).update()
    assert only()["points"] == [
        Point(0, {"lr_range/lr": 0.0}),
        Point(1, {"lr_range/lr": 0.1}),
        Point(0, {"lr_range_2/lr": 0.0}),
        Point(1, {"lr_range_2/lr": 0.1}),
    ]


def sweep(tmp_path: Path, recipe: str) -> RunDir:
    outer = new_run(tmp_path / "runs", recipe, "outer", "sweep")
    for name in ("seed=0", "seed=1"):
        add_steps(outer.inner(name, recipe), 0, 2)
    return outer


def by_name() -> dict[str, dict[str, Any]]:
    return {kept["card"].name: kept for kept in Kept.runs.values()}


def test_the_cells_of_a_sweep_are_its_children(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    outer = sweep(tmp_path, to_yaml(tiny()))
    sending = Sending(outer, "kept", lambda _: None)
    sending.update()
    add_steps(outer.inner("seed=2", to_yaml(tiny())), 0, 3)
    sending.update()
    outer.finish("finished", {"cells": 3})
    sending.update()
    found = by_name()
    assert {name: len(kept["points"]) for name, kept in found.items()} == {
        "outer": 0,
        "seed=0": 2,
        "seed=1": 2,
        "seed=2": 3,
    }
    assert {kept["card"].group for kept in found.values()} == {"outer"}
    parent = f"id of {found['outer']['card'].key}"
    assert [kept["card"].parent for kept in found.values()] == [None, parent, parent, parent]
    assert found["outer"]["ends"][0].numbers == {"summary/cells": 3.0}
    assert sending.rows == 7


def test_a_cell_that_is_sent_alone_has_the_same_parent(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    outer = sweep(tmp_path, to_yaml(tiny()))
    Sending(RunDir(outer.path / "seed=1"), "kept", lambda _: None).update()
    Sending(outer, "kept", lambda _: None).update()
    found = by_name()
    assert len(Kept.runs) == 3
    assert found["seed=1"]["card"].parent == found["seed=0"]["card"].parent == f"id of {found['outer']['card'].key}"
    assert len(found["seed=1"]["points"]) == 2


def test_a_cell_that_begins_anew_is_another_run(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    outer = sweep(tmp_path, to_yaml(tiny()))
    sending = Sending(outer, "kept", lambda _: None)
    sending.update()
    outer.rename("seed=1", "seed=1.unfinished-1")
    add_steps(outer.inner("seed=1", to_yaml(tiny())), 0, 5)
    sending.update()
    first, second = [kept for kept in Kept.runs.values() if kept["card"].name == "seed=1"]
    assert [end.status for end in first["ends"]] == ["interrupted"]
    assert (len(first["points"]), len(second["points"])) == (2, 5)
    assert sending.rows == 9


def test_a_damaged_cell_does_not_keep_the_others(tmp_path: Path, tiny: Callable[..., Recipe]) -> None:
    outer = sweep(tmp_path, to_yaml(tiny()))
    (outer.path / "seed=0" / "run.json").write_text("{")
    sending = Sending(outer, "kept", lambda _: None)
    with pytest.raises(InputError, match="run.json is damaged"):
        sending.update()
    assert steps_of("seed=1") == [0, 1]


def steps_of(name: str) -> list[int]:
    return [point.step for point in by_name()[name]["points"]]


def test_what_could_not_be_sent_is_sent_when_the_receiver_is_back(run: RunDir) -> None:
    words: list[Word] = []
    pauses: list[float] = []

    def ended(seconds: float) -> bool:
        """Each pause is a look; the receiver is down at the second and the third."""
        pauses.append(seconds)
        add_steps(run, len(pauses), len(pauses) + 1)
        Kept.down = len(pauses) in (2, 3)
        return len(pauses) == 5

    assert follow(run, "kept", words.append, ended)
    assert steps() == [1, 2, 3, 4, 5]
    assert pauses == [2.0, 2.0, 4.0, 8.0, 2.0]
    assert [word.trouble for word in words if word.trouble is not None] == ["Connection refused"] * 2 + [""]
    assert (words[-1].rows, words[-1].at) == (5, "memory a")


def test_a_receiver_that_is_down_at_the_end_is_tried_once_more(run: RunDir) -> None:
    words: list[Word] = []
    Kept.down = True
    add_steps(run, 0, 2)
    looks = iter([False, True])
    assert not follow(run, "kept", words.append, lambda _: next(looks))
    assert [word.trouble for word in words if word.trouble] == ["Connection refused"] * 2
    assert all(word.rows is None for word in words)


def test_no_two_processes_send_the_same_run(run: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0.1)
    words: list[Word] = []
    add_steps(run, 0, 2)

    def ended(_: float) -> bool:
        assert not follow(run, "kept", words.append, lambda _: True)
        return True

    assert follow(run, "kept", lambda _: None, ended)
    assert [word.trouble for word in words] == ["another process sends it"]
    assert steps() == [0, 1]


def test_numbers_of_rows_and_summaries() -> None:
    row = {"step": "3", "epoch": "1", "lr": "0.5", "train_loss": "nan", "lr_stem": ""}
    found = numbers_of_row("steps", row)
    assert found.keys() == {"steps/lr", "steps/train_loss"}
    assert found["steps/lr"] == 0.5
    assert numbers_of_summary({"a": 1, "b": None, "c": "x", "d": False, "e": 0.5}) == {"summary/a": 1, "summary/e": 0.5}
    assert tags_of({"command": "train", "versions": {"torch": "2"}, "seed": 1}) == {
        "command": "train",
        "version.torch": "2",
    }
    assert prefix_of("lr_range_first.csv", {"seed": "4"}, ["3", "4"]) == "lr_range_first_2"
    assert prefix_of("steps.csv", {}, []) == "steps"


def test_the_cause_of_an_error_is_that_of_the_operating_system() -> None:
    outer = ValueError("HTTPConnectionPool(...): a very long text")
    outer.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert cause_of(outer) == "Connection refused"
    assert cause_of(ValueError("\n the first line \x1b\n another")) == r"the first line \x1b"
    assert cause_of(ValueError()) == "ValueError"


def test_the_end_of_a_killed_run_has_the_time_at_which_it_was_sent(run: RunDir) -> None:
    add_steps(run, 0, 1)
    run.update(process_started=0.0, pid=2**22 - 1)
    before = datetime.now(UTC)
    sender(run).update()
    assert only()["ends"][0].status == "interrupted"
    assert only()["ends"][0].ended >= before


def test_the_cause_of_trouble_is_told_with_its_file_and_a_reason_may_be_text() -> None:
    assert "invalid start byte" in cause_of(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"))
    assert cause_of(IsADirectoryError(21, "Is a directory", "steps.csv")) == "steps.csv: Is a directory"
    assert cause_of(URLError(ConnectionRefusedError(111, "Connection refused"))) == "Connection refused"
