"""TensorBoard: event files in the folder `tensorboard` of the run.

torch's `SummaryWriter` writes the same files, and imports torch: 2.8 s and 510 MB for a process that needs 0.3 s and 42
MB without it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from onecycle_cli.errors import to_utf8
from onecycle_cli.run_dir.files import TENSORBOARD
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point


class TensorBoardRun:
    """Writes a run into one new event file, from the first row on; what older files have is hidden by it."""

    has_parents = False
    takes_back = True
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, card: Card) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = card.folder / TENSORBOARD
        again = any(folder.glob("*.tfevents.*"))
        self._card, self._writer = card, EventFileWriter(str(folder), max_queue_size=1000)
        self.new, self.id, self.at = True, card.key, str(folder)
        if again:
            # As torch's purge_step: a reader drops what it has read from this step on.
            self._writer.add_event(Event(step=0, session_log=SessionLog(status=SessionLog.START)))

    @staticmethod
    def place(folder: Path) -> str:
        """Returns the folder's name, if it is there."""
        return TENSORBOARD if (folder / TENSORBOARD).is_dir() else ""

    def send(self, points: Sequence[Point], first: int, time: float) -> None:  # noqa: ARG002
        """Writes each point as an event with all of its numbers."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for point in points:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in point.values.items()]
            self._writer.add_event(Event(wall_time=time, step=point.step, summary=Summary(value=values)))
        self._writer.flush()

    def end(self, end: End) -> None:
        """Writes the numbers of the summary, the hyper-parameters and the figures. Models have no place here."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

        time = end.ended.timestamp()
        self.send([Point(0, {name: value}) for name, value in end.numbers.items()], 0, time)
        pictures = [
            Summary.Value(tag=path.stem, image=Summary.Image(encoded_image_string=path.read_bytes()))
            for path in end.figures
        ]
        data = HParamsPluginData
        for tag, content in (
            ("_hparams_/experiment", data(experiment=_experiment(end))),
            ("_hparams_/session_start_info", data(session_start_info=_start(self._card))),
            ("_hparams_/session_end_info", data(session_end_info=_finish(end))),
        ):
            pictures.append(Summary.Value(tag=tag, metadata=_of_hparams(content), tensor=_nothing()))
        self._writer.add_event(Event(wall_time=time, step=0, summary=Summary(value=pictures)))
        self._writer.flush()

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()


def _experiment(end: End) -> Any:
    from tensorboard.plugins.hparams.api_pb2 import Experiment, MetricInfo, MetricName

    return Experiment(metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in end.numbers])


def _start(card: Card) -> Any:
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionStartInfo

    found = SessionStartInfo(start_time_secs=card.started.timestamp(), group_name=card.key)
    for name, value in card.parameters.items():
        match value:
            case bool():
                found.hparams[name].bool_value = value
            case int() | float():
                found.hparams[name].number_value = value
            case _:
                found.hparams[name].string_value = to_utf8(str(value))
    return found


def _finish(end: End) -> Any:
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import SessionEndInfo

    status = api_pb2.STATUS_SUCCESS if end.status == "finished" else api_pb2.STATUS_FAILURE
    return SessionEndInfo(status=status, end_time_secs=end.ended.timestamp())


def _of_hparams(content: Any) -> Any:
    from tensorboard.plugins.hparams.metadata import create_summary_metadata

    return create_summary_metadata(content)


def _nothing() -> Any:
    """Returns an empty tensor: the dashboard of hyper-parameters reads the metadata alone."""
    from tensorboard.plugins.hparams.metadata import NULL_TENSOR

    return NULL_TENSOR
