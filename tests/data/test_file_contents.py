"""Whether a change of content is seen, whatever the times of a file say, and what is read again for that."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.data import file_contents as module
from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.errors import InputError
from onecycle_cli.progress import silent

Digests = Callable[[], list[str]]


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two files of the same size and time of modification."""
    paths = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    for path, content in zip(paths, (b"first", b"other"), strict=True):
        path.parent.mkdir()
        path.write_bytes(content)
        os.utime(path, ns=(10**18, 10**18))
    return paths


@pytest.fixture
def digests(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Digests:
    """The digests of the files, with an index that keeps also what has just been written."""
    monkeypatch.setattr(module, "UNSETTLED_NS", -(10**12))
    return lambda: content_digests(files, tmp_path / "index.json", silent)


def test_a_digest_is_of_the_content(digests: Digests) -> None:
    expected = [hashlib.blake2b(content, digest_size=16).hexdigest() for content in (b"first", b"other")]
    assert digests() == expected
    assert digests() == expected


def test_a_file_that_did_not_change_is_not_read_again(digests: Digests, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests()
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert digests() == before


def test_another_content_of_the_same_size_and_time_is_seen(files: list[Path], digests: Digests) -> None:
    before = digests()
    stat = files[0].stat()
    files[0].write_bytes(b"third")
    os.utime(files[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    after = digests()
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_copy_that_keeps_times_is_seen(files: list[Path], digests: Digests) -> None:
    before = digests()
    shutil.copy2(files[1], files[0])
    assert files[0].stat().st_mtime_ns == 10**18
    assert digests() == [before[1], before[1]]


def test_two_folders_that_were_swapped_are_seen(digests: Digests, tmp_path: Path) -> None:
    before = digests()
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    assert digests() == before[::-1]


def test_what_was_written_to_just_now_is_read_again(files: list[Path], tmp_path: Path) -> None:
    index = tmp_path / "index.json"
    content_digests(files, index, silent)
    assert not index.exists()


@pytest.mark.parametrize("damage", ["", "nonsense", "[]", "null", '{"a": 1}', "[{}, 1]", '[{"a": [1, 2]}, 1]'])
def test_an_index_that_is_damaged_is_made_again(digests: Digests, tmp_path: Path, damage: str) -> None:
    before = digests()
    (tmp_path / "index.json").write_text(damage)
    assert digests() == before
    assert len((tmp_path / "index.json").read_text()) > 100


def test_a_digest_that_has_changed_in_the_index_is_not_believed(digests: Digests, tmp_path: Path) -> None:
    before, index = digests(), tmp_path / "index.json"
    index.write_text(index.read_text().replace(before[0], before[1]))
    assert digests() == before


def test_files_that_cannot_be_read_are_named_together(tmp_path: Path) -> None:
    links = [tmp_path / f"{number}.png" for number in range(12)]
    for link in links:
        link.symlink_to("nowhere")
    with pytest.raises(InputError, match="0.png cannot be read: No such file") as caught:
        content_digests(links, tmp_path / "index.json", silent)
    assert "and 2 more" in caught.value.what


def test_names_that_are_no_utf_8_stand_in_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSETTLED_NS", -(10**12))
    path = tmp_path / os.fsdecode(b"raw\xff.png")
    path.write_bytes(b"x")
    before = content_digests([path], tmp_path / "index.json", silent)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert content_digests([path], tmp_path / "index.json", silent) == before
