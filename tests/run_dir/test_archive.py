"""What may be in an archive of runs."""

from pathlib import Path

import pytest

from onecycle_cli.run_dir import archive
from onecycle_cli.run_dir.archive import PackedFile, Unsafe, must_be_safe, must_shrink_as_runs_do


def listing(*paths: str) -> list[PackedFile]:
    return [PackedFile(path, 0, "") for path in paths]


def test_files_in_their_runs_are_safe() -> None:
    paths = ("a/run.json", "a/weight_decay=1e-3,seed=0/run.json", "b/run.json", "b/Übung 1.png", "b/run.json.txt")
    must_be_safe(["a", "b"], listing(*paths))


@pytest.mark.parametrize("name", ["", ".", "..", ".trash", "/", "a/b", "a b", "-a", "a\n", "ä", "x" * 201])
def test_a_name_that_is_none_of_a_run_is_refused(name: str) -> None:
    with pytest.raises(Unsafe, match="cannot be the name of a run"):
        must_be_safe([name], listing(f"{name}/run.json"))


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (["a/../../x"], "cannot be the name of a file"),
        (["a/./x"], "cannot be the name of a file"),
        (["a//x"], "cannot be the name of a file"),
        (["a/x/"], "cannot be the name of a file"),
        (["a/.lock"], "cannot be the name of a file"),
        (["a/x\\y"], "cannot be the name of a file"),
        (["a/x\0y"], "cannot be the name of a file"),
        (["a/x\x1b[31m"], "cannot be the name of a file"),
        (["a/\udcff"], "cannot be the name of a file"),
        (["a/" + "ä" * 101], "cannot be the name of a file"),
        (["/etc/passwd"], "not in one of its runs"),
        (["../x"], "not in one of its runs"),
        (["b/run.json"], "not in one of its runs"),
        (["a"], "same name on some systems"),  # it is a folder
        (["a/" + "x/" * 12 + "x"], "too many folders"),
        (["a/Model", "a/model"], "same name on some systems"),
        (["a/M\u00fc", "a/Mu\u0308"], "same name on some systems"),
        (["a/X/1", "a/x/2"], "same name on some systems"),
        (["a/x", "a/X/1"], "same name on some systems"),
        (["a/x", "a/x"], "same name twice"),
    ],
)
def test_a_path_that_could_do_harm_is_refused(paths: list[str], says: str) -> None:
    with pytest.raises(Unsafe, match=says):
        must_be_safe(["a"], listing("a/run.json", *paths))


def test_a_run_without_its_file_no_run_and_the_same_twice_are_refused() -> None:
    with pytest.raises(Unsafe, match="has no run.json"):
        must_be_safe(["a"], listing("a/model.safetensors"))
    with pytest.raises(Unsafe, match="no run"):
        must_be_safe([], [])
    with pytest.raises(Unsafe, match="same name twice"):
        must_be_safe(["a", "a"], listing("a/run.json"))
    with pytest.raises(Unsafe, match="same name on some systems"):
        must_be_safe(["a", "A"], listing("a/run.json", "A/run.json"))


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_FILES", 2)
    must_be_safe(["a"], listing("a/run.json", "a/x"))
    with pytest.raises(Unsafe, match="more than 2 files"):
        must_be_safe(["a"], listing("a/run.json", "a/x", "a/y"))


def test_files_may_be_larger_than_their_archive_up_to_a_point(tmp_path: Path) -> None:
    packed = tmp_path / "x"
    packed.write_bytes(bytes(100))
    must_shrink_as_runs_do([PackedFile("a", 2**29, ""), PackedFile("b", 2**29, "")], packed)
    with pytest.raises(Unsafe, match="fill a disk"):
        must_shrink_as_runs_do([PackedFile("a", 2**29, ""), PackedFile("b", 2**29 + 1, "")], packed)
