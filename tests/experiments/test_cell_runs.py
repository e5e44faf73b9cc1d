"""Several commands on one sweep: each cell runs once, whoever is stopped, and all come to the same end."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]
Started = Callable[..., Any]
WORDS = ("sweep", "recipe.yaml", "--param", "optimizer.weight_decay=1e-3,1e-4", "--seeds", "2", "--name")
TABLES = ("sweep.csv", "ranking.csv")


@pytest.fixture
def _recipe(two_splits: Recipe) -> None:
    Path("recipe.yaml").write_text(to_yaml(two_splits))


def ran(folder: Path) -> list[str]:
    """The cells that have run, in the order of their start."""
    runs = [RunDir(path.parent) for path in folder.glob("*/run.json")]
    return [run.path.name for run in sorted(runs, key=lambda run: str(run.facts["started"]))]


@pytest.mark.usefixtures("_recipe")
@pytest.mark.parametrize("more", [(), pytest.param(("--jobs", "2"), marks=pytest.mark.slow)])
def test_two_commands_share_the_cells_and_print_the_same_table(
    onecycle: Command, started: Started, more: tuple[str, ...]
) -> None:
    together = [started(*WORDS, "shared", *jobs) for jobs in ((), more)]
    told = [process.communicate() for process in together]
    assert [process.returncode for process in together] == [0, 0], told
    alone = onecycle(*WORDS, "alone")
    rows = [[line for line in out.splitlines() if "runs/" not in line and "took" not in line] for out, _ in told]
    assert rows[0] == rows[1] == [row for row in alone.stdout.splitlines() if "runs/" not in row and "took" not in row]
    for name in TABLES:
        assert Path("runs/shared", name).read_bytes() == Path("runs/alone", name).read_bytes()
    assert len(ran(Path("runs/shared"))) == 4
    assert not list(Path("runs/shared").glob("*.unfinished-*"))


@pytest.mark.slow
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("stopped", ["owner", "joiner"])
def test_a_command_that_is_stopped_leaves_its_cells_to_the_other(
    onecycle: Command, started: Started, tiny_digits: list[str], way: signal.Signals, stopped: str
) -> None:
    words = ("sweep", *tiny_digits, "--param", "model.dropout=0,0.2", "--seeds", "2", "--epochs", "6")
    words = (*words, "--set", "runtime.checkpoint_seconds=0", "--name")
    owner = started(*words, "shared")
    folder = Path("runs/shared")
    while not list(folder.glob("*/steps.csv")):
        assert owner.poll() is None
        time.sleep(0.01)
    joiner = started(*words, "shared")
    while len(list(folder.glob("*/steps.csv"))) < 2:
        assert joiner.poll() is None
        time.sleep(0.01)
    (one, other) = (owner, joiner) if stopped == "owner" else (joiner, owner)
    one.send_signal(way)
    one.communicate()
    _, err = other.communicate()
    assert other.returncode == 0, err
    assert RunDir(folder).status == "finished"
    assert onecycle(*words, "alone").exit_code == 0
    for name in TABLES:
        assert (folder / name).read_bytes() == Path("runs/alone", name).read_bytes()
    assert len(pd.read_csv(folder / "sweep.csv")) == 4
    for run in Path("runs/alone").glob("*/steps.csv"):
        assert (folder / run.parent.name / "steps.csv").read_bytes() == run.read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("_recipe")
def test_a_cell_that_fails_is_tried_once_by_all_commands_together(onecycle: Command, started: Started) -> None:
    words = ("sweep", "recipe.yaml", "--param", "data.batch_size=2000,4", "--name", "shared")
    together = [started(*words) for _ in range(2)]
    told = [process.communicate() for process in together]
    assert [process.returncode for process in together] == [0, 0], told
    assert pd.read_csv("runs/shared/sweep.csv")["status"].tolist() == ["failed", "finished"]
    assert sum("failed: data.batch_size" in err for _, err in told) == 1
    assert not list(Path("runs/shared").glob("*.unfinished-*"))
    assert onecycle(*words).exit_code == 0
    assert len(list(Path("runs/shared").glob("*.unfinished-*"))) == 1  # a new start tries it again
