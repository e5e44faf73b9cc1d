"""The curves and statements of a run in its report, from files with known numbers."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.report_curves import range_test_blocks, saved_suggestion, training_blocks, training_of
from onecycle_cli.figures.report.content import Block, Details, Figure, Statements, Table, Text
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

T = TypeVar("T", bound=Block)

FACTS: dict[str, Any] = {"images": {"train": 1_000, "valid": 100}, "classes": ["a", "b"]}
STEPS = "step,epoch,lr,momentum,train_loss\n"
EPOCHS = "epoch,step,lr,momentum,train_loss,train_accuracy,valid_loss,valid_accuracy\n"


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    """The folder of a training of two classes, with 8 steps an epoch and 4 epochs."""
    text = to_yaml(tiny({"schedule.epochs": 4}))
    return RunDir.create(tmp_path, command="train", recipe_name="d", recipe_yaml=text, facts=FACTS, name="a-run")


def of(kind: type[T], blocks: Sequence[Block]) -> list[T]:
    return [block for block in blocks if isinstance(block, kind)]


def steps(count: int, last_loss: float = 0.5) -> str:
    rows = [f"{i},{i // 8 + 1},0.1,0.9,{0.7 if i < count - 1 else last_loss}\n" for i in range(count)]
    return STEPS + "".join(rows)


def range_test(seeds: int = 1) -> str:
    lrs = [1e-4 * 10 ** (i / 10) for i in range(50)]
    losses = [2.3 - i / 40 if i < 40 else 1.3 + (i - 40) / 2 for i in range(50)]
    rows = [f"{seed},{i},{lrs[i]},0.9,{losses[i]},{losses[i]}\n" for seed in range(seeds) for i in range(50)]
    return "seed,step,lr,momentum,train_loss,smoothed_loss\n" + "".join(rows)


SUGGESTION = {"max_lr": 0.1, "conservative_max_lr": 0.05, "confidence": "high", "rule": "basin", "reason": "Because."}


def test_a_range_test_is_shown_with_its_suggestion(run: RunDir) -> None:
    run.write_text("lr_range.csv", range_test(seeds=2))
    run.write_json("suggestion.json", SUGGESTION | {"peers": {"steep": 0.2}})
    run.write_text("verify.csv", "max_lr,steps,valid_loss,valid_accuracy\n0.1,10,0.5,0.8\n")
    blocks = range_test_blocks(run, "f")
    (figure,) = of(Figure, blocks)
    assert set(figure.data["raw"]["test"]) == {0, 1}
    assert figure.data["max_lr"]["x"] == [0.1]
    assert of(Text, blocks)[0].text == "max_lr 0.1, confidence high. Because."
    (verify,) = of(Table, blocks)
    assert verify.id == "f-verify"


def test_a_range_test_without_a_suggestion_says_why(run: RunDir) -> None:
    run.write_text("lr_range.csv", range_test())
    run.write_json("suggestion.json", {"max_lr": None, "reason": "It never fell.", "rule": "basin", "peers": {}})
    run.write_text("lr_range_first.csv", range_test())
    told = [text.text for text in of(Text, range_test_blocks(run, "f"))]
    assert told[0] == "No max_lr. It never fell."
    assert "A first range test gave no max_lr" in told[1]


def test_a_range_test_that_is_still_going_is_shown_so_far(run: RunDir) -> None:
    assert range_test_blocks(run, "f") == []
    run.write_text("lr_range.csv", "seed,step,lr,momentum,train_loss,smoothed_loss\n")
    assert range_test_blocks(run, "f") == [Text("The range test has no step yet.")]
    run.write_text("lr_range.csv", range_test()[:-5])  # ends in the middle of a row
    (figure,) = of(Figure, range_test_blocks(run, "f"))
    assert len(figure.data["raw"]["x"]) == 49
    assert saved_suggestion(run) is None


def test_a_range_test_without_a_finite_loss_has_no_figure(run: RunDir) -> None:
    run.write_text("lr_range.csv", "seed,step,lr,momentum,train_loss,smoothed_loss\n0,0,0.1,0.9,nan,nan\n")
    assert range_test_blocks(run, "f") == [Text("The loss was not finite at any step.")]
    run.write_json("suggestion.json", {"max_lr": None, "reason": "Check the data.", "rule": "basin", "peers": {}})
    assert range_test_blocks(run, "f") == [Text("No max_lr. Check the data.")]


def test_a_suggestion_of_an_older_version_is_read(run: RunDir) -> None:
    run.write_json("suggestion.json", {"max_lr": 0.1, "confidence": "low", "reason": "x"})
    found = saved_suggestion(run)
    assert found is not None
    assert (found.max_lr, found.conservative_max_lr, found.error_bar, found.peers) == (0.1, 0.1, None, {})


def test_validation_losses_of_a_range_test_are_drawn(run: RunDir) -> None:
    rows = "0,0,0.001,0.9,2.3,2.3,,\n0,1,0.01,0.9,2.2,2.2,2.5,0.1\n"
    run.write_text("lr_range.csv", "seed,step,lr,momentum,train_loss,smoothed_loss,valid_loss,valid_accuracy\n" + rows)
    (figure,) = of(Figure, range_test_blocks(run, "f"))
    assert figure.data["valid"] == {"x": [0.01], "y": [2.5]}


def test_a_training_in_its_first_epoch_knows_the_length_of_an_epoch(run: RunDir) -> None:
    assert training_of(run, "a") is None
    assert training_blocks(run, "f") == []
    run.write_text("steps.csv", STEPS)
    assert training_blocks(run, "f") == [Text("The training has made no step yet.")]
    run.write_text("steps.csv", steps(4))
    training = training_of(run, "a")
    assert training is not None
    assert training.steps_per_epoch == 8  # 1,000 images in batches of 128
    (figure,) = of(Figure, training_blocks(run, "f"))
    assert figure.data["steps"]["x"] == [0.125, 0.25, 0.375, 0.5]


def test_the_length_of_an_epoch_follows_from_its_last_step(run: RunDir) -> None:
    run.write_text("steps.csv", steps(20))
    run.write_text("epochs.csv", EPOCHS + "1,9,0.1,0.9,0.7,0.5,0.7,0.5\n2,19,0.1,0.9,0.6,0.6,0.6,0.6\n")
    training = training_of(run, "a")
    assert training is not None
    assert training.steps_per_epoch == 10


def test_statements_point_at_their_place_in_epochs(run: RunDir) -> None:
    run.write_text("steps.csv", steps(12, last_loss=math.inf))
    run.write_text("epochs.csv", EPOCHS + "1,7,0.1,0.9,0.7,0.5,0.7,0.5\n")
    run.update(status="diverged")
    blocks = training_blocks(run, "f")
    (statements,) = of(Statements, blocks)
    (found,) = statements.items
    assert found.title == "diverged (step 11)"
    assert (found.figure, found.first, found.last) == ("f", 11 / 8, 12 / 8)
    (figure,) = of(Figure, blocks)
    assert figure.data["places"] == {"first": [11 / 8], "last": [1.5], "number": ["1"]}
    assert [block.summary for block in of(Details, blocks)] == ["The numbers of each epoch"]


def test_a_statement_about_epochs_reaches_from_the_begin_of_the_first(run: RunDir) -> None:
    # Four epochs without learning: no better than guessing between two classes.
    run.write_text("steps.csv", steps(32, last_loss=0.7))
    rows = "".join(f"{e},{8 * e - 1},0.1,0.9,0.72,0.5,0.71,0.5\n" for e in range(1, 5))
    run.write_text("epochs.csv", EPOCHS + rows)
    run.update(status="collapsed")
    (statements,) = of(Statements, training_blocks(run, "f"))
    assert statements.items[0].title == "collapsed (epochs 1 to 4)"
    assert (statements.items[0].first, statements.items[0].last) == (0.0, 4.0)
    assert dict(statements.items[0].evidence)["train_loss"] == "0.72"
    assert "Numbers" not in statements.items[0].text


def test_a_training_that_cannot_be_judged_is_drawn_all_the_same(run: RunDir) -> None:
    run.write_text("steps.csv", steps(8))
    run.write_text("epochs.csv", EPOCHS + "1,7,0.1,0.9,0.7,0.5,0.7,0.5\n")
    run.write_text("recipe.yaml", "schedule: 5\n")
    blocks = training_blocks(run, "f")
    assert len(of(Figure, blocks)) == 1
    assert of(Text, blocks)[0].text.startswith("The curves cannot be judged: ")


def test_a_damaged_table_is_refused(run: RunDir) -> None:
    run.write_text("steps.csv", STEPS + "0,1,0.1,0.9,much\n")
    with pytest.raises(InputError, match="steps.csv is damaged"):
        training_of(run, "a")


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        '{"max_lr": "0.1"}',
        '{"max_lr": true}',
        '{"max_lr": -1}',
        '{"max_lr": 0.1, "peers": {"steep": "0.2"}}',
        '{"max_lr": 0.1, "peers": [1]}',
        '{"max_lr": 0.1, "spread": "wide"}',
        '{"max_lr": 0.1, "lowest_max_lr": "low"}',
        '{"max_lr": 0.1, "confidence": 3}',
    ],
)
def test_a_damaged_suggestion_costs_no_curve(run: RunDir, damage: str) -> None:
    run.write_text("lr_range.csv", range_test())
    run.write_text("suggestion.json", damage)
    with pytest.raises(InputError, match=r"suggestion\.json is damaged"):
        saved_suggestion(run)
    blocks = range_test_blocks(run, "f")
    assert len(of(Figure, blocks)) == 1
    assert of(Text, blocks)[0].text.startswith(f"The suggestion could not be read: {run.path}/suggestion.json is dama")


def test_a_damaged_table_of_short_cycles_costs_no_curve(run: RunDir) -> None:
    run.write_text("lr_range.csv", range_test())
    run.write_text("verify.csv", "max_lr,steps\n0.1\n")
    blocks = range_test_blocks(run, "f")
    assert len(of(Figure, blocks)) == 1
    assert "verify.csv is damaged" in of(Text, blocks)[-1].text


@pytest.mark.parametrize("epochs", ["", "1,7,0.1,0.9,0.7,0.5,0.7,0.5\n"])
def test_a_missing_recipe_costs_no_curve(run: RunDir, epochs: str) -> None:
    run.write_text("steps.csv", steps(8))
    run.write_text("epochs.csv", EPOCHS + epochs)
    (run.path / "recipe.yaml").unlink()
    blocks = training_blocks(run, "f")
    assert len(of(Figure, blocks)) == 1
    assert of(Text, blocks)[0].text == f"The curves cannot be judged: {run.path}/recipe.yaml is missing."
