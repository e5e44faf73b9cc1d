"""Runs commands of onecycle in forks of one process, on tiny recipes, with their file-system calls interposed.

`Server` runs a command; `prepared` makes the folder from which each run of a scenario starts, and its undisturbed
result. The process must have been started by `start_with_interposer`, and must have called `load`.
"""

import csv
import gc
import hashlib
import importlib
import io
import json
import os
import pkgutil
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from interposer import KILL, Interposer, entries

TINY = {
    "data.path": "images",
    "data.image_size": 8,
    "data.channels": 1,
    "data.padding": 1,
    "data.batch_size": 4,
    "data.valid_fraction": 0.25,
    "model.architecture": "cnn",
    "model.width": 0.25,
    "schedule.epochs": 2,
    "find_lr.num_steps": 30,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
    "runtime.save_best": "true",
    "runtime.ema": 0.9,
    "runtime.checkpoint_seconds": 0,
}
SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


TRAINED = (
    "steps.csv",
    "epochs.csv",
    "model.safetensors",
    "best.safetensors",
    "images.npy",
    "recipe.yaml",
    "summary.json",
)
TRAIN = ("train", "recipe.yaml", *SETTINGS, "--max-lr", "0.1", "--name", "run")


@dataclass(frozen=True)
class Scenario:
    """A command, and what it is to give.

    `words` run in a folder with recipe.yaml, images/ and runs/earlier. `run` is the pattern of the folder that it makes
    in runs/, `results` are those of the files in it that are compared. `interrupted`: the same command was killed
    there in the middle of its calls. `decoded`: the images are in the cache already.
    """

    words: tuple[str, ...]
    run: str
    results: tuple[str, ...]
    interrupted: tuple[str, ...] | None = None
    decoded: bool = True


SCENARIOS = {
    "find-lr": Scenario(
        ("find-lr", "recipe.yaml", *SETTINGS),
        "*-find-lr-*",
        ("lr_range.csv", "suggestion.json", "summary.json", "recipe.yaml"),
        decoded=False,
    ),
    "train": Scenario(TRAIN, "run", TRAINED),
    "resume": Scenario(("train", "--resume", "runs/run"), "run", TRAINED, interrupted=TRAIN),
    "sweep": Scenario(
        ("sweep", "recipe.yaml", *SETTINGS, "--max-lr", "0.1", "--param", "optimizer.weight_decay=1e-4,1e-3"),
        "sweep-*",
        ("sweep.csv", "ranking.csv", "*seed=0/steps.csv", "*seed=0/model.safetensors"),
    ),
    "tune": Scenario(
        ("tune", "recipe.yaml", *SETTINGS, "--budget", "10s", "--name", "tuned"), "tuned", ("tuned.yaml",)
    ),
    "evaluate": Scenario(
        ("evaluate", "earlier"),
        "*-evaluate-*",
        ("per_class.csv", "confusion_matrix.csv", "wrong_predictions.csv", "summary.json"),
    ),
    "export": Scenario(("export", "earlier", "--format", "safetensors"), "earlier", ("exported-model.safetensors",)),
}
SECONDS = 120.0
"""The time limit of a run, which takes a second or two, or some more where it imports all: a longer one hangs."""

TIMES = ("seconds", "images_per_second", "sha256")
"""The columns, and the fields of a summary, that tell times, or are sums over such."""


@dataclass(frozen=True)
class End:
    """How a process ended: its exit code (negative: the signal; None: the time limit), and what it printed."""

    code: int | None
    out: str
    err: str


class Server:
    """Runs commands of onecycle in forks of this process, which has imported all that they need."""

    def __init__(self, library: Path) -> None:
        from typer.main import get_command

        from onecycle_cli.cli import app

        self.interposer = Interposer(library)
        self._command = get_command(app)
        gc.freeze()  # else the first collection of each fork copies all memory of this process: 0.2 s a run

    def run(
        self,
        folder: Path,
        words: Sequence[str],
        fail_at: int = -1,
        fault: int = 0,
        record: Path | None = None,
        arm: Callable[[], None] | None = None,
    ) -> End:
        """Runs a command in a folder, with its calls counted and the call number `fail_at` made to fail.

        `arm` is called in the fork before the command begins, for what else is to happen to it.
        """
        self.interposer.set(fail_at, fault)
        out, err = folder.with_name(f"{folder.name}.out"), folder.with_name(f"{folder.name}.err")
        child = os.fork()
        if child == 0:
            self._run_here(folder, words, out, err, record, arm)
        code = _waited(child)
        return End(code, out.read_text(errors="replace"), err.read_text(errors="replace"))

    def _run_here(
        self,
        folder: Path,
        words: Sequence[str],
        out: Path,
        err: Path,
        record: Path | None,
        arm: Callable[[], None] | None,
    ) -> None:
        code = 70
        try:
            os.setsid()
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            os.chdir(folder)
            os.environ |= places(folder)
            tempfile.tempdir = None
            self.interposer.start([folder], record)
            if arm is not None:
                arm()
            self._command(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)


