"""Event files hold what the tables hold, for TensorBoard's own reader."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from typer.testing import Result

from onecycle_cli.experiments.sending import Sender
from onecycle_cli.run_dir.receivers.receiver import Card, Point
from onecycle_cli.run_dir.receivers.tensorboard import TensorBoardRun
from onecycle_cli.run_dir.run import RunDir

Columns = Callable[[RunDir, str], dict[str, list[tuple[int, float]]]]


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = read(folder)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def float32(columns: dict[str, list[tuple[int, float]]]) -> dict[str, list[tuple[int, float]]]:
    """Event files hold float32."""
    return {name: [(step, float(np.float32(value))) for step, value in rows] for name, rows in columns.items()}


def test_a_training_is_followed(onecycle: Callable[..., Result], tiny_digits: list[str], columns: Columns) -> None:
    done = onecycle("train", *tiny_digits, "--set", "runtime.log_to=[tensorboard]", "--name", "a", "--quiet")
    assert (done.exit_code, done.stderr) == (0, "")
    run = RunDir("runs/a")
    found = scalars(run.path)
    expected = float32(columns(run, "steps.csv") | columns(run, "epochs.csv"))
    assert len(expected["steps/train_loss"]) == 24
    assert {name: found[name] for name in expected} == expected
    numbers = {name for name in found if name not in expected}
    assert {"summary/valid_loss", "summary/valid_accuracy", "summary/parameters", "summary/seconds"} <= numbers
    assert found["summary/valid_loss"] == [(0, pytest.approx(run.summary["valid_loss"]))]
    (picture,) = read(run.path).Images("training")
    assert Image.open(io.BytesIO(picture.encoded_image_string)).size == (1, 1)  # figures are blank in tests
    assert run.facts["notes"] == []


def test_hyper_parameters_are_there_for_the_dashboard(trained: str) -> None:
    run = RunDir(Path("runs") / trained)
    Sender(run, "tensorboard", lambda _: None).update()
    known = read(run.path).SummaryMetadata
    found = HParamsPluginData.FromString(known("_hparams_/session_start_info").plugin_data.content)
    hparams = found.session_start_info.hparams
    assert hparams["schedule.max_lr"].number_value == 0.1
    assert hparams["optimizer.name"].string_value == "sgd"
    assert hparams["data.random_crop"].bool_value is True
    metrics = HParamsPluginData.FromString(known("_hparams_/experiment").plugin_data.content).experiment.metric_infos
    assert "summary/valid_accuracy" in [info.name.tag for info in metrics]
    end = HParamsPluginData.FromString(known("_hparams_/session_end_info").plugin_data.content)
    assert end.session_end_info.status == 1  # success


def test_a_second_push_writes_nothing(trained: str) -> None:
    run = RunDir(Path("runs") / trained)
    for _ in range(2):
        Sender(run, "tensorboard", lambda _: None).update()
    assert len(list((run.path / "tensorboard").iterdir())) == 1
    for path in (run.path / "tensorboard").iterdir():
        path.unlink()
    (run.path / "tensorboard").rmdir()
    Sender(run, "tensorboard", lambda _: None).update()
    assert len(scalars(run.path)["steps/lr"]) == 24


def test_steps_that_a_resumed_run_computes_again_replace_those_before(trained: str) -> None:
    run = RunDir(Path("runs") / trained)
    run.update(status="running")
    sender = Sender(run, "tensorboard", lambda _: None)
    sender.update()
    lines = (run.path / "steps.csv").read_text().splitlines()
    columns = lines[0].split(",")
    with run.table("steps.csv", columns, keep=15) as table:
        table.append([dict.fromkeys(columns, 0) | {"step": 15, "train_loss": 9.0}])
    for again in (sender, Sender(run, "tensorboard", lambda _: None)):  # while it runs, and in the next process
        again.update()
        found = scalars(run.path)["steps/train_loss"]
        assert [step for step, _ in found] == list(range(16))
        assert found[15] == (15, 9.0)
    assert run.read_json("sent-to-tensorboard.json")["rows"]["steps.csv"] == 16


def test_what_a_killed_process_wrote_and_nobody_knows_of_is_not_doubled(card: Callable[..., Card]) -> None:
    for last in (5, 8):
        run = TensorBoardRun(card())
        run.send([Point(n, {"steps/lr": n / 2}) for n in range(last)], 0, 1e9)
    assert scalars(card().folder)["steps/lr"] == [(n, n / 2) for n in range(8)]


def test_numbers_that_are_not_finite_are_kept(card: Callable[..., Card]) -> None:
    run = TensorBoardRun(card())
    run.send([Point(0, {"a": float("nan"), "b": float("inf")})], 0, 1e9)
    run.close()
    found: Any = scalars(card().folder)
    assert np.isnan(found["a"][0][1])
    assert found["b"][0][1] == float("inf")
