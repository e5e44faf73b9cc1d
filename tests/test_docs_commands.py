"""Every command that the README and docs/ show runs here, or has a reason why the command line only reads it.

The blocks of a page run in their order, in one shell and one folder. What a page takes for granted is there: photos,
recipes, trained runs. The shipped recipes are stand-ins, as tiny as they can be. `onecycle` is a small program that
asks this process, so that torch is loaded once.
"""

import contextlib
import json
import os
import re
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import Result

from onecycle_cli.cli import app
from onecycle_cli.recipe import load, shipped, shipped_names, shipped_path, to_yaml, with_values

Command = Callable[..., Result]

ROOT = Path(__file__).parent.parent
PAGES = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
MAKEFILE = (ROOT / "Makefile").read_text()

READ = {
    "cluster.md": {
        "": "several GPUs, machines, Ray or SLURM; tests/test_docs_cluster.py runs the scripts for SLURM",
    },
    "commands.md": {
        "": "made from the help texts: how commands are called, not commands",
    },
    "batch_size.md": {
        "onecycle find-batch-size": "times real steps; tests/cli/test_batch_size.py runs it",
        "B=$(onecycle find-batch-size": "as well",
        "onecycle find-lr digits --batch-size": "needs that size",
    },
    "images.md": {
        "onecycle train images --set data.source=torchvision": "downloads 330 MB",
    },
    "networks.md": {
        'python -c "import timm;': "imports timm, which takes seconds, to list names",
    },
    "loggers.md": {
        "tensorboard": "serves until Ctrl-C",
        "onecycle runs push": "needs a server",
    },
    "report.md": {
        "onecycle report my-run --live": "serves until Ctrl-C",
    },
    "reproduce.md": {
        "": "trains for hours; tests/cli/test_reproduce.py runs it",
    },
    "runs.md": {
        "onecycle runs trash --empty": "asks a person",
        "onecycle runs unpack": "on another machine",
    },
    "terminal.md": {
        "onecycle runs watch": "goes on until Ctrl-C",
    },
    "sweeps.md": {
        "onecycle tune": "takes the time of its budget; tests/cli/test_tune.py runs it",
    },
    "use-your-model.md": {
        "onecycle export": "takes seconds; tests/test_docs_use_your_model.py and the tutorial run it",
    },
}
"""By page, how a line begins that is read and not run, and why. An empty beginning is the whole page."""

RUNS = ("RUN", "my-run", "first-try", "second-try", "my-sweep", "digits-1")
"""The names by which pages call a run that a person has trained before. So is `photos` in `--init photos`."""

CHANGED = {
    "diagnose.md": {"--max-lr 0.001": "--max-lr 0.1"},  # 0.001 learns nothing in so few steps
    "schedules.md": {
        "--max-lr 0.1 --set": "--epochs 3 --max-lr 0.1 --set",
        "[48,71]": "[1,2]",
        "schedule digits": "schedule digits --steps-per-epoch 4",  # here they are a folder, which it does not open
    },
    "sweeps.md": {"--seeds 3": "--seeds 1", "--epochs 10": "--epochs 3", "=1e-2,1e-3,1e-4": "=1e-2,1e-3"},
    "tutorial.md": {"--epochs 40": "--epochs 5"},
    "report.md": {" --open": ""},  # a browser
    "compare.md": {"--batch-size 128": "--batch-size 16"},
}
"""By page, words for which these tiny runs are too short, or which make them long, and those in their place."""

ENDS = {
    "resume.md": {
        "train cifar10-resnet56 --max-lr 0.8 --name long": 130,
        "train --resume long": 130,
        "train --resume long --epochs 50": 2,
    },
}
"""By page, the exit codes that are not 0. A command that ends with 130 gets a SIGINT in its first steps."""

ELSEWHERE = ("make", "pip", "source", ".", "scp")
"""Programs that do nothing here: they install, enter what was installed, or need another machine."""