def places(folder: Path) -> dict[str, str]:
    """Returns the environment of a command that keeps to a folder."""
    return {"ONECYCLE_DATA": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}


def _waited(child: int) -> int | None:
    """Waits for the end of a process; kills its group after the time limit."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            with suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)  # its workers, if it was killed
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def load() -> None:
    """Imports all that the commands import, and draws a figure, so that forks need not."""
    import matplotlib.backends.backend_agg
    import pandas
    import PIL.Image
    import sklearn.datasets
    import sklearn.model_selection
    import torch._dynamo
    from matplotlib.figure import Figure

    import onecycle_cli

    for module in pkgutil.walk_packages(onecycle_cli.__path__, "onecycle_cli."):
        if not module.name.endswith("__main__"):
            with suppress(ImportError):  # of an extra that is not installed
                importlib.import_module(module.name)
    PIL.Image.init()
    figure = Figure(layout="constrained")
    figure.subplots().plot([1, 2], label="a")
    figure.legend()
    figure.savefig(io.BytesIO(), format="png")
    del matplotlib, pandas, sklearn
    torch.set_num_threads(1)


@dataclass(frozen=True)
class Prepared:
    """A scenario with the folder from which each run starts, its calls with their paths, and its undisturbed result."""

    name: str
    scenario: Scenario
    template: Path
    calls: tuple[tuple[str, str], ...]
    code: int
    result: "dict[str, object]"


def make_images(folder: Path) -> None:
    """Writes 12 digits of two classes as PNGs."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name in (0, 1):
        (folder / str(name)).mkdir(parents=True)
        for number, pixels in enumerate(digits.images[digits.target == name][:6]):
            Image.fromarray((pixels * 15).astype("uint8")).save(folder / str(name) / f"{number}.png")


def prepared(server: Server, folder: Path, name: str) -> Prepared:
    """Makes the template of a scenario, runs it undisturbed, and counts its calls.

    All runs are in `folder`/place: recipes and the names of cache entries contain the absolute path of the images.
    """
    scenario, place = SCENARIOS[name], folder / "place"
    make_images(place / "images")
    (place / "tmp").mkdir()
    shutil.copy(Path(__file__).parents[2] / "recipes/images.yaml", place / "recipe.yaml")
    made = server.run(place, (*TRAIN[:-1], "earlier"))
    assert made.code == 0, made
    if not scenario.decoded:
        shutil.rmtree(place / "images.onecycle-cache")
    template = folder / f"template-{name}"
    if scenario.interrupted:
        place.rename(template)
        undisturbed(server, template, place, scenario.interrupted)
        shutil.rmtree(place)
        template.rename(place)
        killed = server.run(place, scenario.interrupted, int(0.6 * server.interposer.count), KILL)
        assert killed.code == -signal.SIGKILL, killed
    place.rename(template)
    record = folder / "record"
    code = undisturbed(server, template, place, scenario.words, record)
    found = entries(record.read_bytes())
    calls = tuple((entry.second, entry.first) for entry in found if entry.call == "counted")
    assert len(calls) == server.interposer.count
    record.unlink()
    result = results_of(place, scenario)
    shutil.rmtree(place)
    assert undisturbed(server, template, place, scenario.words) == code
    other = different(results_of(place, scenario), result)
    shutil.rmtree(place)
    assert not other, f"two undisturbed runs differ in {other}"
    return Prepared(name, scenario, template, calls, code, result)


def undisturbed(server: Server, template: Path, place: Path, words: Sequence[str], record: Path | None = None) -> int:
    """Runs a command in a copy of the template; returns its exit code, which is that of a success."""
    shutil.copytree(template, place)
    end = server.run(place, words, record=record)
    assert end.code in (0, 4), end
    return end.code


def results_of(folder: Path, scenario: Scenario) -> dict[str, object]:
    """Returns the results of the newest run of a scenario, by file name, without times."""
    run = run_of(folder, scenario)
    if run is None:
        return {}
    found = sorted(file for pattern in scenario.results for file in run.glob(pattern) if file.is_file())
    return {str(file.relative_to(run)): _without_times(file) for file in found}


def run_of(folder: Path, scenario: Scenario) -> Path | None:
    """Returns the folder of the newest run of a scenario."""
    runs = sorted(path for path in (folder / "runs").glob(scenario.run) if not path.name.startswith("."))
    return runs[-1] if runs else None


def _without_times(file: Path) -> object:
    if file.name == "epochs.csv":
        return [{key: row[key] for key in row if key not in TIMES} for row in csv.DictReader(file.open())]
    if file.name == "summary.json":
        return {key: value for key, value in json.loads(file.read_text()).items() if key not in TIMES}
    return file.read_bytes()


