"""The clock is set forward or back by a day: what is latest, how long things take, who is still there."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

sys.path.insert(0, str(Path(__file__).parent))
from interposer import build, compiler

from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.experiments.run_progress import Watch
from onecycle_cli.progress import silent
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.run import RunDir

DAY = 86_400

SOURCE = Path(__file__).with_name("clock.c")


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that moves the clock of a process."""
    if compiler() is None:
        pytest.skip("there is no C compiler for Linux, with which the library is built that moves the clock")
    return build(tmp_path_factory.mktemp("clock"), SOURCE)


@pytest.fixture
def under_the_clock(clock: Path) -> Callable[[str], None]:
    """Runs lines of Python in a process in which `move(seconds)` sets the clock."""

    def run(lines: str) -> None:
        program = textwrap.dedent("""
            import ctypes, time
            from pathlib import Path

            def move(seconds):
                before = time.time()
                ctypes.CDLL(None).clock_move(ctypes.c_long(seconds))
                return time.time() - before

            assert abs(move(86_400) - 86_400) < 60 and abs(move(0) + 86_400) < 60, "the clock does not move"
        """)
        command = [sys.executable, "-c", program + textwrap.dedent(lines)]
        done = subprocess.run(
            command, env=os.environ | {"LD_PRELOAD": str(clock)}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    return run


def test_the_run_made_last_is_the_latest_however_the_clock_was_set(under_the_clock: Callable[[str], None]) -> None:
    under_the_clock("""
        from onecycle_cli.run_dir.finding import all_runs, latest_suggestions, suggesting_runs
        from onecycle_cli.run_dir.listing import listed_runs
        from onecycle_cli.run_dir.run import RunDir

        runs, made = Path("runs"), []
        for moved in (0, 86_400, 0, -86_400, -86_400, 10, 86_390, 0, 2 * 86_400):
            move(moved)
            run = RunDir.create(
                runs, command="find-lr", recipe_name="digits", recipe_yaml="a: 1\\n", facts={}, name=None
            )
            run.write_json("suggestion.json", {"max_lr": 0.1})
            run.update(status="finished")
            made.append(run.path)
            assert latest_suggestions(runs, "digits")[0].path == run.path, moved
            assert [one.path for one in all_runs(runs)] == made
            assert [one.run.path for one in listed_runs(runs)] == made
        assert len({*made}) == 9
    """)


def test_a_run_made_after_a_sweep_is_later_than_its_cells_however_the_clock_was_set(
    under_the_clock: Callable[[str], None],
) -> None:
    under_the_clock("""
        from onecycle_cli.run_dir.finding import suggesting_runs
        from onecycle_cli.run_dir.run import RunDir

        def made(command):
            facts = dict(command=command, recipe_name="digits", recipe_yaml="a: 1\\n", facts={}, name=None)
            return RunDir.create(Path("runs"), **facts)

        def suggests(run):
            run.write_json("suggestion.json", {"max_lr": 0.1})
            return run.path

        move(86_400)
        first = suggests(made("find-lr"))
        move(0)
        sweep = made("sweep")
        cells = [suggests(sweep.inner(f"cell-{number}", "a: 1\\n")) for number in range(2)]
        move(-86_400)
        cells.append(suggests(sweep.inner("cell-2", "a: 1\\n")))
        last = suggests(made("find-lr"))
        found = [run.path for run in suggesting_runs(Path("runs"))]
        assert (found[0], {*found[1:-1]}, found[-1]) == (first, {*cells}, last), found
    """)


def test_a_run_has_taken_as_long_as_a_clock_says_that_nobody_sets(under_the_clock: Callable[[str], None]) -> None:
    under_the_clock("""
        from onecycle_cli.run_dir.run import RunDir

        for moved in (86_400, -86_400):
            move(0)
            facts = dict(command="train", recipe_name="digits", recipe_yaml="a: 1\\n", facts={}, name=None)
            run = RunDir.create(Path("runs"), **facts)
            with run.recording():
                move(moved)
            assert 0 <= run.facts["seconds"] < 60, run.facts["seconds"]
    """)


def test_what_is_left_of_a_run_is_told_by_a_clock_that_nobody_sets(under_the_clock: Callable[[str], None]) -> None:
    under_the_clock("""
        import onecycle_cli.experiments.run_progress as module
        from onecycle_cli.recipe import load, shipped_path, to_yaml
        from onecycle_cli.run_dir.run import RunDir

        recipe = to_yaml(load(shipped_path("digits")))
        facts = dict(command="train", recipe_name="digits", facts={"images": {"train": 1437}}, name=None)
        run = RunDir.create(Path("runs"), recipe_yaml=recipe, **facts)
        module.ENOUGH_SECONDS = 0.0
        columns = ("step", "epoch", "train_loss", "lr")
        with run.table("steps.csv", columns) as table:
            watch = module.Watch(Path("runs"))
            for step, moved in enumerate((0, 86_400, -86_400, 0)):
                table.append([dict(zip(columns, (step, 1, 2.0, 0.1)))])
                move(moved)
                (seen,) = watch.look()
                assert seen.age >= 0
                assert seen.seconds_left is None or 0 <= seen.seconds_left < 3600, seen
    """)


def test_times_of_files_in_the_future_hide_nothing_and_stop_nothing(
    trained: str, onecycle: Callable[..., Result]
) -> None:
    ahead = time.time() + DAY
    for path in Path("runs").rglob("*"):
        os.utime(path, (ahead, ahead))
    assert [run.path.name for run in all_runs(Path("runs"))] == [trained]
    assert Watch(Path("runs")).look() == []
    evaluated = onecycle("evaluate", trained, "--quiet")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert all_runs(Path("runs"))[0].path.name == trained
    again = onecycle("train", "--resume", f"runs/{trained}")
    assert (again.exit_code, "has come to its end" in again.stderr) == (2, True)
    assert onecycle("runs", "remove", trained, "--force").exit_code == 0
    assert onecycle("runs", "restore", trained).exit_code == 0


def test_a_file_whose_time_is_in_the_future_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file, index = tmp_path / "image", tmp_path / "index.json"
    digests = []
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, (time.time() + DAY, time.time() + DAY))
        digests.append(content_digests([file], index, silent))
    assert digests[0] != digests[1]


