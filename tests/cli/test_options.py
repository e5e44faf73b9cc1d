"""The flags that override a recipe are the same for every command that loads one."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import Result

from onecycle_cli.cli import app
from onecycle_cli.cli.options import FIELDS, Overrides, load_recipe, seconds_in, since_in, with_overrides
from onecycle_cli.errors import InputError
from onecycle_cli.recipe.model_fields import OnecycleModelSettings

Command = Callable[..., Result]
SHARED = ("--set", "--epochs", "--batch-size", "--weight-decay", "--init", "--seed", "--device")
WITH_MAX_LR = ("train", "sweep", "schedule")
"""The commands whose result depends on the peak of lr; the others search for it, or have no use for it."""


def commands(group: Any, words: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, and every group of commands, which may do something without a subcommand."""
    for name, command in group.commands.items():
        yield f"{words}{name}", command
        if hasattr(command, "commands"):
            yield from commands(command, f"{words}{name} ")


LOADING = {
    words: command
    for words, command in commands(typer.main.get_command(app))
    if any(parameter.name == "recipe" for parameter in command.params)
}
"""The commands that take a recipe, as an argument or with `--for`."""


def test_the_commands_that_load_a_recipe_are_found() -> None:
    experiments = {"find-lr", "train", "sweep", "sweep-wd", "tune", "find-batch-size", "schedule"}
    assert set(LOADING) >= {*experiments, "runs", "data get", "data check"}


@pytest.mark.parametrize("words", LOADING)
def test_every_command_that_loads_a_recipe_takes_the_same_flags(words: str) -> None:
    taken = {option for parameter in LOADING[words].params for option in parameter.opts}
    assert set(SHARED) <= taken
    assert ("--max-lr" in taken) == (words in WITH_MAX_LR)


@pytest.mark.parametrize("words", LOADING)
def test_every_flag_reaches_the_recipe_of_every_command(onecycle: Command, words: str) -> None:
    """A value that no recipe can hold is refused in the name of its field, before anything is run."""
    Path("file").touch()
    where = ("--for", "digits") if words == "runs" else ("digits",)
    wrong = {"epochs": 0, "batch_size": 1, "weight_decay": 2, "seed": -1, "device": "gpu"}
    given = [word for name, value in wrong.items() for word in (f"--{name.replace('_', '-')}", value)]
    param = ("--param", "seed=1") if words == "sweep" else ()
    result = onecycle(*words.split(), *where, *given, "--init", "file", "--set", "model.width=100", *param)
    assert result.exit_code == 2
    told = [FIELDS[name] for name in wrong]
    assert all(f"{field}: " in result.stderr for field in [*told, "model.width"]), result.stderr


def test_an_option_that_is_given_beats_a_setting() -> None:
    file = Path("model.safetensors")
    file.touch()
    given = Overrides(["schedule.epochs=3", "model.width=2"], 7, 64, 1e-3, str(file), 5, "cpu")
    recipe = load_recipe("digits", given, max_lr=0.5)
    assert isinstance(recipe.model, OnecycleModelSettings)
    assert (recipe.schedule.epochs, recipe.model.width, recipe.schedule.max_lr) == (7, 2, 0.5)
    assert (recipe.data.batch_size, recipe.optimizer.weight_decay, recipe.seed) == (64, 1e-3, 5)
    assert (recipe.model.init, recipe.runtime.device) == (str(file.absolute()), "cpu")


def test_a_command_gets_its_overrides_as_one_value() -> None:
    seen = []

    @with_overrides
    def command(recipe: str, overrides: Overrides, last: int = 1) -> None:
        """Help."""
        seen.append((recipe, overrides, last))

    assert command.__doc__ == "Help."
    given = dict.fromkeys((field.name for field in fields(Overrides)), None)
    command(**given | {"epochs": 3}, recipe="r", last=2)
    assert seen == [("r", Overrides(epochs=3), 2)]


LENGTHS = {"90": 90, "90s": 90, "55m": 3300, "2h": 7200, "1h30m": 5400, "1h 30m 5s": 5405, "0.5h": 1800, " 10 m ": 600}


@pytest.mark.parametrize(("text", "seconds"), LENGTHS.items())
def test_a_length_of_time_is_read_as_a_person_means_it(text: str, seconds: float) -> None:
    assert seconds_in(text, "--deadline") == seconds


@pytest.mark.parametrize("text", ["", " ", "0", "0h0m", "-5m", "nan", "inf", "1e3", "30m1h", "1h30", "1d", "9" * 400])
def test_what_is_no_length_of_time_is_refused_in_the_name_of_its_option(text: str) -> None:
    with pytest.raises(InputError, match=f"^--deadline {text} is no length of time"):
        seconds_in(text, "--deadline")


NOW = datetime(2026, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "since"),
    [
        ("90m", datetime(2026, 3, 31, 10, 30, tzinfo=UTC)),
        ("2h", datetime(2026, 3, 31, 10, tzinfo=UTC)),
        (" 1.5 d ", datetime(2026, 3, 30, tzinfo=UTC)),
        ("2w", datetime(2026, 3, 17, 12, tzinfo=UTC)),
        ("2026-03-30", datetime(2026, 3, 30).astimezone()),
        ("2026-03-30 14:30", datetime(2026, 3, 30, 14, 30).astimezone()),
        ("2026-03-30T14:30+02:00", datetime(2026, 3, 30, 12, 30, tzinfo=UTC)),
        ("2026-03-30T14:30:05Z", datetime(2026, 3, 30, 14, 30, 5, tzinfo=UTC)),
    ],
)
def test_since_is_an_age_or_a_time_by_the_clock_of_this_machine(text: str, since: datetime) -> None:
    assert since_in(text, NOW) == since


@pytest.mark.parametrize("text", ["", "h", "2", "-2h", "2y", "yesterday", "2026-13-01", "31.3.2026", "9" * 400 + "h"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"^--since {text} is no time"):
        since_in(text, NOW)
