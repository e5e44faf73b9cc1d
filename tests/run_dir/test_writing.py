"""Tables that grow and JSON that is whole."""

import errno
import fcntl
import json
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onecycle_cli.errors import InputError, from_utf8
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import (
    csv_rows,
    json_ready,
    make_folder,
    move,
    must_be_new,
    to_csv,
    to_disk,
    write_new,
    write_whole,
)

Make = Callable[..., RunDir]


def test_a_table_has_one_header_and_can_be_read_at_any_time(make: Make) -> None:
    run = make()
    with run.table("t.csv", ("step", "lr", "note")) as table:
        assert (run.path / "t.csv").read_text() == "step,lr,note\n"
        table.append([{"step": 0, "lr": 0.1, "note": None, "other": 1}])
        assert (run.path / "t.csv").read_text() == "step,lr,note\n0,0.1,\n"
        table.append([{"step": 1, "lr": math.nan, "note": "a,b"}, {"step": 2, "lr": math.inf, "note": ""}])
    read = pd.read_csv(run.path / "t.csv")
    assert read["step"].tolist() == [0, 1, 2]
    assert math.isnan(read["lr"][1])
    assert read["note"][1] == "a,b"


@pytest.mark.parametrize("rest", [b"", b"step,l", b"\0\0\0\0\0\0\0\n0,0.1\n", b"step,lr\n0,0.1\n"])
def test_a_table_of_which_no_row_is_kept_begins_anew(make: Make, rest: bytes) -> None:
    """A power cut may leave a part of the header."""
    run = make()
    (run.path / "t.csv").write_bytes(rest)
    with run.table("t.csv", ("step", "lr"), keep=0) as table:
        table.append([{"step": 0, "lr": 0.2}])
    assert (run.path / "t.csv").read_text() == "step,lr\n0,0.2\n"


def test_a_table_as_text_may_be_printed_in_parts() -> None:
    rows = [("a,b", 0.5), ("c", None)]
    assert to_csv(("name", "value"), rows[:1]) + csv_rows(rows[1:]) == to_csv(("name", "value"), rows)


def test_a_table_does_not_depend_on_its_blocks(make: Make) -> None:
    rows = [{"step": step, "lr": 0.1 * step} for step in range(7)]
    run = make()
    with run.table("one.csv", ("step", "lr")) as table:
        table.append(rows)
    with run.table("three.csv", ("step", "lr")) as table:
        for block in (rows[:2], rows[2:3], rows[3:]):
            table.append(block)
    assert (run.path / "one.csv").read_bytes() == (run.path / "three.csv").read_bytes()


def test_a_table_is_never_written_over(make: Make) -> None:
    run = make()
    run.table("t.csv", ("a",)).__exit__()
    with pytest.raises(FileExistsError):
        run.table("t.csv", ("a",))


def test_nine_digits_tell_every_float32_from_its_neighbours() -> None:
    near = [0.1, 0.10000000894069672]  # two float32 next to each other
    assert to_csv(["x"], [[value] for value in near]).split() == ["x", "0.1", "0.100000009"]


def test_json_has_null_for_numbers_that_are_not_finite(make: Make) -> None:
    run = make()
    run.write_json("x.json", {"a": math.nan, "b": [1.0, -math.inf], "c": {"d": (1, 2)}, "p": Path("x")})
    text = (run.path / "x.json").read_text()
    assert json.loads(text).pop("sha256")
    assert run.read_json("x.json") == {"a": None, "b": [1.0, None], "c": {"d": [1, 2]}, "p": "x"}
    assert "NaN" not in text
    assert json_ready(math.inf) is None


def test_a_table_that_goes_on_keeps_so_many_rows_and_its_one_header(make: Make) -> None:
    run = make()
    with run.table("t.csv", ("step", "lr")) as table:
        table.append({"step": step, "lr": 0.5} for step in range(5))
    with (run.path / "t.csv").open("a") as cut:
        cut.write("5,0.")
    with run.table("t.csv", ("step", "lr"), keep=3) as table:
        table.append([{"step": 3, "lr": 0.25}])
        table.to_disk()
    assert (run.path / "t.csv").read_text() == "step,lr\n0,0.5\n1,0.5\n2,0.5\n3,0.25\n"


def test_a_table_that_is_to_go_on_may_not_have_begun(make: Make) -> None:
    run = make()
    with run.table("t.csv", ("step",), keep=0):
        assert (run.path / "t.csv").read_text() == "step\n"
    (run.path / "u.csv").touch()  # its header had not come to the disk
    with run.table("u.csv", ("step",), keep=0):
        assert (run.path / "u.csv").read_text() == "step\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_half(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text("old")

    def fails(beside: Path) -> None:
        beside.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(path, fails)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


