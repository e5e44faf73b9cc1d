"""Kills what runs on several machines or processes, at random moments, and compares its end with an undisturbed one.

    python tests/cluster.py [ray [CELLS] | ranks [TRAININGS]]

Ray: a sweep of CELLS cells (40) on three Ray nodes on this machine, one of them without the sweep's folder where the
system can hide it. Workers, a node and the command itself are killed by SIGKILL at random moments; a new node replaces
the one that was killed, and the same command starts again. Then every cell must have its result once, and tables,
losses and weights must be those of a serial sweep, byte by byte.

Ranks: TRAININGS (20) of two ranks each, started by torchrun or by --processes. One rank of each is killed by SIGKILL,
at a random row of its table or at a random moment. What has started it starts it again, and it must come to the tables
and weights of an undisturbed training of two ranks, byte by byte.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from onecycle_cli.experiments.ray_cluster import JOIN

CELLS = 40
SEEDS = 4
SETTINGS = {
    "model.width": 0.25,
    "data.batch_size": 128,
    "schedule.epochs": 8,
    "schedule.max_lr": 0.1,
    "runtime.checkpoint_seconds": 0,
    "runtime.precision": "float32",
    "runtime.device": "cpu",
}
TABLES = ("sweep.csv", "ranking.csv")
COMPARED = ("steps.csv", "model.safetensors", "recipe.yaml")
HIDDEN = 'mount -t tmpfs none "$1" && shift && exec "$@"'
LIMIT_SECONDS = 3600
HEAD_SECONDS = 120


@contextmanager
def ray_node(runs: Path, *words: str, hidden: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A node of one CPU inside the block; with `hidden` it sees an empty folder in place of `runs`."""
    start = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", "start", *words, "--block"]
    start += ["--num-cpus=1", "--object-store-memory=200000000", "--disable-usage-stats"]
    if hidden:
        start = ["unshare", "-r", "-m", "sh", "-c", HIDDEN, "sh", str(runs), *start]
    with (runs.parent / "nodes.log").open("ab") as log:
        node = subprocess.Popen(start, stdout=log, stderr=log, cwd="/", start_new_session=True)
    try:
        yield node
    finally:
        kill_tree(node.pid)
        node.wait()


def kill_tree(pid: int) -> None:
    """Kills a process and all that it started, by SIGKILL."""
    try:
        whole = [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]
    except psutil.NoSuchProcess:
        return
    for process in whole:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def wait_for(address: str) -> None:
    """Waits until a head node lets a program in: a node that comes earlier ends."""
    deadline = time.monotonic() + HEAD_SECONDS
    while True:
        joined = subprocess.run([sys.executable, "-c", JOIN, address], capture_output=True, text=True, check=False)
        if '{"error": null}' in joined.stdout:
            return
        assert time.monotonic() < deadline, joined.stdout + joined.stderr
        time.sleep(1)


def can_hide() -> bool:
    """Whether a node can have a file system of its own here."""
    unshare = shutil.which("unshare")
    return unshare is not None and not subprocess.run([unshare, "-r", "-m", "true"], check=False).returncode


