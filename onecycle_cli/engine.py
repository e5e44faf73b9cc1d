"""The one training loop, and scoring.

The loop is a generator: it takes a step and yields what is known of it, with the loss still on the device. Whoever
drains it decides how often to look, and may leave at any step. Nothing in a step waits for the device.
"""

import ctypes
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.data.batches import Batch, FixedBatches, TrainBatches, derived_seed
from onecycle_cli.errors import InputError
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
    as pages that the system clears one by one. A step of ResNet-20 at batch 512 on two cores met 312,000 such pages in
    float32 and 50,000 in bfloat16. Without them it takes 574 instead of 1,246 ms and 390 instead of 430.
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


def train_steps(
    model: nn.Module,
    optimizer: Optimizer,
    batches: TrainBatches,
    schedule: Schedule,
    *,
    first_step: int = 0,
    label_smoothing: float,
    hardware: Hardware,
) -> Iterator[Step]:
    """Takes one optimizer step after another, from `first_step`, for as long as it is asked to."""
    has_dropout = any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())
    for step, batch in enumerate(batches.from_step(first_step), start=first_step):
        lr, momentum = schedule(step)
        optimizer.set(lr, momentum)
        if has_dropout:
            torch.manual_seed(derived_seed(batches.seed, "dropout", step))
        if not model.training:
            model.train()
        loss, correct = _forward(model, batch, label_smoothing, hardware)
        loss.backward()
        optimizer.step()
        epoch = step // batches.steps_per_epoch + 1
        yield Step(step, epoch, lr, momentum, len(batch.labels), loss.detach(), correct)


def _forward(model: nn.Module, batch: Batch, label_smoothing: float, hardware: Hardware) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy and the number of right answers."""
    with hardware.autocast():
        logits = model(batch.images)
    logits = logits.float()
    loss = F.cross_entropy(logits, batch.labels, label_smoothing=label_smoothing)
    return loss, (logits.detach().argmax(1) == batch.labels).sum()


@dataclass(frozen=True)
class Score:
    """Mean cross-entropy (without label smoothing) and the share of right answers."""

    loss: float
    accuracy: float


@torch.no_grad()
def evaluate(model: nn.Module, batches: FixedBatches, hardware: Hardware) -> Score:
    """Scores `model` on all images; looks at the device once, at the end."""
    model.eval()
    losses, corrects = [], []
    for batch in batches:
        loss, correct = _forward(model, batch, 0.0, hardware)
        losses.append(loss * len(batch.labels))
        corrects.append(correct)
    total = len(batches.labels)
    return Score(float(torch.stack(losses).sum()) / total, int(torch.stack(corrects).sum()) / total)
