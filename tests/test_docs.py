"""The documents say what the program does."""

import re
import runpy
import signal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer

from onecycle_cli.cli import app
from onecycle_cli.cli.root import INTERRUPTED
from onecycle_cli.errors import TRY_AGAIN, InputError, MachineError, NoSuggestionError, Terminated
from onecycle_cli.training.signals import ENDING

ROOT = Path(__file__).parent.parent
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()


def commands(group: Any, words: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every command and every group of commands, by its words."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        found[" ".join((*words, name))] = command
        if hasattr(command, "commands"):
            found |= commands(command, (*words, name))
    return found


EVERY = commands(typer.main.get_command(app))


def section(title: str) -> str:
    """A command's part of the page, white space folded."""
    found = re.search(rf"^#+ `onecycle {title}`$(.*?)(?=^#+ `|\Z)", COMMANDS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/commands.md has no section on {title}: make docs"
    return " ".join(found[1].split())


@pytest.mark.parametrize("words", EVERY)
def test_the_page_of_commands_is_current(words: str) -> None:
    # By content, not by letter: how Typer lays a page out is its own affair.
    text, command = section(words), EVERY[words]
    for paragraph in command.help.split("\n\n"):
        assert " ".join(paragraph.split()) in text, "make docs"
    assert command.epilog in text, "make docs"
    options = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    bullets = " ".join(re.findall(r"\* `([^`]*)`", text))
    assert set(re.findall(r"--[a-z-]+", bullets)) - {"--help"} == options, "make docs"
    for name in getattr(command, "commands", {}):
        assert f"* `{name}`: " in text, "make docs"
    for parameter in command.params:
        if help_text := getattr(parameter, "help", None):
            assert " ".join(help_text.split()) in text, "make docs"


def test_the_page_has_no_command_that_is_gone() -> None:
    titled = set(re.findall(r"^#+ `onecycle ([^`]+)`$", COMMANDS, re.MULTILINE))
    assert titled == set(EVERY)


def test_the_page_of_exit_codes_tells_every_one() -> None:
    codes = {0, 1, InputError.exit_code, 3, NoSuggestionError.exit_code, MachineError.exit_code}
    codes |= {INTERRUPTED, TRY_AGAIN, *(Terminated(number).exit_code for number in ENDING if number != signal.SIGALRM)}
    page = (ROOT / "docs" / "exit_codes.md").read_text()
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert told == codes


def test_the_readme_links_to_files_that_are_there() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", README + CONTRIBUTING + SECURITY):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/reliability.md"])
def test_every_test_that_a_page_names_is_there(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / page).read_text())
    assert len(named) > 30
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text() or not name, f"{file} has no {name}"


def test_contributing_has_a_place_for_every_room() -> None:
    for path in sorted((ROOT / "onecycle_cli").iterdir()):
        name = path.name + "/" if path.is_dir() else path.name
        if not name.startswith("__"):
            assert f"`{name}`" in CONTRIBUTING, f"where does a thing for {name} go?"


def test_contributing_says_why_of_every_further_dependency() -> None:
    import tomllib

    named = {"torch", "torchvision", "typer", "pyyaml", "rich", "pandas", "pydantic", "matplotlib", "safetensors"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=!~ ]", dependency)[0] for dependency in project["dependencies"]}
    for further in names - named - {"scikit-learn"}:
        assert f"`{further}`" in CONTRIBUTING


def test_the_readme_has_the_results_that_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    assert tables["accuracy_table"]() in README
    assert tables["speed_table"]() in README
    page = (ROOT / "docs" / "sweeps.md").read_text()
    marked = re.findall(r"<!-- benchmarks/tables.py: (\w+) (\S+) -->", page)
    assert {function for function, _ in marked} == {"sweep_table", "tuning_table"}
    assert all(tables[function](name) in page for function, name in marked)
    assert tables["fine_tuning_table"]() in (ROOT / "docs" / "fine-tuning.md").read_text()
    assert tables["reproduction_table"]() in (ROOT / "docs" / "reproduce.md").read_text()


def test_the_tables_of_diagnoses_are_made_from_the_recorded_runs() -> None:
    read = runpy.run_path(str(ROOT / "tests" / "golden" / "read_diagnosis.py"))
    page = (ROOT / "docs" / "diagnose.md").read_text()
    assert read["with_tables"](page) == page
    held_out = [case for case in read["cases"]() if case.set == "held-out"]
    right = sum(case.right for case in held_out)
    planted = [case.right for case in held_out if case.fault not in ("healthy", "momentum")]
    assert f"{right} of {len(held_out)} first statements are right" in " ".join(README.split())
    assert f"{sum(planted)} of {len(planted)} planted faults are found" in " ".join(README.split())


def test_the_page_of_diagnoses_explains_every_rule_and_no_other() -> None:
    page = (ROOT / "docs" / "diagnose.md").read_text()
    texts = [path.read_text() for path in sorted((ROOT / "onecycle_cli" / "analysis" / "diagnosis").glob("*.py"))]
    rules = {
        name for text in texts for name in re.findall(r'^ +(?:return Statement\()?"([a-z-]+)",', text, re.MULTILINE)
    }
    rules |= {name for text in texts for name in re.findall(r'Statement\("([a-z-]+)",', text)}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)) == rules


def test_the_tables_of_suggestions_are_made_from_the_scores() -> None:
    score = runpy.run_path(str(ROOT / "benchmarks" / "suggestion" / "score.py"))
    folder = ROOT / "benchmarks" / "results" / "suggestion"
    tables = score["all_tables"](*(pd.read_csv(folder / f"{name}.csv") for name in score["SCORES"]))
    docs = (ROOT / "docs" / "suggestion.md").read_text()
    for page in (README, docs):
        assert score["with_tables"](page, tables) == page
    assert tables["short_table"] in README
    for name, table in tables.items():
        assert name == "short_table" or table in docs
