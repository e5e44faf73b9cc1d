"""All updates of a training, one stage after another, from its first step or from where a checkpoint was."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.prepared_recipe import Setup, fresh, stage_trainer
from onecycle_cli.experiments.session import Session
from onecycle_cli.recipe import Recipe, stages
from onecycle_cli.training.trainer import Step, Trainer


@dataclass(frozen=True)
class _Stage:
    """A stage of the recipe, from step `begin` up to, not including, `end`."""

    number: int
    recipe: Recipe
    begin: int
    end: int


class Updates:
    """The updates of a training in `run`, whose network is made fresh here.

    `trainer` took the last update. Each stage but the last has one of its own, all of the same network.
    """

    def __init__(self, recipe: Recipe, setup: Setup, session: Session) -> None:
        self._recipe, self._setup, self._session = recipe, setup, session
        self.trainer = fresh(recipe, setup)
        per_epoch, begin = setup.train.steps_per_epoch, recipe.schedule.start_epoch
        self._stages: list[_Stage] = []
        for number, stage in enumerate(stages(recipe), start=1):
            end = begin + stage.schedule.epochs - stage.schedule.start_epoch
            self._stages.append(_Stage(number, stage, begin * per_epoch, end * per_epoch))
            begin = end

    def restore(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Goes back to where `state` was taken of the trainer, before the update `step`."""
        for stage in self._stages:
            if stage.begin < step <= stage.end:
                self.trainer = self._trainer_of(stage)
        self.trainer.restore(state)

    def since(self, first_step: int) -> Iterator[Step]:
        """The updates from `first_step` to the last one of the last stage."""
        schedule = recipe_schedule(self._recipe, self._setup.train.steps_per_epoch)
        for stage in self._stages:
            first = max(first_step, stage.begin)
            if first >= stage.end:
                continue
            if first == stage.begin:
                self.trainer = self._trainer_of(stage)
                if self._recipe.fine_tune is not None:
                    self._session.note(self._in_words(stage))
            yield from islice(self.trainer.steps(schedule, first_step=first), stage.end - first)

    def _trainer_of(self, stage: _Stage) -> Trainer:
        if stage.number == len(self._stages):
            return self._setup.trainer
        return stage_trainer(stage.recipe, self._setup, self._session.note)

    def _in_words(self, stage: _Stage) -> str:
        frozen = f"{', '.join(stage.recipe.frozen)} frozen" if stage.recipe.frozen else "nothing frozen"
        first_epoch = 1 + stage.begin // self._setup.train.steps_per_epoch
        at = f"from epoch {first_epoch}, {frozen}, max_lr {stage.recipe.schedule.largest_max_lr:g}"
        return f"Stage {stage.number} of {len(self._stages)}: {at}."
