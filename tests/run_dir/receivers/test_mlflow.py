"""MLflow has what the tables have, each row once, whatever happens to its server."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from typer.testing import Result

from onecycle_cli.experiments.sending import Sender, Sending
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.receivers.mlflow import MlflowRun
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # of SQLAlchemy

Columns = Callable[[RunDir, str], dict[str, list[tuple[int, float]]]]
Tiny = Callable[..., Recipe]


@pytest.fixture(autouse=True, scope="module")
def _quiet_mlflow() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        yield


class Server:
    """A tracking server on loopback, with its SQLite store and its artifacts in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        words = ["server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1"]
        words += ["--backend-store-uri", f"sqlite:///{self._folder}/ml.db", "--artifacts-destination", "artifacts"]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=self._folder,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not self._answers():
            assert self._process.poll() is None
            time.sleep(0.2)

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return answer.status == 200
        return False

    def kill(self) -> None:
        """Kills the server and its workers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    one = Server(tmp_path / "server")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", one.uri)
    yield one
    one.kill()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store without a server, whose tables take seconds to make."""
    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder}/ml.db"
    MlflowClient(uri).create_experiment("onecycle", f"file://{folder}/artifacts")
    return uri


@pytest.fixture
def store(database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    return MlflowClient(database)


def run_of(client: MlflowClient, run: RunDir) -> Any:
    return client.get_run(run.read_json("sent-to-mlflow.json")["id"])


def history(client: MlflowClient, run: RunDir, name: str) -> list[tuple[int, float]]:
    found = client.get_metric_history(run.read_json("sent-to-mlflow.json")["id"], name)
    return sorted((one.step, one.value) for one in found)


@pytest.mark.slow
def test_a_server_that_dies_in_the_middle_costs_nothing(
    server: Server, tmp_path: Path, tiny: Tiny, columns: Columns, onecycle: Callable[..., Result]
) -> None:
    def session(name: str, report: Callable[[Progress | str], None]) -> Session:
        recipe_yaml = to_yaml(recipe)
        run = RunDir.create(
            tmp_path / "runs", command="train", recipe_name="a", recipe_yaml=recipe_yaml, facts={}, name=name
        )
        return Session(run, Hardware(torch.device("cpu"), "float32"), report)

    recipe, told = with_values(tiny(), {"runtime.log_to": ["mlflow"]}), []

    def report(news: Progress | str) -> None:
        if isinstance(news, str):
            told.append(news)
        elif (news.work, news.done) == ("training", 10):
            sent = tmp_path / "runs" / "followed" / "sent-to-mlflow.json"
            while not sent.is_file() or not json.loads(sent.read_text())["rows"]:
                time.sleep(0.1)
            server.kill()

    followed = session("followed", report)
    ended = train(recipe, followed)
    run = followed.run
    assert ended.status == "finished"
    sent = run.read_json("sent-to-mlflow.json")["rows"]["steps.csv"]
    assert 0 < sent <= 10
    (note,) = run.facts["notes"]
    assert note.startswith("mlflow does not have all of this run: Connection refused.")
    assert f"`onecycle runs push {run.path}` sends the rest" in note
    assert note in told

    alone = session("alone", lambda _: None)
    recipe = with_values(recipe, {"runtime.log_to": []})
    train(recipe, alone)
    for name in ("steps.csv", "model.safetensors"):
        assert (run.path / name).read_bytes() == (alone.run.path / name).read_bytes()

    server.start()
    pushed = onecycle("runs", "push", run.path, "--json")
    assert pushed.exit_code == 0
    assert json.loads(pushed.stdout)[0]["rows"] == 26 - sent
    client = MlflowClient(server.uri)
    for table in ("steps.csv", "epochs.csv"):
        for name, rows in columns(run, table).items():
            assert history(client, run, name) == rows
    found = run_of(client, run)
    assert found.info.status == "FINISHED"
    assert found.data.params["schedule.max_lr"] == "0.1"
    assert found.data.metrics["summary/valid_loss"] == run.summary["valid_loss"]
    listed = {
        file.path for folder in (None, "model", "figures") for file in client.list_artifacts(found.info.run_id, folder)
    }
    assert listed >= {"model/model.safetensors", "figures/training.png", "recipe.yaml", "summary.json"}
    again = Sending(run, "mlflow", lambda _: None)
    again.update()
    assert again.rows == 0
    assert history(client, run, "summary/valid_loss") == [(0, run.summary["valid_loss"])]


@pytest.mark.slow
def test_rows_that_arrived_without_an_answer_are_there_once(store: MlflowClient, card: Callable[..., Card]) -> None:
    run = MlflowRun(card(key="lost"))
    assert run.new
    points = [Point(n, {"steps/lr": n / 2, "steps/train_loss": float("nan")}) for n in range(5)]
    run.send(points[:3], 0, 1.7e9)
    other = MlflowRun(card(key="lost"))  # the next process finds the run by its key
    assert (other.id, other.new) == (run.id, False)
    other.send(points, 0, 1.7e9)
    assert [one.step for one in store.get_metric_history(run.id, "steps/lr")] == [0, 1, 2, 3, 4]
    assert len(store.get_metric_history(run.id, "steps/train_loss")) == 5


def test_more_than_a_request_takes_is_sent_in_several(store: MlflowClient, card: Callable[..., Card]) -> None:
    parameters = {f"a.{n}": n for n in range(250)} | {"long": "x" * 10_000, "odd=name": "\udc80"}
    run = MlflowRun(card(key="many", parameters=parameters))
    run.send([Point(n, {f"steps/lr_{group}": n for group in range(10)}) for n in range(300)], 0, 1.7e9)
    found = store.get_run(run.id)
    assert len(found.data.params) == 252
    assert len(found.data.params["long"]) == 6000
    assert found.data.params["odd_name"] == r"\x80"
    assert len(store.get_metric_history(run.id, "steps/lr_9")) == 300


def test_a_resumed_run_goes_on_in_the_same_run(store: MlflowClient, trained: str, columns: Columns) -> None:
    run = RunDir(Path("runs") / trained)
    rows = (run.path / "steps.csv").read_text().splitlines(keepends=True)
    (run.path / "steps.csv").write_text("".join(rows[:21]))
    run.update(status="interrupted", files={})
    Sender(run, "mlflow", lambda _: None).update()
    first = run_of(store, run)
    assert first.info.status == "KILLED"
    with run.table("steps.csv", rows[0].strip().split(","), keep=15) as table:  # as from a checkpoint
        run.resume()
        resumed = Sender(run, "mlflow", lambda _: None)
        resumed.update()
        table.append(dict(zip(rows[0].strip().split(","), row.strip().split(","), strict=True)) for row in rows[16:])
    resumed.update()
    assert run_of(store, run).info.status == "RUNNING"
    run.update(status="finished", ended=run.facts["started"])
    resumed.update()
    found = run_of(store, run)
    assert (found.info.run_id, found.info.status) == (first.info.run_id, "FINISHED")
    for name, expected in columns(run, "steps.csv").items():
        assert history(store, run, name) == expected


def test_the_cells_of_a_sweep_are_children_of_one_run(
    store: MlflowClient, onecycle: Callable[..., Result], tiny_digits: list[str], columns: Columns
) -> None:
    values = "--param", "optimizer.weight_decay=1e-2,1e-3", "--max-lr", "0.1", "--epochs", "1", "--name", "both"
    done = onecycle("sweep", *tiny_digits, *values, "--set", "runtime.log_to=[mlflow]", "--quiet")
    assert done.exit_code == 0, done.stderr
    sweep = RunDir("runs/both")
    parent = run_of(store, sweep)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "both")
    assert parent.data.metrics["summary/cells"] == 2
    for name in ("weight_decay=0.01,seed=0", "weight_decay=1e-3,seed=0"):
        cell = RunDir(sweep.path / name)
        child = run_of(store, cell)
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.info.status == "FINISHED"
        assert history(store, cell, "steps/train_loss") == columns(cell, "steps.csv")["steps/train_loss"]
    again = Sending(sweep, "mlflow", lambda _: None)
    again.update()
    assert again.rows == 0


