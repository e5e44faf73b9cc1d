"""Files of a cell on their way: whole, in an order that a resume can use, from one task alone."""

from collections.abc import Callable

import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.cell_work import locked
from onecycle_cli.experiments.cells import Cell, begin_attempt, is_done, plan_cells
from onecycle_cli.experiments.ray_files import Begun, Receiver, Sender, names_of
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.checkpoint import write_checkpoint

POSITION = {"step": 3, "sums": {"images": 0}, "epochs": [], "seconds": 0.0, "images": "digits"}


@pytest.fixture
def cell(tiny: Callable[..., Recipe]) -> Cell:
    return plan_cells(tiny(), [{"seed": 0}], mode="train", precision="float32", repeats=1, source="digits")[0]


@pytest.fixture
def sweep(new_sweep: Callable[[], RunDir]) -> RunDir:
    run = new_sweep()
    begin_attempt(run)
    return run


def begun(receiver: Receiver, cell: Cell) -> Begun:
    found = receiver.begin(cell)
    assert found is not None
    return found


def test_a_cell_is_begun_once_and_done_after_all_files_have_come(sweep: RunDir, cell: Cell) -> None:
    receiver, other = Receiver(str(sweep.path)), Receiver(str(sweep.path))
    first = begun(receiver, cell)
    assert set(first.files) == {"recipe.yaml", "run.json"}
    assert other.begin(cell) is None
    receiver.write(cell.name, first.token, "steps.csv", b"step\n")
    receiver.write(cell.name, first.token, "old.csv", b"")
    run = RunDir(sweep.path / cell.name)
    receiver.write(cell.name, first.token, "run.json", (run.path / "run.json").read_bytes())
    assert not is_done(cell, sweep)
    run.update(status="finished")
    receiver.end(cell.name, first.token, ["steps.csv", "run.json", "recipe.yaml"])
    assert names_of(run) == ["recipe.yaml", "run.json", "steps.csv"]
    assert receiver.begin(cell) is None
    with locked(cell, sweep) as free:
        assert free


def test_what_was_sent_to_others_stays_with_the_sweep(sweep: RunDir, cell: Cell) -> None:
    receiver = Receiver(str(sweep.path))
    first = begun(receiver, cell)
    run = RunDir(sweep.path / cell.name)
    run.write_json("sent-to-mlflow.json", {})  # while the cell runs on its node
    receiver.end(cell.name, first.token, ["run.json", "recipe.yaml"])
    assert (run.path / "sent-to-mlflow.json").is_file()
    assert names_of(run) == ["recipe.yaml", "run.json"]


def test_a_task_that_was_given_up_can_write_nothing_more(sweep: RunDir, cell: Cell) -> None:
    receiver = Receiver(str(sweep.path))
    first = begun(receiver, cell)
    second = begun(receiver, cell)
    with pytest.raises(InputError, match="Another task runs seed=0"):
        receiver.write(cell.name, first.token, "steps.csv", b"of the first")
    receiver.write(cell.name, second.token, "steps.csv", b"of the second")
    receiver.release(cell.name)
    with pytest.raises(InputError, match="Another task runs seed=0"):
        receiver.end(cell.name, second.token, [])
    assert (sweep.path / cell.name / "steps.csv").read_text() == "of the second"


def test_a_cell_with_a_checkpoint_is_begun_with_its_files(sweep: RunDir, cell: Cell) -> None:
    receiver = Receiver(str(sweep.path))
    first = begun(receiver, cell)
    run = RunDir(sweep.path / cell.name)
    for step in (1, 2, 3):
        write_checkpoint(run.path / "sent", {"a": torch.ones(1)}, POSITION | {"step": step})
        content = (run.path / "sent").read_bytes()
        (run.path / "sent").unlink()
        receiver.write(cell.name, first.token, f"checkpoint-{step}.safetensors", content)
    again = begun(receiver, cell)
    assert {"checkpoint-2.safetensors", "checkpoint-3.safetensors", "recipe.yaml", "run.json"} == set(again.files)
    assert not list(sweep.path.glob("*.unfinished-*"))


def test_a_name_with_a_folder_stays_in_the_folder_of_the_cell(sweep: RunDir, cell: Cell) -> None:
    receiver = Receiver(str(sweep.path))
    first = begun(receiver, cell)
    receiver.write(cell.name, first.token, "../../outside.csv", b"")
    assert (sweep.path / cell.name / "outside.csv").is_file()


def test_tables_go_before_the_checkpoint_and_the_status_goes_last(
    sweep: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onecycle_cli.experiments.ray_files.SEND_SECONDS", 0.01)
    run = sweep.inner("seed=0", "")
    sent: list[str] = []
    sender = Sender(run, lambda name, _: sent.append(name))
    with sender.following():
        run.write_text("steps.csv", "step\n")
        write_checkpoint(run.path / ".beside", {"a": torch.ones(1)}, POSITION)
        (run.path / ".beside").rename(run.path / "checkpoint-3.safetensors")
        while "checkpoint-3.safetensors" not in sent:
            pass
        assert sent == ["steps.csv", "run.json", "checkpoint-3.safetensors"]
        run.write_text("model.safetensors", "weights")
        run.finish("finished", {})
    assert sent[3:] == ["model.safetensors", "summary.json", "run.json"]
