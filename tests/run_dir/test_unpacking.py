"""Unpacking: what was packed comes back byte for byte, and an archive that was made to do harm does none."""

import errno
import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.run_dir import unpacking
from onecycle_cli.run_dir.packing import pack
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.unpacking import unpack

FACTS = {"command": "train", "recipe": "digits", "status": "finished", "started": "2026-03-01T12:00:00+00:00"}
GOOD = {"a/recipe.yaml": b"a: 1\n", "a/run.json": json.dumps(FACTS).encode()}


def member(name: str, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def listed(files: dict[str, bytes], runs: list[str] | None = None) -> dict[str, Any]:
    entries = [
        {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in files.items()
    ]
    return {"format": 1, "runs": runs or ["a"], "files": entries}


def archive(path: Path, listing: Any, members: list[tuple[tarfile.TarInfo, bytes]], after: bytes = b"") -> Path:
    """Writes an archive with any list and any members; `after` are bytes behind it, compressed with it."""
    with gzip.GzipFile(path, "wb") as compressed:
        with tarfile.open(fileobj=compressed, mode="w") as tar:
            text = listing if isinstance(listing, bytes) else json.dumps(listing).encode()
            for info, content in [(member("onecycle-runs.json"), text), *members]:
                info.size = info.size or len(content)
                tar.addfile(info, io.BytesIO(content))
        compressed.write(after)
    return path


def contents(files: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(member(path), content) for path, content in files.items()]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(file: Path, says: str = ".") -> None:
    """Unpacking is refused, and leaves nothing anywhere."""
    before = sorted(file.parent.rglob("*"))
    with pytest.raises(InputError, match=says):
        unpack(file, file.parent / "there" / "runs")
    (file.parent / "there" / "runs").rmdir()  # it is empty
    (file.parent / "there").rmdir()
    assert sorted(file.parent.rglob("*")) == before


def test_runs_and_sweeps_come_back_byte_for_byte(make: Callable[..., RunDir], tmp_path: Path) -> None:
    one, sweep = make(name="one"), make("sweep", name="swept")
    (one.path / "Übung 1.bin").write_bytes(os.urandom(3 * 2**20))
    (one.path / "of two blocks").write_bytes(bytes(1024))
    (one.path / "empty").touch()
    sweep.inner("weight_decay=1e-3,seed=0", "a: 1\n").update(status="failed")
    for run in (one, sweep):
        run.update(status="finished")
    pack([one, sweep], tmp_path / "x.tar.gz")
    there = tmp_path / "there" / "runs"
    assert [run.path for run in unpack(tmp_path / "x.tar.gz", there)] == [there / "one", there / "swept"]
    assert files(there) == files(tmp_path / "runs")
    assert {path.name for path in there.iterdir()} == {"one", "swept"}
    assert not any(path.stat().st_mode & 0o111 for path in there.rglob("*") if path.is_file())


def test_a_crafted_archive_without_harm_is_unpacked(tmp_path: Path) -> None:
    """The tests below change this one."""
    unpack(archive(tmp_path / "x.tar.gz", listed(GOOD), contents(GOOD)), tmp_path / "runs")
    assert files(tmp_path / "runs") == GOOD


def test_a_run_that_was_running_elsewhere_is_interrupted_here(tmp_path: Path) -> None:
    running = json.dumps(FACTS | {"status": "running", "host": "node7"}).encode()
    inside = {"a/cell/recipe.yaml": b"", "a/cell/run.json": running, "a/damaged/run.json": b"{"}
    found = GOOD | {"a/run.json": running} | inside
    (run,) = unpack(archive(tmp_path / "x.tar.gz", listed(found), contents(found)), tmp_path / "runs")
    assert run.facts == FACTS | {"status": "interrupted", "host": "node7"}
    assert RunDir(run.path / "cell").status == "interrupted"


def test_a_run_that_exists_is_not_overwritten_and_none_of_the_others_comes(tmp_path: Path) -> None:
    found = {path.replace("a/", f"{name}/"): content for name in ("a", "b") for path, content in GOOD.items()}
    file = archive(tmp_path / "x.tar.gz", listed(found, ["a", "b"]), contents(found))
    (tmp_path / "runs" / "b").mkdir(parents=True)
    (tmp_path / "runs" / "b" / "mine").touch()
    with pytest.raises(InputError, match="There is a run .*b already"):
        unpack(file, tmp_path / "runs")
    assert files(tmp_path / "runs") == {"b/mine": b""}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"b"}


def test_a_run_that_comes_into_being_meanwhile_is_not_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {path.replace("a/", f"{name}/"): content for name in ("a", "b") for path, content in GOOD.items()}
    file = archive(tmp_path / "x.tar.gz", listed(found, ["a", "b"]), contents(found))
    real = unpacking._make_ready

    def meanwhile(run: RunDir, name: str) -> None:
        real(run, name)
        (tmp_path / "runs" / "b").mkdir(exist_ok=True)

    monkeypatch.setattr(unpacking, "_make_ready", meanwhile)
    with pytest.raises(InputError, match="There is a run .*b already"):
        unpack(file, tmp_path / "runs")
    assert list((tmp_path / "runs").rglob("*")) == [tmp_path / "runs" / "b"]


def test_all_runs_come_or_none_if_the_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {path.replace("a/", f"{name}/"): content for name in ("a", "b") for path, content in GOOD.items()}
    file = archive(tmp_path / "x.tar.gz", listed(found, ["a", "b"]), contents(found))
    flush = os.fsync

    def failing(descriptor: int) -> None:
        if (tmp_path / "runs" / "b").exists():
            raise OSError(errno.EIO, "Input/output error")
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            unpack(file, tmp_path / "runs")
    assert [path for path in (tmp_path / "runs").iterdir() if path.name[0] != "."] == []
    assert len(unpack(file, tmp_path / "runs")) == 2


def hostile() -> Iterator[Any]:
    """Archives that were made to do harm: what it is, its list, its members, and what the message says."""
    for path in ("a/../../outside", "/outside", "../outside", "a/.lock", "a/sub\\x"):
        bad = GOOD | {path: b"x"}
        yield pytest.param(listed(bad), contents(bad), "cannot be|not in one", id=path)
    for runs in (["../a"], ["."], ["/"], [".trash"], ["a/b"]):
        bad = {path.replace("a/", f"{runs[0]}/", 1): content for path, content in GOOD.items()}
        yield pytest.param(listed(bad, runs), contents(bad), "cannot be the name of a run", id=f"run {runs[0]}")
    for what, one in {
        "a link": member("a/run.json", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        "a hard link": member("a/run.json", type=tarfile.LNKTYPE, linkname="a/recipe.yaml"),
        "a device": member("a/run.json", type=tarfile.CHRTYPE),
        "a pipe": member("a/run.json", type=tarfile.FIFOTYPE),
        "a folder": member("a/run.json", type=tarfile.DIRTYPE),
        "an unknown kind": member("a/run.json", type=b"Z"),
        "another name": member("a/other.json"),
        "another case": member("a/RUN.json"),
        "the name of the list": member("onecycle-runs.json"),
    }.items():
        yield pytest.param(
            listed(GOOD), [*contents(GOOD)[:1], (one, GOOD["a/run.json"])], "stands where|ends before", id=what
        )
    yield pytest.param(listed(GOOD), contents(GOOD)[:1], "ends before 'a/run.json'", id="too few")
    yield pytest.param(listed(GOOD), contents(GOOD | {"b": b""}), "not in its list", id="too many")
    yield pytest.param(listed(GOOD), contents(GOOD) + contents(GOOD)[-1:], "not in its list", id="twice")
    yield pytest.param(listed(GOOD), contents(GOOD)[::-1], "stands where", id="another order")
    yield pytest.param(listed(GOOD), contents(GOOD | {"a/run.json": b"{}"}), "stands where", id="another size")
    other = GOOD["a/run.json"].replace(b"digits", b"DIGITS")
    yield pytest.param(listed(GOOD), contents(GOOD | {"a/run.json": other}), "content of 'a/run", id="another content")
    yield pytest.param(listed(GOOD | {"a/RECIPE.yaml": b""}), [], "same name on some systems", id="same by case")
    for facts in (b"{", b"[]", b"{}", b'{"command": 1}', b"\xff", b"[" * 10_000):
        bad = GOOD | {"a/run.json": facts}
        yield pytest.param(listed(bad), contents(bad), "run.json of 'a' is damaged", id=f"facts {facts[:20]!r}")


@pytest.mark.parametrize(("listing", "members", "says"), list(hostile()))
def test_an_archive_that_could_do_harm_is_refused(tmp_path: Path, listing: Any, members: Any, says: str) -> None:
    refused(archive(tmp_path / "x.tar.gz", listing, members), says)


@pytest.mark.parametrize(
    "listing",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b"1" * 10_000,
        [],
        {},
        listed(GOOD) | {"format": 2},
        listed(GOOD) | {"runs": "a"},
        listed(GOOD) | {"runs": [1]},
        listed(GOOD) | {"runs": []},
        listed(GOOD) | {"files": None},
        listed(GOOD) | {"files": {"a": 1}},
        listed(GOOD) | {"files": [1]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": 1}]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": 1, "sha256": "", "mode": 0o777}]},
        listed(GOOD) | {"files": [{"path": 1, "size": 1, "sha256": ""}]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": -1, "sha256": ""}]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": True, "sha256": ""}]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": 1.5, "sha256": ""}]},
        listed(GOOD) | {"files": [{"path": "a/run.json", "size": 1, "sha256": None}]},
    ],
    ids=lambda listing: str(listing)[:50],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, listing: Any) -> None:
    refused(archive(tmp_path / "x.tar.gz", listing, contents(GOOD)))


