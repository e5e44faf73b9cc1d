"""Rows that go nowhere."""

from collections.abc import Iterator

from onecycle_cli.run_dir.rows import DiscardedRows, Row


def test_rows_that_are_discarded_are_made_all_the_same() -> None:
    made: list[int] = []

    def rows() -> Iterator[Row]:
        for number in range(3):
            made.append(number)
            yield {"n": number}

    with DiscardedRows() as table:
        table.append(rows())
        table.to_disk()
    assert made == [0, 1, 2]
