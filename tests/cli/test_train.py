"""`train` as a person runs it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.recipe import load

Command = Callable[..., Result]
RUNS = Path("runs")


ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "scripts.md"


def only_run() -> Path:
    (run,) = RUNS.iterdir()
    return run


@pytest.mark.draws
def test_train_prints_scores_and_paths(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("train", *tiny_digits, "--max-lr", "5e-2", "--epochs", 1)
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["status"] == "finished"
    assert lines["max_lr"] == "0.05"
    assert Path(lines["model"]).is_file()
    assert Path(lines["figure"]).is_file()
    summary = json.loads((only_run() / "summary.json").read_text())
    assert lines["valid_accuracy"].split()[0] == f"{summary['valid_accuracy']:.4f}"


def test_train_quiet_prints_the_validation_accuracy_and_json_the_summary(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    bare = onecycle("train", *tiny_digits, "--quiet").stdout
    full = json.loads(onecycle("train", *tiny_digits, "--json").stdout)
    assert bare == f"{full['valid_accuracy']:.4f}\n"
    assert (full["status"], full["reason"]) == ("finished", None)


def test_train_takes_max_lr_from_the_latest_range_test(onecycle: Command, tiny_digits: list[str]) -> None:
    found = float(onecycle("find-lr", *tiny_digits, "--quiet").stdout)
    result = onecycle("train", *tiny_digits, "--max-lr-from", "latest", "--json")
    assert json.loads(result.stdout)["max_lr"] == found


def test_train_keeps_the_ratios_of_lrs_that_differ_but_one_max_lr_is_for_all(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    apart = [*tiny_digits, "--set", "schedule.max_lr=[0.002, 0.02]"]
    found = float(onecycle("find-lr", *apart, "--quiet", "--name", "apart").stdout)
    result = onecycle("train", *apart, "--max-lr-from", "apart", "--json", "--name", "scaled")
    assert json.loads(result.stdout)["max_lr"] == found
    assert load(Path("runs/scaled/recipe.yaml")).schedule.max_lr == (pytest.approx(0.1 * found), found)
    stale = onecycle("train", *tiny_digits, "--max-lr-from", "apart")
    assert (stale.exit_code, "schedule.max_lr, relative: [0.1, 1] there, 1 here" in stale.stderr) == (2, True)
    onecycle("train", *apart, "--max-lr", "0.05", "--name", "one")
    assert load(Path("runs/one/recipe.yaml")).schedule.max_lr == 0.05


def test_a_recipe_of_stages_takes_max_lr_into_its_last_one(onecycle: Command, tiny_digits: list[str]) -> None:
    stages = "fine_tune.stages=[{freeze_to: head, epochs: 1, max_lr: 0.1}, {epochs: 1, max_lr: [1e-3, 1e-2]}]"
    staged = [*tiny_digits, "--set", stages]
    found = float(onecycle("find-lr", *staged, "--quiet", "--name", "found").stdout)
    result = onecycle("train", *staged, "--max-lr-from", "found", "--json", "--name", "first")
    assert json.loads(result.stdout)["max_lr"] == found
    assert "Stage 2 of 2: from epoch 2, nothing frozen" in result.stderr
    onecycle("train", *staged, "--max-lr", "0.05", "--name", "second")
    recipe = load(Path("runs/second/recipe.yaml"))
    assert [stage.max_lr for stage in recipe.fine_tune.stages] == [0.1, None]
    assert recipe.schedule.max_lr == 0.05
    longer = onecycle("train", *staged, "--epochs", 5)
    assert longer.exit_code == 2
    assert "fine_tune.stages add up to 2 epochs, but schedule.epochs is 5" in longer.stderr
    own = onecycle("train", *staged, "--set", "schedule.max_lr=null", "--name", "own", "--json")
    assert json.loads(own.stdout)["max_lr"] == 0.01, "each stage has one of its own"
    assert onecycle("diagnose", "runs/own").exit_code == 0
    assert load(Path("runs/own/recipe.yaml")).fine_tune.stages[1].max_lr == (1e-3, 1e-2)


def test_a_run_may_be_named_to_start_from(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("train", *tiny_digits, "--name", "first")
    again = onecycle("train", *tiny_digits, "--init", "first", "--name", "second", "--json")
    assert f"starts from {Path('runs/first').absolute()}, with its head" in again.stderr
    assert load(Path("runs/second/recipe.yaml")).model.init == str(Path("runs/first").absolute())
    losses = [pd.read_csv(f"runs/{name}/steps.csv").train_loss for name in ("first", "second")]
    assert losses[1][0] < losses[0][0] - 0.3
    found = onecycle("find-lr", *tiny_digits, "--init", "runs/second/model.safetensors", "--name", "tested")
    assert found.exit_code in (0, 4)
    assert pd.read_csv("runs/tested/lr_range.csv").train_loss[0] < losses[0][0] - 0.3
    nowhere = onecycle("train", *tiny_digits, "--init", "nowhere")
    assert (nowhere.exit_code, "runs/nowhere is not a run" in nowhere.stderr) == (2, True)


def test_latest_is_the_newest_range_test_that_fits(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("find-lr", *tiny_digits, "--name", "fits")
    onecycle("find-lr", *tiny_digits, "--name", "other", "--batch-size", 64)
    result = onecycle("train", *tiny_digits, "--max-lr-from", "latest")
    assert result.exit_code == 0
    assert "from runs/fits." in result.stderr
    onecycle("sweep-wd", *tiny_digits, "--weight-decays", "1e-4,1e-3", "--name", "swept")
    assert "from runs/swept/weight_decay=1e-4." in onecycle("train", *tiny_digits, "--max-lr-from", "latest").stderr


def test_train_follows_the_command_that_find_lr_prints(onecycle: Command, tiny_digits: list[str]) -> None:
    lines = onecycle("find-lr", *tiny_digits, "--weight-decay", 1e-3).stdout.splitlines()
    command = next(line for line in lines if line.startswith("next")).split()[2:]
    assert onecycle(*command).exit_code == 0


def test_train_refuses_a_range_test_of_other_settings_by_name_unless_forced(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    onecycle("find-lr", *tiny_digits)
    other = ("train", *tiny_digits, "--max-lr-from", "latest", "--batch-size", 64, "--set", "model.dropout=0.1")
    result = onecycle(*other)
    assert result.exit_code == 2
    assert "data.batch_size: 128 there, 64 here" in result.stderr
    assert "model.dropout: 0 there, 0.1 here" in result.stderr
    assert "--force" in result.stderr
    assert onecycle(*other, "--force").exit_code == 0


def test_train_auto_finds_max_lr_in_the_same_run(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("train", *tiny_digits, "--max-lr", "auto", "--set", "model.width=1", "--json")
    assert result.exit_code == 0
    found = json.loads((only_run() / "suggestion.json").read_text())["max_lr"]
    assert json.loads(result.stdout)["max_lr"] == found
    assert load(only_run() / "recipe.yaml").schedule.max_lr == found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "There is no max_lr: schedule.max_lr of digits is empty"),
        (("--max-lr", "0.1", "--max-lr-from", "latest"), "both name a max_lr"),
        (("--max-lr-from", "latest"), "holds no finished range test"),
        (("--max-lr-from", "nowhere"), "is not a run"),
        (("--max-lr", "fast"), "must be a number"),
        (("--max-lr", "-1"), "must be above 0"),
        (("--max-lr", "0.1", "--device", "gpu"), "use auto, cpu, cuda, cuda:N or mps"),
        (("--max-lr", "0.1", "--set", "model.widht=2"), "did you mean 'width'?"),
        (("--max-lr", "0.1", "--set", "oops"), "has no FIELD=VALUE"),
        (("--max-lr", "0.1", "--name", "../x"), "cannot be the name of a run"),
        (("--max-lr", "0.1", "--batch-size", "5000"), "larger than the 1437 training images"),
    ],
)
def test_what_a_person_gets_wrong_is_told_with_exit_code_2(onecycle: Command, words: tuple, says: str) -> None:
    result = onecycle("train", "digits", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_a_diverged_run_exits_with_3_and_says_where(onecycle: Command, tiny_digits: list[str]) -> None:
    words = ("--max-lr", 1000, "--set", "schedule.div_factor=1", "--weight-decay", 1)
    result = onecycle("train", *tiny_digits, *words)
    assert result.exit_code == 3
    assert "diverged, step " in result.stdout
    assert "no longer finite at step " in result.stderr
    assert "at lr 1e+03: the training has diverged" in result.stderr
    assert json.loads((only_run() / "run.json").read_text())["status"] == "diverged"
    quiet = onecycle("train", *tiny_digits, *words, "--quiet")
    assert (quiet.exit_code, quiet.stdout) == (3, "")
    assert "the training has diverged" in quiet.stderr
    found = json.loads(onecycle("train", *tiny_digits, *words, "--json").stdout)
    assert (found["status"], found["valid_accuracy"]) == ("diverged", None)
    assert "no longer finite at step " in found["reason"]


def test_a_collapsed_run_exits_with_3_and_says_so(onecycle: Command, tiny_digits: list[str]) -> None:
    words = ("train", *tiny_digits, "--max-lr", 1e-9, "--set", "optimizer.label_smoothing=0.999")
    result = onecycle(*words)
    assert result.exit_code == 3
    assert "no better than chance" in result.stdout
    assert "no better than chance" in onecycle(*words, "--quiet").stderr
    assert "no better than chance" in json.loads(onecycle(*words, "--json").stdout)["reason"]


def test_train_whose_own_range_test_is_refused_has_the_reason_in_its_json(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    low = (
        "--max-lr",
        "auto",
        "--set",
        "find_lr.start_lr=1e-12",
        "--set",
        "find_lr.end_lr=1e-8",
        "--set",
        "find_lr.num_steps=10",
    )
    result = onecycle("train", *tiny_digits, *low, "--json", "--name", "refused")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["run"], found["max_lr"]) == (4, "runs/refused", None)
    assert "never fell" in found["reason"]
    quiet = onecycle("train", *tiny_digits, *low, "--quiet")
    assert (quiet.exit_code, quiet.stdout, "never fell" in quiet.stderr) == (4, "", True)


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGUSR1, 138)]


def must_be_interrupted(run: Path, err: str) -> None:
    """The training `run`, whose rows and checkpoint are whole, and what it has said at its end."""
    assert "Traceback" not in err
    assert "It can go on: onecycle train --resume runs/long" in err
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert facts["ended"]
    rows = len(pd.read_csv(run / "steps.csv"))
    assert rows >= 5
    # It ended after a step, with a checkpoint, though none was due for half a minute.
    assert [path.name for path in run.glob("checkpoint-*")] == [f"checkpoint-{rows}.safetensors"]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_interrupted_run_says_so_and_keeps_its_rows(
    onecycle: Command, tmp_path: Path, tiny_digits: list[str], number: int, code: int
) -> None:
    run, ended = tmp_path / "runs" / "long", threading.Event()

    def interrupt() -> None:
        """Sends the signal after some rows, or after a minute without them, but never after the command."""
        until = time.monotonic() + 60
        while not ended.wait(0.02):
            steps = run / "steps.csv"
            if time.monotonic() > until or (steps.exists() and steps.read_text().count("\n") > 5):
                os.kill(os.getpid(), number)
                return

    # As from a terminal, whatever the tests themselves run under. Should the command leave a signal to its default, it
    # meets this handler and no test ends.
    before = {one: signal.signal(one, signal.default_int_handler) for one, _ in SIGNALS}
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        result = onecycle("train", *tiny_digits, "--epochs", 100_000, "--name", "long")
    finally:
        ended.set()
        thread.join()
        for one, handler in before.items():
            signal.signal(one, handler)
    assert result.exit_code == code
    must_be_interrupted(run, result.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_process_that_is_interrupted_ends_so_too(
    tmp_path: Path, tiny_digits: list[str], number: int, code: int
) -> None:
    words = ["train", *tiny_digits, "--epochs", "100000", "--name", "long"]
    # As from a terminal, also where the tests themselves run under nohup or in the background, with signals ignored.
    running = subprocess.Popen(
        [sys.executable, "-m", "onecycle_cli", *words],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    steps = tmp_path / "runs" / "long" / "steps.csv"
    while not (steps.exists() and steps.read_text().count("\n") > 5):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(number)
    _, err = running.communicate(timeout=60)
    assert running.returncode == code
    must_be_interrupted(steps.parent, err)


@pytest.fixture
def stopped(started: Callable, tmp_path: Path, tiny_digits: list[str]) -> Path:
    """A training that was killed after some rows."""
    words = ["train", *tiny_digits, "--epochs", "200", "--set", "runtime.checkpoint_seconds=0", "--name", "cut"]
    running = started(*words)
    steps = tmp_path / "runs" / "cut" / "steps.csv"
    while not (steps.exists() and steps.read_text().count("\n") > 5):
        assert running.poll() is None
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    return steps.parent


def test_a_killed_run_is_interrupted_and_goes_on(onecycle: Command, stopped: Path) -> None:
    listed = json.loads(onecycle("runs", "--json").stdout)
    assert [row["status"] for row in listed] == ["interrupted"]
    refused = onecycle("train", "--resume", "cut", "--epochs", 3)
    assert (refused.exit_code, "Add --reschedule" in refused.stderr) == (2, True)
    assert "in a cycle of 200 epochs (2400 steps), and" in refused.stderr
    done = len(pd.read_csv(stopped / "steps.csv")) // 12 + 1
    result = onecycle("train", "--resume", "cut", "--epochs", done + 1, "--reschedule", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["run"], summary["epochs"]) == ("runs/cut", done + 1)
    assert pd.read_csv(stopped / "steps.csv")["step"].tolist() == list(range(12 * (done + 1)))
    again = onecycle("train", "--resume", stopped)
    assert (again.exit_code, "has come to its end (finished)" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits", "--resume", "cut"), "keeps its settings"),
        (("--resume", "cut", "--max-lr", 1), "keeps its settings"),
        (("--resume", "cut", "--profile"), "keeps its settings"),
        (("--resume", "nowhere"), "is not a run"),
        (("digits", "--max-lr", 1, "--reschedule"), "--resume RUN"),
    ],
)
def test_what_does_not_go_with_resume_is_refused(onecycle: Command, words: tuple, says: str) -> None:
    result = onecycle("train", *words)
    assert (result.exit_code, says in result.stderr) == (2, True)


def shell_idioms() -> list[str]:
    """What a person may type, as the page on scripts has it."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return found


