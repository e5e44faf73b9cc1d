"""A table that grows is read row by row."""

from pathlib import Path

import pytest

from onecycle_cli.run_dir import tail as module
from onecycle_cli.run_dir.tail import Tail
from onecycle_cli.run_dir.writing import Table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "steps.csv"


def numbers(tail: Tail) -> list[str]:
    return [row["n"] for row in tail.next()]


def add(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_rows_come_as_they_are_written(path: Path) -> None:
    tail = Tail(path)
    assert tail.next() == []
    with Table(path, ("n", "x")) as table:
        assert tail.next() == []
        table.append([{"n": 0, "x": 0.5}, {"n": 1, "x": None}])
        assert tail.next() == [{"n": "0", "x": "0.5"}, {"n": "1", "x": ""}]
        tail.take()
        assert (tail.next(), tail.row) == ([], 2)
        table.append([{"n": 2, "x": 1.0}])
        assert tail.next() == [{"n": "2", "x": "1"}]


def test_rows_that_are_not_taken_come_again(path: Path) -> None:
    path.write_text("n\n0\n1\n")
    tail = Tail(path)
    assert [numbers(tail) for _ in range(3)] == [["0", "1"]] * 3
    tail.take()
    assert numbers(tail) == []


def test_a_row_that_is_written_in_part_is_left_for_later(path: Path) -> None:
    path.write_text("n\n0\n1")
    tail = Tail(path)
    assert numbers(tail) == ["0"]
    tail.take()
    add(path, "2\n")
    assert numbers(tail) == ["12"]


def test_a_header_that_is_written_in_part_is_left_for_later(path: Path) -> None:
    path.write_text("n")
    tail = Tail(path)
    assert tail.next() == []
    add(path, "n\n5\n")
    assert tail.next() == [{"nn": "5"}]


def test_a_large_table_is_read_in_parts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 20)
    path.write_text("n\n" + "".join(f"{n}\n" for n in range(100)))
    tail, found = Tail(path), []
    while rows := numbers(tail):
        assert len(rows) <= 10
        found += rows
        tail.take()
        assert tail.row == len(found)
    assert found == [str(n) for n in range(100)]


def test_a_table_that_is_cut_by_a_resumed_run_is_read_from_its_beginning(path: Path) -> None:
    with Table(path, ("n",)) as table:
        table.append([{"n": n} for n in range(5)])
    tail = Tail(path)
    tail.next()
    tail.take()
    assert not tail.was_replaced
    with Table(path, ("n",), keep=3) as table:
        table.append([{"n": n} for n in range(30, 36)])
    assert numbers(tail) == ["0", "1", "2", *map(str, range(30, 36))]
    assert tail.was_replaced
    assert tail.row == 0


def test_a_table_that_begins_with_the_same_rows_is_read_on(path: Path) -> None:
    with Table(path, ("n",)) as table:
        table.append([{"n": n} for n in range(5)])
    tail = Tail(path)
    tail.next()
    tail.take()
    for keep, rows in ((5, [5]), (3, range(3, 8))):  # a table of a node on Ray; a resumed run, to the same bits
        with Table(path, ("n",), keep=keep) as table:
            table.append([{"n": n} for n in rows])
        assert [int(number) for number in numbers(tail)] == list(range(5, 1 + max(rows)))
        assert (tail.row, tail.was_replaced) == (5, False)