def sweep_command(runs: Path, cells: int, name: str, *more: str) -> list[str]:
    """The command of a sweep of so many cells."""
    seeds = min(SEEDS, cells)
    decays = ",".join(f"{number + 1}e-4" for number in range(-(-cells // seeds)))
    settings = [word for field, value in SETTINGS.items() for word in ("--set", f"{field}={value}")]
    words = ["sweep", "digits", *settings, "--param", f"optimizer.weight_decay={decays}", "--seeds", str(seeds)]
    return [sys.executable, "-m", "onecycle_cli", *words, "--runs-dir", str(runs), "--name", name, *more]


def rows_of(table: Path) -> int:
    """The rows of a table by now."""
    try:
        return max(0, table.read_bytes().count(b"\n") - 1)
    except FileNotFoundError:
        return 0


def busy_workers(nodes: list[subprocess.Popen[bytes]]) -> list[psutil.Process]:
    """The processes of these nodes that run a cell now. Ray names them by what they do."""
    found = []
    for node in nodes:
        try:
            children = psutil.Process(node.pid).children(recursive=True)
            found += [child for child in children if "".join(child.cmdline()).startswith("ray::entry")]
        except psutil.NoSuchProcess:
            continue
    return found


def free_port() -> int:
    """A port that is free now."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class _RaySweep:
    """A sweep on a cluster of three nodes, and the ways to disturb it."""

    def __init__(self, runs: Path, cells: int, draw: random.Random) -> None:
        self.runs, self.cells, self.draw = runs, cells, draw
        self.kills: Counter[str] = Counter()
        self.address = f"127.0.0.1:{free_port()}"
        self.table = runs / "disturbed" / "sweep.csv"
        self.log = runs.parent / "sweep.log"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.command: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the command."""
        words = sweep_command(self.runs, self.cells, "disturbed", "--ray", self.address, "--retries", "50")
        with self.log.open("ab") as log:
            self.command = subprocess.Popen(words, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        """Kills a worker that runs a cell."""
        while not (busy := busy_workers(self.nodes)):
            self.must_run()
            time.sleep(0.05)
        self.draw.choice(busy).kill()
        self.kills["workers"] += 1

    def kill_command(self) -> None:
        """Kills the command, and starts it again."""
        assert self.command is not None
        self.command.kill()
        assert self.command.wait() == -signal.SIGKILL
        self.kills["commands"] += 1
        self.start()

    def must_run(self) -> None:
        """Fails if the command has ended."""
        assert self.command is not None
        assert self.command.poll() is None, f"the sweep has ended with {self.command.returncode}:\n{self.told()}"

    def told(self) -> str:
        """What the command has printed."""
        return self.log.read_text()


def ray_half(folder: Path, cells: int = CELLS) -> str:
    """Disturbs a sweep on Ray; returns what was counted. `AssertionError` where its end differs."""
    runs, draw = folder / "runs", random.Random(cells)
    runs.mkdir()
    subprocess.run(sweep_command(runs, cells, "serial"), check=True, stdout=subprocess.DEVNULL)
    cells = rows_of(runs / "serial" / "sweep.csv")
    sweep = _RaySweep(runs, cells, draw)
    port = sweep.address.rpartition(":")[2]
    join, hides = f"--address={sweep.address}", can_hide()
    with ray_node(runs, "--head", f"--port={port}", "--include-dashboard=false") as head:
        wait_for(sweep.address)
        with ray_node(runs, join) as second, ray_node(runs, join, hidden=hides) as third:
            sweep.nodes = [head, second, third]
            sweep.start()
            disturb(sweep, lambda: ray_node(runs, join))
            assert sweep.command is not None
            code = sweep.command.wait(LIMIT_SECONDS)
            assert code == 0, sweep.told()
    compare(runs / "serial", runs / "disturbed", cells)
    killed = ", ".join(f"{number} {what}" for what, number in sorted(sweep.kills.items()))
    again = len(list((runs / "disturbed").glob("*.unfinished-*")))
    where = "one of them without the sweep's folder" if hides else "all with the sweep's folder"
    return (
        f"Ray: {cells} cells on three nodes, {where}. Killed: {killed}. {sweep.told().count('its worker was lost')} "
        f"workers were reported as lost; {again} cells had no checkpoint yet and began again. Every cell has its "
        "result once, and tables, losses and weights are those of the serial sweep."
    )


def disturb(sweep: _RaySweep, another: Callable[[], object]) -> None:
    """Kills a quarter as many workers as there are cells, the command, and a node, spread over the sweep."""
    events = ["worker"] * (sweep.cells // 4) + (["command", "node"] if sweep.cells > 4 else [])
    sweep.draw.shuffle(events)
    for number, event in enumerate(events):
        while rows_of(sweep.table) < number * sweep.cells // (len(events) + 2):
            sweep.must_run()
            time.sleep(0.05)
        time.sleep(sweep.draw.uniform(0, 3))
        if event == "worker":
            sweep.kill_worker()
        elif event == "command":
            sweep.kill_command()
        else:
            kill_tree(sweep.nodes[1].pid)
            sweep.kills["nodes"] += 1
            context = another()
            sweep.nodes[1] = context.__enter__()  # type: ignore[attr-defined]
        print(f"{rows_of(sweep.table)} of {sweep.cells} cells: a {event} was killed", file=sys.stderr, flush=True)


def compare(serial: Path, disturbed: Path, cells: int) -> None:
    """Compares two sweeps byte by byte."""
    for name in TABLES:
        assert (serial / name).read_bytes() == (disturbed / name).read_bytes(), f"{name} differs"
    assert rows_of(disturbed / "sweep.csv") == cells
    found = sorted(path.parent.name for path in serial.glob("*/run.json"))
    assert len(found) == cells
    for name in found:
        for file in COMPARED:
            assert (serial / name / file).read_bytes() == (disturbed / name / file).read_bytes(), f"{name}/{file}"


TRAININGS = 20
KINDS = {
    "plain": ["--max-lr", "0.1", "--set", "runtime.save_best=true"],
    "averaged": ["--max-lr", "0.1", "--set", "runtime.ema=0.99", "--set", "model.dropout=0.2"],
    "adamw": ["--max-lr", "0.003", "--set", "optimizer.name=adamw", "--set", "data.accumulate=2"],
    "synchronized": ["--max-lr", "0.1", "--set", "runtime.sync_batch_norm=true", "--set", "augmentation.mixup=0.2"],
    "auto": ["--max-lr", "auto", "--set", "runtime.sync_batch_norm=true", "--set", "find_lr.num_steps=100"],
}
"""Trainings of several kinds; the last one begins with a range test."""

TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--max-restarts=3"]
WAYS = {
    "--processes": (["-m", "onecycle_cli"], ["--processes", "2"]),
    "torchrun": ([*TORCHRUN, "--standalone", "-m", "onecycle_cli"], []),
    "torchrun with an endpoint": (
        [*TORCHRUN, "--rdzv-backend=c10d", "--rdzv-endpoint=ENDPOINT", "-m", "onecycle_cli"],
        [],
    ),
}


def ranks_command(runs: Path, kind: str, way: str, name: str) -> list[str]:
    """The command of a training of two ranks."""
    before, after = WAYS[way]
    settings = [f"--set={field}={value}" for field, value in SETTINGS.items() if field != "schedule.max_lr"]
    words = ["train", "digits", *settings, *KINDS[kind], "--runs-dir", str(runs), "--name", name, "--quiet"]
    endpoint = f"127.0.0.1:{free_port()}"
    return [sys.executable, *(word.replace("ENDPOINT", endpoint) for word in before), *words, *after]


def ranks_of(launcher: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The ranks that a launcher has started and that still run."""
    try:
        return [one for one in psutil.Process(launcher.pid).children() if one.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def ranks_half(folder: Path, trainings: int = TRAININGS) -> str:
    """Kills a rank of each training; returns what was counted. `AssertionError` where an end differs."""
    runs, draw, lengths = folder / "runs", random.Random(trainings), {}
    for kind in KINDS:
        began = time.monotonic()
        subprocess.run(ranks_command(runs, kind, "--processes", kind), check=True, stdout=subprocess.DEVNULL)
        lengths[kind] = time.monotonic() - began
    kills: Counter[str] = Counter()
    for number in range(trainings):
        kind, way = list(KINDS)[number % len(KINDS)], list(WAYS)[number % len(WAYS)]
        name, moment = f"{kind}-{number}", draw.uniform(0.1, 0.95) * lengths[kind]
        row = draw.randrange(1, rows_of(runs / kind / "steps.csv") - 5)
        with (folder / f"{name}.log").open("wb") as log:
            launcher = subprocess.Popen(ranks_command(runs, kind, way, name), stdout=log, stderr=log)
        if number % 3:  # most of the time is that of the start, so most kills wait for a step
            while launcher.poll() is None and rows_of(runs / name / "steps.csv") < row:
                time.sleep(0.002)
        else:
            time.sleep(moment)
        steps = rows_of(runs / name / "steps.csv")
        if alive := ranks_of(launcher):
            draw.choice(alive).kill()
            kills["before the first step" if not steps else "in a step"] += 1
        code = launcher.wait(LIMIT_SECONDS)
        assert code == 0, f"{name}, {way}: {code}\n{(folder / f'{name}.log').read_text()}"
        compare_trainings(runs / kind, runs / name)
        print(f"{number + 1} of {trainings}: {kind}, {way}, killed after {steps} steps", file=sys.stderr, flush=True)
    told = ", ".join(f"{count} {what}" for what, count in sorted(kills.items()))
    return (
        f"Ranks: {trainings} trainings of two ranks, {len(KINDS)} kinds, started in {len(WAYS)} ways. Killed: {told}. "
        "Every training has the tables and weights of its undisturbed twin."
    )


def compare_trainings(alone: Path, disturbed: Path) -> None:
    """Compares two trainings byte by byte, without their times."""
    for name in ("steps.csv", "model.safetensors", "recipe.yaml", *(path.name for path in alone.glob("best.*"))):
        assert (alone / name).read_bytes() == (disturbed / name).read_bytes(), f"{disturbed.name}/{name} differs"
    one, other = (
        [line.split(",")[:-2] for line in (run / "epochs.csv").read_text().splitlines()] for run in (alone, disturbed)
    )
    assert one == other, f"{disturbed.name}/epochs.csv differs"


HALVES = {"ray": (ray_half, CELLS), "ranks": (ranks_half, TRAININGS)}
"""What `make cluster` runs: each half with the number of its cells or trainings."""


def main() -> None:
    """Runs the halves, or the one that is named, with so many cells."""
    os.environ |= {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    package = str(Path(__file__).parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH"))))
    named = sys.argv[1:2] or list(HALVES)
    for name in named:
        half, count = HALVES[name]
        with tempfile.TemporaryDirectory() as folder:
            print(half(Path(folder), int(sys.argv[2]) if len(sys.argv) > 2 else count), flush=True)


if __name__ == "__main__":
    main()
