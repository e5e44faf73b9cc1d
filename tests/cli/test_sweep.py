"""`sweep` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.experiments import batch_size
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]


def test_sweep_prints_means_over_seeds_a_verdict_and_the_training_that_follows(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    words = ("sweep", *tiny_digits, "--param", "optimizer.weight_decay=1e-3,1e-4", "--seeds", 2, "--epochs", 1)
    result = onecycle(*words)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["weight_decay", "n", "valid_loss", "valid_accuracy", "not", "finished"]
    assert " ± " in lines[1]
    assert any(line.startswith("verdict  ") for line in lines)
    command = lines[-1].split()[2:]
    assert onecycle(*command).exit_code == 0
    again = onecycle(*words)
    assert again.stdout == result.stdout
    assert "4 of 4 cells were run before." in again.stderr


@pytest.mark.draws
def test_sweep_quiet_prints_the_run_that_did_best_and_json_everything(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    words = ("sweep", *tiny_digits, "--param", "model.dropout=0,0.2", "--epochs", 1)
    best = onecycle(*words, "--quiet").stdout.strip()
    found = json.loads(onecycle(*words, "--json").stdout)
    assert found["best_run"] == best
    assert found["best"].keys() == {"model.dropout"}
    assert [row["dropout"] for row in found["rows"]] == [0, 0.2]
    assert onecycle("runs").stdout.splitlines()[1].split()[1:] == ["finished", "finished", "2"]


def test_a_sweep_of_range_tests_leaves_suggestions_that_train_takes(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("sweep", *tiny_digits, "--param", "model.width=0.25,0.5", "--mode", "range", "--name", "widths")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].split()[0] == "width"
    trained = onecycle("train", *tiny_digits, "--max-lr-from", "latest", "--set", "model.width=0.5", "--epochs", "1")
    assert "widths/width=0.5" in trained.stderr


def test_a_range_test_without_a_max_lr_is_a_row_with_its_reason(onecycle: Command, tiny_digits: list[str]) -> None:
    # Twelve steps are too few for a fall beyond noise, forty are not.
    result = onecycle("sweep", *tiny_digits, "--mode", "range", "--param", "find_lr.num_steps=12,40", "--name", "steps")
    assert result.exit_code == 0
    assert "no suggestion  num_steps=12: The loss never fell" in result.stdout
    table = pd.read_csv("runs/steps/sweep.csv")
    assert table["status"].tolist() == ["no suggestion", "finished"]
    assert table["max_lr"].isna().tolist() == table["error"].notna().tolist() == [True, False]


def test_a_training_whose_range_tests_give_no_max_lr_is_a_row_with_its_reason(
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
    result = onecycle("sweep", *tiny_digits, *low, "--param", "optimizer.weight_decay=1e-3,1e-4", "--name", "mine")
    assert result.exit_code == 3
    assert "weight_decay=0.001, seed=0: Two range tests gave no max_lr. The loss never fell" in result.stdout
    assert "weight_decay=0.0001, seed=0: Two range tests gave no max_lr. The loss never fell" in result.stdout
    table = pd.read_csv("runs/mine/sweep.csv")
    assert table["status"].tolist() == ["failed", "failed"]
    assert table["error"].str.startswith("Two range tests gave no max_lr.").all()


def test_a_dry_run_shows_cells_and_cost_and_leaves_nothing(onecycle: Command, tiny_digits: list[str]) -> None:
    words = ("sweep", *tiny_digits, "--param", "optimizer.weight_decay=1e-3,1e-4", "--seeds", 2, "--dry-run")
    result = onecycle(*words)
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["weight_decay=1e-3,seed=0", "2", "epochs", "24"]
    assert result.stdout.splitlines()[-1].split() == ["total", "96", "steps"]
    own = onecycle(*words, "--max-lr", "auto").stdout
    assert own.splitlines()[1].split()[-1] == "64"
    assert not Path("runs").exists()


def test_the_momentum_preset_is_smiths_five_settings(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("sweep", *tiny_digits, "--preset", "momentum", "--dry-run")
    cells = [line.split()[0] for line in result.stdout.splitlines()[1:6]]
    assert cells[0] == "max_momentum=0.99,base_momentum=0.99,seed=0"
    assert cells[4] == "max_momentum=0.95,base_momentum=0.85,seed=0"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "A sweep needs either --param or --preset"),
        (("--param", "a=1", "--preset", "momentum"), "--param and --preset exclude each other"),
        (("--param", "optimizer.weight_decay"), "is not of the form FIELD=VALUE,VALUE"),
        (("--param", "optimizer.weight_decay="), "is not of the form FIELD=VALUE,VALUE"),
        (("--param", "optimizer.weight_decay=[1"), "are not readable as YAML"),
        (("--param", "optimizer.weight_decay=1e-3,0.001"), "holds the same value twice"),
        (("--param", "optimizer.weight_decay=1e-3", "--param", "optimizer.weight_decay=1e-4"), "same field twice"),
        (("--param", "seed=1,2"), "--seeds 3"),
        (("--param", "optimizer.weigth_decay=1"), "did you mean 'weight_decay'?"),
        (("--param", "optimiser.weight_decay=1"), "there is no section 'optimiser'; did you mean 'optimizer'?"),
        (("--param", "optimizer.weight_decay=0.1,fast"), "weight_decay=fast  optimizer.weight_decay: must be a number"),
    ],
)
def test_what_cannot_be_a_sweep_is_told_before_anything_is_made(
    onecycle: Command, words: tuple[str, ...], says: str
) -> None:
    result = onecycle("sweep", "digits", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert not Path("runs").exists()


def test_a_sweep_in_which_nothing_finishes_exits_with_3(onecycle: Command, tiny_digits: list[str]) -> None:
    result = onecycle("sweep", *tiny_digits, "--param", "data.batch_size=5000,6000")
    assert result.exit_code == 3
    assert "failed" in result.stdout
    assert "data.batch_size 5000 is larger than" in result.stdout
    quiet = onecycle("sweep", *tiny_digits, "--param", "data.batch_size=5000,6000", "--quiet")
    assert quiet.exit_code == 3
    assert "None of the 2 cells has a result. data.batch_size 5000 is larger than" in quiet.stderr
    assert "; data.batch_size 6000 is larger than" in quiet.stderr


def test_values_that_a_running_sweep_lacks_are_refused(onecycle: Command, tiny_digits: list[str]) -> None:
    words = ("sweep", *tiny_digits, "--epochs", 1, "--name", "mine", "--param")
    assert onecycle(*words, "model.dropout=0,0.5").exit_code == 0
    before = Path("runs/mine/run.json").read_bytes()
    with RunDir(Path("runs/mine")).alone():
        more = onecycle(*words, "model.dropout=0,0.5,0.7")
        other = onecycle(*words, "model.width=0.5")
    assert (more.exit_code, other.exit_code) == (2, 2)
    assert "Another process is using runs/mine" in more.stderr
    assert "runs/mine holds another sweep: fields" in other.stderr
    assert Path("runs/mine/run.json").read_bytes() == before


@pytest.mark.slow
def test_the_batch_size_preset_compares_sizes_at_equal_time_each_with_its_own_max_lr(
    onecycle: Command, tiny_digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)
    few = ("--set", "data.valid_fraction=0.7")
    words = ("sweep", *tiny_digits, *few, "--preset", "batch-size", "--mode", "train")
    result = onecycle(*words)
    assert result.exit_code == 0
    assert any(line.startswith("a run took  ") for line in result.stdout.splitlines())
    found = json.loads(onecycle(*words, "--json").stdout)
    # Of 539 images, 256 would leave an epoch two steps.
    assert [row["batch_size"] for row in found["rows"]] == [32, 64, 128]
    assert [row["epochs"] for row in found["rows"] if row["batch_size"] == 128] == [2]
    assert all(row["max_lr"] for row in found["rows"] if row["status"] == "finished")
    assert onecycle(*words, "--dry-run").exit_code == 2
