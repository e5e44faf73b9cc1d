"""Formats and tables of a report, and parts that one damaged file cannot cost the page."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.report_parts import (
    cell,
    commands,
    csv_column,
    csv_table,
    csv_value,
    guarded,
    identity,
    label_of,
    machine,
    main_result,
    notes,
    part,
    recipe_text,
    setting,
    shown,
    times,
)
from onecycle_cli.figures.report.content import Cell, Code, Command, Details, Pairs, Text
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.annotations import add_labels, add_note
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv

FACTS: dict[str, Any] = {"command_line": "onecycle train digits", "device": "cpu", "device_name": "A CPU", "seed": 3}


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    text = to_yaml(tiny())
    return RunDir.create(tmp_path, command="train", recipe_name="d", recipe_yaml=text, facts=FACTS, name="a-run")


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("valid_loss", 0.123456, "0.1235"),
        ("valid_accuracy", 1.0, "1.0000"),
        ("valid_loss", 123456.0, "1.235e+05"),
        ("max_lr", 0.123456, "0.1235"),
        ("max_lr", 0.1, "0.1"),
        ("expected_points_lost", 0.25, "0.2"),
        ("images_per_second", 12345.6, "12,345.6"),
        ("epochs", 15, "15"),
        ("parameters", 77754, "77,754"),
        ("loss", math.inf, "inf"),
        ("status", "finished", "finished"),
        ("x", True, "True"),
        ("x", None, ""),
    ],
)
def test_values_are_shown_as_the_commands_print_them(name: str, value: Any, text: str) -> None:
    assert shown(name, value) == text


def test_a_cell_is_sorted_by_its_number_if_that_is_finite() -> None:
    assert cell("valid_loss", 0.5) == Cell("0.5000", 0.5)
    assert cell("valid_loss", math.nan) == Cell("nan", None)
    assert cell("status", "finished", "run-1") == Cell("finished", None, "run-1")
    assert setting(1e-4) == Cell("1e-4", 1e-4)
    assert setting("sgd") == Cell("sgd", None)


def test_a_whole_number_among_fractions_is_one_too() -> None:
    assert csv_column(["1", "0.5", ""]) == [1.0, 0.5, None]
    assert [type(value) for value in csv_column(["1", "0.5"])] == [float, float]
    assert csv_column(["1", "2"]) == [1, 2]
    assert csv_column(["fits", "1"]) == ["fits", 1]


@pytest.mark.parametrize(
    "text",
    ["1_000", "infinity", "-Infinity", "+1", " 1", "1 ", "1e", ".5", "1.", "Inf", "NaN", "\u0663", "0x10", "nano"],
)
def test_text_that_only_python_takes_for_a_number_stays_text(text: str) -> None:
    assert csv_value(text) == text


@pytest.mark.parametrize("value", [0, -7, 10**30, 0.5, -2.0, 1e-05, 1.25e300, 5e-324, math.inf, -math.inf])
def test_every_number_that_a_run_writes_is_read_as_one(value: float) -> None:
    (_, text) = to_csv(["a"], [[value]]).splitlines()
    assert csv_value(text) == pytest.approx(value, rel=1e-8)


def test_nan_and_an_empty_cell_are_read() -> None:
    assert math.isnan(csv_value("nan"))
    assert csv_value("") is None


def test_a_table_keeps_text_as_text_and_leaves_empty_columns_out(run: RunDir) -> None:
    run.write_text("t.csv", "class,images,empty,weight_decay\n007,3,,0.0001\nNA,4,,0.01\n")
    table = csv_table(run, "t.csv", identity="t", caption="c", text=("class",), settings=("weight_decay",))
    assert table.columns == ["class", "images", "weight_decay"]
    assert table.rows[0] == [Cell("007"), Cell("3", 3.0), Cell("1e-4", 1e-4)]
    assert table.rows[1][0] == Cell("NA")


def test_what_cannot_be_read_becomes_a_sentence() -> None:
    def refuse() -> list:
        raise InputError("x.csv is damaged.", "Run it again.")

    assert guarded("The table", refuse) == [Text("The table could not be read: x.csv is damaged.", "note")]

    def lack() -> list:
        raise KeyError("x")

    assert guarded("The table", lack) == [Text("The table could not be read: it has no 'x'.", "note")]

    def open_nothing() -> list:
        return [Path("no/recipe.yaml").read_text()]

    told = "The table could not be read: no/recipe.yaml is missing."
    assert guarded("The table", open_nothing) == [Text(told, "note")]

    def format_text() -> list:
        return [format("x", "g")]

    (said,) = guarded("The table", format_text)
    assert isinstance(said, Text)
    assert said.text.startswith("The table could not be read: a value is not of the right kind")
    assert part("a", "A", list) is None
    found = part("a", "A", lambda: [Text("b")])
    assert found is not None
    assert (found.id, found.title, found.blocks) == ("a", "A", [Text("b")])


def test_an_id_has_only_letters_digits_and_hyphens() -> None:
    assert identity("Runs/lr=0.1,seed=0 <b>") == "runs-lr-0-1-seed-0-b"
    assert identity("///") == "run"


def test_the_facts_of_a_run_are_told(run: RunDir) -> None:
    (pairs,) = machine(run)
    assert isinstance(pairs, Pairs)
    told = dict(pairs.rows)
    assert told["device"] == "cpu, A CPU"
    assert told["seed"] == "3"
    assert "torch " in told["versions"]
    assert "processes" not in told
    (recipe,) = recipe_text(run)
    assert isinstance(recipe, Details)
    assert isinstance(recipe.blocks[0], Code)
    assert "name: digits" in recipe.blocks[0].text
    assert main_result(run) == ""
    run.finish("finished", {"valid_accuracy": 0.98765})
    assert main_result(run) == "valid_accuracy 0.9877"
    run.update(seconds=697.2)
    assert [name for name, _ in times(run.facts)] == ["started", "took"]
    assert times(run.facts)[1][1] == "11 min 37 s"


def test_the_commands_that_repeat_a_run_say_what_they_do_and_leave_out_its_name(run: RunDir) -> None:
    again = f"onecycle train {run.path / 'recipe.yaml'}"
    given, copied = commands(run)
    assert given == Command("Once more, from the recipe as it was given.", "onecycle train digits")
    assert copied.line == again
    assert "copy of the recipe in the run's folder" in copied.told
    run.write_text("tuned.yaml", "")
    assert commands(run)[2].line == again.replace("recipe.yaml", "tuned.yaml")
    for line in (
        "onecycle train 'my digits' --name a-run --seed 1",
        "onecycle train 'my digits' --name=a-run --seed 1",
    ):
        run.update(command_line=line)
        assert commands(run)[0].line == "onecycle train 'my digits' --seed 1"
        assert "give another one" in commands(run)[0].told


def test_a_repetition_has_the_options_that_are_in_no_recipe(run: RunDir) -> None:
    line = f"onecycle find-lr {run.path / 'recipe.yaml'}"
    run.update(command="find-lr", command_line="onecycle find-lr digits --repeats 2 --quiet", network_sha256="0")
    assert commands(run)[1].line == f"{line} --repeats 2 --trust-code"


def test_the_notes_and_the_error_of_a_run_are_told(run: RunDir) -> None:
    run.note("A note.")
    run.update(error="It failed.")
    assert notes(run) == [Text("Error: It failed.", "note"), Text("A note.", "note")]


def test_the_labels_and_notes_of_people_are_told(run: RunDir) -> None:
    run.note("A note.")
    add_labels(run, ["best", "paper"])
    written = add_note(run, "The second GPU was slow.").notes[0].written
    assert notes(run) == [
        Text("A note.", "note"),
        Text("Labels: best, paper", "note"),
        Text(f"{written[:10]}: The second GPU was slow.", "note"),
    ]
    run.write_text("annotations.json", '{"labels": 3}')
    first, damaged = notes(run)
    assert first == Text("A note.", "note")
    assert isinstance(damaged, Text)
    assert damaged.text.startswith(f"What people wrote about the run could not be read: {run.path}/annotations.json is")


def test_a_run_is_called_by_its_place_in_the_runs_folder(run: RunDir, tmp_path: Path) -> None:
    assert label_of(run, tmp_path) == "a-run"
    assert label_of(run, tmp_path / "elsewhere") == str(run.path)