TINY = {
    "data.source": "image_folder",
    "data.path": "photos",
    "data.image_size": 8,
    "data.padding": 1,
    "data.channels": 3,
    "data.batch_size": 16,
    "data.valid_fraction": 0.2,
    "data.mean": None,
    "data.std": None,
    "model.source": "onecycle",
    "model.architecture": "resnet8",
    "model.width": 0.25,
    "optimizer.weight_decay": 1e-2,
    "schedule.epochs": 4,
    "find_lr.num_steps": 40,
    "find_lr.start_lr": 1e-3,
    "find_lr.end_lr": 100.0,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
}
"""Makes of any shipped recipe a run of a moment, on images that any training can tell apart: as the fixture `easy`."""

ASKING = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    asked.sendall(json.dumps([os.getcwd(), sys.argv[1:]]).encode())
    asked.shutdown(socket.SHUT_WR)
    code, out, err = json.load(asked.makefile())
sys.stdout.write(out), sys.stderr.write(err), sys.exit(code)
"""
"""The program `onecycle` of the shell: it sends its folder and its words, and gives what comes back."""


@dataclass(frozen=True)
class Block:
    """Lines for a shell, with or without the answers to them; a file of another kind may hold commands too."""

    script: str
    is_script: bool

    @property
    def commands(self) -> list[list[str]]:
        """The words of each `onecycle` command in it, also if another program starts it. A variable's value is 1."""
        text = re.sub(r"\\\n", " ", re.sub(r"^#.*$", "", self.script, flags=re.MULTILINE))
        text = re.sub(r"\$\((onecycle [^()]*)\)", r"1\n\1\n", text)
        text = re.sub(r"\$\([^()]*\)|\$\{?\w+\}?", "1", text)
        return [shlex.split(words, comments=True) for words in re.findall(r"onecycle(?:_cli)? ([^\n;&|]*)", text)]


def blocks(page: str) -> list[Block]:
    """Returns the blocks of a page that hold commands."""
    found = []
    for indent, language, text in re.findall(r"^( *)```(\w*)\n(.*?)^\1```", PAGES[page], re.MULTILINE | re.DOTALL):
        lines = [line.removeprefix(indent) for line in text.splitlines()]
        if language == "console":
            found.append(Block("\n".join(_typed(lines)), is_script=True))
        elif language == "sh":
            found.append(Block("\n".join(lines), is_script=True))
        elif language == "yaml":
            found.append(Block("\n".join(line for line in lines if "  onecycle" in line), is_script=False))
        else:
            assert "$ onecycle" not in text, f"{page}: mark this block as console or sh"
    return found


def _typed(lines: list[str]) -> Iterator[str]:
    """Yields what is typed in a block that also shows what is answered; a prompt may name its machine."""
    goes_on = False
    for line in lines:
        prompt = re.match(r"(?:\S+@\S+)?\$ ", line)
        if goes_on or prompt:
            yield line[prompt.end() :] if prompt else line
            goes_on = line.endswith("\\")


def shown_in_text(page: str) -> list[list[str]]:
    """Returns the words of each command that stands in a sentence, in a table, or below a help text."""
    text = re.sub(r"^( *)```.*?^\1```", "", PAGES[page], flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"`onecycle ([a-z][^`]*)`", text) + re.findall(r"^Example: onecycle (.*)$", text, re.MULTILINE)
    return [shlex.split(one) for command in found for one in _alternatives(" ".join(command.split()))]


def _alternatives(command: str) -> list[str]:
    """Returns a command for each of `get|check|show` or `[get, check]`. `[RECIPE]` may stay."""
    for listed in re.findall(r"(?<= )[a-z]+(?:\\?\|[a-z]+)+|\[[a-z]+(?:, [a-z]+)+\]", command):
        return [command.replace(listed, word) for word in re.split(r"\\?\||, ", listed.strip("[]"))]
    return [command.partition(" > ")[0]]


