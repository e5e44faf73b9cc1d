"""Sweeps, tunings, evaluations and batch sizes in a report, from files with known numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from onecycle_cli.data.picture_sheet import write_sheet
from onecycle_cli.experiments.report_results import (
    MOST_CLASSES,
    batch_size_blocks,
    evaluation_blocks,
    sweep_blocks,
    tune_blocks,
)
from onecycle_cli.figures.report.content import Block, Details, Figure, Matrix, Pictures, Table, Text
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

T = TypeVar("T")


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    return RunDir.create(
        tmp_path, command="sweep", recipe_name="d", recipe_yaml=to_yaml(tiny()), facts={}, name="a-run"
    )


def of(kind: type[T], blocks: Sequence[Block]) -> list[T]:
    """The blocks of a kind, also those inside of others."""
    found: list[T] = []
    for block in blocks:
        if isinstance(block, kind):
            found.append(block)
        if isinstance(block, Details):
            found += of(kind, block.blocks)
    return found


SWEEP = """max_lr,weight_decay,seed,valid_loss,valid_accuracy,test_loss,status,error
0.1,0.0001,0,0.2,0.9,,finished,
0.1,0.0001,1,0.4,0.8,,finished,
0.1,0.01,0,0.8,0.6,,finished,
0.1,0.01,1,,,,diverged,
1,0.0001,0,0.1,0.95,,finished,
1,0.0001,1,0.1,0.95,,finished,
1,0.01,0,,,,diverged,
1,0.01,1,,,,diverged,
"""


def test_a_sweep_has_its_table_heat_map_and_parallel_coordinates(run: RunDir) -> None:
    run.write_text("sweep.csv", SWEEP)
    run.write_json("sweep.json", {"fields": ["schedule.max_lr", "optimizer.weight_decay"]})
    run.write_text("ranking.csv", "max_lr,weight_decay,n,valid_loss\n1,0.0001,2,0.1\n")
    run.write_json("summary.json", {"verdict": "The first value is better."})
    blocks = sweep_blocks(run, "s")
    assert of(Text, blocks)[0].text == "The first value is better."
    cells, ranking = of(Table, blocks)
    assert cells.columns == ["max_lr", "weight_decay", "seed", "valid_loss", "valid_accuracy", "status"]
    assert [cell.text for cell in cells.rows[0]] == ["0.1", "1e-4", "0", "0.2000", "0.9000", "finished"]
    assert ranking.rows[0][1].text == "1e-4"
    (heat,) = of(Matrix, blocks)
    assert (heat.rows, heat.columns) == (["0.1", "1"], ["1e-4", "0.01"])
    assert heat.texts == [["0.3", "0.8 (1 of 2)"], ["0.1", ""]]  # means over the seeds that ended
    assert heat.shades[1] == [pytest.approx(0.9), None]  # the best one is the darkest
    assert heat.shades[0] == [pytest.approx(0), None]
    assert "averaged over seeds; the lower, the darker; a mean without all of its cells has no shade" in heat.caption
    (figure,) = of(Figure, blocks)
    axes = list(dict.fromkeys(figure.data["lines"]["axis"]))
    assert axes == ["max_lr", "weight_decay", "seed", "valid_loss", "valid_accuracy"]
    assert "best cell is max_lr 1, weight_decay 1e-4, seed 0" in figure.said


@pytest.mark.parametrize("lost", ["", "inf", "nan"])
def test_a_combination_with_seeds_that_diverged_is_never_the_best_of_a_heat_map(run: RunDir, lost: str) -> None:
    unstable = "".join(f"1,0.1,{seed},{loss},\n" for seed, loss in enumerate(("0.05", lost, lost)))
    stable = "".join(f"{lr},{decay},{seed},0.4,\n" for lr, decay in ((1, 0.2), (2, 0.1), (2, 0.2)) for seed in range(3))
    run.write_text("sweep.csv", "max_lr,weight_decay,seed,valid_loss,error\n" + unstable + stable)
    run.write_json("sweep.json", {"fields": ["schedule.max_lr", "optimizer.weight_decay"]})
    (heat,) = of(Matrix, sweep_blocks(run, "s"))
    assert heat.texts == [["0.05 (1 of 3)", "0.4"], ["0.4", "0.4"]]
    assert heat.shades == [[None, 0.5], [0.5, 0.5]]


def test_a_heat_map_of_one_seed_is_no_average(run: RunDir) -> None:
    cells = "".join(f"{lr},{decay},0,0.{lr}\n" for lr in (1, 2) for decay in (0.1, 0.2))
    run.write_text("sweep.csv", "max_lr,weight_decay,seed,valid_loss\n" + cells)
    run.write_json("sweep.json", {"fields": ["schedule.max_lr", "optimizer.weight_decay"]})
    (heat,) = of(Matrix, sweep_blocks(run, "s"))
    assert heat.caption == "Heat map: valid_loss of each combination; the lower, the darker"


def test_a_sweep_that_has_not_begun_says_so(run: RunDir) -> None:
    assert sweep_blocks(run, "s") == [Text("No cell of the sweep has ended yet.")]


def range_cell(run: RunDir, name: str, recipe_yaml: str) -> None:
    lrs = [1e-3 * 10 ** (i / 10) for i in range(30)]
    rows = "".join(f"0,{i},{lr},0.9,{2.3 - i / 20 if i < 20 else 1.3 + i / 10},1\n" for i, lr in enumerate(lrs))
    inner = run.inner(name, recipe_yaml)
    inner.write_text("lr_range.csv", "seed,step,lr,momentum,train_loss,smoothed_loss\n" + rows)


def test_a_sweep_of_range_tests_overlays_their_curves_and_marks_the_chosen_one(
    run: RunDir, tiny: Callable[..., Recipe]
) -> None:
    for name in ("weight_decay=1e-4", "weight_decay=0.01"):
        range_cell(run, name, to_yaml(tiny()))
    (run.path / "weight_decay=0.01" / "lr_range.csv").write_text("seed,step,lr,train_loss\n0,0,-1,2\n")
    run.write_text("sweep.csv", "weight_decay,reach_lr,max_lr,status\n0.0001,0.2,0.1,finished\n0.01,,,failed\n")
    run.write_json("sweep.json", {"fields": ["optimizer.weight_decay"]})
    run.write_json("summary.json", {"reason": "The largest.", "chosen_run": f"{run.path}/weight_decay=1e-4"})
    blocks = sweep_blocks(run, "s")
    assert of(Text, blocks)[0].text == "The largest."
    assert "lr_range.csv is damaged" in of(Text, blocks)[1].text
    (figure,) = of(Figure, blocks)
    assert list(figure.labels) == ["weight_decay=1e-4"]
    assert figure.data["marks"]["x"] == [0.2]
    assert [entry.label for entry in figure.legend] == ["weight_decay=1e-4 (chosen)"]
    assert of(Matrix, blocks) == []


def test_a_tuning_has_its_decisions_and_their_short_runs(run: RunDir) -> None:
    assert "has not ended" in of(Text, tune_blocks(run, "t"))[0].text
    trials = [
        {"values": {"data.batch_size": 64}, "valid_loss": 0.5, "max_lr": 0.1, "problem": None},
        {"values": {"data.batch_size": 16}, "valid_loss": None, "max_lr": None, "problem": "no max_lr"},
    ]
    decision = {"stage": "batch size", "was": {"data.batch_size": 32}, "chosen": {"data.batch_size": 64}}
    summary = {"max_lr": 0.1, "confidence": "high", "reason": "Why.", "left_out": ["momentum"]}
    run.write_json("summary.json", summary | {"decisions": [decision | {"reason": "Noise.", "trials": trials}]})
    run.write_json("tune.json", {"speeds": {"64": 100.5}})
    blocks = tune_blocks(run, "t")
    decisions, runs, speeds = of(Table, blocks)
    told = [cell.text for cell in decisions.rows[0]]
    assert told == ["batch size", "data.batch_size 64", "Noise.", "data.batch_size 32"]
    assert [[cell.text for cell in row] for row in runs.rows] == [
        ["64", "0.1", "0.5000", "chosen"],
        ["16", "", "", "no max_lr"],
    ]
    assert [cell.text for cell in speeds.rows[0]] == ["64", "100.5"]
    assert [text.text for text in of(Text, blocks)][-1] == "Left out for lack of time: momentum."


def test_batch_sizes_are_drawn_with_the_chosen_one(run: RunDir) -> None:
    run.write_text(
        "batch_size.csv",
        "batch_size,status,images_per_second,peak_memory_gib\n16,fits,100,\n32,fits,150,\n64,out of memory,,\n",
    )
    run.write_json("summary.json", {"batch_size": 32, "reason": "The smallest."})
    blocks = batch_size_blocks(run, "b")
    (figure,) = of(Figure, blocks)
    assert figure.data["sizes"] == {"x": [16, 32], "y": [100.0, 150.0]}
    assert figure.data["chosen"]["x"] == [32]
    (table,) = of(Table, blocks)
    assert table.columns == ["batch_size", "status", "images_per_second"]
    assert len(table.rows) == 3


def evaluated(run: RunDir, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> None:
    lines = [",".join(["true", *classes])] + [
        ",".join([name, *map(str, row)]) for name, row in zip(classes, counts, strict=True)
    ]
    run.write_text("confusion_matrix.csv", "\n".join(lines) + "\n")
    rows = "".join(
        f"{name},{sum(row)},{row[i]},1,0.5\n" for i, (name, row) in enumerate(zip(classes, counts, strict=True))
    )
    run.write_text("per_class.csv", "class,images,correct,recall,precision\n" + rows)
    scores: dict[str, Any] = {"accuracy": 0.75, "balanced_accuracy": 0.7, "top5_accuracy": None, "loss": 0.5}
    run.write_json("summary.json", scores | {"images": 8, "scored": "test split"})


WRONG = """image,true,predicted,probability,true_probability
photos/cat/1.jpg,cat,dog,0.9,0.05
7,dog,cat,0.6,0.4
photos/cat/2.jpg,cat,dog,0.55,0.45
"""


def test_an_evaluation_has_its_matrix_and_its_wrong_predictions_with_images(run: RunDir) -> None:
    evaluated(run, ["cat", "dog"], [[2, 2], [1, 3]])
    run.write_text("wrong_predictions.csv", WRONG)
    write_sheet(run.path / "wrong_predictions.png", np.zeros((3, 4, 4, 3), dtype=np.uint8), 8)
    blocks = evaluation_blocks(run, "e", pictures=True)
    assert "accuracy 0.7500, balanced_accuracy 0.7000, loss 0.5000" in of(Text, blocks)[0].text
    classes = next(table for table in of(Table, blocks) if table.id == "e-classes")
    assert list(classes.columns) == ["class", "recall", "precision", "images", "correct"]
    (matrix,) = of(Matrix, blocks)
    assert matrix.texts == [["2", "2"], ["1", "3"]]
    assert matrix.shades == [[0.5, 0.5], [0.25, 0.75]]
    worst = next(table for table in of(Table, blocks) if table.id == "e-worst")
    assert [cell.text for cell in worst.rows[0]] == ["cat", "dog", "2", "50.0 %"]
    pictures = of(Pictures, blocks)
    assert [one.caption for one in pictures] == [
        "cat that was predicted as dog",
        "Confusions of one image",
        "Wrong predictions, the most confident first",
    ]
    assert [picture.position for picture in pictures[0].pictures] == [0, 2]
    assert pictures[1].pictures[0].said == "image 7: dog, predicted as cat with 60.0 %; its own class has 40.0 %"
    assert list(pictures[2].pictures[0].lines) == ["called dog (90.0 %)", "is cat (5.0 %)", "1.jpg"]


def test_a_wrong_prediction_is_called_by_its_file(run: RunDir) -> None:
    evaluated(run, ["cat", "dog"], [[2, 2], [1, 3]])
    files = ["file", "007", "\\xff/<b>.jpg", ""]
    run.write_text("wrong_predictions.csv", "".join(f"{a},{b}\n" for a, b in zip(WRONG.split(), files, strict=True)))
    write_sheet(run.path / "wrong_predictions.png", np.zeros((3, 4, 4, 3), dtype=np.uint8), 8)
    blocks = evaluation_blocks(run, "e", pictures=True)
    every = of(Pictures, blocks)[-1].pictures
    assert [picture.lines[-1] for picture in every] == ["007", "\udcff/<b>.jpg", "2.jpg"]
    assert every[1].said.startswith("\udcff/<b>.jpg: dog, predicted as cat")
    table = next(table for table in of(Table, blocks) if table.id == "e-wrong")
    assert [row[-1].text for row in table.rows] == ["007", "\udcff/<b>.jpg", ""]


@pytest.mark.parametrize("case", ["not wanted", "no sheet", "no PNG"])
def test_without_images_the_table_of_wrong_predictions_stays(run: RunDir, case: str) -> None:
    evaluated(run, ["cat", "dog"], [[2, 2], [1, 3]])
    run.write_text("wrong_predictions.csv", WRONG)
    if case != "no sheet":
        (run.path / "wrong_predictions.png").write_bytes(b"<svg onload=alert(1)>" if case == "no PNG" else b"")
    blocks = evaluation_blocks(run, "e", pictures=case != "not wanted")
    assert of(Pictures, blocks) == []
    assert any("images of the wrong predictions are left out" in text.text for text in of(Text, blocks))
    assert len(next(table for table in of(Table, blocks) if table.id == "e-wrong").rows) == 3


def test_an_evaluation_of_an_older_version_or_without_mistakes_is_shown(run: RunDir) -> None:
    evaluated(run, ["cat", "dog"], [[4, 0], [0, 4]])
    assert [table.id for table in of(Table, evaluation_blocks(run, "e", pictures=True))] == ["e-classes"]
    run.write_text("wrong_predictions.csv", "image,true,predicted,probability,true_probability\n")
    assert of(Text, evaluation_blocks(run, "e", pictures=True))[-1].text == "No prediction is wrong."


def test_of_many_classes_those_with_the_most_errors_are_shown(run: RunDir) -> None:
    many = MOST_CLASSES + 5
    counts = [[3 if i == j else 0 for j in range(many)] for i in range(many)]
    counts[34][33] = 9
    evaluated(run, [f"c{i}" for i in range(many)], counts)
    (matrix,) = of(Matrix, evaluation_blocks(run, "e", pictures=True))
    assert len(matrix.rows) == MOST_CLASSES
    assert matrix.rows[-2:] == ["c33", "c34"]
    assert f"Of {many} classes" in matrix.caption


def test_class_names_that_look_like_numbers_stay_text(run: RunDir) -> None:
    evaluated(run, ["007", "NA"], [[4, 0], [0, 4]])
    (table, *_) = of(Table, evaluation_blocks(run, "e", pictures=True))
    assert [row[0].text for row in table.rows] == ["007", "NA"]
    assert [row[0].number for row in table.rows] == [None, None]


@pytest.mark.parametrize("damaged", ["summary.json", "ranking.csv", "sweep.json"])
def test_a_damaged_side_file_of_a_sweep_costs_no_table(run: RunDir, damaged: str) -> None:
    run.write_text("sweep.csv", SWEEP)
    run.write_json("sweep.json", {"fields": ["schedule.max_lr", "optimizer.weight_decay"]})
    run.write_text("ranking.csv", "max_lr,weight_decay,n,valid_loss\n1,0.0001,2,0.1\n")
    run.write_text("summary.json", '{"verdict": "So."}')
    run.write_text(damaged, "{,\n1\n")
    blocks = sweep_blocks(run, "s")
    assert any(f"{damaged} is damaged" in text.text for text in of(Text, blocks))
    assert of(Table, blocks)[0].id == "s-cells"
    assert len(of(Matrix, blocks)) == (damaged != "sweep.json")  # which fields vary is known from it


def test_a_damaged_summary_costs_no_table_of_an_evaluation_or_of_batch_sizes(run: RunDir) -> None:
    evaluated(run, ["a", "b"], [[3, 1], [0, 4]])
    run.write_text("batch_size.csv", "batch_size,images_per_second\n64,100\n")
    for damage in ("{", '{"accuracy": "high", "loss": 1, "images": 8, "scored": "all"}'):
        run.write_text("summary.json", damage)
        blocks = evaluation_blocks(run, "e", pictures=True)
        assert of(Text, blocks)[0].text.startswith("The scores could not be read: ")
        assert of(Matrix, blocks)
    run.write_text("summary.json", "{")
    blocks = batch_size_blocks(run, "b")
    assert "summary.json is damaged" in of(Text, blocks)[0].text
    assert of(Table, blocks)
