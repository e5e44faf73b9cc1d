"""The device and the precision that a run computes in, and the settings of torch and the C library for them."""

import ctypes
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch

from onecycle_cli.errors import InputError


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


def configure_process(hardware: Hardware, *, deterministic: bool) -> None:
    """Sets what torch and the C library keep in globals, for a training on `hardware`: all of it is set here.

    On a CPU, freed memory is kept for later tensors. On a GPU, float32 matrix products use TF32, and with
    `deterministic` every operation gives the same bits each time, or raises an error where torch knows no such form.
    A CPU gives the same bits anyway.
    """
    if hardware.device.type == "cpu":
        _keep_freed_memory()
    if hardware.device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, which convolutions use anyway
        # torch reads this once a process, at the first matrix product. A later run in the process may ask for it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = False  # the algorithm that is fastest may differ each time


def _keep_freed_memory() -> None:
    """Makes the C library keep freed memory for later tensors. Only for glibc; does nothing elsewhere.

    glibc gives each block above 32 MB back to the system at once, and smaller ones now and then; a new block then comes
    as pages that the system clears one by one. A step of ResNet-20 at batch 512 met 180,000 to 312,000 such pages in
    float32 and some 50,000 in bfloat16, on two cores; what that costs stands in benchmarks/README.md.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of malloc.h
        mallopt(trim_threshold, -1)  # never give back from the end of the heap
        mallopt(mmap_max, 0)  # no block outside of it
