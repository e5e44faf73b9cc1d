"""`schedule`: every step of a cycle, without data."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_seed_experiment_has_its_9310_rows_and_values(onecycle: Command) -> None:
    result = onecycle("schedule", "cifar10-resnet56", "--max-lr", 0.8, "--csv", "-")
    assert result.exit_code == 0
    rows = table(result.stdout)
    assert len(rows) == 9310
    assert list(rows[0]) == ["step", "epoch", "lr", "momentum"]
    assert (rows[0]["lr"], rows[0]["momentum"]) == ("0.08", "0.95")
    assert (rows[4018]["lr"], rows[4018]["momentum"], rows[4018]["epoch"]) == ("0.8", "0.85", "42")
    assert (rows[8036]["lr"], rows[8036]["momentum"]) == ("0.08", "0.95")
    assert f"{float(rows[9309]['lr']):.6f}" == "0.000862"


def test_it_shows_the_turns_of_the_cycle(onecycle: Command) -> None:
    result = onecycle("schedule", "cifar10-resnet56")
    assert any(line.split() == ["4,018", "42", "0.8", "0.850", "peak"] for line in result.stdout.splitlines())
    assert "total_steps      9,310" in result.stdout


def test_stages_are_shown_one_after_another(onecycle: Callable) -> None:
    stages = "fine_tune.stages=[{freeze_to: head, epochs: 5, max_lr: 0.1}, {epochs: 10, max_lr: [0.01, 0.3]}]"
    result = onecycle("schedule", "digits", "--set", stages, "--csv", "-")
    rows = [line.split(",") for line in result.stdout.splitlines()[1:]]
    lrs = [float(row[2]) for row in rows]
    assert len(lrs) == 15 * 23
    assert max(lrs[: 5 * 23]) == pytest.approx(0.1)
    assert max(lrs[5 * 23 :]) == pytest.approx(0.3)
    assert lrs[5 * 23] == pytest.approx(0.03)


@pytest.mark.draws
def test_files_are_written_once(onecycle: Command) -> None:
    words = ("schedule", "digits", "--max-lr", 1, "--csv", "a.csv", "--plot", "a.png")
    assert onecycle(*words).exit_code == 0
    assert len(table(Path("a.csv").read_text())) == 23 * 15
    assert Path("a.png").read_bytes()[1:4] == b"PNG"
    again = onecycle(*words)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_folder_of_images_needs_the_steps_of_an_epoch(onecycle: Command) -> None:
    words = ("schedule", "images", "--max-lr", 1)
    result = onecycle(*words)
    assert result.exit_code == 2
    assert "--steps-per-epoch" in result.stderr
    assert "total_steps      200" in onecycle(*words, "--steps-per-epoch", 10).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits",), "There is no max_lr"),
        (("digits", "--max-lr", "0"), "schedule.max_lr: must be above 0"),
        (("digits", "--max-lr", "1", "--set", "schedule.pct_start=0.001"), "pct_start 0.001 x 345 steps = 0.345"),
        (("digits", "--max-lr", "1", "--batch-size", "2000"), "batch_size 2000 is larger than the 1437 training"),
        (("digits", "--max-lr", "1", "--csv", "nowhere/a.csv"), "There is no folder nowhere"),
        (("digits", "--max-lr", "1", "--plot", "nowhere/a.png"), "There is no folder nowhere"),
    ],
)
def test_what_cannot_be_a_schedule_is_told(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    result = onecycle("schedule", *words)
    assert result.exit_code == 2
    assert says in result.stderr
