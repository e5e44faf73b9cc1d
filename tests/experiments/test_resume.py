"""A training that is stopped and goes on ends as one that was never stopped."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.checkpoints import newest_checkpoint
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.resume import resume, resumption
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, load, to_yaml, with_values
from onecycle_cli.run_dir.facts import this_process
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
FACTS = {"precision": "float32", "device_name": CPU.name, "threads": torch.get_num_threads()}
Tiny = Callable[..., Recipe]


class Stopped(BaseException):
    """As a kill: nothing in the training gets to say a word."""


def new_run(folder: Path, recipe: Recipe, **facts: Any) -> RunDir:
    text, known = to_yaml(recipe), FACTS | facts
    return RunDir.create(folder, command="train", recipe_name="digits", recipe_yaml=text, facts=known, name=None)


def stopped(folder: Path, recipe: Recipe, step: int, work: str = "training", **facts: Any) -> RunDir:
    """A run that is stopped when the row of `step` has been written, and its checkpoint has not."""

    def stop(news: Progress | str) -> None:
        if isinstance(news, Progress) and (news.work, news.done) == (work, step + 1):
            raise Stopped

    run = new_run(folder, recipe, **facts)
    with pytest.raises(Stopped), run.recording():
        train(recipe, Session(run, CPU, stop), auto=facts.get("auto", False))
    return run


@pytest.fixture
def stopped_at_15(tmp_path: Path, tiny: Tiny, copied: Callable) -> RunDir:
    """A training of the tiny recipe that is stopped at step 15, in the second of its two epochs."""
    recipe = tiny({"runtime.checkpoint_seconds": 0})
    run, _ = copied("stopped", lambda: (stopped(tmp_path, recipe, 15), None))
    return run


def resumed(run: RunDir, **how: Any) -> dict[str, Any]:
    return resume(run, silent, **how).summary


WHOLE: dict[str, dict[str, object]] = {}


def whole(folder: Path, recipe: Recipe, **how: Any) -> dict[str, object]:
    """The results of the training that nobody stops, which several tests ask for."""
    key = f"{how} {to_yaml(recipe)}"
    if key not in WHOLE:
        run = new_run(folder, recipe)
        train(recipe, Session(run, CPU, silent), **how)
        WHOLE[key] = results(run)
    return WHOLE[key]


def results(run: RunDir) -> dict[str, object]:
    """All that must not depend on where a run was stopped."""
    epochs = pd.read_csv(run.path / "epochs.csv", dtype=str).drop(columns=["seconds", "images_per_second"])
    names = ["steps.csv", "lr_range.csv", "model.safetensors", "best.safetensors"]
    files = {name: (run.path / name).read_bytes() for name in names if (run.path / name).is_file()}
    return files | {"epochs.csv": epochs.to_csv(), "summary": {**run.summary, "seconds": None}, "status": run.status}


AVERAGED = {"runtime.ema": 0.9, "runtime.save_best": True, "data.accumulate": 3, "optimizer.max_grad_norm": 0.5}
STAGES = [{"freeze_to": "head", "epochs": 1, "max_lr": 0.2}, {"freeze_to": None, "epochs": 2, "max_lr": None}]


KINDS = {
    "sgd": {"model.dropout": 0.3, "runtime.save_best": True},
    "adamw": {"optimizer.name": "adamw", "data.drop_last": True, "data.random_crop": True},
    "augmentation": {"augmentation": "strong", "data.sampler": "balanced"},
    "nesterov": {"optimizer.nesterov": True, "schedule.start_epoch": 1, "schedule.epochs": 4},
    "stages": {"fine_tune": {"stages": STAGES, "train_frozen_norms": False}, "schedule.max_lr": [0.01, 0.1]},
    "averaged": AVERAGED,
    "averaged stages": AVERAGED | {"fine_tune": {"stages": STAGES, "train_frozen_norms": False}, "model.dropout": 0.2},
}
QUICK = {("sgd", 0), ("sgd", 5), ("sgd", 6), ("sgd", 14), ("adamw", 5), ("nesterov", 6), ("stages", 5)}
QUICK |= {("augmentation", 14), ("averaged", 6), ("averaged stages", 14)}
"""What `make test` stops: one kind everywhere, the others at one place; `make test-slow` stops all of them."""

STOPS = [
    pytest.param(KINDS[kind], step, id=f"{kind}-{step}", marks=() if (kind, step) in QUICK else pytest.mark.slow)
    for kind in KINDS
    for step in (0, 5, 6, 14)  # of 18, or of 15 where the last batch of an epoch is dropped
]


@pytest.mark.parametrize(("values", "step"), STOPS)
def test_it_ends_with_the_same_bits_wherever_it_was_stopped(
    tmp_path: Path, tiny: Tiny, values: dict[str, Any], step: int
) -> None:
    # Of 359 images: six steps an epoch, the last of them smaller.
    images = {"data.valid_fraction": 0.8, "data.batch_size": 64}
    recipe = tiny(images | {"schedule.epochs": 3, "runtime.checkpoint_seconds": 0} | values)
    run = stopped(tmp_path, recipe, step + 6 * recipe.schedule.start_epoch)
    resumed(run)
    assert results(run) == whole(tmp_path, recipe)


def test_it_may_be_stopped_again_and_again(tmp_path: Path, tiny: Tiny) -> None:
    recipe = tiny({"runtime.checkpoint_seconds": 0})
    run = stopped(tmp_path, recipe, 4)
    for step in (9, 12, 20):

        def stop(news: Progress | str, at: int = step) -> None:
            if isinstance(news, Progress) and news.done == at:
                raise Stopped

        with pytest.raises(Stopped):
            resume(run, stop)
    resumed(run)
    assert results(run) == whole(tmp_path, recipe)
    assert run.status == "finished"


def test_rows_past_the_checkpoint_are_cut_and_there_is_one_header(stopped_at_15: RunDir) -> None:
    run = stopped_at_15
    assert newest_checkpoint(run, silent).position.step == 15
    with (run.path / "steps.csv").open("a") as steps:
        steps.write("16,2,0.1,0.9")  # and the next one came half-way to the disk
    resumed(run)
    text = (run.path / "steps.csv").read_text()
    assert text.count("step,epoch") == 1
    assert pd.read_csv(run.path / "steps.csv")["step"].tolist() == list(range(24))


@pytest.mark.parametrize("damaged", ["", "[]\n", "epoch,step\n1,11\n"])
def test_the_epochs_before_the_checkpoint_are_written_again(
    tmp_path: Path, tiny: Tiny, stopped_at_15: RunDir, damaged: str
) -> None:
    recipe, run = tiny({"runtime.checkpoint_seconds": 0}), stopped_at_15
    (run.path / "epochs.csv").write_text(damaged)
    resumed(run)
    assert results(run) == whole(tmp_path, recipe)


def test_without_a_checkpoint_it_begins_again_in_the_same_folder(tmp_path: Path, tiny: Tiny) -> None:
    recipe = tiny({"runtime.checkpoint_seconds": 1e6})
    run = stopped(tmp_path, recipe, 15)
    resumed(run)
    assert results(run) == whole(tmp_path, recipe)
    assert any("begins again" in note for note in run.facts["notes"])


@pytest.mark.parametrize("max_lr", [None, pytest.param([0.01, 0.1], marks=pytest.mark.slow)])
@pytest.mark.parametrize(("work", "step"), [("range test", 20), ("training", 3), ("training", 14)])
def test_a_range_test_that_was_stopped_is_run_again_and_one_that_ended_is_not(
    tmp_path: Path, easy: Tiny, max_lr: object, work: str, step: int
) -> None:
    recipe = easy({"schedule.max_lr": max_lr, "runtime.checkpoint_seconds": 0})
    run = stopped(tmp_path, recipe, step, work, auto=True)
    before = (run.path / "lr_range.csv").stat().st_mtime_ns
    resumed(run)
    assert ((run.path / "lr_range.csv").stat().st_mtime_ns == before) is (work == "training")
    assert results(run) == whole(tmp_path, recipe, auto=True)


def test_a_run_of_another_precision_than_the_machine_would_choose_keeps_it(tmp_path: Path, tiny: Tiny) -> None:
    recipe = tiny({"runtime.precision": "auto", "runtime.checkpoint_seconds": 0})
    for precision in ("float32", "bfloat16"):
        run = stopped(tmp_path, recipe, 5, precision=precision)
        assert resumption(run, silent).hardware.precision == precision


def test_another_machine_is_told(tmp_path: Path, tiny: Tiny) -> None:
    run = stopped(tmp_path, tiny({"runtime.checkpoint_seconds": 0}), 5, threads=64)
    assert resumption(run, silent).notes[0].startswith("Another machine: threads is ")


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("finished", "has come to its end"),
        ("collapsed", "has come to its end"),
        ("diverged", "it would diverge in the same way"),
        ("running", "is running, as process"),
    ],
)
def test_what_cannot_go_on_is_refused(tmp_path: Path, tiny: Tiny, status: str, says: str) -> None:
    run = stopped(tmp_path, tiny(), 5)
    run.update(status=status, **this_process())
    with pytest.raises(InputError, match=says):
        resumption(run, silent)


def test_only_trainings_are_resumed(tmp_path: Path, tiny: Tiny) -> None:
    run = stopped(tmp_path, tiny(), 5)
    run.update(command="find-lr")
    with pytest.raises(InputError, match="a run of find-lr"):
        resumption(run, silent)


def test_images_that_have_changed_are_refused_unless_forced(
    tmp_path: Path, tiny: Tiny, image_folder: Callable[..., Path]
) -> None:
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
    folder = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8, "data.valid_fraction": 0.0}
    run = stopped(tmp_path, tiny(folder | {"runtime.checkpoint_seconds": 0}), 6)
    resumption(run, silent)
    (path / "train" / "a" / "0.png").write_bytes((path / "train" / "b" / "0.png").read_bytes())
    with pytest.raises(InputError, match="have changed since"):
        resumption(run, silent)
    assert resumed(run, force=True)["epochs"] == 2


def test_rows_that_are_gone_are_told(stopped_at_15: RunDir) -> None:
    run = stopped_at_15
    lines = (run.path / "steps.csv").read_text().splitlines(keepends=True)
    (run.path / "steps.csv").write_text("".join(lines[:8]))
    with pytest.raises(InputError, match=r"steps.csv is damaged: its rows are not those before checkpoint-1"):
        resumed(run)


def test_another_length_is_refused_with_what_it_would_do_to_lr(tiny: Tiny, stopped_at_15: RunDir) -> None:
    recipe, run = tiny({"runtime.checkpoint_seconds": 0}), stopped_at_15
    longer = with_values(recipe, {"schedule.epochs": 4})
    now, then = (recipe_schedule(one, 12)(15).lr for one in (recipe, longer))
    told = f"At step 15, lr is {now:.3g} in a cycle of 2 epochs (24 steps), and {then:.3g} in one of 4 epochs"
    with pytest.raises(InputError) as refused:
        resumption(run, silent, epochs=4)
    assert refused.value.what.startswith(told)
    assert "--reschedule" in refused.value.fix
    assert resumption(run, silent, epochs=2).recipe == load(run.path / "recipe.yaml")  # as it is
    for epochs, says in ((1, "none is left"), (4, "At step")):
        with pytest.raises(InputError, match=says):
            resumption(run, silent, epochs=epochs)


def test_asked_to_it_goes_on_in_a_cycle_of_another_length(tiny: Tiny, stopped_at_15: RunDir) -> None:
    recipe, run = tiny({"runtime.checkpoint_seconds": 0}), stopped_at_15
    summary = resumed(run, epochs=4, reschedule=True)
    assert summary["epochs"] == 4
    assert load(run.path / "recipe.yaml").schedule.epochs == 4
    lrs = pd.read_csv(run.path / "steps.csv")["lr"]
    before, after = (recipe_schedule(one, 12) for one in (recipe, load(run.path / "recipe.yaml")))
    expected = [(before if step < 15 else after)(step).lr for step in range(48)]
    assert lrs.tolist() == pytest.approx(expected, rel=1e-8)
    assert any("in a cycle of 2 epochs" in note for note in run.facts["notes"])


def test_the_length_cannot_change_before_the_first_checkpoint_nor_in_stages(tmp_path: Path, tiny: Tiny) -> None:
    with pytest.raises(InputError, match="no checkpoint yet"):
        resumption(stopped(tmp_path, tiny(), 5), silent, epochs=4, reschedule=True)
    staged = {"fine_tune": {"stages": STAGES, "train_frozen_norms": False}, "schedule.epochs": 3}
    run = stopped(tmp_path, tiny(staged | {"runtime.checkpoint_seconds": 0}), 5)
    with pytest.raises(InputError, match="in stages"):
        resumption(run, silent, epochs=4, reschedule=True)


def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, tiny: Tiny, stopped_at_15: RunDir
) -> None:
    recipe, run = tiny({"runtime.checkpoint_seconds": 0}), stopped_at_15
    newest = run.path / "checkpoint-15.safetensors"
    content = bytearray(newest.read_bytes())
    content[-1] ^= 1
    newest.write_bytes(content)
    told: list[object] = []
    assert resumption(run, told.append).checkpoint.position.step == 14
    assert "checkpoint-15.safetensors is damaged: its checksum does not match" in str(told[0])
    resumed(run)
    assert results(run) == whole(tmp_path, recipe)


def test_where_all_checkpoints_are_damaged_it_does_not_begin_again_unasked(stopped_at_15: RunDir) -> None:
    run = stopped_at_15
    for path in run.path.glob("checkpoint-*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="is damaged"):
        resumption(run, silent)


def test_what_stands_in_run_json_is_of_the_process_that_goes_on(tmp_path: Path, tiny: Tiny) -> None:
    run = stopped(tmp_path, tiny({"runtime.checkpoint_seconds": 0}), 5)
    run.update(pid=1)
    resumed(run)
    assert json.loads((run.path / "run.json").read_text())["pid"] == this_process()["pid"]


@pytest.mark.gpu
def test_on_a_gpu_it_ends_with_the_same_bits_too(tmp_path: Path, tiny: Tiny) -> None:
    cuda = Hardware(torch.device("cuda"), "bfloat16")
    settings = {"runtime.device": "cuda", "runtime.deterministic": True, "runtime.checkpoint_seconds": 0}
    recipe = tiny(settings | {"runtime.log_every": 5, "model.dropout": 0.2})

    def stop(news: Progress | str) -> None:
        if isinstance(news, Progress) and news.done > 15:
            raise Stopped

    facts = {"precision": "bfloat16", "device_name": cuda.name}
    run, other = new_run(tmp_path, recipe, **facts), new_run(tmp_path, recipe, **facts)
    with pytest.raises(Stopped), run.recording():
        train(recipe, Session(run, cuda, stop))
    resumed(run)
    train(recipe, Session(other, cuda, silent))
    assert results(run) == results(other)


def test_a_run_whose_table_of_epochs_is_of_an_older_version_begins_again_with_all_columns(
    tmp_path: Path, tiny: Tiny
) -> None:
    run = stopped(tmp_path, tiny(), 2)
    (run.path / "epochs.csv").write_text("epoch,step,lr,momentum,train_loss\n")
    resumed(run)
    assert results(run) == whole(tmp_path, tiny())


def test_a_run_that_was_killed_between_its_last_checkpoint_and_its_end_ends_the_same(
    tmp_path: Path, tiny: Tiny
) -> None:
    recipe = tiny()
    expected = whole(tmp_path, recipe)
    run = new_run(tmp_path, recipe)
    train(recipe, Session(run, CPU, silent))
    (run.path / "summary.json").unlink()
    (run.path / "model.safetensors").unlink()
    run.update(status="interrupted", files={})
    resumed(run)
    assert results(run) == expected