HOSTILE = (
    os.fsdecode(b"\xff\xfe"),
    "\\xff",
    "a,b",
    '"q"',
    "a\nb",
    "a\rb",
    "a\r\nb",
    " a ",
    "中文",
    "😀",
    "NA",
    "=1+1",
    "",
)


def test_any_name_passes_through_a_table_that_pandas_can_read(make: Make) -> None:
    run = make()
    run.write_text("names.csv", to_csv(("name", "at", *HOSTILE), [(name, 1, *HOSTILE) for name in HOSTILE]))
    rows = run.read_table("names.csv")
    assert [row["name"] for row in rows] == list(HOSTILE)
    assert list(rows[0])[2:] == list(HOSTILE)
    read = pd.read_csv(run.path / "names.csv", keep_default_na=False)
    assert read.columns[2] == "\\xff\\xfe"
    assert [os.fsencode(from_utf8(name)) for name in read.name] == [os.fsencode(name) for name in HOSTILE]


def test_any_name_passes_through_json_that_is_utf8(make: Make) -> None:
    run = make()
    run.write_json("names.json", {"names": HOSTILE, **dict.fromkeys(HOSTILE, 1)})
    assert run.read_json("names.json") == {"names": list(HOSTILE), **dict.fromkeys(HOSTILE, 1)}
    json.dumps(json.loads((run.path / "names.json").read_text()), ensure_ascii=False).encode("utf-8")


def test_a_file_that_exists_or_has_no_folder_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    must_be_new(tmp_path / "b.png")
    with pytest.raises(InputError, match="a.png exists already"):
        must_be_new(tmp_path / "a.png")
    with pytest.raises(InputError, match="There is no folder"):
        must_be_new(tmp_path / "nowhere" / "b.png")
    assert (tmp_path / "a.png").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, 102])
def test_a_file_system_that_cannot_flush_folders_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As CIFS, which says EINVAL for a folder; on macOS, ENOTSUP and EOPNOTSUPP, 102, are two numbers."""
    flush = os.fsync
    monkeypatch.setattr(errno, "EOPNOTSUPP", 102)

    def refusing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "refused")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    write_whole(tmp_path / "a.txt", lambda path: path.write_text("a"))
    assert (tmp_path / "a.txt").read_text() == "a"


def test_a_file_that_cannot_be_flushed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(OSError, match="Invalid argument"):
        to_disk(tmp_path / "a.txt")


@pytest.mark.parametrize(("number", "flushed"), [(None, 0), (errno.ENOTSUP, 3), (errno.ENOTTY, 3)])
def test_on_macos_the_memory_of_the_drive_is_flushed_where_its_file_system_can(
    make: Make, monkeypatch: pytest.MonkeyPatch, number: int | None, flushed: int
) -> None:
    wholly: list[int] = []
    plainly: list[int] = []
    table, ask = make().table("t.csv", ("a",)), fcntl.fcntl

    def full(descriptor: int, command: int, *more: Any) -> Any:
        if command != 51:
            return ask(descriptor, command, *more)
        wholly.append(descriptor)
        if number is not None:
            raise OSError(number, "refused")
        return 0

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", full)
    monkeypatch.setattr(os, "fsync", plainly.append)
    write_whole(Path("a.txt"), lambda path: path.write_text("a"))
    with table:
        pass
    assert (len(wholly), len(plainly)) == (3, flushed)  # the file, its folder, the table


def test_a_drive_that_fails_on_macos_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", fail)
    with pytest.raises(OSError, match="Input/output error"):
        to_disk(tmp_path)


def test_a_folder_is_made_with_those_above_it_and_may_exist(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_file_that_a_person_names_costs_none_beside_it(tmp_path: Path) -> None:
    (tmp_path / ".results.csv").write_text("precious")
    write_new(tmp_path / "results.csv", lambda path: path.write_text("a"))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        ".results.csv": "precious",
        "results.csv": "a",
    }


def test_a_new_file_whose_folder_cannot_be_flushed_does_not_stand_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command that wrote it has failed; the same command again must not find that the file exists already."""
    (tmp_path / "old.csv").write_text("old")
    flush = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    for name in ("old.csv", "new.csv"):
        with pytest.raises(OSError, match="Input/output error"):
            write_new(tmp_path / name, lambda path: path.write_text("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]


def test_a_move_whose_folder_cannot_be_flushed_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command has failed, and the same one again looks for the old name."""
    (tmp_path / "old").mkdir()
    (tmp_path / "other").mkdir()

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        move(tmp_path / "old", tmp_path / "other" / "new")
    assert caught.value.filename in (str(tmp_path), str(tmp_path / "other"))
    assert (tmp_path / "old").is_dir()
    assert not (tmp_path / "other" / "new").exists()


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    for write in (write_whole, write_new):
        with pytest.raises(FileNotFoundError) as caught:
            write(tmp_path / "gone" / "a.csv", lambda path: path.write_text("a"))
        assert caught.value.filename == str(tmp_path / "gone" / "a.csv")