@pytest.fixture
def printed(tiny_digits: list[str]) -> Callable[[int], list[list[str]]]:
    """What a shell idiom of the page prints, but for a smaller network: a pipe, no TERM, no display, no install."""
    idioms = shell_idioms()
    _, *smaller = tiny_digits
    start = f"""
        set -eu
        python() {{ "{sys.executable}" "$@"; }}
        onecycle() {{ python -m onecycle_cli "$@" {shlex.join(smaller)}; }}
    """
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(Path.cwd())}
    # The fonts that matplotlib has found, and the threads of the other processes of the tests: both only cost time.
    environment |= {"MPLCONFIGDIR": matplotlib.get_cachedir(), "OMP_NUM_THREADS": "1"}

    def run(number: int) -> list[list[str]]:
        words = ["sh", "-c", start + idioms[number]]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()]

    return run


def test_the_commands_of_the_first_shell_idiom_of_the_page_on_scripts_print_what_the_shell_needs(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    _, *smaller = tiny_digits
    (find,) = re.findall(r"^LR=\$\(onecycle (.*)\)$", shell_idioms()[0], re.MULTILINE)
    (train,) = re.findall(r"^onecycle (.*)$", shell_idioms()[0], re.MULTILINE)
    found = onecycle(*shlex.split(find), *smaller)
    assert (found.exit_code, len(found.stdout.split())) == (0, 1)
    trained = onecycle(*shlex.split(train.replace("$LR", found.stdout.rstrip("\n"))), *smaller)
    assert trained.exit_code == 0, trained.stderr
    assert 0 <= float(trained.stdout) <= 1


@pytest.mark.slow
def test_the_first_shell_idiom_of_the_page_on_scripts_works_in_a_shell_without_a_terminal(printed: Callable) -> None:
    ((accuracy,),) = printed(0)
    assert 0 <= float(accuracy) <= 1


def test_what_follows_the_loop_of_the_page_on_scripts_reads_its_range_tests(
    onecycle: Command, tiny_digits: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    weight_decays = ["1e-2", "1e-3", "1e-4"]
    for wd in weight_decays:
        onecycle("find-lr", *tiny_digits, "--set", f"optimizer.weight_decay={wd}", "--name", f"digits-{wd}", "--quiet")
    (program,) = re.findall(r"python -c '\n(.*?)'", PAGE.read_text(), re.DOTALL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves closing its files to Python
        exec(program, {})
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == weight_decays
    assert all(1e-3 <= float(row[1]) <= 1000 for row in rows)


@pytest.mark.slow
def test_the_loop_of_the_page_on_scripts_works_in_a_shell_without_a_terminal(printed: Callable) -> None:
    *max_lrs, first, second, third = printed(1)
    assert len(max_lrs) == 3
    assert [first[0], second[0], third[0]] == ["1e-2", "1e-3", "1e-4"]
    assert all(1e-3 <= float(row[1]) <= 1000 for row in (first, second, third))
