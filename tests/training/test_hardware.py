"""What `auto` means on a machine, and the settings of a process."""

import ctypes

import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.training.hardware import Hardware, configure_process, resolve_hardware

CPU = Hardware(torch.device("cpu"), "float32")


def test_auto_is_resolved_to_what_the_machine_has() -> None:
    hardware = resolve_hardware("auto", "auto")
    assert hardware.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert hardware.precision in ("float32", "bfloat16")
    assert hardware.name
    assert resolve_hardware("cpu", "float32") == CPU


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is what this is about")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_not_there_is_told(device: str) -> None:
    with pytest.raises(InputError, match=f"There is no device {device}"):
        resolve_hardware(device, "auto")


def test_on_a_cpu_the_c_library_keeps_freed_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Library:
        mallopt = staticmethod(lambda option, value: asked.append((option, value)))

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Library)
    configure_process(CPU, deterministic=True)
    assert asked == [(-1, -1), (-4, 0)]
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.gpu
@pytest.mark.parametrize("deterministic", [True, False])
def test_on_a_gpu_each_run_sets_whether_bits_repeat(deterministic: bool) -> None:
    configure_process(Hardware(torch.device("cuda"), "float32"), deterministic=deterministic)
    assert torch.are_deterministic_algorithms_enabled() is deterministic
    assert torch.backends.cudnn.deterministic is deterministic
    configure_process(Hardware(torch.device("cuda"), "float32"), deterministic=False)
