"""The benchmarks are run by hand; what can be held here is that they start."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is what this is about")
def test_without_a_gpu_its_benchmark_says_so() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "."], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is no CUDA device, so there is nothing to measure here.\n"


def test_the_bare_loop_runs() -> None:
    words = ["--steps", "1", "--batch-size", "8", "--depth", "8"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "contenders" / "bare.py", *words], capture_output=True, text=True, check=True
    )
    assert '"train"' in done.stdout
