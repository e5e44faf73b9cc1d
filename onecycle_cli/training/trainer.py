"""The training loop, and scoring.

The loop is a generator: it takes a step and yields the result, with the loss still on the device. The caller decides
how often to read a loss, and may stop after any step. Nothing in a step waits for the device.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.analysis.class_balance import TOP_5_CLASSES, Answers
from onecycle_cli.data.batches import Batch, Drawn, FixedBatches, TrainBatches, derived_seed
from onecycle_cli.schedules import Schedule
from onecycle_cli.training.cuda_graphs import WARM_UP, Function, replayed
from onecycle_cli.training.gradient_sync import GradientSync
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.micro_batches import micro_batch_count, micro_batches
from onecycle_cli.training.multiply_adds import multiply_adds
from onecycle_cli.training.network_check import call_network
from onecycle_cli.training.optimizers import Optimizer
from onecycle_cli.training.python_state import python_state
from onecycle_cli.training.ranks import ALONE, Ranks
from onecycle_cli.training.seeding import seed_device
from onecycle_cli.training.threads import Turns, threads_of, using_threads
from onecycle_cli.training.train_loss import TrainLoss


@dataclass(frozen=True)
class Step:
    """One update; `loss`, `weight` and `correct` are scalars on the device, computed before the update.

    `step` counts from 0, `epoch` from 1. `loss` is the mean over the batch. `weight` is the weight of the batch in an
    epoch's mean loss: the number of images, or the sum of their class weights. `correct` is the number of correct
    answers.
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
    """The score of a network on a set of images: mean cross-entropy (no label smoothing, no class weights) and answers.

    `top5_accuracy` is the share of images whose class is among the five most likely; None with fewer than ten classes.
    """

    loss: float
    answers: Answers
    top5_accuracy: float | None

    @property
    def accuracy(self) -> float:
        """The share of correct answers."""
        return self.answers.accuracy

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over all classes with images."""
        return self.answers.balanced_accuracy


class _Clock:
    """A clock that measures the time between calls of `lap`, each after waiting for the device."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._since = device, perf_counter()

    def lap(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elapsed, self._since = perf_counter() - self._since, perf_counter()
        return elapsed


class Trainer:
    """A network with its optimizer on one device, which can run several trainings in a row.

    Parameters that the optimizer does not train are frozen: they have no gradient, and their norm layers of any kind
    keep their statistics. `reset` starts a new training in place. On CUDA, step and scoring are recorded once as CUDA
    graphs, which all later trainings use: a range test, the training after it, each value of a sweep. `report` gets a
    message if this fails. On a CPU, a step uses `threads` threads, which depend on its size, and takes turns with other
    processes (threads.py).

    The train loss of a batch is the mean over its images, weighted by `class_weights` (float32 (classes,), on the
    device) as in `torch.nn.CrossEntropyLoss(weight)`, or unweighted if they are None. With `accumulate`, a step
    computes its batch in so many micro-batches, one after the other, which needs less memory. Loss and gradient are
    those of the whole batch, but batch norm uses the statistics of each micro-batch.

    Several `ranks` divide each batch (the `share` of `batches`). Loss, gradient and score are then those of all ranks
    together. Batch norm uses the statistics of the own images; with `sync_batch_norm`, those of all. There are no CUDA
    graphs then, and no turns between processes: a rank that waits for its turn would keep the others waiting.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: TrainBatches,
        *,
        label_smoothing: float,
        class_weights: Tensor | None = None,
        accumulate: int = 1,
        ranks: Ranks = ALONE,
        sync_batch_norm: bool = False,
        hardware: Hardware,
        report: Callable[[str], None],
    ) -> None:
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.hardware, self.loss = hardware, TrainLoss(label_smoothing, class_weights)
        self.accumulate, self.ranks = accumulate, ranks
        self._sync = GradientSync(model, synchronize_batch_norm=sync_batch_norm) if ranks.several else None
        trained = {id(parameter) for parameter in optimizer.parameters}
        self._initially = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._trained = [(parameter, id(parameter) in trained) for parameter in model.parameters()]
        self._frozen = _frozen_layers(model, trained)
        self.threads, self._turns = torch.get_num_threads(), Turns(0)
        if hardware.device.type == "cpu":
            _, height, width, channels = batches.images.shape
            per_image = multiply_adds(model, torch.zeros(1, channels, height, width))
            own_images = -(-batches.batch_size // ranks.count)
            self.threads = threads_of(None if per_image is None else own_images * per_image)
            self._turns = Turns(0 if ranks.several else self.threads)

        def recorded(function: Function) -> Function:
            return (
                function if ranks.several else replayed(function, hardware.device, report, lambda: python_state(model))
            )

        self._take, self._score = recorded(self._step), recorded(self._scored)

    def reset(self, weights: Mapping[str, Tensor], weight_decay: float, batches: TrainBatches) -> None:
        """Starts a new training from `weights` (a model's `state_dict`), with a fresh optimizer state.

        `batches` may differ from the earlier batches only in the seed, because a CUDA graph has recorded how a batch is
        made from its draws.
        """
        self.batches = batches
        self.model.load_state_dict(weights)
        if self._sync:
            self._sync.take_weights_of_first()
        self.optimizer.reset(weight_decay)

    def release(self) -> None:
        """Sets `requires_grad` as it was before this trainer, for another trainer of the same network."""
        for parameter, needed in self._initially:
            parameter.requires_grad_(needed)

    def state(self) -> dict[str, Tensor]:
        """Returns all tensors that the next step depends on: weights, norm statistics, optimizer state.

        These are not copies; the next step changes them.
        """
        model = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        return model | {f"optimizer.{number}": tensor for number, tensor in enumerate(self.optimizer.memory)}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Copies `state`, from a trainer with the same network and optimizer, into this trainer.

        ValueError when names or shapes differ.
        """
        current = self.state()
        if {name: tensor.shape for name, tensor in current.items()} != {name: t.shape for name, t in state.items()}:
            raise ValueError("the state belongs to another network or optimizer")
        for name, tensor in current.items():
            tensor.copy_(state[name])

    def steps(self, schedule: Schedule, *, first_step: int = 0) -> Iterator[Step]:
        """Takes optimizer steps from `first_step` on and yields each, without end; `schedule` gives lr and momentum."""
        self._begin()
        for step, drawn in enumerate(self.batches.drawn(first_step), start=first_step):
            lr, momentum = schedule(step)
            self.optimizer.set(lr, momentum)
            # Always, because any module may draw numbers; other ones on each rank, since the images are others.
            own = (self.ranks.rank,) if self.ranks.several else ()
            seed_device(derived_seed(self.batches.seed, "dropout", step, *own), self.hardware.device)
            if not self.model.training:
                self._begin()
            images = self.batches.images_of(step)
            with self._turns.taken(), using_threads(self.threads):
                loss, weight, correct = self._step_of_ranks(images, drawn) if self._sync else self._take(*drawn)
            epoch = step // self.batches.steps_per_epoch + 1
            yield Step(step, epoch, lr, momentum, images, loss, weight, correct)

    def evaluate(self, batches: FixedBatches) -> Score:
        """Scores the network on all images; waits for the device once, at the end."""
        self.model.eval()
        seed_device(derived_seed(self.batches.seed, "scoring"), self.hardware.device)
        if self._sync:
            self._sync.take_statistics_of_first()
        total, share = len(batches.labels), self.batches.share
        scored = []
        for pixels, labels in batches.shared(share):
            with self._turns.taken(), using_threads(self.threads):
                scored.append(self._score(pixels, labels))
        sums = [torch.stack(parts).sum(0) for parts in zip(*scored, strict=True)]
        loss, by_class, in_top_5 = (
            (self.ranks.add_up(part) if share.is_divided(total) else part).cpu() for part in sums
        )
        has_top_5 = by_class.shape[1] >= TOP_5_CLASSES
        answers = Answers(*(tuple(counts) for counts in by_class.tolist()))
        return Score(float(loss) / total, answers, int(in_top_5) / total if has_top_5 else None)

    def parts_of_a_step(self, steps: int) -> dict[str, float]:
        """Returns the mean seconds over `steps` steps of each part: data, forward, backward, update, other.

        Each part ends with a wait for the device, and no CUDA graph is used; the parts sum to the time of such a step.
        This trains the network: call `reset` afterwards.
        """
        seconds = dict.fromkeys(("data", "forward", "backward", "update", "other"), 0.0)
        self._begin()
        drawn = self.batches.drawn(0)
        for number in range(-WARM_UP, steps):
            images = self.batches.images_of(number + WARM_UP)
            clock = _Clock(self.hardware.device)
            self.model.zero_grad()
            times = {"other": clock.lap()}
            batch = self.batches.batch(next(drawn))
            times["data"] = clock.lap()
            times |= {"forward": 0.0, "backward": 0.0}
            for part in micro_batches(batch, self._micro_batches_of(images), images, self.batches.share):
                loss, _ = self.loss(self._train_logits(part), part)
                times["forward"] += clock.lap()
                loss.backward()
                times["backward"] += clock.lap()
            self.optimizer.step()
            times["update"] = clock.lap()
            loss.item()
            times["other"] += clock.lap()
            if number >= 0:
                seconds = {part: total + times[part] / steps for part, total in seconds.items()}
        return seconds

    def _begin(self) -> None:
        """Sets training mode and `requires_grad` for the trained parts; another trainer may have changed both."""
        self.model.train()
        for layer in self._frozen:
            layer.training = False
        for parameter, trained in self._trained:
            parameter.requires_grad_(trained)

    def _step(self, *drawn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.model.zero_grad()
        batch = self.batches.batch(Drawn(*drawn))
        count = self._micro_batches_of(len(batch.labels))
        loss, weight, correct = self._backward(batch) if count == 1 else self._accumulated(batch, count)
        self.optimizer.step()
        return loss, weight, correct

    def _step_of_ranks(self, images: int, drawn: Drawn) -> tuple[Tensor, Tensor, Tensor]:
        """Takes the step of a batch of `images` that all ranks compute together; `drawn` is the share of this rank.

        Each rank computes the gradient of a sum over its images. All of them end with the mean of these gradients,
        which is divided by the weight of the batch for each rank: so ranks with more images count more.
        """
        self.model.zero_grad()
        sums = torch.stack(self._sums(self.batches.batch(drawn), images, self._micro_batches_of(images))).double()
        copies = 1 if self.batches.share.is_divided(images) else self.ranks.count
        loss, weight, correct = self.ranks.add_up(sums) / copies
        self._divide_gradients(weight * copies / self.ranks.count)
        self.optimizer.step()
        return (loss / weight).float(), weight.float(), correct.long()

    def _micro_batches_of(self, images: int) -> int:
        return micro_batch_count(
            images, batch_size=self.batches.batch_size, accumulate=self.accumulate, processes=self.ranks.count
        )

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the gradient of a batch; returns its loss, its weight and the number of correct answers."""
        logits = self._train_logits(batch)
        loss, weight = self.loss(logits, batch)
        loss.backward()
        return loss.detach(), weight, (logits.detach().argmax(1) == batch.main_labels).sum()

    def _accumulated(self, batch: Batch, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the gradient of a batch as `_backward` does, in `count` micro-batches.

        The gradients of their sums add up, and are divided by the weight of the batch at the end, because with class
        weights the micro-batches have different weights.
        """
        total, weight, correct = self._sums(batch, len(batch.labels), count)
        self._divide_gradients(weight)
        return total / weight, weight, correct

    def _sums(self, batch: Batch, images: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the gradient of the weighted sum of losses of a batch, in `count` micro-batches.

        `batch` is the share of this process in a batch of `images`. Returns that sum, the weight of the share and the
        number of correct answers in it.
        """
        sums = []
        parts = micro_batches(batch, count, images, self.batches.share)
        for number, part in enumerate(parts, start=1):
            with self._sync.deferred(number < count) if self._sync else nullcontext():
                logits = self._train_logits(part)
                loss, weight = self.loss(logits, part)
                total = loss * weight
                total.backward()
            sums.append((total.detach(), weight, (logits.detach().argmax(1) == part.main_labels).sum()))
        total, weight, correct = (torch.stack(parts).sum(0) for parts in zip(*sums, strict=True))
        return total, weight, correct

    def _divide_gradients(self, divisor: Tensor) -> None:
        gradients = [p.grad for p in self.optimizer.parameters if p.grad is not None]
        torch._foreach_div_(gradients, divisor.to(torch.float32))

    @torch.no_grad()
    def _scored(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the summed loss; images, answers and correct answers by class, (3, classes); the top-5 count."""
        with self.hardware.autocast():
            logits = call_network(self.model, self.batches.normalization(pixels)).float()
        classes = torch.arange(logits.shape[1], device=logits.device)
        # Not bincount, which waits for the device and so cannot be part of a CUDA graph.
        of_class, answered = labels[:, None] == classes, logits.argmax(1, keepdim=True) == classes
        by_class = torch.stack([one.sum(0) for one in (of_class, answered, of_class & answered)])
        in_top_5 = (logits.topk(min(5, len(classes))).indices == labels[:, None]).sum()
        return F.cross_entropy(logits, labels) * len(labels), by_class, in_top_5

    def _train_logits(self, batch: Batch) -> Tensor:
        with self.hardware.autocast():
            logits = self._sync(batch.images) if self._sync else call_network(self.model, batch.images)
        return cast(Tensor, logits.float())


def _frozen_layers(model: nn.Module, trained: set[int]) -> list[nn.Module]:
    """Returns the layers of all parts without a trained parameter: modules that have parameters or statistics.

    A norm without scales is one of them where the part around it is frozen.
    """
    frozen: dict[nn.Module, None] = {}
    for part in model.modules():
        is_trained = [id(parameter) in trained for parameter in part.parameters()]
        if is_trained and not any(is_trained):
            frozen |= dict.fromkeys(part.modules())
    return [layer for layer in frozen if layer._parameters or layer._buffers]