def disturbed(
    server: Server,
    one: Prepared,
    folder: Path,
    run: Callable[[Path], End],
    judged: Callable[[End], str],
    went_on: "set[str]",
) -> str:
    """Runs a command that something disturbs, in a place in `folder`, and lets it go on; returns how it ended.

    `judged` is how, in words. `went_on` has the states from which it need not go on again; it grows. `AssertionError`
    says what is wrong.
    """
    place = shutil.copytree(one.template, folder / "place")
    before = tree(place / "runs" / "earlier")
    try:
        end = run(place)
        assert end.code is not None, f"hangs\n{end.err}"
        assert "Traceback" not in end.err, end.err
        whole_files(place)
        how = judged(end)
        if how in (RIGHT, NOT_REACHED):
            found = results_of(place, one.scenario)
            assert found == one.result, f"another result: {different(found, one.result)}\n{end.err}"
        elif (state := state_of(place)) not in went_on:
            go_on(server, one, place)
            went_on.add(state)
        # An export adds a file to it.
        assert before.items() <= tree(place / "runs" / "earlier").items(), "an earlier run was changed"
        return how
    finally:
        shutil.rmtree(place)


RIGHT, NOT_REACHED = "right result", "not reached"
"""The ends after which nothing must go on."""


def go_on(server: Server, one: Prepared, place: Path) -> None:
    """Resumes the run, or runs the same command again, and compares the result with an undisturbed one."""
    words = one.scenario.words
    if words[0] == "train" and (place / "runs/run/run.json").is_file():
        words = ("train", "--resume", "runs/run")
    end = server.run(place, words)
    ended = words[:2] == ("train", "--resume") and "has come to its end" in end.err
    ended |= words[0] == "export" and "exists already" in end.err  # it was killed after that
    assert end.code == one.code or ended, f"then {' '.join(words[:3])} ends with {end.code}\n{end.err}"
    whole_files(place)
    found = results_of(place, one.scenario)
    assert found == one.result, f"then another result: {different(found, one.result)}\n{end.err}"
    # Hidden rests of an interrupted find-lr, or of a run that was killed before it began, stay where nobody reads them.
    run = run_of(place, one.scenario)
    rests = run.rglob(".*") if run else ()
    left = [path for path in rests if path.is_file() and not path.name.endswith(".lock")]
    # The old folder of a cell that began again, and that of one that was killed before it began.
    left = [path for path in left if not any(name in str(path) for name in (".unfinished-", ".new-"))]
    # What a killed export has written so far: two of them must not write the same file.
    left = [path for path in left if not path.name.endswith("-exported-model.safetensors")]
    assert not left, f"then leaves {left}"


def different(found: dict[str, object], expected: dict[str, object]) -> list[str]:
    """Returns the files that differ or are missing."""
    return sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))


def state_of(folder: Path) -> str:
    """Returns a checksum of all files and folders in a folder, without the numbers in names and texts: times, sums."""
    found = hashlib.sha256()
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        found.update(NUMBER.sub(b"0", os.fsencode(inner)) + b"/")
    for path, content in tree(folder).items():
        is_text = b"\0" not in content
        for part in (NUMBER.sub(b"0", os.fsencode(path)), NUMBER.sub(b"0", content) if is_text else content):
            found.update(b"%d:%b" % (len(part), part))
    return found.hexdigest()


NUMBER = re.compile(rb"[0-9a-f]*[0-9][0-9a-f]*")
"""Decimal and hexadecimal ones."""


def tree(folder: Path) -> dict[str, bytes]:
    """Returns the content of all files of a folder."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def whole_files(place: Path) -> None:
    """Reads every file under its final name; `AssertionError` names one of which only a part is there."""
    for path in place.rglob("*"):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(place).parts):
            continue
        try:
            read_whole(path)
        except Exception as error:
            raise AssertionError(f"{path.relative_to(place)} is not whole: {error!r}") from None


def read_whole(path: Path) -> None:
    """Reads a file by its kind; raises an error if it is cut."""
    match path.suffix:
        case ".json":
            json.loads(path.read_text())
        case ".csv":
            # A table in progress grows by blocks of rows; a reader leaves out a last line without its end.
            text = path.read_text()
            rows = [*csv.reader(io.StringIO(text, newline=""))]
            assert len({len(row) for row in (rows if text.endswith("\n") else rows[:-1])}) <= 1, "rows differ in length"
        case ".safetensors":
            from safetensors import safe_open

            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dict
                    file.get_tensor(name)
        case ".png":
            from PIL import Image

            with Image.open(path) as image:
                image.load()
        case ".npy":
            import numpy

            numpy.load(path)
        case ".yaml":
            assert path.read_text().endswith("\n")


LIBRARY = "ONECYCLE_INTERPOSER"
"""The environment variable that names the interposing library, in a process that was started with it."""


def start_with_interposer(library: Path, *others: Path) -> int:
    """Runs this script again, with its arguments, in a process whose calls are interposed; returns its exit code.

    The calls of other libraries are interposed too.
    """
    known = {"LD_PRELOAD": ":".join(map(str, (library, *others))), LIBRARY: str(library), "OMP_NUM_THREADS": "1"}
    # The current folder must not be on the path of imports: they would look into it, and be counted.
    known |= {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    known |= {"MPLCONFIGDIR": str(library.parent)}
    return os.spawnve(os.P_WAIT, sys.executable, [sys.executable, *sys.argv], {**os.environ, **known})


def fast_folder() -> str | None:
    """Returns a folder in memory, where writes take no time; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
