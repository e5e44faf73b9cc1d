"""Short forms of `make cluster`."""

import subprocess
import sys
from pathlib import Path

import pytest

CLUSTER = Path(__file__).parent / "cluster.py"


@pytest.mark.slow
def test_a_sweep_on_three_nodes_that_are_killed_ends_as_a_serial_one() -> None:
    pytest.importorskip("ray")
    cluster = subprocess.run([sys.executable, CLUSTER, "ray", "8"], capture_output=True, text=True, check=False)
    assert cluster.returncode == 0, cluster.stderr
    assert "8 cells on three nodes" in cluster.stdout
    assert "Killed: 1 commands, 1 nodes, 2 workers." in cluster.stdout


@pytest.mark.slow
def test_trainings_whose_ranks_are_killed_end_as_undisturbed_ones() -> None:
    cluster = subprocess.run([sys.executable, CLUSTER, "ranks", "3"], capture_output=True, text=True, check=False)
    assert cluster.returncode == 0, cluster.stderr
    assert "3 trainings of two ranks" in cluster.stdout
