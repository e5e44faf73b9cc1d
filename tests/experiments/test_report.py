"""A report of real runs: what is in it, where it goes, and what a damaged file costs."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.report import MOST_WHOLE, found_runs, page_of, write_report
from onecycle_cli.figures.report.content import (
    Block,
    Command,
    Details,
    Figure,
    Page,
    Pairs,
    Pictures,
    Section,
    Table,
    Text,
)
from onecycle_cli.run_dir.run import RunDir

RUNS = Path("runs")

pytestmark = pytest.mark.usefixtures("runs")


@pytest.fixture
def runs(once: Callable[..., Any], onecycle: Callable[..., Result], tiny_digits: list[str]) -> None:
    """A range test, a training with what it suggests, an evaluation, and a sweep of four trainings, in runs/."""

    def make() -> None:
        options = ("--set", "find_lr.num_steps=60")
        for words in (
            ("find-lr", *tiny_digits, *options, "--name", "found"),
            ("train", *tiny_digits, "--max-lr", 0.1, "--name", "trained"),
            ("evaluate", "trained", "--name", "scored"),
            (
                "sweep",
                *tiny_digits,
                "--param",
                "schedule.max_lr=0.1,0.3",
                "--seeds",
                2,
                "--name",
                "swept",
            ),
        ):
            result = onecycle(*words)
            assert result.exit_code == 0, result.output

    once("runs for a report", make)
    RunDir(RUNS / "scored").update(trained_run=str((RUNS / "trained").resolve()))  # these may be copies


def flat(sections: Sequence[Section]) -> Iterator[Block]:
    def inner(blocks: Sequence[Block]) -> Iterator[Block]:
        for block in blocks:
            yield block
            if isinstance(block, Details):
                yield from inner(block.blocks)

    for section in sections:
        yield from inner(section.blocks)
        yield from flat(section.inner)


def page(*names: str) -> Page:
    found, _ = found_runs(names, RUNS)
    return page_of(found, RUNS)


def titles(sections: Sequence[Section]) -> list[str]:
    return [title for section in sections for title in (section.title, *titles(section.inner))]


def test_each_kind_of_run_has_its_sections() -> None:
    assert titles(page("found").sections)[:2] == ["Result", "Learning rate range test"]
    assert titles(page("trained").sections)[:3] == ["Result", "Training", "Evaluation scored"]
    assert titles(page("scored").sections)[:2] == ["Result", "Scores"]
    assert titles(page("swept").sections)[:3] == ["Result", "Sweep", "Curves of the cells"]
    assert [section.badge for section in page("found").sections] == ["finished", None]


def test_the_result_of_a_run_comes_first() -> None:
    summary = json.loads((RUNS / "trained" / "summary.json").read_text())
    (lead,) = [
        block.text for block in flat(page("trained").sections) if isinstance(block, Text) and block.kind == "lead"
    ]
    accuracy = f"{summary['valid_accuracy']:.4f}"
    assert lead == f"train digits: validation accuracy {accuracy} after 2 epochs at max_lr 0.1."
    (swept,) = [
        block.text for block in flat(page("swept").sections) if isinstance(block, Text) and block.kind == "lead"
    ]
    assert swept == "sweep digits: 4 of 4 cells finished; the best has schedule.max_lr 0.3."


def test_a_saved_model_that_is_not_the_best_one_is_told() -> None:
    shutil.copytree(RUNS / "trained", RUNS / "better-before")
    run = RunDir(RUNS / "better-before")
    summary = run.summary

    def told() -> list[str]:
        texts = [block.text for block in flat(page("better-before").sections) if isinstance(block, Text)]
        return [text for text in texts if text.startswith("The saved model")]

    run.write_json("summary.json", summary | {"best_epoch": 2})
    assert told() == []
    run.write_json("summary.json", summary | {"best_epoch": 1, "parameters": 2_796_325})
    (text,) = told()
    last = "The saved model is that of the last epoch, not of the best one, 1."
    assert text == f"{last} `--set runtime.save_best=true` keeps that one too."
    pairs = next(block for block in flat(page("better-before").sections) if isinstance(block, Pairs))
    assert dict(pairs.rows)["parameters"] == "2,796,325"
    (RUNS / "better-before" / "best.safetensors").write_bytes(b"")
    assert told() == [f"{last} That one is in best.safetensors."]


def test_several_runs_are_compared_and_their_curves_overlaid() -> None:
    found = page("found", "trained", "scored", "swept")
    assert [section.title for section in found.sections][:3] == ["Overview", "Comparison", "found"]
    blocks = list(flat(found.sections))
    overview = next(block for block in blocks if isinstance(block, Table) and block.id == "overview-runs")
    assert [row[0].text for row in overview.rows] == ["found", "trained", "scored", "swept"]
    ids = {section.id for section in found.sections}
    assert {row[0].link for row in overview.rows} <= ids
    figure = next(block for block in blocks if isinstance(block, Figure) and block.id == "comparison-trainings")
    assert len({*figure.data["epochs"]["n"]}) == 5
    seeds = next(block for block in blocks if isinstance(block, Table) and block.id == "comparison-seeds")
    assert [cell.text for cell in seeds.rows[0]][-4] == "2"
    # The evaluation is in the report itself, and not again in the section of its training.
    assert titles(found.sections).count("Scores") == 1
    assert not any(title.startswith("Evaluation") for title in titles(found.sections))


def test_curves_of_equal_settings_have_the_names_of_their_runs() -> None:
    shutil.copytree(RUNS / "found", RUNS / "again")
    blocks = flat(page("found", "again", "trained").sections)
    figure = next(block for block in blocks if isinstance(block, Figure) and block.id == "comparison-tests")
    assert [entry.label for entry in figure.legend][:2] == ["found", "again"]


def test_ids_are_unique_in_a_page_of_everything() -> None:
    found = page("found", "trained", "scored", "swept")
    blocks = [block.id for block in flat(found.sections) if isinstance(block, Table | Figure)]
    assert len(blocks) == len(set(blocks))


def test_the_commands_repeat_the_runs_and_the_page() -> None:
    _, *others = [block for block in flat(page("trained").sections) if isinstance(block, Command)]
    assert [one.line for one in others] == ["onecycle train runs/trained/recipe.yaml", "onecycle report runs/trained"]
    several = [block for block in flat(page("trained", "found").sections) if isinstance(block, Command)]
    # The same command line once: all of these runs were started by the tests.
    assert [one.told.partition(": ")[0] for one in several[:-1]] == ["trained", "trained", "found"]


def test_more_runs_than_a_page_can_show_whole_have_their_table_and_curves() -> None:
    for n in range(MOST_WHOLE + 1):
        shutil.copytree(RUNS / "trained", RUNS / f"copy-{n:02}")
    found = page(*(f"copy-{n:02}" for n in range(MOST_WHOLE + 1)))
    assert [section.title for section in found.sections] == ["Overview", "Comparison", "Make it again"]
    assert "so the figures of single runs are left out" in found.notes[0]
    assert [block.id for block in flat(found.sections) if isinstance(block, Figure)] == ["comparison-trainings"]
    assert found.title == "13 runs"


@pytest.mark.parametrize("name", ["lr_range.csv", "suggestion.json"])
def test_a_damaged_file_costs_its_part_and_not_the_page(name: str) -> None:
    (RUNS / "found" / name).write_bytes(b"\xff\x00{\n")
    found = page("found", "trained")
    notes = [block.text for block in flat(found.sections) if isinstance(block, Text) and block.kind == "note"]
    assert any(f"{name} is damaged" in note for note in notes)
    assert "Training" in titles(found.sections)


@pytest.mark.parametrize("run", ["found", "trained", "scored", "swept"])
def test_every_file_of_a_run_may_be_gone(run: str) -> None:
    cells = sorted(path for path in (RUNS / run).iterdir() if path.is_dir())
    folders = [RUNS / run, *cells[:1]]
    files = [path for folder in folders for path in folder.iterdir() if path.is_file() and path.name != "run.json"]
    assert files
    for path in files:
        kept = path.read_bytes()
        path.unlink()
        assert page(run).sections[0].badge == "finished"
        path.write_bytes(b"")
        assert page(run).sections[0].badge == "finished"
        path.write_bytes(kept)


def test_a_run_that_is_still_going_says_so() -> None:
    import os

    import psutil

    started = psutil.Process(os.getpid()).create_time()
    RunDir(RUNS / "trained").update(status="running", pid=os.getpid(), process_started=started, files={})
    (RUNS / "trained" / "summary.json").unlink()
    found = page("trained")
    assert found.running
    assert found.notes == ["A run is still going: this page shows its results so far."]
    assert found.sections[0].badge == "running"
    (lead,) = [block.text for block in flat(found.sections) if isinstance(block, Text) and block.kind == "lead"]
    assert lead.startswith("train digits: running, 2 of 2 epochs, validation accuracy ")
    assert any(isinstance(block, Figure) for block in flat(found.sections))


def test_an_evaluation_is_found_after_both_runs_have_moved(tmp_path: Path) -> None:
    RunDir(RUNS / "scored").update(trained_run="/gone/runs/trained")
    moved = tmp_path / "moved"
    RUNS.rename(moved)
    found, _ = found_runs(["trained"], moved)
    assert "Evaluation scored" in titles(page_of(found, moved).sections)
    assert "Evaluation scored" not in titles(page_of(found, tmp_path).sections)


def test_an_evaluation_belongs_to_the_run_that_it_names_and_not_to_one_of_that_name_beside_it(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copytree(RUNS / "trained", other / "trained")
    shutil.copytree(RUNS / "scored", other / "scored")  # of runs/trained, which is still there
    found, _ = found_runs(["trained"], other)
    assert "Evaluation scored" not in titles(page_of(found, other).sections)
    assert "Evaluation scored" in titles(page("trained").sections)


@pytest.mark.parametrize("trained", [5, None, [], "\x00", "x" * 5000])
def test_a_damaged_evaluation_costs_nothing_of_the_report_of_another_run(trained: Any) -> None:
    shutil.copytree(RUNS / "scored", RUNS / "damaged")
    RunDir(RUNS / "damaged").update(trained_run=trained)
    assert "Evaluation scored" in titles(page("trained").sections)
    assert "Evaluation damaged" not in titles(page("trained").sections)


@pytest.mark.parametrize("damage", ["gone", "text"])
def test_a_run_that_is_damaged_after_it_was_found_costs_its_section(damage: str) -> None:
    found, _ = found_runs(["found", "trained"], RUNS)
    facts = RUNS / "found" / "run.json"
    if damage == "gone":
        facts.unlink()
    else:
        facts.write_text("{")
    made = page_of(found, RUNS)
    (told,) = next(section for section in made.sections if section.title == "found").blocks
    assert isinstance(told, Text)
    assert told.text.startswith("runs/found/run.json is missing" if damage == "gone" else "runs/found/run.json is dama")
    assert "Training" in titles(made.sections)
    overview = next(block for block in flat(made.sections) if isinstance(block, Table) and block.id == "overview-runs")
    damaged, whole = (row[4].text for row in overview.rows)
    assert damaged.startswith("runs/found/run.json is ")
    assert whole.startswith("valid_accuracy 0.")


def test_images_are_left_out_where_they_would_make_the_page_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def pictures() -> list[Block]:
        return [block for block in flat(page("scored").sections) if isinstance(block, Pictures)]

    assert pictures()
    monkeypatch.setattr("onecycle_cli.experiments.report.MOST_PICTURE_BYTES", 10)
    assert not pictures()


def test_the_page_of_one_run_is_in_its_folder_and_is_replaced_if_nobody_changed_it() -> None:
    first = write_report(["found"], runs_dir=RUNS)
    assert first.path == RUNS / "found" / "report.html"
    assert first.size == first.path.stat().st_size < 5_000_000
    assert write_report(["found"], runs_dir=RUNS).path == first.path
    first.path.write_text(first.path.read_text().replace("Result", "My result"))
    with pytest.raises(InputError, match="is not a report as onecycle wrote it"):
        write_report(["found"], runs_dir=RUNS)
    assert "My result" in first.path.read_text()


def test_the_page_of_several_runs_is_a_new_file_in_the_runs_folder() -> None:
    written = write_report(["found", RUNS / "trained", "missing"], runs_dir=RUNS)
    assert written.path.parent == RUNS
    assert written.path.name.startswith("report-")
    assert written.left_out == ["runs/missing is not a run: there is no such folder."]
    assert "Left out: runs/missing is not a run" in written.path.read_text()


def test_without_a_runs_folder_the_page_of_several_runs_is_beside_the_first() -> None:
    named = [(RUNS / name).absolute() for name in ("found", "trained")]
    written = write_report(named, runs_dir=Path("no-such-folder"))
    assert written.path.parent == RUNS.resolve()
    assert not Path("no-such-folder").exists()


def test_a_file_that_exists_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_report(["found"], runs_dir=RUNS, output=tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_report_of_no_run_is_refused() -> None:
    with pytest.raises(InputError, match="missing is not a run"):
        write_report(["missing"], runs_dir=RUNS)
