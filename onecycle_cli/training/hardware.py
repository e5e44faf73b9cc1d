"""The device and the precision of a run, and the settings of torch and the C library for them."""

import ctypes
import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from onecycle_cli.errors import InputError
from onecycle_cli.training.ranks import ALONE, Ranks


@dataclass(frozen=True)
class Hardware:
    """The device and the precision of a run: "float32" or "bfloat16" (autocast; weights stay float32)."""

    device: torch.device
    precision: str

    def autocast(self) -> AbstractContextManager[object]:
        """Returns the autocast context for a forward pass; in float32 there is none."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    @property
    def name(self) -> str:
        """The name of the GPU or CPU."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return str(torch.cpu.get_capabilities().get("cpu_name", "")) or self.device.type


def resolve_hardware(device: str, precision: str, ranks: Ranks = ALONE) -> Hardware:
    """Resolves a device and a precision; "auto" is CUDA if available, and bfloat16 if the device computes in it.

    A CPU computes in bfloat16 with AVX-512 BF16, AMX or ARM's BF16; without them it is emulated and slower than
    float32. Of several ranks on one machine, each has a GPU of its own: that of its local number. `InputError` when
    torch does not find the device, or when ranks cannot share it.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if ranks.several:
        device = _of_rank(device, ranks)
    chosen = torch.device(device)
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(
            f"There is no device {device}: torch sees {count or 'no'} CUDA device{'' if count == 1 else 's'}.",
            ("Use another --device." if count else "Use --device cpu, or install a torch that matches the driver.")
            + (" Each process on a machine needs a GPU of its own." if ranks.several else ""),
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise InputError("There is no device mps: torch sees no Apple GPU.", "Use --device cpu.")
    if precision == "auto":
        precision = "bfloat16" if _computes_in_bfloat16(chosen) else "float32"
    return Hardware(chosen, precision)


def _of_rank(device: str, ranks: Ranks) -> str:
    if device == "cuda":
        return f"cuda:{ranks.local_rank}"
    if device != "cpu":
        raise InputError(
            f"Several processes cannot train together on the device {device}.",
            "Use --device cuda, which gives each process a GPU of its own, or --device cpu.",
        )
    return device


def _computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        known = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
        return known and torch.backends.mkldnn.is_available()  # oneDNN uses these instructions
    return False


def configure_process(hardware: Hardware, *, deterministic: bool) -> None:
    """Sets all global settings of torch and the C library for training on `hardware`.

    On a CPU, the process keeps freed memory for later tensors; results are deterministic anyway. On a GPU, float32
    matrix products use TF32. With `deterministic`, every GPU operation returns the same bits each time, or torch raises
    an error if it has no deterministic implementation.
    """
    if hardware.device.type == "cpu":
        _keep_freed_memory()
    if hardware.device.type == "cuda":
        if hardware.device.index is not None:
            torch.cuda.set_device(hardware.device)  # else each of several ranks takes some memory of the first GPU too
        torch.set_float32_matmul_precision("high")  # TF32, which is the default for convolutions
        # torch reads this once per process, at the first matrix product. A later run in this process may need it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = False  # benchmarking may choose a different algorithm each time


def _keep_freed_memory() -> None:
    """Makes glibc keep freed memory for later tensors; does nothing with other C libraries.

    By default glibc returns each freed block above 32 MB to the system at once, and smaller blocks now and then. The
    pages of a new block then cause page faults, and the system clears them one by one. A step of ResNet-20 at batch
    size 512 had 180,000 to 312,000 page faults in float32 and some 50,000 in bfloat16, on two cores; their cost is in
    benchmarks/README.md.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, -1)  # never return memory from the end of the heap
        mallopt(mmap_max, 0)  # allocate no block outside of the heap