def read(words: list[str]) -> None:
    """Has the command line read a command, without running it: each word has to have a meaning."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest:
        _, rest, _ = command.make_parser(command.context_class(command)).parse_args(rest)
        if rest:
            name = rest.pop(0)
            assert name in command.commands, f"there is no command {name}"
            command = command.commands[name]
    if not hasattr(command, "commands"):
        command.make_context(words[0], rest).close()


@pytest.mark.parametrize("page", PAGES)
def test_the_command_line_knows_every_command_that_a_page_shows(page: str) -> None:
    for words in [words for block in blocks(page) if page != "commands.md" for words in block.commands]:
        try:
            read(words)
        except Exception as error:
            pytest.fail(f"{page}: onecycle {shlex.join(words)}: {error}")
    for words in shown_in_text(page):
        try:
            read(words)
        except Exception as error:
            # A sentence names a command without its recipe, and an option without its value.
            if not re.match(r"Missing parameter|Option '[^']*' requires an argument", str(error)):
                pytest.fail(f"{page}: onecycle {shlex.join(words)}: {error}")


def test_the_command_line_knows_every_command_that_makes_a_picture() -> None:
    pictures = runpy.run_path(str(ROOT / "docs" / "pictures.py"))
    for picture in pictures["PICTURES"].values():
        for program, module, *words in map(pictures["words_of"], picture.commands):
            assert program == sys.executable
            if module == "-m":
                read(words[1:])


@pytest.mark.parametrize("page", PAGES)
def test_make_knows_every_target_that_a_page_shows(page: str) -> None:
    typed = [line for block in blocks(page) for line in block.script.splitlines()]
    targets = [word for line in typed if line.startswith("make ") for word in shlex.split(line, comments=True)[1:]]
    for target in [*targets, *(word for text in re.findall(r"`make ([^`]+)`", PAGES[page]) for word in text.split())]:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE) or "=" in target, target


def test_what_is_said_about_the_commands_of_a_page_is_still_true() -> None:
    for by_page in (READ, CHANGED, ENDS):
        for page in by_page.keys() & PAGES.keys():
            for words in by_page[page]:
                assert words in PAGES[page], f"{page} does not show `{words}` any more"


def script_of(page: str) -> str:
    """Returns what of a page is run."""
    lines = []
    for block in blocks(page):
        script = block.script if block.is_script else ""
        for words, others in CHANGED.get(page, {}).items():
            script = script.replace(words, others)
        read = READ.get(page, {})
        lines += [line for line in re.split(r"(?<!\\)\n", script) if not any(map(line.startswith, read))]
    return "\n".join(filter(None, lines))


@pytest.fixture
def stand_ins(image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills the folder with what the pages take for granted, and puts tiny recipes in the place of those shipped."""
    photos = image_folder("cat", "dog", images=40, size=(8, 8))
    others = image_folder("a", "b", images=40, size=(8, 8), name="more-photos")
    Path("cat.jpg").write_bytes((photos / "cat" / "0.png").read_bytes())
    Path("new-photos").symlink_to(photos / "cat")
    rows = [f"{file.relative_to(photos)},{file.parent.name},train" for file in sorted(photos.rglob("*.png"))]
    (photos / "table.csv").write_text("\n".join(["path,label,split", *rows]))
    Path("data").mkdir()
    Path("data", "cifar10-5000").symlink_to(photos)
    Path("data", "mnist-2000").symlink_to(others)
    recipes = Path("recipes").absolute()
    recipes.mkdir()
    for name in shipped_names():
        recipe = load(shipped_path(name))
        (recipes / f"{name}.yaml").write_text(to_yaml(with_values(recipe, {} if recipe.fine_tune else TINY)))
    monkeypatch.setattr(shipped, "_shipped_folder", lambda: recipes)
    long = with_values(load(recipes / "cifar10-resnet56.yaml"), {"schedule.epochs": 95})
    (recipes / "cifar10-resnet56.yaml").write_text(to_yaml(long))
    _write_recipes(recipes)


def _write_recipes(recipes: Path) -> None:
    """Writes the files that pages have a person write: copies of shipped recipes, with the changes of the page."""
    own = load(recipes / "images.yaml")
    Path("my-photos.yaml").write_text(to_yaml(own))
    Path("more-photos.yaml").write_text(to_yaml(with_values(own, {"data.path": "more-photos"})))
    Path("net.py").write_text(_shown("networks.md", "python", "# net.py"))
    model = yaml.safe_load(_shown("networks.md", "yaml", "model:\n  source: module"))
    Path("my-recipe.yaml").write_text(to_yaml(with_values(load(recipes / "digits.yaml"), model)))
    changes = yaml.safe_load(_shown("fine-tuning.md", "yaml", "data:\n"))
    dotted = {f"{section}.{name}": value for section in changes for name, value in changes[section].items()}
    stages = {"fine_tune": {"stages": dotted.pop("fine_tune.stages")}, "data.batch_size": 16}
    Path("numbers.yaml").write_text(to_yaml(with_values(load(recipes / "cifar10-resnet8.yaml"), dotted | stages)))


