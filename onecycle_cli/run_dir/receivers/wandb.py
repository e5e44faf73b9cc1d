"""W&B: a run of the project WANDB_PROJECT. With WANDB_MODE=offline, files in the folder of the run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from onecycle_cli.run_dir.files import WANDB
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point, without_secrets

PROJECT = "onecycle"
"""The name of the project where WANDB_PROJECT has none."""


class WandbRun:
    """A run of W&B, whose own process sends what it is given."""

    has_parents = False
    takes_back = False
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self, card: Card) -> None:
        import wandb

        # No wrapped output and no signal handlers: this process has nothing else to say.
        settings = wandb.Settings(console="off", silent=True, save_code=False, reinit="create_new")
        self._run: Any = wandb.init(
            id=card.key,
            name=card.name,
            dir=card.folder,
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            group=card.group,
            job_type=card.command,
            resume=None if _is_offline() else "allow",
            config=dict(card.parameters) | {"onecycle": dict(card.tags)},
            settings=settings,
        )
        self._run.define_metric("*", step_metric="step")
        self.new, self.id = False, card.key
        self.at = self._run.url or f"{card.folder / WANDB} (offline)"

    @staticmethod
    def place(folder: Path) -> str:
        """Returns the server and the project; offline, the folder, if it is there."""
        if _is_offline():
            return "offline" if (folder / WANDB).is_dir() else ""
        server = os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
        project = os.environ.get("WANDB_PROJECT") or PROJECT
        return f"{without_secrets(server)} {os.environ.get('WANDB_ENTITY', '')}/{project}"

    def send(self, points: Sequence[Point], first: int, time: float) -> None:  # noqa: ARG002
        """Sends points. The server ignores one whose number it has already."""
        for number, point in enumerate(points, start=first):
            self._run.log({**point.values, "step": point.step}, step=number)

    def end(self, end: End) -> None:
        """Sends the numbers of the summary, the figures and the model."""
        import wandb

        self._run.summary.update({**end.numbers, "status": end.status})
        if end.figures:
            self._run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in end.figures})
        if end.models or end.files:
            artifact = wandb.Artifact(f"run-{self.id}", type="model" if end.models else "result")
            for path in (*end.models, *end.files):
                artifact.add_file(str(path))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=0 if end.status == "finished" else 1)

    def close(self) -> None:
        """Returns when W&B has sent everything, or offline has written it."""
        self._run.finish()


def _is_offline() -> bool:
    return os.environ.get("WANDB_MODE", "online") == "offline"
