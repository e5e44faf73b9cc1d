"""What several tests start from: tiny recipes, folders of images, and the command itself."""

import functools
import gc
import io
import multiprocessing
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
import typer.testing
from hypothesis import settings
from PIL import Image
from typer.testing import CliRunner, Result

from onecycle_cli.recipe import Recipe, load, shipped_path, with_values
from onecycle_cli.run_dir.run import RunDir

# A slow machine is no failure, and the same commit gives the same answer.
settings.register_profile("onecycle", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("onecycle")
# `make fuzz`: other examples each time, and many of them.
settings.register_profile("fuzz", deadline=None, max_examples=5_000, print_blob=True)


MEMORY = Path("/dev/shm")
"""A folder of Linux that is in memory."""

TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
"""The variable that tells pytest where the files of tests are."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`make test-processors` runs the suite with both."""
    parser.addoption(
        "--auto-precision",
        choices=["float32", "bfloat16"],
        help="what runtime.precision auto means on the CPU, in place of what this machine's processor computes in",
    )


def pytest_configure() -> None:
    """Several workers with two threads each would wait for one another: 350 s instead of 95 s on two cores.

    The files of tests are in memory where there is room: to wait for a disk took a quarter of the time of trainings.

    A shell that starts this in the background (`make test &` in a script) ignores Ctrl-C for all its processes, which
    the tests send to theirs.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    elif TEMPORARY not in os.environ and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 << 30:
        os.environ[TEMPORARY] = tempfile.mkdtemp(prefix="onecycle-tests-", dir=MEMORY)


def pytest_sessionfinish(exitstatus: int) -> None:
    """Frees the memory; the files of a failure stay, to be looked at."""
    folder = Path(os.environ.get(TEMPORARY, ""))
    if folder.parent == MEMORY and exitstatus == 0 and "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_finish() -> None:
    """Python need not look for garbage among what is imported by now: half a second each time, for 500,000 objects.

    Torch decides at the first backward of a process which threads it needs. After a `FakeTensorMode`, as torch.export
    has one, it takes the CPU for a GPU and starts eight, and then no fork of this process can compute a gradient.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].ones(1, requires_grad=True).sum().backward()
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """Typer builds all commands again for each call, which takes longer than many a command: 15 ms, 2,000 times."""
    built = functools.cache(typer.main.get_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", built)
        patch.setattr(typer.testing, "_get_command", built)
        yield


@pytest.fixture(scope="session", autouse=True)
def _auto_precision(request: pytest.FixtureRequest) -> Iterator[None]:
    """Has torch name a processor that computes in bfloat16, or one that does not; processes that tests start do not."""
    precision = request.config.getoption("--auto-precision")
    if precision is None:
        yield
        return
    import torch

    named = dict.fromkeys(("avx512_bf16", "amx_bf16", "bf16"), precision == "bfloat16")
    capabilities = dict(torch.cpu.get_capabilities()) | named
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """`pytest -m gpu` says what it lacks."""
    if item.get_closest_marker("gpu"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")


def _blank() -> bytes:
    made = io.BytesIO()
    Image.new("L", (1, 1)).save(made, format="PNG")
    return made.getvalue()


BLANK = _blank()
"""A PNG of one pixel."""

TINY = {
    "model.architecture": "cnn",  # its steps take a third of the time of a resnet8's
    "model.width": 0.25,
    "schedule.epochs": 2,
    "schedule.max_lr": 0.1,
    "find_lr.num_steps": 40,
    "find_lr.start_lr": 1e-3,
    "find_lr.end_lr": 10.0,
    "data.batch_size": 128,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
}
"""Makes of the digits recipe a run of half a second, with 12 steps an epoch."""


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and caches of a test stay in its own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONECYCLE_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def _blank_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of runs are composed and not rendered: that takes twice as long as a tiny run; `draws` marks who does."""
    if request.node.get_closest_marker("draws"):
        return
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).write_bytes(BLANK))


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """The digits recipe made tiny; further fields by their dotted names: `tiny({"schedule.epochs": 3})`."""

    def make(values: dict[str, Any] | None = None) -> Recipe:
        return with_values(_digits(), TINY | (values or {}))

    return make


@functools.cache
def _digits() -> Recipe:
    return load(shipped_path("digits"))


@pytest.fixture
def onecycle() -> Callable[..., Result]:
    """Runs the command in this process; standard output and standard error are kept apart."""

    def run(*arguments: object) -> Result:
        from onecycle_cli.cli import app

        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Runs the command on a terminal of 80 x 24 without colours; returns its exit code and what is on the screen."""
    for name, value in (("COLUMNS", "80"), ("LINES", "24"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)

    def run(*arguments: object) -> tuple[int, str]:
        from onecycle_cli.cli import app

        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            with pytest.raises(SystemExit) as end:
                app([str(argument) for argument in arguments])
        return int(end.value.code or 0), re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", screen.getvalue())

    return run


@pytest.fixture
def tiny_digits() -> list[str]:
    """The words that make the digits recipe tiny on the command line."""
    return ["digits", *(word for field, value in TINY.items() for word in ("--set", f"{field}={value}"))]


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return tmp_path_factory.mktemp("made"), {}


@pytest.fixture
def once(_made: tuple[Path, dict[str, Any]], tmp_path: Path) -> Callable[..., Any]:
    """Has runs made once for several tests, of which each gets a copy: `once("suggested", make)`.

    `make` fills runs/; what it returns is what each test gets.
    """
    folder, results = _made

    def copied(name: str, make: Callable[[], Any]) -> Any:
        if name not in results:
            found = make()
            shutil.copytree(tmp_path / "runs", folder / name)
            results[name] = found
        else:
            shutil.copytree(folder / name, tmp_path / "runs")
        return results[name]

    return copied


@pytest.fixture
def copied(
    _made: tuple[Path, dict[str, Any]], tmp_path: Path, request: pytest.FixtureRequest
) -> Callable[..., tuple[RunDir, Any]]:
    """Has a run made once for several tests of a module, of which each gets a copy: `copied("tiny", make)`.

    `make` returns the run and what each test gets beside it. `to` is where the copy goes, else some folder.
    """
    folder, results = _made

    def run(name: str, make: Callable[[], tuple[RunDir, Any]], to: Path | None = None) -> tuple[RunDir, Any]:
        key = f"{request.node.nodeid.split('::')[0]} {name}"
        if key not in results:
            made, result = make()
            results[key] = shutil.copytree(made.path, Path(tempfile.mkdtemp(dir=folder)) / made.path.name), result
            return made, result
        kept, result = results[key]
        return RunDir(shutil.copytree(kept, to or Path(tempfile.mkdtemp(dir=tmp_path)) / kept.name)), result

    return run


@pytest.fixture
def trained(once: Callable[..., Any], onecycle: Callable[..., Result], tiny_digits: list[str]) -> str:
    """The name of a finished training of the tiny digits, in runs/."""

    def make() -> str:
        assert onecycle("train", *tiny_digits, "--name", "trained").exit_code == 0
        return "trained"

    return str(once("a training", make))


@pytest.fixture
def imagenet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Weights of torchvision's ResNet-18, drawn at random, where torch.hub keeps those that it has fetched."""
    import torch
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # else some draws are such that a training from them learns nothing
        weights = torchvision.models.resnet18().state_dict()
    torch.save(weights, cache / "resnet18-f37072fd.pth")
    return weights


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of small PNGs: `image_folder("train/cat", "train/dog", images=5)`.

    Classes are noise, dark or bright by the last letter of their name, so that two neighbours can be told apart.
    """

    def make(*classes: str, images: int = 4, size: tuple[int, int] = (12, 10), name: str = "photos") -> Path:
        generator = np.random.default_rng(0)
        for folder in classes:
            (tmp_path / name / folder).mkdir(parents=True, exist_ok=True)
            for image in range(images):
                bright = 128 * (ord(folder[-1]) % 2)
                pixels = generator.integers(bright, bright + 128, (size[1], size[0], 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / name / folder / f"{image}.png")
        return tmp_path / name

    return make


@pytest.fixture
def noise_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of classes that nothing tells apart, of so many images each: `noise_folder(a=190, b=10)`."""

    def make(**images: int) -> Path:
        generator = np.random.default_rng(0)
        for folder, count in images.items():
            (tmp_path / "noise" / folder).mkdir(parents=True)
            for image in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "noise" / folder / f"{image}.png")
        return tmp_path / "noise"

    return make


@pytest.fixture
def on_ranks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Calls a function in so many processes, described as one group; returns by rank what came, or was raised.

    `on_ranks(2, lambda: ...)`. The processes are forked, which takes no time, so the function may be of any kind. What
    it returns is pickled. `missing` are the ranks that never start.
    """
    import torch
    import torch._dynamo  # DistributedDataParallel loads it, for three seconds in each process that has not

    from onecycle_cli.training import joining

    if torch.cuda.is_available():
        pytest.skip("torch cannot fork a process that uses CUDA")
    monkeypatch.setattr(joining, "LINGER_SECONDS", 0.1)

    def run(count: int, function: Callable[[], Any], missing: tuple[int, ...] = (), seconds: float = 60) -> list[Any]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fork = multiprocessing.get_context("fork")
        started = []
        for rank in sorted({*range(count)} - {*missing}):
            group = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
            group |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ONECYCLE_RANK_TIMEOUT": seconds}
            here, there = fork.Pipe(duplex=False)
            process = fork.Process(target=_as_rank, args=(group, function, there), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of later versions of Python
                process.start()
            there.close()
            started.append((process, here))
        outcomes = []
        for process, here in started:
            try:
                outcomes.append(here.recv())
            except EOFError:
                outcomes.append(None)  # killed
            process.join()
        return outcomes

    return run


def _as_rank(group: dict[str, Any], function: Callable[[], Any], end: Any) -> None:
    import torch

    torch.set_num_threads(1)
    os.environ |= {name: str(value) for name, value in group.items()}
    try:
        outcome = function()
    except Exception as error:
        outcome = error
    end.send(outcome)


class Forked:
    """A process that runs the command, or a program, forked from this one: what a test needs of a `Popen`."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str]) -> None:
        self._out, self._err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")  # noqa: SIM115
        given = (words, environment, self._out.fileno(), self._err.fileno())
        self._process = multiprocessing.get_context("fork").Process(target=_as_command, args=given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of later versions of Python
            self._process.start()
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def communicate(self) -> tuple[str, str]:
        """Waits for its end; returns its standard output and standard error."""
        self._process.join()
        told = []
        for file in (self._out, self._err):
            with file:
                file.seek(0)
                told.append(file.read())
        return told[0], told[1]


def _as_command(words: tuple[str, ...], environment: dict[str, str], out: int, err: int) -> None:
    from onecycle_cli.cli import main

    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    os.environ |= environment
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    else:
        sys.argv = ["onecycle", *words]
        sys.orig_argv = [sys.executable, "-m", "onecycle_cli", *words]  # by which it starts ranks
        main()


@pytest.fixture
def started() -> Callable[..., "Forked | subprocess.Popen[str]"]:
    """Starts the command in a process of its own, or a program: `started("train", "digits", NAME="of a variable")`,
    `started("-c", "print(1)")`.

    It is forked, since torch and the rest would take three seconds to import. Threads of OpenMP and CUDA do not survive
    that: with them, Python starts anew.
    """
    import sklearn.datasets  # noqa: F401  each process that reads the digits would import it
    import torch

    import onecycle_cli.experiments.training  # noqa: F401  as well

    def run(*words: str, **environment: str) -> "Forked | subprocess.Popen[str]":
        if torch.get_num_threads() == 1 and not torch.cuda.is_available():
            return Forked(words, environment)
        command = [sys.executable, *(() if words[0] == "-c" else ("-m", "onecycle_cli")), *words]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, text=True, stdout=pipe, stderr=pipe, env=os.environ | environment)

    return run


@pytest.fixture
def easy(tiny: Callable[..., Recipe], image_folder: Callable[..., Path]) -> Callable[..., Recipe]:
    """A recipe of dark and bright images, which any training can tell apart, with one batch size for tune to try.

    Whatever the rounding, its range tests are clear. With weights up to 1 % away from these, and in bfloat16, the loss
    falls by 51 to 58 standard errors at batches of 16 and by 14 to 16 at batches of 8, where 3 are asked for; and at
    the highest lrs the weight decay alone lets it rise.
    """
    path = image_folder("a", "b", images=40, size=(8, 8))
    values = {"data.source": "image_folder", "data.path": str(path), "data.channels": 3, "data.batch_size": 16}
    values |= {"optimizer.weight_decay": 1e-2, "sweep_wd.weight_decays": [1e-2]}
    values |= {"schedule.epochs": 4, "find_lr.end_lr": 100.0}
    return lambda more=None: tiny(values | (more or {}))
