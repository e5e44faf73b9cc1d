"""Cells on Ray: they leave what they leave one after another, whatever is lost on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.errors import MachineError, Terminated
from onecycle_cli.experiments import ray_cells
from onecycle_cli.experiments.checkpoints import steps_kept
from onecycle_cli.experiments.ray_cluster import RayOptions, connected
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep import Sweep, sweep
from onecycle_cli.experiments.sweep_plan import SweepPlan
from onecycle_cli.experiments.tune import tune
from onecycle_cli.experiments.weight_decay import sweep_wd, weight_decay_plan
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

pytest.importorskip("ray")
CPU = Hardware(torch.device("cpu"), "float32")
TABLES = ("sweep.csv", "ranking.csv")


@pytest.fixture(scope="module")
def head() -> Iterator[str]:
    """The address of a cluster of one node, which all tests of this module share."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), path)))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": 2**28})
    yield cluster.address
    cluster.shutdown()
    if path is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = path


@pytest.fixture
def options(head: str) -> Iterator[RayOptions]:
    """A connection to the cluster. The wait for its answer is a test of `ray_cluster`."""
    found = RayOptions(head)
    with connected(found, silent):
        yield found


@pytest.fixture
def long(two_splits: Recipe) -> Recipe:
    """A recipe of some seconds, with a checkpoint after each step."""
    return with_values(two_splits, {"schedule.epochs": 25, "runtime.checkpoint_seconds": 0})


def plan_of(recipe: Recipe, *sizes: int) -> SweepPlan:
    return SweepPlan(recipe, "train", [{"data.batch_size": size} for size in sizes], 1)


def swept(plan: SweepPlan, sweep_run: RunDir, ray: RayOptions | None, report: Callable = silent) -> Sweep:
    return sweep(plan, Session(sweep_run, CPU, report), ray=ray)


def assert_equal(one: RunDir, other: RunDir) -> None:
    for name in TABLES:
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
    for cell in (path.parent for path in one.path.glob("*/run.json")):
        for name in ("steps.csv", "model.safetensors", "recipe.yaml"):
            files = (cell / name, other.path / cell.name / name)
            assert files[0].is_file() == files[1].is_file(), files
            assert not files[0].is_file() or files[0].read_bytes() == files[1].read_bytes(), files


@contextmanager
def when_running(cell: Path, act: Callable[[], object], rows: int = 20) -> Iterator[None]:
    """Calls `act` as soon as a cell has a checkpoint and so many rows in its table, while the block runs."""

    def watch() -> None:
        while not gone.is_set():
            steps = cell / "steps.csv"
            has_rows = steps.is_file() and steps.read_bytes().count(b"\n") > rows
            if has_rows and any(cell.glob("checkpoint-*.safetensors")):
                act()
                acted.append(True)
                return
            time.sleep(0.005)

    acted: list[bool] = []
    gone = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        gone.set()
        thread.join()
    assert acted


@contextmanager
def ending_by_signals() -> Iterator[None]:
    """Raises `Terminated` on SIGTERM, as a command does."""

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def kill_worker(cell: Path) -> None:
    os.kill(json.loads((cell / "run.json").read_text())["pid"], signal.SIGKILL)


@pytest.mark.slow
def test_tables_and_weights_are_those_of_a_serial_sweep(
    options: RayOptions, new_sweep: Callable[[], RunDir], two_splits: Recipe
) -> None:
    plan = plan_of(two_splits, 4, 2000, 6)  # the second one fails by itself
    serial, on_ray = new_sweep(), new_sweep()
    swept(plan, serial, None)
    told: list[Any] = []
    result = swept(plan, on_ray, options, told.append)
    assert_equal(serial, on_ray)
    assert [row["status"] == "failed" for row in result.rows] == [False, True, False]
    assert sum("batch_size=2000" in text for text in told) == 1  # it was not tried again
    assert RunDir(on_ray.path / "batch_size=4,seed=0").facts["threads"] == 1


@pytest.mark.slow
def test_a_cell_whose_worker_is_killed_resumes(
    options: RayOptions, new_sweep: Callable[[], RunDir], long: Recipe
) -> None:
    serial, resumed = new_sweep(), new_sweep()
    plan = plan_of(long, 4)
    swept(plan, serial, None)
    cell = resumed.path / "batch_size=4,seed=0"
    told: list[Any] = []
    with when_running(cell, lambda: kill_worker(cell)):
        swept(plan, resumed, options, told.append)
    assert any("its worker was lost; retry 1 of 2" in text for text in told), told
    assert_equal(serial, resumed)
    assert not list(resumed.path.glob("*.unfinished-*"))


