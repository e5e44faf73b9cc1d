"""A byte that has changed is noticed, and so is a file of another run; a run that was merely killed is not refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.checksums import has_its_own, sha256_in, sha256_of, with_own
from onecycle_cli.run_dir.listing import listed_runs
from onecycle_cli.run_dir.packing import pack
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"b": {"c": '"\n}\n'}}])
def test_any_changed_bit_of_a_json_object_shows(value: dict[str, object]) -> None:
    written = with_own(value).encode()
    assert has_its_own(written)
    assert {**json.loads(written), "sha256": None} == {**value, "sha256": None}
    for at in range(len(written)):
        for bit in range(8):
            changed = bytearray(written)
            changed[at] ^= 1 << bit
            try:
                json.loads(changed.decode())
            except ValueError:
                continue  # it is told already
            assert not has_its_own(bytes(changed))


def test_a_json_object_of_an_older_version_has_no_checksum_and_is_read(make: Make) -> None:
    run = make()
    for name, value in (("network", 64 * "0"), ("recipe", "x" * 64), ("launch", 64 * "0")):
        (run.path / "summary.json").write_text(f'{{\n  "{name}": "{value}"\n}}\n')
        assert run.summary == {name: value}


def ended(run: RunDir, value: float) -> RunDir:
    with run.recording():
        with run.table("steps.csv", ("step", "lr")) as table:
            table.append([{"step": 0, "lr": value}])
        run.finish("finished", {"max_lr": value})
    return run


@pytest.mark.parametrize("name", ["recipe.yaml", "summary.json", "steps.csv"])
@pytest.mark.parametrize("harm", ["another run's", "a byte", "gone"])
def test_a_file_that_is_not_as_its_run_wrote_it_is_refused_by_name(make: Make, name: str, harm: str) -> None:
    one, other = ended(make(), 0.1), ended(make(), 0.2)
    (other.path / "recipe.yaml").write_text("a: 2\n")
    content = (one.path / name).read_bytes()
    match harm:
        case "gone":
            (one.path / name).unlink()
        case "a byte":
            (one.path / name).write_bytes(content.replace(b"1", b"3", 1))
        case _:
            (one.path / name).write_bytes((other.path / name).read_bytes())
    read = {"recipe.yaml": one.intact, "summary.json": lambda _: one.summary, "steps.csv": one.read_growing_table}
    with pytest.raises(InputError, match=f"{name} is (damaged|missing)"):
        read[name](name)
    if name == "steps.csv":
        with pytest.raises(InputError, match="is damaged|is missing"):
            one.last_row(name)
        with pytest.raises(InputError, match="is damaged|is missing"):
            one.read_table(name)
    (one.path / name).write_bytes(content)
    read[name](name)


def test_a_file_may_be_the_old_or_the_new_one_after_a_kill_while_it_was_replaced(make: Make) -> None:
    run = make()
    old = (run.path / "recipe.yaml").read_bytes()
    run.write_text("recipe.yaml", "a: 2\n")
    run.intact("recipe.yaml")
    (run.path / "recipe.yaml").write_bytes(old)  # as if the kill had come before the new one
    run.intact("recipe.yaml")
    with run.recording():
        run.finish("finished", {})
    assert run.facts["files"]["recipe.yaml"] == sha256_of(old)


def test_a_run_that_goes_on_writes_its_files_again_and_what_it_keeps_is_still_known(make: Make) -> None:
    run = make()
    run.write_text("lr_range.csv", "a\n")
    ended(run, 0.1)
    run.resume(kept=("lr_range.csv",))
    (run.path / "steps.csv").write_text("step,lr\n")  # as a kill leaves it
    (run.path / "lr_range.csv").write_text("b\n")
    assert run.read_growing_table("steps.csv") == []
    with pytest.raises(InputError, match=r"lr_range\.csv is damaged"):
        run.read_growing_table("lr_range.csv")
    with run.recording():
        run.finish("finished", {})
    with pytest.raises(InputError, match=r"lr_range\.csv is damaged"):  # the end makes no right of a wrong
        run.intact("lr_range.csv")


def test_what_is_written_again_or_renamed_after_the_end_is_no_damage(make: Make) -> None:
    run = ended(make(), 0.1)
    run.write_with("sweep.png", lambda path: path.write_bytes(b"x"))
    run.write_json("summary.json", {"max_lr": 0.3})
    run.rename("steps.csv", "epochs.csv")
    assert run.summary == {"max_lr": 0.3}
    assert run.read_growing_table("steps.csv") == []
    assert run.read_growing_table("epochs.csv") == [{"step": "0", "lr": "0.1"}]


def test_a_run_that_ends_while_it_is_read_is_not_taken_for_damaged(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    run = ended(make(), 0.1)
    read = Path.read_bytes

    def late(path: Path) -> bytes:
        found = read(path)
        if path.name == "steps.csv":
            monkeypatch.undo()
            run.resume()
            path.write_text("step,lr\n0,0.7\n")
            run.finish("finished", {})
        return found

    monkeypatch.setattr(Path, "read_bytes", late)
    assert run.read_growing_table("steps.csv")[0]["lr"] in ("0.1", "0.7")
    assert run.read_growing_table("steps.csv") == [{"step": "0", "lr": "0.7"}]


@pytest.mark.parametrize("name", ["summary.json", "steps.csv"])
def test_a_file_that_is_written_while_it_is_looked_for_is_not_taken_for_lost(
    make: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    run = make()
    is_file = Path.is_file

    def early(path: Path) -> bool:
        found = is_file(path)
        if path.name == name:
            monkeypatch.undo()
            ended(run, 0.1)
        return found

    monkeypatch.setattr(Path, "is_file", early)
    assert (run.summary if name == "summary.json" else run.read_growing_table(name)) in (
        {"max_lr": 0.1},
        [{"step": "0", "lr": "0.1"}],
    )


def test_the_files_of_a_running_run_are_not_read_for_a_checksum_that_nobody_has(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = make(), make()
    with run.table("steps.csv", ("step", "lr")) as table:
        table.append([{"step": 0, "lr": 0.1}])
    ended(other, 0.1)
    read: list[str] = []

    def told(path: Path) -> str:
        read.append(path.name)
        return sha256_in(path)

    monkeypatch.setattr("onecycle_cli.run_dir.run.sha256_in", told)
    assert run.last_row("steps.csv") == {"step": "0", "lr": "0.1"}
    assert read == []
    assert other.last_row("steps.csv") == {"step": "0", "lr": "0.1"}
    assert read == ["steps.csv"]


def test_a_list_of_runs_tells_which_of_them_are_damaged(make: Make, tmp_path: Path) -> None:
    summary, facts, lost = (ended(make(name=name), 0.1) for name in ("a", "b", "c"))
    (lost.path / "run.json").unlink()
    (tmp_path / "runs/notes").mkdir()
    for name in ("recipe.yaml", "network.py"):
        (tmp_path / "runs/notes" / name).write_text("a person's own")
    (summary.path / "summary.json").unlink()
    (facts.path / "run.json").write_bytes((facts.path / "run.json").read_bytes().replace(b"digits", b"digitz"))
    told: list[str] = []
    found = listed_runs(tmp_path / "runs", lambda error: told.append(error.what))
    assert [one.run.path.name for one in found] == ["a"]
    assert sorted(told) == [
        f"{summary.path / 'summary.json'} is missing.",
        f"{facts.path / 'run.json'} is damaged: its checksum does not match.",
        f"{lost.path} is damaged: it has no run.json.",
    ]


def test_a_damaged_run_is_not_packed(make: Make, tmp_path: Path) -> None:
    run = ended(make(name="a"), 0.1)
    (run.path / "steps.csv").write_text("step,lr\n0,0.2\n")
    with pytest.raises(InputError, match=r"steps\.csv is damaged"):
        pack([run], tmp_path / "a.tar.gz")
    (run.path / "steps.csv").unlink()  # it may have been large
    pack([run], tmp_path / "a.tar.gz")