def test_tags_say_where_the_run_comes_from(store: MlflowClient, card: Callable[..., Card]) -> None:
    tags = {"command_line": "onecycle train digits", "git_commit": "abc", "host": "here"}
    run = MlflowRun(card(key="tags", tags=tags))
    found = store.get_run(run.id).data.tags
    expected = {"mlflow.source.name": "onecycle train digits", "mlflow.source.git.commit": "abc"}
    assert found.items() >= (expected | {"onecycle.host": "here", "onecycle.key": "tags"}).items()
    assert "mlflow.parentRunId" not in found


@pytest.mark.parametrize(
    ("status", "theirs"),
    [("finished", "FINISHED"), ("interrupted", "KILLED"), ("diverged", "FAILED"), ("failed", "FAILED")],
)
def test_a_status_has_a_name_there(store: MlflowClient, card: Callable[..., Card], status: str, theirs: str) -> None:
    run = MlflowRun(card(key=status))
    run.end(End(status, card().started, {}, (), (), ()))
    found = store.get_run(run.id)
    assert (found.info.status, found.data.tags["onecycle.status"]) == (theirs, status)


def test_an_experiment_has_the_name_that_the_environment_gives(
    store: MlflowClient, card: Callable[..., Card], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    for key in ("one", "two"):
        run = MlflowRun(card(key=key))
        assert store.get_experiment(store.get_run(run.id).info.experiment_id).name == "mine"
    assert "experiment mine" in MlflowRun.place(card().folder)


@pytest.mark.parametrize(
    ("uri", "kept"),
    [
        ("postgresql+psycopg2://me:sec@ret@db.example.org:5432/ml?password=secret", "postgresql+psycopg2://db.ex"),
        ("postgresql://me:secret@db.example.org/ml", "postgresql://db.example.org/ml"),
        ("https://me:secret@ml.example.org/at/", "https://ml.example.org/at/"),
        ("postgresql://me:sec/ret@db.example.org/ml", "postgresql://db.example.org/ml"),
        ("postgresql://me:sec?ret@db.example.org/ml?password=secret", "postgresql://db.example.org/ml"),
        ("postgresql://me:sec/re@ret@db.example.org/ml?name=me@x", "postgresql://db.example.org/ml"),
        ("postgresql://db.example.org/ml?name=me@x", "postgresql://db.example.org/ml"),
        ("https://secret@ml.example.org/at/a@b", "https://ml.example.org/at/a@b"),
        ("sqlite:///folder/ml.db", "sqlite:///folder/ml.db"),
        ("sqlite:////home/you@work:2/ml.db", "sqlite:////home/you@work:2/ml.db"),
    ],
)
def test_the_place_that_is_kept_has_no_password(
    card: Callable[..., Card], monkeypatch: pytest.MonkeyPatch, uri: str, kept: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    place = MlflowRun.place(card().folder)
    assert place.startswith(kept)
    assert not {"me", "sec", "ret", "secret"} & set(re.split(r"\W+", place))
