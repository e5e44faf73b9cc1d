"""The range tests of other libraries: their own loops, their default ranges and rules, on the batches of a task.

Each sees the same batches, a newly initialized network, the optimizer of the task, and 100 steps. All compute in
float32, as the libraries do by default.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from onecycle_cli.data.batches import TrainBatches
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe
from onecycle_cli.experiments.trainers import initial_model
from onecycle_cli.models import on_device
from onecycle_cli.recipe import Recipe, finder_momentum

STEPS = 100
"""What fastai, Lightning and torch-lr-finder take by default; ignite's default is a whole training."""

START_LR = 1e-7
"""The optimizer's lr, from which torch-lr-finder and ignite start: their examples set it to this."""

Answers = tuple[dict[str, float | None], int]
"""The max_lr of each rule, None without an answer, and the number of steps taken."""


class Epochs(IterableDataset[tuple[Tensor, Tensor]]):
    """Augmented batches for a loader; each pass goes on with the next epoch, as one with shuffling does."""

    def __init__(self, batches: TrainBatches) -> None:
        self._batches, self._drawn = batches, batches.drawn(0)

    def __len__(self) -> int:
        return self._batches.steps_per_epoch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(len(self)):
            batch = self._batches.batch(next(self._drawn))
            yield batch.images, batch.labels


class Setting:
    """What a loop needs: the network of a recipe with its seed, its batches, its loss, its optimizer."""

    def __init__(self, recipe: Recipe, prepared: PreparedRecipe) -> None:
        torch.manual_seed(recipe.seed)
        model = initial_model(recipe, prepared.data, prepared.start, prepared.code)
        self.model = on_device(model, recipe.model.source, prepared.hardware.device)
        self.loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(Epochs(prepared.train), batch_size=None)
        self.loss = nn.CrossEntropyLoss(label_smoothing=recipe.optimizer.label_smoothing)
        self._settings, self._momentum = recipe.optimizer, finder_momentum(recipe)

    def optimizer(self, parameters: Any, lr: float = START_LR) -> torch.optim.Optimizer:
        """Builds torch's SGD or AdamW with the settings of the recipe and the constant momentum of its range test."""
        settings, momentum = self._settings, self._momentum
        if settings.name == "sgd":
            return torch.optim.SGD(
                parameters, lr, momentum, weight_decay=settings.weight_decay, nesterov=settings.nesterov
            )
        return torch.optim.AdamW(parameters, lr, (momentum, settings.beta2), settings.eps, settings.weight_decay)


def fastai(setting: Setting) -> Answers:
    """Runs fastai's `lr_find` once, for all four of its rules."""
    from fastai.callback.schedule import minimum, slide, steep, valley
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.optimizer import OptimWrapper

    def answering(rule: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(rule)
        def answered(*curve: Any) -> Any:
            try:
                return rule(*curve)
            except (IndexError, RuntimeError, TypeError, ValueError):  # a curve that is too short, or never falls
                return None, None

        return answered

    with tempfile.TemporaryDirectory() as folder:
        learner = Learner(
            DataLoaders(setting.loader, setting.loader),
            setting.model,
            loss_func=setting.loss,
            opt_func=lambda parameters, lr: OptimWrapper(parameters, setting.optimizer, lr=lr),
            path=folder,
        )
        with learner.no_bar():
            found = learner.lr_find(
                num_it=STEPS, show_plot=False, suggest_funcs=tuple(map(answering, (valley, slide, minimum, steep)))
            )
    answers = {rule: None if lr is None else float(lr) for rule, lr in found._asdict().items()}
    return answers, len(learner.recorder.lrs)


def lightning(setting: Setting) -> Answers:
    """Runs `lr_find` of Lightning's `Tuner`."""
    import lightning as pl
    from lightning.pytorch.tuner import Tuner

    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)

    class Classifier(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.lr = setting.model, 1e-3

        def training_step(self, batch: list[Tensor], _: int) -> Tensor:
            loss: Tensor = setting.loss(self.model(batch[0]), batch[1])
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return setting.optimizer(self.parameters(), self.lr)

    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        finder = Tuner(trainer).lr_find(Classifier(), setting.loader, num_training=STEPS)
    lr = finder.suggestion()
    return {"steepest": None if lr is None else float(lr)}, len(finder.results["loss"])


def torch_lr_finder(setting: Setting) -> Answers:
    """Runs torch-lr-finder's range test."""
    from matplotlib.figure import Figure
    from torch_lr_finder import LRFinder

    finder = LRFinder(setting.model, setting.optimizer(setting.model.parameters()), setting.loss, device="cpu")
    finder.range_test(setting.loader, num_iter=STEPS)
    try:
        lr = float(finder.plot(ax=Figure().add_subplot())[1])
    except RuntimeError:  # fewer steps than it cuts off
        lr = None
    return {"steepest": lr}, len(finder.history["loss"])


def ignite(setting: Setting) -> Answers:
    """Runs ignite's `FastaiLRFinder`."""
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    optimizer = setting.optimizer(setting.model.parameters())
    trainer, finder = create_supervised_trainer(setting.model, optimizer, setting.loss), FastaiLRFinder()
    with finder.attach(trainer, {"model": setting.model, "optimizer": optimizer}, num_iter=STEPS) as running:
        running.run(setting.loader)
    try:
        lr = float(finder.lr_suggestion())
    except RuntimeError:  # a curve that never falls
        lr = None
    return {"steepest": lr}, len(finder.get_results()["loss"])


FINDERS: dict[str, tuple[str, tuple[str, ...], Callable[[Setting], Answers]]] = {
    "fastai": ("fastai", ("valley", "slide", "minimum", "steep"), fastai),
    "Lightning": ("lightning", ("steepest",), lightning),
    "torch-lr-finder": ("torch-lr-finder", ("steepest",), torch_lr_finder),
    "ignite": ("pytorch-ignite", ("steepest",), ignite),
}
"""The package, the rules and the range test of each library."""


def answers_of(library: str, setting: Setting) -> Answers:
    """Runs the range test of a library without its warnings, its messages and its progress bars."""
    nowhere = io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        warnings.simplefilter("ignore")
        return FINDERS[library][2](setting)