def test_a_resumed_run_has_taken_what_its_processes_have(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml="a: 1\n", facts={}, name="run")
    started = "2020-01-01T00:00:00.000000+00:00"
    run.update(status="interrupted", started=started, ended=started, seconds=100.0)
    again = RunDir(run.path)
    again.resume()
    again = RunDir(run.path)
    again.resume()  # the process before was killed
    with again.recording():
        pass
    assert 100 <= run.facts["seconds"] < 160


@pytest.mark.slow
@pytest.mark.parametrize("moved", [DAY, -DAY])
def test_a_training_takes_the_max_lr_of_the_range_test_just_made(
    clock: Path, tiny_digits: list[str], moved: int
) -> None:
    """As a script does it: one range test while the clock is wrong, one when it has been set, then the training."""
    program = "import ctypes, sys; ctypes.CDLL(None).clock_move(ctypes.c_long(int(sys.argv.pop(1))));"
    program += "from onecycle_cli.cli import main; main()"

    def run(seconds: int, *words: str) -> str:
        command = [sys.executable, "-c", program, str(seconds), *words]
        environment = os.environ | {"LD_PRELOAD": str(clock)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for seconds, name in ((moved, "before"), (0, "after")):
        run(seconds, "find-lr", *tiny_digits, "--name", name)
    run(0, "train", *tiny_digits, "--max-lr-from", "latest", "--name", "trained")
    assert "after" in json.dumps(RunDir("runs/trained").facts["max_lr_from"])