EMPTY, TEXT = gzip.compress(b"", mtime=0), gzip.compress(b"x" * 1000, mtime=0)  # without the time: ids stay the same


@pytest.mark.parametrize("raw", [b"", b"x", b"\x1f\x8b", EMPTY, TEXT, bytes(10_240)])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "x.tar.gz").write_bytes(raw)
    refused(tmp_path / "x.tar.gz")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        unpack(tmp_path / "x.tar.gz", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header that lies about the size of what follows."""
    return member(name, size=size, type=kind).tobuf(tarfile.GNU_FORMAT)


TOO_LARGE, TOO_LONG = "One of its headers is larger", "Its list is too long"


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (header("onecycle-runs.json", 2**40), TOO_LONG),
        (header("onecycle-runs.json", -512) + bytes(2**17), TOO_LONG),
        (header("././@PaxHeader", 2**33, tarfile.XHDTYPE) + bytes(2**17), TOO_LARGE),
        (header("././@PaxHeader", 2**17, tarfile.XGLTYPE) + bytes(2**18), TOO_LARGE),
        (header("././@LongLink", 2**33, tarfile.GNUTYPE_LONGNAME) + bytes(2**17), TOO_LARGE),
        (header("././@LongLink", -512, tarfile.GNUTYPE_LONGNAME) + bytes(2**17), TOO_LARGE),
        (header("././@PaxHeader", -1024, tarfile.XHDTYPE) + bytes(2**17), TOO_LARGE),
        (header("././@LongLink", 1, tarfile.GNUTYPE_LONGNAME) * 2000, TOO_LARGE),
    ],
    ids=["huge list", "negative", "huge pax", "global pax", "huge name", "negative name", "negative pax", "nested"],
)
def test_a_header_that_lies_about_its_size_is_refused_before_it_is_read(tmp_path: Path, raw: bytes, says: str) -> None:
    (tmp_path / "x.tar.gz").write_bytes(gzip.compress(raw))
    refused(tmp_path / "x.tar.gz", says)


def test_a_sparse_file_with_a_long_map_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    sparse = member("a/run.json", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})
    members = [*contents(GOOD)[:1], (sparse, b"99999999\n" + b"1\n" * 2**20)]
    refused(archive(tmp_path / "x.tar.gz", listed(GOOD), members), TOO_LARGE)


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = listed(GOOD)
    bomb["files"][0]["size"] = 2**31
    refused(archive(tmp_path / "x.tar.gz", bomb, contents(GOOD)), "fill a disk")
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    with pytest.raises(MachineError, match="0 MiB free"):
        unpack(archive(tmp_path / "x.tar.gz", listed(GOOD), contents(GOOD)), tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []


def test_bytes_behind_the_files_are_refused_and_zeros_are_not_read_for_ever(tmp_path: Path) -> None:
    refused(archive(tmp_path / "x.tar.gz", listed(GOOD), contents(GOOD), after=b"x"), "Something follows")
    refused(archive(tmp_path / "x.tar.gz", listed(GOOD), contents(GOOD), after=bytes(2**20)), "Something follows")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder, and the bytes of an archive of a run."""
    folder = tmp_path_factory.mktemp("good")
    return folder, archive(folder / "x.tar.gz", listed(GOOD), contents(GOOD)).read_bytes()


def comes_whole_or_not_at_all(folder: Path, raw: bytes) -> None:
    (folder / "x.tar.gz").write_bytes(raw)
    runs_dir = Path(folder / "runs")
    try:
        unpack(folder / "x.tar.gz", runs_dir)
    except InputError:
        assert files(runs_dir) == {}
        return
    assert files(runs_dir) == GOOD
    for path in GOOD:
        (runs_dir / path).unlink()
    (runs_dir / "a").rmdir()


def test_a_changed_byte_is_refused_or_has_no_effect(good: tuple[Path, bytes]) -> None:
    folder, raw = good
    for place in range(len(raw)):
        comes_whole_or_not_at_all(folder, raw[:place] + bytes([raw[place] ^ (1 << place % 8)]) + raw[place + 1 :])
    for length in range(0, len(raw), 7):
        comes_whole_or_not_at_all(folder, raw[:length])


@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=600)), min_size=1, max_size=3))
def test_any_bytes_in_the_tar_are_refused_or_have_no_effect(
    good: tuple[Path, bytes], changes: list[tuple[int, bytes]]
) -> None:
    folder, raw = good
    tar = bytearray(gzip.decompress(raw))
    for place, new in changes:
        start = place % len(tar)
        tar[start : start + len(new)] = new[: len(tar) - start]
    comes_whole_or_not_at_all(folder, gzip.compress(bytes(tar), 1))


