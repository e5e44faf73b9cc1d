"""W&B in offline mode: the file that `wandb sync` sends holds what the tables hold."""

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from onecycle_cli.run_dir.receivers.wandb import WandbRun
from onecycle_cli.run_dir.run import RunDir

BLOCK = 32768


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def records(folder: Path) -> Iterator[Any]:
    """The records of the newest run in a folder of W&B: a log of LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("wandb/latest-run/*.wandb")
    content, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        _, size, kind = struct.unpack("<IHB", content[at : at + 7])
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # a whole record, or its last part
            yield Record.FromString(whole)
            whole = b""


def logged(folder: Path) -> list[dict[str, Any]]:
    """The rows that were logged."""
    rows = []
    for record in records(folder):
        if record.HasField("history"):
            items = {item.key or ".".join(item.nested_key): item.value_json for item in record.history.item}
            rows.append({name: json.loads(value) for name, value in items.items()})
    return rows


def test_a_finished_run_is_pushed_once(onecycle: Callable[..., Result], trained: str, columns: Callable) -> None:
    first = onecycle("runs", "push", trained, "--to", "wandb", "--json")
    assert first.exit_code == 0
    (pushed,) = json.loads(first.stdout)
    assert (pushed["receiver"], pushed["rows"], pushed["trouble"]) == ("wandb", 26, None)
    run = RunDir(Path("runs") / trained)
    found = logged(run.path)
    for table in ("steps.csv", "epochs.csv"):
        for name, expected in columns(run, table).items():
            assert [(row["step"], row[name]) for row in found if name in row] == expected
    started = next(record.run for record in records(run.path) if record.HasField("run"))
    config = {item.key: json.loads(item.value_json) for item in started.config.update}
    assert config["schedule.max_lr"] == 0.1
    assert (started.project, started.display_name, started.job_type) == ("onecycle", trained, "train")
    summary = {
        (item.key or item.nested_key[0]): json.loads(item.value_json)
        for record in records(run.path)
        if record.HasField("summary")
        for item in record.summary.update
    }
    assert summary["summary/valid_loss"] == run.summary["valid_loss"]
    (artifact,) = [record.request.log_artifact.artifact for record in records(run.path) if _is_artifact(record)] or [
        record.artifact for record in records(run.path) if record.HasField("artifact")
    ]
    assert artifact.type == "model"
    assert {entry.path for entry in artifact.manifest.contents} >= {"model.safetensors", "recipe.yaml"}
    second = onecycle("runs", "push", trained, "--to", "wandb", "--json")
    assert json.loads(second.stdout)[0]["rows"] == 0
    assert len(list((run.path / "wandb").glob("offline-run-*"))) == 1


def _is_artifact(record: Any) -> bool:
    return record.HasField("request") and record.request.HasField("log_artifact")


def test_the_place_is_the_server_and_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert WandbRun.place(tmp_path) == ""
    (tmp_path / "wandb").mkdir()
    assert WandbRun.place(tmp_path) == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert WandbRun.place(tmp_path) == "https://api.wandb.ai /onecycle"
    monkeypatch.setenv("WANDB_BASE_URL", "http://here")
    monkeypatch.setenv("WANDB_ENTITY", "me")
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert WandbRun.place(tmp_path) == "http://here me/mine"
