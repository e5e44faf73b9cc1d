"""The one training loop, the optimizer it drives, and scoring.

The loop is a generator: it takes a step and yields what is known of it, with the loss still on the device. Whoever
drains it decides how often to look, and may leave at any step. Nothing in a step waits for the device.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.data.batches import Batch, FixedBatches, TrainBatches, derived_seed
from onecycle_cli.errors import InputError
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


def build_optimizer(
    model: nn.Module,
    name: str,
    *,
    weight_decay: float,
    decay_norm_and_bias: bool,
    nesterov: bool,
    beta2: float,
    eps: float,
) -> torch.optim.Optimizer:
    """SGD or AdamW over the parameters of `model`; lr and momentum are set at each step by the loop.

    Without `decay_norm_and_bias`, parameters of one dimension (norm layers and biases) do not decay.
    """
    decayed = [p for p in model.parameters() if decay_norm_and_bias or p.ndim > 1]
    spared = [p for p in model.parameters() if not (decay_norm_and_bias or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": weight_decay}]
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    # The lr and momentum given here are never used: `set_hyperparameters` comes before each update.
    if name == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=0.9, nesterov=nesterov, fused=True)
    return torch.optim.AdamW(groups, lr=0.0, betas=(0.9, beta2), eps=eps, fused=True)


def set_hyperparameters(optimizer: torch.optim.Optimizer, lr: float, momentum: float) -> None:
    """Sets the lr and the momentum (for AdamW: beta1, beta2 untouched) of the next update."""
    for group in optimizer.param_groups:
        group["lr"] = lr
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


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
    optimizer: torch.optim.Optimizer,
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
        set_hyperparameters(optimizer, lr, momentum)
        if has_dropout:
            torch.manual_seed(derived_seed(batches.seed, "dropout", step))
        if not model.training:
            model.train()
        loss, correct = _forward(model, batch, label_smoothing, hardware)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
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
