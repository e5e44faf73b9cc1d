"""The steps of a training, stage after stage, from the first step or from a checkpoint."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, fresh, stage_trainer
from onecycle_cli.experiments.session import Session
from onecycle_cli.models.sources.torchvision import with_torchvision_names
from onecycle_cli.recipe import Recipe, frozen_groups, stages
from onecycle_cli.training.trainer import Step, Trainer
from onecycle_cli.training.weight_average import WeightAverage

AVERAGE = "average."
"""The prefix of the tensors of the averaged weights in a checkpoint."""


@dataclass(frozen=True)
class _Stage:
    """A stage of the recipe: the steps from `begin` to `end`, without `end`."""

    number: int
    recipe: Recipe
    begin: int
    end: int


class StagedSteps:
    """The steps of a training, from a freshly initialized network.

    `trainer` is the one that took the last step. All stages share the network; each has its own trainer. With
    `runtime.ema`, an average of the weights takes in each step, through all stages.
    """

    def __init__(self, recipe: Recipe, prepared: PreparedRecipe, session: Session) -> None:
        self._recipe, self._prepared, self._session = recipe, prepared, session
        self.trainer = fresh(recipe, prepared)
        decay = recipe.runtime.ema
        self._average = None if decay is None else WeightAverage(self.trainer.model, decay)
        per_epoch, begin = prepared.train.steps_per_epoch, recipe.schedule.start_epoch
        self._stages: list[_Stage] = []
        for number, stage in enumerate(stages(recipe), start=1):
            end = begin + stage.schedule.epochs - stage.schedule.start_epoch
            self._stages.append(_Stage(number, stage, begin * per_epoch, end * per_epoch))
            begin = end

    def state(self) -> dict[str, Tensor]:
        """Returns all tensors that the next step depends on, with those of the average; these are not copies."""
        average = self._average.state() if self._average else {}
        return self.trainer.state() | {f"{AVERAGE}{name}": tensor for name, tensor in average.items()}

    def averaged(self) -> AbstractContextManager[None]:
        """Returns a block in which the network has the averaged weights; without an average it keeps its own."""
        return self._average.in_use() if self._average else nullcontext()

    def restore(self, step: int, state: Mapping[str, Tensor]) -> None:
        """Restores the `state` that was saved before the update `step`, also by an earlier version."""
        if self._recipe.model.source == "torchvision":
            state = with_torchvision_names(state, "model.")
        for stage in self._stages:
            if stage.begin < step <= stage.end:
                self.trainer = self._trainer_of(stage)
        average = {name.removeprefix(AVERAGE): state[name] for name in state if name.startswith(AVERAGE)}
        if self._average:
            self._average.restore(average)
        self.trainer.restore({name: tensor for name, tensor in state.items() if not name.startswith(AVERAGE)})

    def since(self, first_step: int) -> Iterator[Step]:
        """Yields the steps from `first_step` to the end of the last stage."""
        schedule = recipe_schedule(self._recipe, self._prepared.train.steps_per_epoch)
        for stage in self._stages:
            first = max(first_step, stage.begin)
            if first >= stage.end:
                continue
            if first == stage.begin:
                self.trainer = self._trainer_of(stage)
                if self._recipe.fine_tune is not None:
                    self._session.note(self._in_words(stage))
            for step in islice(self.trainer.steps(schedule, first_step=first), stage.end - first):
                if self._average:
                    self._average.update()
                yield step

    def _trainer_of(self, stage: _Stage) -> Trainer:
        if stage.number == len(self._stages):
            return self._prepared.trainer
        return stage_trainer(stage.recipe, self._prepared, self._session.note)

    def _in_words(self, stage: _Stage) -> str:
        groups = frozen_groups(stage.recipe, self._prepared.groups)
        frozen = f"{', '.join(groups)} frozen" if groups else "nothing frozen"
        first_epoch = 1 + stage.begin // self._prepared.train.steps_per_epoch
        at = f"from epoch {first_epoch}, {frozen}, max_lr {stage.recipe.schedule.largest_max_lr:g}"
        return f"Stage {stage.number} of {len(self._stages)}: {at}."
