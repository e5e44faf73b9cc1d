"""MLflow: a run on the tracking server of MLFLOW_TRACKING_URI, in the experiment of MLFLOW_EXPERIMENT_NAME."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from onecycle_cli.errors import to_utf8
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point, without_secrets

EXPERIMENT = "onecycle"
"""The name of the experiment where MLFLOW_EXPERIMENT_NAME has none."""

KEY = "onecycle.key"
"""The tag with a run's key: a run whose creation was answered by nobody is found again by it."""

LONGEST_PARAMETER, LONGEST_TAG = 6000, 5000
"""The most characters that a tracking server takes of a parameter and of a tag."""

STATUS = {"running": "RUNNING", "finished": "FINISHED", "interrupted": "KILLED"}
"""What MLflow calls a status; any other is FAILED."""


class MlflowRun:
    """A run on a tracking server."""

    has_parents = True
    takes_back = False
    # By default it tries for four minutes to reach a server that is gone. What was not sent is tried again by us.
    environment: ClassVar[Mapping[str, str]] = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    }

    def __init__(self, card: Card) -> None:
        from mlflow import MlflowClient

        self._client = MlflowClient()
        found = self._found(experiment := self._experiment(), card.key)
        self.new = found is None
        if found is None:
            time, tags = _milliseconds(card.started.timestamp()), _tags(card)
            found = self._client.create_run(experiment, start_time=time, tags=tags, run_name=card.name)
        elif card.running and found.info.status != STATUS["running"]:
            self._client.update_run(found.info.run_id, status=STATUS["running"])
        self.id = found.info.run_id
        self._parameters(card.parameters, found.data.params)
        self.at = f"{self.place(card.folder)}, run {self.id}"

    @staticmethod
    def place(folder: Path) -> str:  # noqa: ARG004
        """Returns the address of the tracking server or database, and the experiment."""
        import mlflow

        return f"{without_secrets(mlflow.get_tracking_uri())}, experiment {_experiment_name()}"

    def send(self, points: Sequence[Point], first: int, time: float) -> None:  # noqa: ARG002
        """Sends points. A point with the same time, step and value as one that is there changes nothing."""
        from mlflow.entities import Metric

        at = _milliseconds(time)
        metrics = [
            Metric(_name(name), value, at, point.step) for point in points for name, value in point.values.items()
        ]
        self._client.log_batch(self.id, metrics=metrics)  # in requests of 1,000

    def end(self, end: End) -> None:
        """Sends the numbers of the summary and the files, and sets the status."""
        from mlflow.entities import RunTag

        self.send([Point(0, end.numbers)], 0, end.ended.timestamp())
        self._client.log_batch(self.id, tags=[RunTag("onecycle.status", end.status)])
        for folder, paths in (("figures", end.figures), ("model", end.models), (None, end.files)):
            for path in paths:
                self._client.log_artifact(self.id, str(path), folder)
        status = STATUS.get(end.status, "FAILED")
        self._client.set_terminated(self.id, status, _milliseconds(end.ended.timestamp()))

    def close(self) -> None:
        """Does nothing: what was sent is there."""

    def _experiment(self) -> str:
        """Returns the id of the experiment, which is made where it is missing."""
        from mlflow.exceptions import MlflowException

        if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return given
        name = _experiment_name()
        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        try:
            return str(self._client.create_experiment(name))
        except MlflowException:
            if found := self._client.get_experiment_by_name(name):  # of another process, a moment ago
                return str(found.experiment_id)
            raise

    def _found(self, experiment: str, key: str) -> Any:
        found = self._client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1)
        return found[0] if found else None

    def _parameters(self, parameters: Mapping[str, Any], known: Mapping[str, str]) -> None:
        """Sends the parameters that are missing: those that are there can never change."""
        from mlflow.entities import Param

        missing = [
            Param(_name(name), to_utf8(str(value))[:LONGEST_PARAMETER])
            for name, value in parameters.items()
            if _name(name) not in known
        ]
        self._client.log_batch(self.id, params=missing)  # in requests of 100


def _tags(card: Card) -> dict[str, str]:
    """Returns the tags of a new run, those that MLflow's pages show among them."""
    own = {f"onecycle.{name}": value for name, value in card.tags.items()}
    known = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": card.tags.get("command_line", card.command),
        "mlflow.source.git.commit": card.tags.get("git_commit"),
        "mlflow.parentRunId": card.parent,
    }
    tags = own | known | {KEY: card.key}
    return {name: to_utf8(value)[:LONGEST_TAG] for name, value in tags.items() if value is not None}


def _experiment_name() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def _name(name: str) -> str:
    """Returns a name that MLflow accepts."""
    return re.sub(r"[^\w.\- :/]", "_", name)


def _milliseconds(time: float) -> int:
    return round(1000 * time)
