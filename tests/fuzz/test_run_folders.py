"""Whatever befalls a file of a run: a command gives the answer of the run as it was, or names the file and refuses."""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from onecycle_cli.cli import app
from onecycle_cli.errors import OnecycleError
from onecycle_cli.experiments.classifier import load_model
from onecycle_cli.experiments.saved_run import TABLES, open_run
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress
from onecycle_cli.recipe import load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.files import ANNOTATIONS, CONFUSION, REPORT, RUN, WRONG
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

IS_LONG = settings.default is not None and settings.default.max_examples > 1_000
"""Whether this is `make fuzz`."""

SETTINGS = {
    "model.width": 0.25,
    "schedule.epochs": 2,
    "schedule.max_lr": 0.1,
    "find_lr.num_steps": 40,
    "find_lr.start_lr": 1e-3,
    "find_lr.end_lr": 10.0,
    "data.batch_size": 128,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
    "runtime.save_best": True,
    "runtime.checkpoint_seconds": 0.0,
}
WORDS = ["digits", *(word for field, value in SETTINGS.items() for word in ("--set", f"{field}={json.dumps(value)}"))]

VARIED = ("--param", "optimizer.weight_decay=1e-4,1e-3")
DECAYS = ("--set", "sweep_wd.weight_decays=[1e-4,1e-3]")
BUDGET = ("--budget", "60s")

HOWS = (
    *("flip", "flip", "flip", "cut", "append", "delete", "empty", "swap", "exchange"),
    *("folder", "link", "nowhere", "not utf-8", "nul"),
)


GONE = ("delete", "folder", "nowhere")
"""The harms after which there is no file any more."""


@dataclass(frozen=True)
class Harm:
    """What happens to a file: `how`, to which file by its number, at which byte and bit, with which other file."""

    how: str
    file: int
    at: int
    bit: int
    other: int

    def do(self, run: Path, others: list[Path]) -> set[str]:
        """Harms a run, and returns the names of the files that are not as they were."""
        files = files_of(run)
        path, second = files[self.file % len(files)], files[self.other % len(files)]
        content, wrong = path.read_bytes(), second.read_bytes()
        if self.how == "swap":
            named = [one for run in others for one in files_of(run) if one.name == path.name]
            wrong = named[self.other % len(named)].read_bytes() if named else content
        path.unlink()
        if self.how in ("delete", "folder", "link", "nowhere"):
            {
                "delete": lambda: None,
                "folder": path.mkdir,
                "link": lambda: path.symlink_to(second.absolute()),
                "nowhere": lambda: path.symlink_to("nowhere"),
            }[self.how]()
        else:
            path.write_bytes(self._changed(content, wrong))
        if self.how == "exchange":
            second.write_bytes(content)
        return {path.name, second.name} if self.how == "exchange" else {path.name}

    def _changed(self, content: bytes, wrong: bytes) -> bytes:
        at = self.at % max(1, len(content))
        before, here, after = content[:at], content[at : at + 1], content[at + 1 :]
        return {
            "flip": before + bytes(byte ^ 1 << self.bit for byte in here) + after,
            "cut": before,
            "append": content + content[at : at + 40],
            "empty": b"",
            "swap": wrong,
            "exchange": wrong,
            "not utf-8": before + b"\xff\xfe" + here + after,
            "nul": before + bytes(1 + self.bit) + after,
        }[self.how]


def files_of(run: Path) -> list[Path]:
    """The files of a run and of those inside it, without locks and pages."""
    found = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name[0] != "."]
    return [path for path in found if path.name != REPORT and not path.name.startswith("exported-")]


HARMS = st.builds(
    Harm,
    st.sampled_from(HOWS),
    st.integers(0, 2**16),
    st.integers(0, 2**24),
    st.integers(0, 7),
    st.integers(0, 2**16),
)


class Stopped(BaseException):
    """As a kill."""


