"""When checkpoints are written, which of them stay, and that bad weights take the place of no good ones."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.checkpoints import Checkpoints, Epoch, Position, Sums, newest_checkpoint
from onecycle_cli.progress import silent
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.checkpoint import read_checkpoint, write_checkpoint
from onecycle_cli.training.step_blocks import SeenStep

EPOCH = Epoch(1, 9, 0.1, 0.9, 1.1, 0.5, 1.2, 0.4, 3.0, 100.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml="", facts={}, name=None)


def at(step: int) -> Position:
    return Position(step, Sums(64, 51.25, 0.1 + 0.2, 7, 1.5), (EPOCH,), 4.5)


def state(value: float = 1.0) -> Mapping[str, torch.Tensor]:
    return {"model.weight": torch.full((3,), value), "optimizer.0": torch.zeros(3)}


def kept(run: RunDir) -> list[str]:
    return sorted(path.name for path in run.path.glob("*checkpoint*"))


def test_a_position_comes_back_to_the_last_bit(run: RunDir) -> None:
    Checkpoints(run, 30, "images", ()).write(at(12), state())
    found = newest_checkpoint(run, silent)
    assert (found.position, found.images) == (at(12), "images")
    assert torch.equal(found.state["model.weight"], torch.ones(3))


def test_the_newest_two_stay_by_number_not_by_name(run: RunDir) -> None:
    checkpoints = Checkpoints(run, 0, "", ())
    for step in (8, 9, 10, 100):
        checkpoints.write(at(step), state())
    assert kept(run) == ["checkpoint-10.safetensors", "checkpoint-100.safetensors"]
    assert newest_checkpoint(run, silent).position.step == 100


def test_they_are_due_after_so_many_seconds(run: RunDir) -> None:
    assert not Checkpoints(run, 1e6, "", ()).due
    assert Checkpoints(run, 0, "", ()).due


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_kept(run: RunDir, value: float) -> None:
    checkpoints = Checkpoints(run, 0, "", ())
    checkpoints.write(at(1), state())
    checkpoints.write(at(2), state(value))
    assert kept(run) == ["checkpoint-1.safetensors"]


def test_what_was_not_written_to_its_end_is_no_checkpoint(run: RunDir) -> None:
    Checkpoints(run, 0, "", ()).write(at(1), state())
    (run.path / ".checkpoint-2.safetensors").write_bytes(b"half")
    (run.path / "checkpoint-mine.safetensors").write_bytes(b"a person's own")
    assert newest_checkpoint(run, silent).position.step == 1


def test_a_checkpoint_of_another_run_is_none_of_this(run: RunDir, tmp_path: Path) -> None:
    other = RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml="", facts={}, name=None)
    Checkpoints(run, 0, "images", ()).write(at(1), state(1.0))
    Checkpoints(other, 0, "images", ()).write(at(2), state(2.0))
    (run.path / "checkpoint-2.safetensors").write_bytes((other.path / "checkpoint-2.safetensors").read_bytes())
    told: list[object] = []
    found = newest_checkpoint(run, told.append)
    assert found is not None
    assert found.position.step == 1
    assert told == [
        f"{run.path / 'checkpoint-2.safetensors'} is a checkpoint of another run. The one before it is tried."
    ]


def test_rows_before_a_checkpoint_that_have_changed_are_damage_and_later_ones_are_not(run: RunDir) -> None:
    with run.table("steps.csv", ("step", "lr")) as table:
        for step in (1, 2):
            table.append([{"step": step, "lr": 0.5}])
            Checkpoints(run, 0, "images", (table,)).write(at(step), state())
        table.append([{"step": 3, "lr": 0.5}])
    rows = (run.path / "steps.csv").read_bytes()
    (run.path / "steps.csv").write_bytes(rows.replace(b"3,", b"4,"))
    assert (found := newest_checkpoint(run, silent)) is not None
    assert found.position.step == 2
    (run.path / "steps.csv").write_bytes(rows.replace(b"2,", b"4,"))
    assert (found := newest_checkpoint(run, silent)) is not None
    assert found.position.step == 1
    (run.path / "steps.csv").write_bytes(rows.replace(b"1,", b"4,"))
    with pytest.raises(InputError, match=r"steps\.csv is damaged"):
        newest_checkpoint(run, silent)
    (run.path / "steps.csv").unlink()
    with pytest.raises(InputError, match=r"steps\.csv is damaged"):
        newest_checkpoint(run, silent)


def test_no_checkpoint_is_none(run: RunDir) -> None:
    assert newest_checkpoint(run, silent) is None


def test_the_sums_do_not_depend_on_how_many_steps_come_at_once() -> None:
    steps = [SeenStep(n, 1, 0.1, 0.9, 0.1 * n, 32, 8.0, n) for n in range(10)]
    start: Callable[[], Position] = lambda: Position(0, Sums(), (), 0.0)  # noqa: E731
    at_once = start().after(steps, 1.0)
    one_by_one = start()
    for step in steps:
        one_by_one = one_by_one.after([step], 0.0)
    assert at_once.sums.loss == one_by_one.sums.loss == sum(0.1 * n * 8 for n in range(10))
    assert (at_once.step, at_once.sums.images, at_once.sums.correct) == (10, 320, 45)
    assert at_once.sums.weight == one_by_one.sums.weight == 80


def test_a_checkpoint_of_an_older_version_has_plain_means_and_no_balanced_accuracy(run: RunDir) -> None:
    Checkpoints(run, 0, "", ()).write(at(12), state())
    path = run.path / "checkpoint-12.safetensors"
    tensors, values = read_checkpoint(path)
    del values["sums"]["weight"]
    for name in ("valid_balanced_accuracy", "valid_top5_accuracy"):
        del values["epochs"][0][name]
    write_checkpoint(path, tensors, values)
    found = newest_checkpoint(run, silent).position
    assert found.sums.weight == found.sums.images == 64
    assert (found.epochs[0].valid_balanced_accuracy, found.epochs[0].valid_top5_accuracy) == (None, None)
