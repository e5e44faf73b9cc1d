"""How far runs have come, read from their folders."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.run_progress import RunProgress, Watch, progress_of
from onecycle_cli.recipe import to_yaml
from onecycle_cli.run_dir.files import EPOCHS_COLUMNS, LR_RANGE_COLUMNS, STEPS_COLUMNS
from onecycle_cli.run_dir.run import RunDir

RUNS = Path("runs")
IMAGES = {"images": {"train": 1437, "valid": 360, "test": None}}
"""Of these, an epoch of batches of 128 has 12 steps."""

Make = Callable[..., RunDir]


@pytest.fixture
def make(tiny: Callable) -> Make:
    """Makes the folder of a run that this process runs."""

    def new(name: str, command: str = "train", runs_dir: Path = RUNS, **facts: Any) -> RunDir:
        yaml = to_yaml(tiny({"schedule.epochs": 5}))
        return RunDir.create(
            runs_dir, command=command, recipe_name="digits", recipe_yaml=yaml, facts=IMAGES | facts, name=name
        )

    return new


def train(run: RunDir, first: int, last: int) -> None:
    """Writes the steps from `first` to `last`, and the epochs that end there."""
    with run.table("steps.csv", STEPS_COLUMNS, keep=first) as table:
        rows = [
            {"step": step, "epoch": 1 + step // 12, "lr": 0.05, "momentum": 0.9, "train_loss": 2 - step / 100}
            for step in range(first, last + 1)
        ]
        table.append(rows)
    with run.table("epochs.csv", EPOCHS_COLUMNS, keep=first // 12) as table:
        ends = [row for row in rows if row["step"] % 12 == 11]
        scores = {"valid_accuracy": 0.75, "seconds": 6.0}
        table.append([dict.fromkeys(EPOCHS_COLUMNS, 0.5) | row | scores for row in ends])


def test_a_training_is_as_far_as_its_last_row(make: Make) -> None:
    run = make("a")
    assert progress_of(run) == RunProgress()
    train(run, 0, 29)
    found = progress_of(run)
    assert (found.work, found.done, found.total) == ("training", 30, 60)
    assert (found.epoch, found.epochs) == (3, 5)
    assert (found.loss, found.lr, found.valid_accuracy) == (1.71, 0.05, 0.75)
    assert found.updated == pytest.approx((run.path / "epochs.csv").stat().st_mtime, abs=1)
    assert found.seconds_per_step == 0.5
    assert found.seconds_left() == 15
    assert found.seconds_left(2.0) == 60


def test_before_the_first_epoch_has_ended_the_time_left_is_not_known(make: Make) -> None:
    run = make("a")
    train(run, 0, 3)
    found = progress_of(run)
    assert (found.epoch, found.valid_accuracy, found.seconds_left()) == (1, None, None)


@pytest.mark.parametrize("images", [{}, None, 3, {"train": None}, {"train": "many"}, {"train": 0}])
def test_a_run_of_an_unknown_number_of_images_has_no_total(make: Make, images: Any) -> None:
    run = make("a", images=images)
    train(run, 0, 3)
    assert (progress_of(run).done, progress_of(run).total) == (4, None)


def range_tests(run: RunDir, *tests: int, seed: int = 0) -> None:
    """Writes range tests of so many steps, each with the next seed."""
    row = dict.fromkeys(LR_RANGE_COLUMNS, 1.0) | {"lr": 0.01}
    with run.table("lr_range.csv", LR_RANGE_COLUMNS) as table:
        for number, steps in enumerate(tests):
            table.append([row | {"seed": seed + number, "step": step} for step in range(steps)])


@pytest.mark.parametrize(
    ("asked", "tests", "done", "total"),
    [
        ("", (10,), 10, 40),
        ("", (45,), 45, 45),  # it goes on beyond end_lr
        ("--repeats 3", (10,), 10, 120),
        ("--repeats 3", (38, 2), 40, 118),  # the first one ended early
        ("--repeats=2", (38, 44), 82, 82),
        ("", (38, 2), 40, None),  # from Python, which has no command line
        ("--repeats x", (38, 2), 40, None),
    ],
)
def test_range_tests_are_counted_by_the_steps_of_all(
    make: Make, asked: str, tests: tuple[int, ...], done: int, total: int | None
) -> None:
    run = make("a", "find-lr", command_line=f"onecycle find-lr digits {asked}")
    range_tests(run, *tests)
    found = progress_of(run)
    assert (found.work, found.done, found.total, found.lr) == ("range test", done, total, 0.01)


def test_the_repeats_of_a_sweep_may_be_trainings(make: Make) -> None:
    run = make("a", "sweep", command_line="onecycle sweep digits --repeats 2", cell="x")
    range_tests(run, 10)
    assert (progress_of(run).done, progress_of(run).total) == (10, None)


def test_range_tests_begin_with_the_seed_of_the_recipe(make: Make, tiny: Callable) -> None:
    run = make("a", "find-lr", command_line="onecycle find-lr digits --repeats 2")
    run.write_text("recipe.yaml", to_yaml(tiny({"seed": 7})))
    range_tests(run, 10, seed=7)
    assert (progress_of(run).done, progress_of(run).total) == (10, 80)


def test_range_tests_that_are_tried_again_for_longer_have_no_total(make: Make) -> None:
    run = make("a")
    range_tests(run, 10)
    (run.path / "lr_range_first.csv").touch()
    assert (progress_of(run).done, progress_of(run).total) == (10, None)


def test_a_range_test_of_an_older_version_has_no_seed(make: Make) -> None:
    run = make("a", "find-lr")
    (run.path / "lr_range.csv").write_text("step,lr,train_loss\n9,0.1,1.0\n")
    assert (progress_of(run).done, progress_of(run).total) == (10, 40)


def test_of_a_training_with_auto_the_range_test_comes_first(make: Make) -> None:
    run = make("a")
    with run.table("lr_range.csv", LR_RANGE_COLUMNS) as table:
        table.append([dict.fromkeys(LR_RANGE_COLUMNS, 1.0) | {"step": 9}])
    assert progress_of(run).work == "range test"
    train(run, 0, 0)
    assert progress_of(run).work == "training"


def test_a_sweep_counts_the_cells_that_have_ended(make: Make) -> None:
    sweep = make("sweep", "sweep")
    assert progress_of(sweep) == RunProgress()
    plan = {"mode": "train", "repeats": 2, "variations": [{"seed": 0}, {"seed": 1}]}
    sweep.write_json("sweep.json", plan)
    make("one", runs_dir=sweep.path, cell="x").finish("diverged", {})
    make("two", runs_dir=sweep.path, cell="y")
    found = progress_of(sweep)
    assert (found.work, found.done, found.total) == ("cells", 1, 4)
    sweep.write_json("sweep.json", plan | {"mode": "range"})
    assert progress_of(sweep).total == 2


@pytest.mark.parametrize(
    ("name", "written"),
    [("steps.csv", "step,epoch\n1,x\n"), ("steps.csv", "step\n1\n"), ("recipe.yaml", "a: [")],
)
def test_a_damaged_file_is_told_and_does_not_stop_a_watch(make: Make, name: str, written: str) -> None:
    run = make("a")
    (run.path / name).write_text(written)
    with pytest.raises(InputError):
        progress_of(run)
    (seen,) = Watch(RUNS).look()
    assert (seen.status, seen.progress) == ("running", RunProgress())


def test_a_watch_sees_what_runs_and_keeps_what_then_ends(make: Make) -> None:
    make("before").finish("finished", {})
    make("killed").update(pid=2**22 + 1)  # no system has so many processes
    watch = Watch(RUNS)
    assert watch.look() == []
    first, second = make("first"), make("second", "find-lr")
    train(first, 0, 5)
    assert [(run.run, run.command, run.status) for run in watch.look()] == [
        ("first", "train", "running"),
        ("second", "find-lr", "running"),
    ]
    train(first, 6, 59)
    first.finish("finished", {})
    second.update(pid=2**22 + 1)
    seen = watch.look()
    assert [(run.run, run.status) for run in seen] == [("first", "finished"), ("second", "interrupted")]
    assert (seen[0].progress.done, seen[0].seconds_left, seen[0].age) == (60, None, None)
    assert watch.look() == seen
    second.resume()
    assert [run.status for run in watch.look()] == ["finished", "running"]


def test_the_cells_of_a_sweep_are_watched_by_their_names_in_the_folder(make: Make) -> None:
    sweep = make("sweep", "tune")
    make("cell", runs_dir=sweep.path, cell="x")
    make("cell.unfinished-1", runs_dir=sweep.path, cell="x")
    watch = Watch(RUNS)
    assert [run.run for run in watch.look()] == ["sweep", "sweep/cell"]
    (sweep.path / "cell").rename(sweep.path / "cell.unfinished-2")
    assert [run.run for run in watch.look()] == ["sweep"]


def test_the_speed_is_that_since_the_first_look(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 2e9
    for clock in ("time.time", "time.monotonic"):
        monkeypatch.setattr(clock, lambda: now)
    run, watch = make("a"), Watch(RUNS)
    train(run, 0, 19)
    assert watch.look()[0].seconds_left == 0.5 * 40, "at first, that of the last epoch"
    train(run, 20, 21)
    now += 2
    assert watch.look()[0].seconds_left == 0.5 * 38, "two seconds are too few to know"
    train(run, 22, 29)
    now += 8
    assert watch.look()[0].seconds_left == 1.0 * 30
    os.utime(run.path / "steps.csv", (now, now - 5))
    os.utime(run.path / "epochs.csv", (now, now - 50))
    assert watch.look()[0].age == 5


def test_a_watch_reads_a_changed_recipe_again(make: Make, tiny: Callable) -> None:
    run, watch = make("a"), Watch(RUNS)
    train(run, 0, 19)
    assert watch.look()[0].progress.total == 60
    run.write_text("recipe.yaml", to_yaml(tiny({"schedule.epochs": 7})))
    assert watch.look()[0].progress.total == 84


def test_a_watch_writes_nothing(make: Make) -> None:
    run = make("a")
    train(run, 0, 19)
    before = {path: path.stat().st_mtime_ns for path in (RUNS, run.path, *run.path.iterdir())}
    watch = Watch(RUNS)
    watch.look()
    watch.look()
    assert {path: path.stat().st_mtime_ns for path in (RUNS, run.path, *run.path.iterdir())} == before


def test_a_folder_that_is_not_there_has_no_runs() -> None:
    assert Watch(Path("nowhere")).look() == []
