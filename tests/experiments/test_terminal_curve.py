"""Curves of saved runs as text."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.terminal_curve import curve_lines
from onecycle_cli.figures.terminal import Screen
from onecycle_cli.recipe import to_yaml
from onecycle_cli.run_dir.files import EPOCHS_COLUMNS, LR_RANGE_COLUMNS, STEPS_COLUMNS
from onecycle_cli.run_dir.run import RunDir

SCREEN = Screen(80, 12)
SUGGESTION = {"max_lr": 0.1, "expected_points_lost": 0.2, "points_lost_90": 0.9}
BAND = {"lowest_max_lr": 0.05, "highest_max_lr": 0.2}


@pytest.fixture
def run(tiny: Callable) -> RunDir:
    return RunDir.create(
        Path("runs"), command="train", recipe_name="digits", recipe_yaml=to_yaml(tiny()), facts={}, name="a"
    )


def write_range_test(run: RunDir, seeds: int = 1, steps: int = 30) -> None:
    with run.table("lr_range.csv", LR_RANGE_COLUMNS) as table:
        for seed in range(seeds):
            for step in range(steps):
                loss = 2.0 + 0.01 * seed - (1.5 if 10 < step < 20 else 0.0)
                row = dict.fromkeys(LR_RANGE_COLUMNS, 0.0) | {"seed": seed, "step": step, "lr": 1e-3 * 1.4**step}
                table.append([row | {"train_loss": loss}])


def write_training(run: RunDir, steps: int, epochs: int) -> None:
    with run.table("steps.csv", STEPS_COLUMNS) as table:
        table.append(
            dict.fromkeys(STEPS_COLUMNS, 0.0) | {"step": step, "train_loss": 2 - step / 50} for step in range(steps)
        )
    with run.table("epochs.csv", EPOCHS_COLUMNS) as table:
        table.append(
            dict.fromkeys(EPOCHS_COLUMNS, 0.0) | {"step": 10 * epoch + 9, "valid_loss": 1.9 - epoch / 5}
            for epoch in range(epochs)
        )


def test_a_training_has_its_two_losses(run: RunDir) -> None:
    write_training(run, steps=50, epochs=5)
    lines = curve_lines(run, SCREEN)
    assert lines[0].split("   ")[1:] == ["⠒⠒ train_loss", "o valid_loss"]
    assert sum(line.count("o") for line in lines[1:-1]) == 5


def test_a_range_test_has_its_suggestion_and_the_band_of_it(run: RunDir) -> None:
    write_range_test(run)
    assert "max_lr" not in curve_lines(run, SCREEN)[0]
    run.write_json("suggestion.json", SUGGESTION)
    assert "max_lr 0.1" in curve_lines(run, SCREEN)[0], "of an older version, without an error bar"
    assert "best" not in curve_lines(run, SCREEN)[0]
    run.write_json("suggestion.json", SUGGESTION | BAND)
    assert "best max_lr, 90 %" in curve_lines(run, SCREEN)[0]
    run.write_json("suggestion.json", {"max_lr": None})
    assert "max_lr" not in curve_lines(run, SCREEN)[0]


def test_several_tests_have_one_smooth_curve(run: RunDir) -> None:
    write_range_test(run, seeds=3)
    assert len(curve_lines(run, SCREEN)) == 12


def test_the_training_counts_where_a_range_test_came_before(run: RunDir) -> None:
    write_range_test(run)
    write_training(run, steps=1, epochs=0)
    assert "smoothed" in curve_lines(run, SCREEN)[0], "one step is no curve"
    shutil.copy(run.path / "lr_range.csv", "kept.csv")
    (run.path / "steps.csv").unlink()
    (run.path / "epochs.csv").unlink()
    write_training(run, steps=20, epochs=0)
    assert "train_loss" in curve_lines(run, SCREEN)[0]


def test_half_a_row_is_not_drawn(run: RunDir) -> None:
    write_training(run, steps=20, epochs=1)
    whole = curve_lines(run, SCREEN)
    for name in ("steps.csv", "epochs.csv"):
        with (run.path / name).open("a") as file:
            file.write("20,")
    assert curve_lines(run, SCREEN) == whole


def test_a_run_without_a_curve_has_no_lines(run: RunDir) -> None:
    assert curve_lines(run, SCREEN) == []
    write_range_test(run, steps=0)
    assert curve_lines(run, SCREEN) == []


def test_a_small_screen_costs_no_reading(run: RunDir) -> None:
    (run.path / "steps.csv").write_bytes(b"\xff\n")
    assert curve_lines(run, Screen(30, 12)) == []


@pytest.mark.parametrize("written", [b"step,train_loss\n1,x\n", b"step\n1\n", b"\xff\n"])
def test_a_damaged_table_is_told(run: RunDir, written: bytes) -> None:
    (run.path / "steps.csv").write_bytes(written)
    with pytest.raises(InputError, match="steps.csv is damaged"):
        curve_lines(run, SCREEN)


def test_of_very_many_steps_the_epochs_are_read_alone(run: RunDir) -> None:
    write_training(run, steps=20, epochs=40)
    shorter = curve_lines(run, SCREEN)
    with (run.path / "steps.csv").open("ab") as file:
        file.truncate(4_000_000)
    assert curve_lines(run, SCREEN) != shorter
