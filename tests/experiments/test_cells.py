"""The plan of a sweep's cells, and what identifies a cell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.cells import Cell, Mode, begin_attempt, fingerprint, is_done, plan_cells, row_of
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

Tiny = Callable[..., Recipe]


def cells_of(recipe: Recipe, *variations: dict[str, Any], mode: Mode = "train", repeats: int = 1) -> list[Cell]:
    return plan_cells(recipe, variations, mode=mode, precision="float32", repeats=repeats, source="digits")


def test_two_cells_that_would_be_called_alike_have_folders_of_their_own(tiny: Tiny) -> None:
    one, other = cells_of(tiny(), {"description": "a b"}, {"description": "a_b"})
    assert one.name != other.name


def test_a_cell_that_is_no_recipe_is_refused_before_any_is_run(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="digits: one field is wrong.*\n.*weight_decay=-1  optimizer.weight_decay"):
        cells_of(tiny(), {"optimizer.weight_decay": 0.1}, {"optimizer.weight_decay": -1.0})


@pytest.mark.parametrize(
    ("field", "value", "changes"),
    [
        ("optimizer.weight_decay", 0.5, True),
        ("schedule.epochs", 9, True),
        ("find_lr.num_steps", 60, True),
        ("seed", 7, True),
        ("fine_tune", {"stages": [{"epochs": 2}]}, True),
        ("name", "other", False),
        ("runtime.log_every", 3, False),
        ("runtime.log_to", ["mlflow"], False),
    ],
)
def test_a_key_changes_with_what_the_result_depends_on(tiny: Tiny, field: str, value: object, changes: bool) -> None:
    (one,), (other,) = cells_of(tiny(), {}), cells_of(tiny({field: value}), {})
    assert (one.key != other.key) is changes


def test_a_key_changes_with_the_images_of_a_folder(tiny: Tiny, image_folder: Callable) -> None:
    folder = image_folder("cat", "dog")
    recipe = tiny({"data.source": "image_folder", "data.path": str(folder)})
    (before,) = cells_of(recipe, {})
    (folder / "cat" / "0.png").unlink()
    (after,) = cells_of(recipe, {})
    assert before.key != after.key


def test_a_fingerprint_does_not_depend_on_the_order() -> None:
    assert fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1}) != fingerprint({"a": 1, "b": [2.5]})


def test_a_cell_that_failed_is_done_until_the_sweep_is_started_again(tmp_path: Path, tiny: Tiny) -> None:
    sweep = RunDir.create(tmp_path, command="sweep", recipe_name="d", recipe_yaml="", facts={}, name="s")
    (cell,) = cells_of(tiny(), {"seed": 0})
    assert not is_done(cell, sweep)
    assert row_of(cell, sweep) is None
    begin_attempt(sweep)
    run = sweep.inner(cell.name, to_yaml(cell.recipe))
    run.update(cell=cell.key)
    assert not is_done(cell, sweep)
    run.update(status="failed", error="why")
    assert is_done(cell, sweep)
    assert row_of(cell, sweep) == {"seed": 0, "status": "failed", "error": "why"}
    begin_attempt(sweep)
    assert not is_done(cell, sweep)
    run.update(status="finished")
    assert is_done(cell, sweep)
    run.update(cell="of other settings")
    assert not is_done(cell, sweep)


@pytest.mark.parametrize("harm", ["changed", "lost"])
def test_a_cell_whose_summary_is_damaged_has_no_result_and_runs_again(tmp_path: Path, tiny: Tiny, harm: str) -> None:
    sweep = RunDir.create(tmp_path, command="sweep", recipe_name="digits", recipe_yaml="", facts={}, name=None)
    (cell,) = cells_of(tiny(), {"seed": 0})
    run = sweep.inner(cell.name, to_yaml(cell.recipe))
    run.update(cell=cell.key)
    run.finish("finished", {"valid_accuracy": 0.5})
    assert is_done(cell, sweep)
    summary = run.path / "summary.json"
    if harm == "lost":
        summary.unlink()
    else:
        summary.write_text(summary.read_text().replace("0.5", "0.9"))
    assert not is_done(cell, sweep)
    assert row_of(cell, sweep) is None
