"""`suggest`: the suggestion of find-lr, for a curve that any tool wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, suggest
from onecycle_cli.cli import app

Command = Callable[..., Result]
RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "curves.json").read_text())
CLEAN, FLAT = RECORDED["clean"], RECORDED["rising"]


def csv_of(curve: dict, column: str = "loss") -> str:
    rows = zip(curve["lr"], curve["train_loss"], strict=True)
    return f"lr,{column}\n" + "".join(f"{lr!r},{loss!r}\n" for lr, loss in rows)


@pytest.fixture
def clean() -> str:
    Path("clean.csv").write_text(csv_of(CLEAN))
    return "clean.csv"


@pytest.mark.parametrize("name", [name for name in RECORDED if name not in ("rising", "short")])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_recorded_curve_gives_the_numbers_of_find_lr(onecycle: Command, name: str, optimizer: str) -> None:
    Path("x.csv").write_text(csv_of(RECORDED[name], "train_loss"))
    result = onecycle("suggest", "x.csv", "--optimizer", optimizer, "--json")
    expected = suggest([Curve(RECORDED[name]["lr"], RECORDED[name]["train_loss"])], CyclePlan(optimizer, 10))
    told = json.loads(result.stdout)
    assert told == {"curve": "x.csv", "loss_column": "train_loss", "curves": 1} | vars(expected)
    assert result.exit_code == (0 if expected.max_lr else 4)


def test_the_table_of_find_lr_gives_what_find_lr_said(onecycle: Command, tiny_digits: list[str]) -> None:
    said = json.loads(onecycle("find-lr", *tiny_digits, "--name", "found", "--repeats", 2, "--json").stdout)
    told = json.loads(onecycle("suggest", "runs/found/lr_range.csv", "--total-steps", 24, "--json").stdout)
    assert (told["curves"], told["loss_column"]) == (2, "train_loss")
    assert {name: told[name] for name in said if name != "run"} == {n: v for n, v in said.items() if n != "run"}
    shown = onecycle("suggest", "runs/found/lr_range.csv").stdout
    assert "train_loss of 2 seeds in runs/found/lr_range.csv" in shown
    folder = onecycle("suggest", "runs/found")
    assert (folder.exit_code, "runs/found/lr_range.csv" in folder.stderr) == (2, True)


def test_it_is_shown_as_find_lr_shows_it(onecycle: Command, clean: str, tiny_digits: list[str]) -> None:
    lines = onecycle("suggest", clean).stdout.splitlines()
    names = [line.split("  ")[0] for line in lines]
    bar = ["accuracy lost", "best max_lr"]
    assert names == ["max_lr", "conservative_max_lr", "initial_lr", "confidence", *bar, "why", "others say", "curve"]
    expected = suggest([Curve(CLEAN["lr"], CLEAN["train_loss"])], CyclePlan("sgd", 10))
    assert lines[0].split() == ["max_lr", f"{expected.max_lr:g}"]
    shown = dict(line.split("  ", 1) for line in lines)
    lost, most = expected.expected_points_lost, expected.points_lost_90
    said = f"{lost:.1f} points on average, at most {most:.1f} with 90 % probability"
    assert shown["accuracy lost"].strip() == said
    said = f"from {expected.lowest_max_lr:g} to {expected.highest_max_lr:g} with 90 % probability"
    assert shown["best max_lr"].strip() == said
    found = [line.split("  ")[0] for line in onecycle("find-lr", *tiny_digits).stdout.splitlines()]
    assert [name for name in found if name in names] == names


def test_quiet_prints_the_number_alone_and_standard_input_is_read(onecycle: Command, clean: str) -> None:
    expected = suggest([Curve(CLEAN["lr"], CLEAN["train_loss"])], CyclePlan("sgd", 10))
    assert onecycle("suggest", clean, "--quiet").stdout == f"{expected.max_lr:g}\n"
    piped = CliRunner().invoke(app, ["suggest", "-", "--quiet"], input=csv_of(CLEAN))
    assert (piped.exit_code, piped.stdout) == (0, f"{expected.max_lr:g}\n")
    shown = CliRunner().invoke(app, ["suggest", "-"], input=csv_of(CLEAN))
    assert "loss in standard input" in shown.stdout


def test_the_divisor_gives_the_initial_lr(onecycle: Command, clean: str) -> None:
    told = json.loads(onecycle("suggest", clean, "--div-factor", 25, "--json").stdout)
    assert told["initial_lr"] == pytest.approx(told["max_lr"] / 25, rel=0.01)


def test_a_curve_without_a_suggestion_exits_with_4(onecycle: Command) -> None:
    Path("flat.csv").write_text(csv_of(FLAT))
    for words, printed in (((), False), (("--quiet",), False), (("--json",), True)):
        result = onecycle("suggest", "flat.csv", *words)
        assert result.exit_code == 4
        assert "never fell" in result.stderr
        assert bool(result.stdout) is printed
    assert json.loads(result.stdout)["max_lr"] is None


def test_low_confidence_is_told_beside_a_bare_number(onecycle: Command) -> None:
    # The loss falls from the first step on, so that the basin begins lower.
    lrs = [1e-3 * 10 ** (step / 20) for step in range(61)]
    losses = [2.3 - 0.1 * step if step < 10 else 1.3 if step < 50 else 4.0 for step in range(61)]
    Path("early.csv").write_text(csv_of({"lr": lrs, "train_loss": losses}))
    for words in (["--json"], ["--quiet"]):
        assert "is low. " in onecycle("suggest", "early.csv", *words).stderr
    shown = onecycle("suggest", "early.csv")
    assert (shown.stderr, "confidence           low" in shown.stdout) == ("", True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere.csv",), "There is no file nowhere.csv."),
        (("clean.csv/x.csv",), "There is no file clean.csv/x.csv."),
        ((".",), ". is a folder."),
        (("image.png",), "image.png is not text in UTF-8"),
        (("clean.csv", "--lr-column", "rate"), "clean.csv has no column rate."),
        (("clean.csv", "--loss-column", "valid"), "clean.csv has no column valid."),
        (("clean.csv", "--optimizer", "lion"), "sgd, adamw"),
        (("clean.csv", "--div-factor", "0"), "div_factor is 0.0"),
        (("broken.csv",), "line 3: loss is 'x', not a number"),
    ],
)
@pytest.mark.usefixtures("clean")
def test_what_cannot_be_read_exits_with_2(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    Path("image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\xff")
    Path("broken.csv").write_text("lr,loss\n0.1,2\n0.2,x\n")
    result = onecycle("suggest", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
    assert len(result.stderr.splitlines()) <= 5
