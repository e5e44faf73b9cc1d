"""What can be done next with a saved run, as commands: resume, repeat or use it. Imports no torch."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import NETWORK_SHA256
from onecycle_cli.recipe import lacks_max_lr, load
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.facts import as_it_was_asked, command_line, words_of
from onecycle_cli.run_dir.files import CHECKPOINT, LR_RANGE, MODEL, RECIPE, RUN, STEPS, TUNED_RECIPE
from onecycle_cli.run_dir.run import RunDir

OPEN = ("running", "interrupted", "failed")
"""The statuses of runs that have not come to their end."""

WITHOUT_CELLS = ("train", "find-lr", "find-batch-size", "evaluate")
"""The commands that have no other runs inside. The same command goes on with any other, if it is given again."""

REPEATABLE = ("train", "find-lr", "sweep-wd", "find-batch-size")
"""The commands that their recipe repeats."""

WEIGHT_DECAY = "optimizer.weight_decay"


def next_commands(
    run: RunDir, facts: Mapping[str, Any], does: str, status: str, summary: Mapping[str, Any]
) -> dict[str, str]:
    """Returns the commands that can follow: how to resume, repeat or use the run."""
    if status == "running":
        return {"watch": command_line(["runs", "watch"])}
    if _is_cell(facts):
        return _after_cell(run, does, status)
    path, recipe, trust = str(run.path), str(run.path / RECIPE), _trust(facts)
    if does not in WITHOUT_CELLS:
        return _after_cells(run, does, status, as_it_was_asked(facts), trust, summary)
    repeating = command_to_repeat(run, facts)
    again = {} if repeating is None else {"repeat": repeating}
    match does, status:
        case "train", "interrupted" | "failed" if any(run.path.glob(CHECKPOINT.format(step="*"))):
            return {"resume": command_line(["train", "--resume", path, *trust])}
        case "train", "diverged" | "collapsed":
            return {"explain": command_line(["diagnose", path])}  # a repetition would end in the same way
        case "train", "finished":
            return {"use": command_line(["evaluate", path, *trust])} | again
        case "find-lr", "finished" if summary.get("max_lr") is not None:
            return {"use": command_line(["train", recipe, "--max-lr-from", path, *trust])} | again
    return again


def command_to_repeat(run: RunDir, facts: Mapping[str, Any]) -> str | None:
    """Returns the command that does the same as a run with these facts, from its recipe; None if there is none.

    It has the options that are in no recipe. For a cell of a sweep, it is that of its training or range test alone.
    """
    does = amounts_to(run, facts)
    if does not in REPEATABLE or not (run.path / RECIPE).is_file():
        return None
    of_tune = facts["command"] == "tune"  # its --budget is a time
    options = _range_test_options(facts) if does == "find-lr" and not of_tune else []
    if does == "train" and _has_no_max_lr_yet(run, facts):
        options = ["--max-lr", "auto"]
    return command_line([does, str(run.path / RECIPE), *options, *_trust(facts)])


def best_run(run: RunDir, summary: Mapping[str, Any]) -> Path | None:
    """Returns the folder of the best run of a sweep: where it is now, if the sweep was moved since; None without one.

    The summary has its path when the sweep ended.
    """
    if not isinstance(named := summary.get("best_run"), str) or not named:
        return None
    inner = run.path / Path(named).name
    return inner if (inner / RUN).is_file() else Path(named)


def amounts_to(run: RunDir, facts: Mapping[str, Any]) -> str:
    """Returns the command that a run amounts to."""
    if _is_cell(facts):
        return "train" if (run.path / STEPS).is_file() or not (run.path / LR_RANGE).is_file() else "find-lr"
    return str(facts["command"])


def _is_cell(facts: Mapping[str, Any]) -> bool:
    """Whether a run is one inside a sweep or a tuning, by its `run.json`."""
    return "cell" in facts


def _trust(facts: Mapping[str, Any]) -> list[str]:
    return ["--trust-code"] if NETWORK_SHA256 in facts else []


def _has_no_max_lr_yet(run: RunDir, facts: Mapping[str, Any]) -> bool:
    """Whether the recipe of a training waits for the max_lr of its own range test."""
    if facts.get("auto") is True and not (run.path / STEPS).is_file():
        return True  # a max_lr in the recipe is the one that would have been replaced
    with suppress(InputError, OSError):
        return lacks_max_lr(load(run.intact(RECIPE)))
    return False


def _range_test_options(facts: Mapping[str, Any]) -> list[str]:
    """Returns the options of `find-lr` in the command line of a run that change its result and are in no recipe."""
    found: list[str] = []
    words = words_of(facts)
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--verify" or word.startswith(("--repeats=", "--budget=")):
            found.append(word)
        elif word in ("--repeats", "--budget"):
            found += [word, following]
    return found


def _after_cell(run: RunDir, does: str, status: str) -> dict[str, str]:
    path = str(run.path)
    if status in OPEN:  # the sweep's command goes on with its cells
        with suppress(InputError, FileNotFoundError):
            if asked := as_it_was_asked(RunDir(run.path.parent).facts):
                return {"resume": asked}
    if does == "find-lr":
        return {"use": command_line(["train", str(run.path / RECIPE), "--max-lr-from", path])}
    return {"use": command_line(["evaluate", path])} if (run.path / MODEL).is_file() else {}


def _after_cells(
    run: RunDir, does: str, status: str, asked: str, trust: list[str], summary: Mapping[str, Any]
) -> dict[str, str]:
    if status in OPEN:
        return {"resume": asked} if asked else {}
    if does == "tune":
        return {"use": command_line(["train", str(run.path / TUNED_RECIPE), *trust])}
    use: dict[str, str] = {}
    if does == "sweep-wd" and summary.get("weight_decay") is not None:
        inner = run.path / folder_name({WEIGHT_DECAY: summary["weight_decay"]})
        use = {"use": command_line(["train", str(inner / RECIPE), "--max-lr-from", str(inner), *trust])}
    elif (best := best_run(run, summary)) is not None:
        use = {"use": command_line(["train", str(best / RECIPE), *trust])}
    return use | {"compare": command_line(["compare", str(run.path)])}