def _shown(page: str, language: str, beginning: str) -> str:
    """Returns the block of a page in this language that begins so."""
    return str(re.search(rf"^```{language}\n({re.escape(beginning)}.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)[1])


@dataclass
class Answers:
    """Runs the commands that a shell asks for, and keeps those that end in another way than they should."""

    run: Command
    ends: dict[str, int]
    wrong: list[str] = field(default_factory=list)

    def __call__(self, folder: str, words: list[str]) -> tuple[int, str, str]:
        """Runs one command in a folder. `expected` 130 means that it gets a signal."""
        expected = self.ends.get(shlex.join(words), 0)
        with contextlib.chdir(folder), _interrupted(after=300) if expected == 130 else contextlib.nullcontext():
            result = self.run(*words)
        if result.exit_code != expected:
            self.wrong.append(f"onecycle {shlex.join(words)}: {result.exit_code}\n{result.stdout}{result.stderr}")
        return result.exit_code, result.stdout, result.stderr


@contextlib.contextmanager
def _interrupted(after: int) -> Iterator[None]:
    """Sends SIGINT to this process when so many modules have been called, which is in the first steps."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    called = 0

    def count(*_: Any) -> None:
        nonlocal called
        called += 1
        if called == after:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has `command &` ignore it
    counting = register_module_forward_pre_hook(count)
    try:
        yield
    finally:
        counting.remove()
        signal.signal(signal.SIGINT, before)


def run_script(script: str, answer: Answers) -> tuple[str, list[str]]:
    """Runs a script in bash; returns what it printed, and the other programs in it that failed."""
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        address = f"{short}/asked"  # a socket's path has at most 107 characters
        server.bind(address)
        server.listen()
        server.settimeout(0.1)
        programs = {
            "onecycle": ASKING.format(python=sys.executable, address=address),
            "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
        }
        for name, text in programs.items():
            Path(short, name).write_text(text)
            Path(short, name).chmod(0o755)
        nothing = "".join(f"{name}() {{ :; }}\n" for name in ELSEWHERE)
        trap = "trap 'echo \"$BASH_COMMAND: $?\" >> failed' ERR\n"
        environment = os.environ | {"PATH": f"{short}:{os.environ['PATH']}"}
        with Path("printed").open("w") as printed:
            shell = subprocess.Popen(
                ["bash", "-c", f"{nothing}{trap}{script}\nwait"], env=environment, stdout=printed, stderr=printed
            )
        while shell.poll() is None:
            with contextlib.suppress(TimeoutError):
                asked, _ = server.accept()
                with asked, asked.makefile() as question:
                    folder, words = json.load(question)
                    asked.sendall(json.dumps(answer(folder, words)).encode())
    failed = Path("failed").read_text().splitlines() if Path("failed").exists() else []
    return Path("printed").read_text(), [line for line in failed if "onecycle" not in line]


LONG = {"sweeps.md", "scripts.md", "compare.md", "fine-tuning.md"}
"""The pages whose commands take some seconds."""


@pytest.mark.usefixtures("stand_ins")
@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] * (page in LONG)) for page in PAGES if script_of(page)],
)
def test_the_commands_of_a_page_run_in_their_order(onecycle: Command, page: str) -> None:
    script = script_of(page)
    for name in {found[0] for found in re.finditer(rf"(?<=[ /])({'|'.join(RUNS)}|(?<=--init )photos)\b", script)}:
        assert onecycle("train", "my-photos.yaml", "--max-lr", 0.1, "--name", name, "--quiet").exit_code == 0
    for made in re.findall(r"recipes copy \S+ (\S+)", script):
        Path(made).unlink()
    answer = Answers(onecycle, ENDS.get(page, {}))
    printed, failed = run_script(script, answer)
    assert "\n".join(answer.wrong) == ""
    assert failed == [], printed