@pytest.mark.slow
def test_a_cell_that_has_no_retries_left_is_a_row(
    options: RayOptions, new_sweep: Callable[[], RunDir], long: Recipe
) -> None:
    lost = new_sweep()
    cell = lost.path / "batch_size=4,seed=0"
    with when_running(cell, lambda: kill_worker(cell)):
        result = swept(plan_of(long, 4), lost, RayOptions(options.address, retries=0))
    assert result.rows[0]["status"] == "failed"
    assert "its worker was lost 1 times" in result.rows[0]["error"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupt_ends_the_tasks_with_a_checkpoint(
    options: RayOptions, new_sweep: Callable[[], RunDir], long: Recipe, number: signal.Signals
) -> None:
    serial, stopped = new_sweep(), new_sweep()
    plan = plan_of(long, 4)
    swept(plan, serial, None)
    cell = stopped.path / "batch_size=4,seed=0"
    with (
        when_running(cell, lambda: os.kill(os.getpid(), number)),
        ending_by_signals(),
        pytest.raises((KeyboardInterrupt, Terminated)),
    ):
        swept(plan, stopped, options)
    assert [RunDir(path).facts["status"] for path in (stopped.path, cell)] == ["interrupted", "interrupted"]
    assert list(cell.glob("checkpoint-*.safetensors"))
    swept(plan, stopped, options)
    assert_equal(serial, stopped)
    assert not list(stopped.path.glob("*.unfinished-*"))


def test_another_version_of_onecycle_on_a_node_is_told(
    options: RayOptions, new_sweep: Callable[[], RunDir], two_splits: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cells, "__version__", "0.0.1")
    with pytest.raises(MachineError, match=r"has onecycle .*, and this machine has 0.0.1"):
        swept(plan_of(two_splits, 4), new_sweep(), options)


APART = """
mount -t tmpfs none "$1" && exec "$2" -c "from ray.scripts.scripts import main; main()" start --address="$3" \
    --num-cpus=3 --object-store-memory=268435456 --block
"""


@pytest.fixture
def apart(options: RayOptions, tmp_path: Path) -> Iterator[RayOptions]:
    """A further node of the cluster, of three CPUs, which sees an empty folder where this test works."""
    import ray

    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-r", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system has no namespaces for a node with a file system of its own")
    words = [unshare, "-r", "-m", "sh", "-c", APART, "sh", str(tmp_path), sys.executable, options.address]
    node = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", start_new_session=True
    )
    try:
        while not any(found["Resources"].get("CPU") == 3 for found in ray.nodes() if found["Alive"]):
            assert node.poll() is None
            time.sleep(0.1)
        yield replace(options, cpus_per_cell=3)
    finally:
        os.killpg(node.pid, signal.SIGKILL)
        node.wait()


@pytest.mark.slow
def test_a_node_without_the_folder_gets_the_images_and_sends_the_files(
    apart: RayOptions, new_sweep: Callable[[], RunDir], long: Recipe
) -> None:
    serial, sent = new_sweep(), new_sweep()
    plan = plan_of(long, 4, 2000)
    swept(plan, serial, None)
    told: list[Any] = []
    cell = sent.path / "batch_size=4,seed=0"
    with when_running(cell, lambda: kill_worker(cell)):
        swept(plan, sent, apart, told.append)
    assert any("its worker was lost; retry 1 of 2" in text for text in told), told
    assert sum("MiB of images to the cluster" in text for text in told) == 1
    table = [pd.read_csv(run.path / "sweep.csv") for run in (serial, sent)]
    assert table[0]["status"].tolist() == table[1]["status"].tolist() == ["finished", "failed"]
    assert_equal(serial, sent)
    assert not list(sent.path.glob("*.unfinished-*"))  # it went on from the checkpoint that had come
    # Of the checkpoints the newest alone: on a quick machine it may be the only one that was sent before the kill.
    names = [sorted(path.name for path in (run.path / cell.name).glob("[!c]*")) for run in (serial, sent)]
    assert names[0] == names[1]
    newest = [steps_kept(RunDir(run.path / cell.name))[-1] for run in (serial, sent)]
    assert newest[0] == newest[1] == 100


@pytest.mark.slow
def test_range_tests_and_their_refinement_are_those_of_a_serial_sweep(
    options: RayOptions, new_sweep: Callable[..., RunDir], easy: Callable[..., Recipe]
) -> None:
    plan = weight_decay_plan(easy({"sweep_wd.weight_decays": [1e-2, 1e-4]}), 1)
    runs = new_sweep("sweep-wd"), new_sweep("sweep-wd")
    serial, on_ray = (
        sweep_wd(plan, Session(run, CPU, silent), refine=True, ray=ray)
        for run, ray in zip(runs, (None, options), strict=True)
    )
    assert serial.rows == on_ray.rows
    assert len(serial.rows) > 2
    assert (runs[0].path / "sweep.csv").read_bytes() == (runs[1].path / "sweep.csv").read_bytes()


@pytest.mark.slow
def test_a_tuning_decides_as_a_serial_one(
    options: RayOptions, new_sweep: Callable[..., RunDir], easy: Callable[..., Recipe]
) -> None:
    recipe = easy()
    serial, on_ray = new_sweep("tune"), new_sweep("tune")
    one = tune(recipe, Session(serial, CPU, silent), budget=86_400.0)
    shutil.copy(serial.path / "tune.json", on_ray.path)  # the speeds, from which the lengths of the runs follow
    told: list[Any] = []
    other = tune(recipe, Session(on_ray, CPU, told.append), budget=86_400.0, ray=options)
    assert one.decisions == other.decisions
    assert (serial.path / "tuned.yaml").read_bytes() == (on_ray.path / "tuned.yaml").read_bytes()
    assert any(str(text).startswith("Cell 3 of 3: ") for text in told)  # the seeds, side by side


@pytest.mark.slow
def test_a_command_that_is_killed_goes_on_by_the_same_command(head: str, tmp_path: Path, long: Recipe) -> None:
    Path("recipe.yaml").write_text(to_yaml(long))
    words = ["sweep", "recipe.yaml", "--param", "data.batch_size=4,8,16", "--name"]
    command = [sys.executable, "-m", "onecycle_cli", *words]
    killed = subprocess.Popen([*command, "killed", "--ray", head], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    table = tmp_path / "runs" / "killed" / "sweep.csv"
    while killed.poll() is None and not (table.is_file() and len(table.read_text().splitlines()) > 1):
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    subprocess.run([*command, "killed", "--ray", head], check=True, capture_output=True)
    subprocess.run([*command, "serial"], check=True, capture_output=True)
    assert_equal(RunDir(tmp_path / "runs" / "serial"), RunDir(tmp_path / "runs" / "killed"))