@given(raw=st.binary(max_size=2000))
def test_any_bytes_as_a_tar_are_refused(good: tuple[Path, bytes], raw: bytes) -> None:
    comes_whole_or_not_at_all(good[0], gzip.compress(raw, 1))


def test_what_a_killed_unpack_left_is_deleted_by_the_next_where_that_is_safe(
    tmp_path: Path,
) -> None:
    file, there = archive(tmp_path / "a.tar.gz", listed(GOOD), contents(GOOD)), tmp_path / "there"
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("old", "new", "used"):
        (there / f".unpacking-{name}" / "a").mkdir(parents=True)
    (there / ".unpacking-file").touch()
    (there / ".unpacking-link").symlink_to(outside)
    with RunDir(there / ".unpacking-used").alone():
        for name in ("old", "used", "file"):
            os.utime(there / f".unpacking-{name}", (0, 0))
        os.utime(outside, (0, 0))
        unpack(file, there)
    kept = {".unpacking-new", ".unpacking-used", ".unpacking-file", ".unpacking-link", "a"}
    assert {path.name for path in there.iterdir()} == kept
    assert list(outside.iterdir()) == []


def test_a_folder_into_which_is_unpacked_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, there = archive(tmp_path / "a.tar.gz", listed(GOOD), contents(GOOD)), tmp_path / "there"
    seen: list[Path] = []

    def synced(_: Path) -> None:
        for folder in there.glob(".unpacking-*"):
            with pytest.raises(InputError, match="Another process is using"), RunDir(folder).alone():
                pass
            seen.append(folder)

    monkeypatch.setattr(unpacking, "to_disk", synced)
    unpack(file, there)
    assert seen
