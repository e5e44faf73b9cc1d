"""The one training loop, and scoring.

The loop is a generator: it takes a step and yields what is known of it, with the loss still on the device. Whoever
drains it decides how often to look, and may leave at any step. Nothing in a step waits for the device.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.analysis.class_balance import TOP_5_CLASSES, Answers
from onecycle_cli.data.batches import Batch, Drawn, FixedBatches, TrainBatches, derived_seed
from onecycle_cli.schedules import Schedule
from onecycle_cli.training.cuda_graphs import WARM_UP, replayed
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.optimizers import Optimizer
from onecycle_cli.training.threads import Turns, multiply_adds, threads_of, using_threads


@dataclass(frozen=True)
class Step:
    """One update; `loss` (the batch's mean), `weight` and `correct` are scalars on the device, of before the update.

    `weight` is what the images weigh together in an epoch's mean loss: their number, or the sum of their class weights.
    `correct` is a count.
    """

    step: int
    epoch: int
    lr: float
    momentum: float
    images: int
    loss: Tensor
    weight: Tensor
    correct: Tensor


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy (without label smoothing and class weights) and the answers.

    `top5_accuracy` is the share of images whose class is among the five most likely; None with fewer than ten classes.
    """

    loss: float
    answers: Answers
    top5_accuracy: float | None

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.answers.accuracy

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over the classes that have images."""
        return self.answers.balanced_accuracy


class _Clock:
    """The time since it was last asked, with the device waited for."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._since = device, perf_counter()

    def lap(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elapsed, self._since = perf_counter() - self._since, perf_counter()
        return elapsed


class Trainer:
    """A network, its optimizer and the step of both on one device, for one training after another.

    What the optimizer does not train is frozen: it needs no gradient, and norms keep their statistics. `reset` makes
    all fresh in place. On CUDA the step and the scoring are graphs, made once and good for every training that follows:
    a range test, the training after it, each value of a sweep. `report` is told where there can be none. On a CPU a
    step uses `threads` threads, which follow from its size, and takes turns with other processes (cores.py).

    The train loss of a batch is the mean over its images, each with the weight of its class in `class_weights` (float32
    (classes,), on the device), as in `torch.nn.CrossEntropyLoss(weight)`; a plain mean where they are None.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: TrainBatches,
        *,
        label_smoothing: float,
        class_weights: Tensor | None = None,
        hardware: Hardware,
        report: Callable[[str], None],
    ) -> None:
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.label_smoothing, self.class_weights, self.hardware = label_smoothing, class_weights, hardware
        self._has_dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
        trained = {id(parameter) for parameter in optimizer.parameters}
        self._trained = [(parameter, id(parameter) in trained) for parameter in model.parameters()]
        self._frozen = [module for module in model.modules() if _has_parameters_but_none_of(module, trained)]
        self.threads, self._turns = torch.get_num_threads(), Turns(0)
        if hardware.device.type == "cpu":
            _, height, width, channels = batches.images.shape
            one = multiply_adds(model, torch.zeros(1, channels, height, width))
            self.threads = threads_of(batches.batch_size * one)
            self._turns = Turns(self.threads)
        self._take = replayed(self._step, hardware.device, report)
        self._score = replayed(self._scored, hardware.device, report)

    def reset(self, weights: Mapping[str, Tensor], weight_decay: float, batches: TrainBatches) -> None:
        """Begins anew from `weights` (a model's `state_dict`), with nothing remembered of earlier steps.

        `batches` may differ from those before in their seed alone: a graph keeps how a batch is made of what was drawn.
        """
        self.batches = batches
        self.model.load_state_dict(weights)
        self.optimizer.reset(weight_decay)

    def state(self) -> dict[str, Tensor]:
        """What the next step depends on, beside its number: weights, statistics, what the optimizer remembers.

        The tensors themselves, not copies: the next step changes them.
        """
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return model | {f"optimizer.{number}": tensor for number, tensor in enumerate(self.optimizer.memory)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Goes back to where `state` was taken, of a trainer of the same network and optimizer, in place."""
        own = self.state()
        if {name: tensor.shape for name, tensor in own.items()} != {name: t.shape for name, t in state.items()}:
            raise ValueError("the state is of another network, or of another optimizer")
        for name, tensor in own.items():
            tensor.copy_(state[name])

    def steps(self, schedule: Schedule, *, first_step: int = 0) -> Iterator[Step]:
        """Takes one optimizer step after another, from `first_step`, for as long as it is asked to."""
        self._begin()
        for step, drawn in enumerate(self.batches.drawn(first_step), start=first_step):
            lr, momentum = schedule(step)
            self.optimizer.set(lr, momentum)
            if self._has_dropout:
                torch.manual_seed(derived_seed(self.batches.seed, "dropout", step))
            if not self.model.training:
                self._begin()
            with self._turns.taken(), using_threads(self.threads):
                loss, weight, correct = self._take(*drawn)
            epoch = step // self.batches.steps_per_epoch + 1
            yield Step(step, epoch, lr, momentum, len(drawn.labels), loss, weight, correct)

    def evaluate(self, batches: FixedBatches) -> Score:
        """Scores the network on all images; looks at the device once, at the end."""
        self.model.eval()
        scored = []
        for pixels, labels in batches:
            with self._turns.taken(), using_threads(self.threads):
                scored.append(self._score(pixels, labels))
        loss, by_class, in_top_5 = (torch.stack(parts).sum(0).cpu() for parts in zip(*scored, strict=True))
        total = len(batches.labels)
        has_top_5 = by_class.shape[1] >= TOP_5_CLASSES
        answers = Answers(*(tuple(counts) for counts in by_class.tolist()))
        return Score(float(loss) / total, answers, int(in_top_5) / total if has_top_5 else None)

    def parts_of_a_step(self, steps: int) -> dict[str, float]:
        """Seconds that each part of a step takes, the mean of so many steps: data, forward, backward, update, other.

        The device is waited for after each part, and no graph is replayed; the parts sum up to such a step. It trains
        the network: `reset` it afterwards.
        """
        seconds = dict.fromkeys(("data", "forward", "backward", "update", "other"), 0.0)
        self._begin()
        drawn = self.batches.drawn(0)
        for number in range(-WARM_UP, steps):
            clock = _Clock(self.hardware.device)
            self.model.zero_grad()
            lapse = {"other": clock.lap()}
            batch = self.batches.batch(next(drawn))
            lapse["data"] = clock.lap()
            loss, _ = self._loss(self._logits(batch), batch.labels)
            lapse["forward"] = clock.lap()
            loss.backward()
            lapse["backward"] = clock.lap()
            self.optimizer.step()
            lapse["update"] = clock.lap()
            loss.item()
            lapse["other"] += clock.lap()
            if number >= 0:
                seconds = {part: total + lapse[part] / steps for part, total in seconds.items()}
        return seconds

    def _begin(self) -> None:
        """Training mode, but for what is frozen; another trainer of the same network may have left it otherwise."""
        self.model.train()
        for module in self._frozen:
            module.eval()
        for parameter, trained in self._trained:
            parameter.requires_grad_(trained)

    def _step(self, *drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.model.zero_grad()
        batch = self.batches.batch(Drawn(*drawn))
        logits = self._logits(batch)
        loss, weight = self._loss(logits, batch.labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), weight, (logits.detach().argmax(1) == batch.labels).sum()

    @torch.no_grad()
    def _scored(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The sum of the losses; images, answers and right answers by class, (3, classes); those in the top 5."""
        logits = self._logits(Batch(self.batches.normalization(pixels), labels))
        classes = torch.arange(logits.shape[1], device=logits.device)
        # Compared rather than counted by bincount, which looks at the device and so cannot be part of a graph.
        of_class, answered = labels[:, None] == classes, logits.argmax(1, keepdim=True) == classes
        by_class = torch.stack([one.sum(0) for one in (of_class, answered, of_class & answered)])
        in_top_5 = (logits.topk(min(5, len(classes))).indices == labels[:, None]).sum()
        return F.cross_entropy(logits, labels) * len(labels), by_class, in_top_5

    def _logits(self, batch: Batch) -> Tensor:
        with self.hardware.autocast():
            logits = self.model(batch.images)
        return cast(Tensor, logits.float())

    def _loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The train loss of a batch, and what its images weigh together."""
        smoothing = self.label_smoothing
        if self.class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=smoothing), logits.new_full((), len(labels))
        # An image has one weight, whatever its smoothed label says of other classes. torch weighs each class of it, so
        # that with label smoothing a rare class of weight 500 would draw the answers on all images to itself.
        weights = self.class_weights[labels]
        losses = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        return (weights * losses).sum() / weights.sum(), weights.sum()


def _has_parameters_but_none_of(module: nn.Module, trained: set[int]) -> bool:
    own = [id(parameter) in trained for parameter in module.parameters(recurse=False)]
    return bool(own) and not any(own)
