"""The one training loop, and scoring.

The loop is a generator: it takes a step and yields what is known of it, with the loss still on the device. Whoever
drains it decides how often to look, and may leave at any step. Nothing in a step waits for the device.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.cores import Turns, multiply_adds, threads_of, using_threads
from onecycle_cli.data.batches import Batch, Drawn, FixedBatches, TrainBatches, derived_seed
from onecycle_cli.errors import InputError
from onecycle_cli.graphs import WARM_UP, replayed
from onecycle_cli.optimizers import Optimizer
from onecycle_cli.schedule import Schedule


@dataclass(frozen=True)
class Hardware:
    """Where a run computes, and in which precision: "float32" or "bfloat16" (autocast; weights stay float32)."""

    device: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a forward pass runs."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @property
    def name(self) -> str:
        """The name of the processor, for the record."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return str(torch.cpu.get_capabilities().get("cpu_name", "")) or self.device.type


def resolve_hardware(device: str, precision: str) -> Hardware:
    """What `auto` means on this machine: CUDA where there is one, bfloat16 where the processor computes in it.

    On a CPU that is AVX-512 BF16, AMX or ARM's BF16; without them bfloat16 is emulated, and slower than float32.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"There is no device {device}: torch sees {count or 'no'} CUDA device{'' if count == 1 else 's'}.",
            "Use --device cpu, or install a torch that matches the driver.",
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("There is no device mps: torch sees no Apple GPU.", "Use --device cpu.")
    if precision == "auto":
        precision = "bfloat16" if _computes_in_bfloat16(chosen) else "float32"
    return Hardware(chosen, precision)


def _computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        known = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return known and torch.backends.mkldnn.is_available()  # it is oneDNN that computes in them
    return False


def keep_freed_memory() -> None:
    """Has the C library keep the memory of tensors that are gone for those that come; glibc only, elsewhere nothing.

    glibc gives each block above 32 MB back to the system at once, and smaller ones now and then; a new block then comes
    as pages that the system clears one by one. A step of ResNet-20 at batch 512 met 180,000 to 312,000 such pages in
    float32 and some 50,000 in bfloat16, on two cores; what that costs stands in benchmarks/README.md.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, -1)  # never give back from the end of the heap
        mallopt(mmap_max, 0)  # no block outside of it


@dataclass(frozen=True)
class Step:
    """One update; `loss` (the batch's mean) and `correct` (a count) are scalars on the device, of before the update."""

    step: int
    epoch: int
    lr: float
    momentum: float
    images: int
    loss: Tensor
    correct: Tensor


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy (without label smoothing) and the share of right answers."""

    loss: float
    accuracy: float


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
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        batches: TrainBatches,
        *,
        label_smoothing: float,
        hardware: Hardware,
        report: Callable[[str], None],
    ) -> None:
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.label_smoothing, self.hardware = label_smoothing, hardware
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
                loss, correct = self._take(*drawn)
            epoch = step // self.batches.steps_per_epoch + 1
            yield Step(step, epoch, lr, momentum, len(drawn.labels), loss, correct)

    def evaluate(self, batches: FixedBatches) -> Score:
        """Scores the network on all images; looks at the device once, at the end."""
        self.model.eval()
        scored = []
        for pixels, labels in batches:
            with self._turns.taken(), using_threads(self.threads):
                scored.append(self._score(pixels, labels))
        losses, corrects = zip(*scored, strict=True)
        total = len(batches.labels)
        return Score(float(torch.stack(losses).sum()) / total, int(torch.stack(corrects).sum()) / total)

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
            loss, _ = self._forward(batch, self.label_smoothing)
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

    def _step(self, *drawn: Tensor) -> tuple[Tensor, Tensor]:
        self.model.zero_grad()
        loss, correct = self._forward(self.batches.batch(Drawn(*drawn)), self.label_smoothing)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), correct

    @torch.no_grad()
    def _scored(self, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, correct = self._forward(Batch(self.batches.normalization(pixels), labels), 0.0)
        return loss * len(labels), correct

    def _forward(self, batch: Batch, label_smoothing: float) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy and the number of right answers."""
        with self.hardware.autocast():
            logits = self.model(batch.images)
        logits = logits.float()
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
        return loss, (logits.detach().argmax(1) == batch.labels).sum()


def _has_parameters_but_none_of(module: nn.Module, trained: set[int]) -> bool:
    own = [id(parameter) in trained for parameter in module.parameters(recurse=False)]
    return bool(own) and not any(own)