def few(examples: int) -> settings:
    """So many examples among the tests, and 200 times as many in `make fuzz`."""
    several = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
    phases = (Phase.explicit, Phase.reuse, Phase.generate)  # to look for a simpler harm than one byte takes minutes
    return settings(max_examples=examples * 200 if IS_LONG else examples, suppress_health_check=several, phases=phases)


@contextmanager
def inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def ran(*words: object) -> tuple[int, str, str]:
    """Runs the command in this process: its exit code, and what it prints to standard output and error."""
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of the kinds that other commands read, two of each."""
    from matplotlib.figure import Figure

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch, inside(folder):
        patch.setenv("ONECYCLE_DATA", str(folder / "cache"))
        patch.setattr(Figure, "savefig", lambda _, path, **__: Path(path).write_bytes(b"\x89PNG\r\n\x1a\n"))
        for name, seed in (("tested", 0), ("tested-2", 1)):
            assert ran("find-lr", *WORDS, "--seed", seed, "--name", name)[0] == 0
        for name, seed in (("trained", 0), ("trained-2", 1)):
            assert ran("train", *WORDS, "--seed", seed, "--name", name)[0] == 0
        for name in ("evaluated", "evaluated-2"):
            assert ran("evaluate", name.replace("evaluated", "trained"), "--name", name)[0] == 0
        for name, seed in (("killed", 0), ("killed-2", 1), ("failed", 0)):
            stop(name, seed, killed=name != "failed")
    return folder


def stop(name: str, seed: int, *, killed: bool) -> None:
    """Trains, and stops in the second epoch, with two checkpoints: as a kill would, or by an error that is recorded."""

    def report(news: Progress | str) -> None:
        if isinstance(news, Progress) and (news.work, news.done) == ("training", 16):
            raise Stopped

    recipe = with_values(load(shipped_path("digits")), {**SETTINGS, "seed": seed})
    cpu = Hardware(torch.device("cpu"), "float32")
    facts = {"precision": "float32", "device_name": cpu.name, "threads": torch.get_num_threads(), "seed": seed}
    run = RunDir.create(
        Path("runs"), command="train", recipe_name="digits", recipe_yaml=to_yaml(recipe), facts=facts, name=name
    )
    with suppress(Stopped):
        train(recipe, Session(run, cpu, report))
    assert run.status == "failed"
    if killed:
        run.resume()
        run.update(process_started=1.0)


@pytest.fixture(scope="module")
def made_more(made: Path) -> Path:
    """The same folder with the kinds of runs that take longer."""
    with pytest.MonkeyPatch.context() as patch, inside(made):
        patch.setenv("ONECYCLE_DATA", str(made / "cache"))
        for name, seed in (("swept", 0), ("swept-2", 1)):
            assert ran("sweep", *WORDS, *VARIED, "--seed", seed, "--name", name)[0] == 0
            found = ran("sweep-wd", *WORDS, *DECAYS, "--seed", seed, "--name", name.replace("swept", "ranged"))
            assert found[0] in (0, 4), found
        found = ran("tune", *WORDS, *BUDGET, "--name", "tuned")
        assert found[0] in (0, 4), found
    return made


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Callable[[], Any]:
    """Goes into a new copy of the runs inside a block: `with folder():`."""

    @contextmanager
    def copy() -> Iterator[None]:
        here = Path(tempfile.mkdtemp(dir=tmp_path))
        shutil.copytree(made / "runs", here / "runs")
        with inside(here):
            yield
        shutil.rmtree(here)

    return copy


Answer = tuple[int, str, str]
"""The exit code of a command, what must be right, and all that it says besides."""


@dataclass(frozen=True)
class Question:
    """A command that reads `run`. `leaves` are the files of its result; without any, it is what the command prints."""

    run: str
    words: tuple[str, ...]
    leaves: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join(word for word in self.words if word not in (*WORDS[1:], *VARIED, *DECAYS, *BUDGET))

    def ask(self) -> Answer:
        code, out, err = ran(*self.words)
        out = out.replace(str(Path.cwd()), "")
        if self.words[:2] == ("runs", "show"):
            out = without_sizes(out, as_json="--json" in self.words and code == 0)
        if not self.leaves or code not in (0, 4):
            return code, out, err
        return code, "\n".join(f"{name} {content_of(Path(name))}" for name in self.leaves), out + err


def without_sizes(page: str, *, as_json: bool) -> str:
    """What is told of a run, without the sizes of its files, which are those of today."""
    if as_json:
        return str({name: value for name, value in json.loads(page).items() if name not in ("files", "bytes")})
    return "\n".join(line for line in page.splitlines() if not line.startswith("files"))


def content_of(path: Path) -> str:
    """The content of a result without what differs from run to run: times, and the place of the folder."""
    if path.suffix == ".json":
        known = json.loads(path.read_text())
        return str({name: value for name, value in known.items() if name not in ("seconds", "sha256", "rows")})
    if path.name == "epochs.csv":
        return str([line.split(",")[:10] for line in path.read_text().splitlines()])
    if path.suffix == ".html":
        return re.sub(
            r"[0-9-]{10} [0-9:]{5,8}|[0-9.,]+ ?([kMG]i?)?(B|bytes)\b|report [0-9a-f]{64}", "", path.read_text()
        )
    return path.read_bytes().hex()


class Library:
    """What `open_run` and `load_model` give of a run, as a question."""

    def __init__(self, run: str) -> None:
        self.run = run

    def __str__(self) -> str:
        return f"library {self.run}"

    def ask(self) -> Answer:
        try:
            saved = open_run(Path("runs") / self.run)
            told = [str(saved.facts), str(saved.summary), to_yaml(saved.recipe)]
            told += [getattr(saved, TABLE_NAMES[name]).to_csv() for name in TABLES if saved._run.has(name)]
            if saved._run.has("model.safetensors"):
                told += [str(load_model(saved.path, best=best).state_dict()) for best in (False, True)]
        except OnecycleError as error:
            return error.exit_code, "", str(error)
        except OSError as error:
            return 5, "", str(error)
        return 0, "\n".join(told), ""


TABLE_NAMES = {name: name.removesuffix(".csv") for name in TABLES} | {
    WRONG: "wrong_predictions",
    CONFUSION: "confusion_matrix",
}

EVERYDAY: list[Any] = [
    Question("trained", ("runs",)),
    Question("trained", ("runs", "--json")),
    Question("tested", ("runs", "show", "tested", "--json")),
    Question("trained", ("runs", "show", "trained")),
    Question("evaluated", ("runs", "show", "evaluated", "--json")),
    Question("trained", ("diagnose", "trained")),
    Question("trained", ("compare", "trained", "trained-2")),
    Question("trained", ("runs", "pack", "trained", "packed.tar.gz"), ("packed.tar.gz",)),
    Question("tested", ("runs", "--for", *WORDS)),
    Library("trained"),
    Library("evaluated"),
    Library("tested"),
]
RESULTS = ("summary.json", "steps.csv", "epochs.csv", "model.safetensors", "best.safetensors", "images.npy")
SLOWER: list[Any] = [
    Question("killed", ("train", "--resume", "killed"), tuple(f"runs/killed/{name}" for name in RESULTS)),
    Question("trained", ("evaluate", "trained", "--name", "e"), ("runs/e/summary.json", "runs/e/per_class.csv")),
]
LONG: list[Any] = [
    Question("failed", ("train", "--resume", "failed"), tuple(f"runs/failed/{name}" for name in RESULTS)),
    Question(
        "tested",
        ("train", *WORDS, "--max-lr-from", "tested", "--name", "t"),
        ("runs/t/model.safetensors", "runs/t/recipe.yaml"),
    ),
    Question(
        "tested",
        ("train", *WORDS, "--max-lr-from", "latest", "--name", "t"),
        ("runs/t/model.safetensors", "runs/t/recipe.yaml"),
    ),
    Question("trained", ("train", *WORDS, "--init", "runs/trained", "--name", "t"), ("runs/t/model.safetensors",)),
    Question("trained", ("report", "trained", "--output", "page.html"), ("page.html",)),
    Question("tested", ("report", "tested", "--output", "page.html"), ("page.html",)),
    Question("evaluated", ("report", "evaluated", "--output", "page.html"), ("page.html",)),
    Question("swept", ("report", "swept", "--output", "page.html"), ("page.html",)),
    Question("trained", ("export", "trained", "--format", "safetensors", "--output", "e"), ("e",)),
    Question("swept", ("runs", "show", "swept", "--json")),
    Question("swept", ("compare", "swept", "swept-2")),
    Question(
        "swept", ("sweep", *WORDS, *VARIED, "--name", "swept"), ("runs/swept/sweep.csv", "runs/swept/ranking.csv")
    ),
    Question("ranged", ("sweep-wd", *WORDS, *DECAYS, "--name", "ranged"), ("runs/ranged/sweep.csv",)),
    Question(
        "tuned", ("tune", *WORDS, *BUDGET, "--name", "tuned"), ("runs/tuned/tuned.yaml", "runs/tuned/summary.json")
    ),
    Question("tuned", ("runs", "show", "tuned", "--json")),
    Question("failed", ("runs", "show", "failed", "--json")),
    Question("failed", ("diagnose", "failed")),
    Question("failed", ("runs", "push", "failed", "--to", "tensorboard")),
    Library("swept"),
    Library("failed"),
]
ANSWERS: dict[str, Answer] = {}
"""What is said of the runs as they were made."""


def must_be_right_or_refused(question: Any, folder: Callable[[], Any], harm: Harm) -> None:
    """Asks about a harmed run: the answer is that of the unharmed one, or an error that names the file."""
    if str(question) not in ANSWERS:
        with folder():
            ANSWERS[str(question)] = question.ask()
    with folder():
        others = [path for path in sorted(Path("runs").iterdir()) if path.name != question.run]
        names = harm.do(Path("runs") / question.run, others)
        code, answer, said = question.ask()
    COUNTS[str(question), harm.how, code] += 1
    if "pack" in str(question) and (harm.how in GONE or any("checkpoint" in name for name in names)):
        return  # what somebody has deleted is not packed, and a checkpoint is checked where it is used
    if (code, answer) == ANSWERS[str(question)][:2] or (code == 0 and ANNOTATIONS in names):
        return  # a person may edit the annotations
    told = "".join((answer + said).split())
    assert code in (0, 2, 5), (str(question), harm, names, said)
    is_named = any(name in told for name in names)
    # With a whole run.json of another run, the others are those that do not fit.
    assert is_named or (RUN in names and f"runs/{question.run}/" in told), (str(question), harm, names, code, said)
    assert code or "damaged" in told or "missing" in told, (str(question), harm, names, said)


COUNTS: Counter[tuple[str, str, int]] = Counter()
"""How often a question was asked about which harm, and ended how."""


@pytest.mark.parametrize("question", EVERYDAY, ids=str)
@few(3)
@given(harm=HARMS)
def test_a_harmed_run_is_read_right_or_refused(question: Any, folder: Callable[[], Any], harm: Harm) -> None:
    must_be_right_or_refused(question, folder, harm)


@pytest.mark.parametrize("question", SLOWER, ids=str)
@few(2)
@given(harm=HARMS)
def test_a_harmed_training_goes_on_or_is_scored_right_or_is_refused(
    question: Any, folder: Callable[[], Any], harm: Harm
) -> None:
    must_be_right_or_refused(question, folder, harm)


@pytest.mark.slow
@pytest.mark.usefixtures("made_more")
@pytest.mark.parametrize("question", LONG, ids=str)
@few(2)
@given(harm=HARMS)
def test_all_that_reads_a_harmed_run_does_so_right_or_refuses(
    question: Any, folder: Callable[[], Any], harm: Harm
) -> None:
    must_be_right_or_refused(question, folder, harm)
