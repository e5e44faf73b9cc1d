"""The curves of a run for a report: range tests, trainings, and what is read from them. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from onecycle_cli.analysis.diagnosis import Statement as Found
from onecycle_cli.analysis.diagnosis import diagnose
from onecycle_cli.analysis.lr_range import Suggestion, shape_of, told_max_lr
from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.diagnose import read_training
from onecycle_cli.experiments.report_parts import csv_table, guarded, reason_of
from onecycle_cli.experiments.suggestions import numbers_in, saved_curves
from onecycle_cli.figures.report.charts import Place, Training, range_test_figure, training_figure
from onecycle_cli.figures.report.content import Block, Details, Statement, Statements, Text
from onecycle_cli.recipe import dotted_values
from onecycle_cli.run_dir.files import (
    EPOCHS,
    ERROR_BAR,
    FIRST_LR_RANGE,
    LR_RANGE,
    PROFILE,
    RECIPE,
    REPEAT,
    STEPS,
    SUGGESTION,
    VERIFY,
)
from onecycle_cli.run_dir.run import RunDir


def range_test_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the range test of a run with its suggestion; nothing if the run has none."""
    if not run.has(LR_RANGE):
        return []
    curves = saved_curves(run, growing=True)
    if not curves:
        return [Text("The range test has no step yet.")]
    found: Suggestion | None = None
    blocks: list[Block] = []
    try:
        found = saved_suggestion(run)
    except (InputError, OSError) as error:  # the curve is whole all the same
        blocks.append(Text(f"The suggestion could not be read: {reason_of(error)}", "note"))
    if not any(math.isfinite(loss) for curve in curves for loss in curve.losses):
        return [*blocks, Text(_told(found) if found else "The loss was not finite at any step.")]
    figure = range_test_figure(
        name,
        title="Loss over the learning rate",
        tests=[(curve.lrs, curve.losses) for curve in curves],
        shape=shape_of(curves),
        suggestion=found,
        valid=_valid_losses(run),
    )
    if found is not None:
        blocks.append(Text(_told(found)))
    blocks.append(figure)
    if run.has(VERIFY):
        caption = "Short cycles around the suggestion"
        blocks += guarded(caption, lambda: [csv_table(run, VERIFY, identity=f"{name}-verify", caption=caption)])
    if run.has(FIRST_LR_RANGE):
        blocks.append(Text("A first range test gave no max_lr, so this one has more steps and seeds.", "note"))
    return blocks


def _told(found: Suggestion) -> str:
    if found.max_lr is None:
        return f"No max_lr. {found.refusal}"
    return told_max_lr(found.max_lr, found.confidence, found.error_bar, found.reason)


def saved_suggestion(run: RunDir) -> Suggestion | None:
    """Reads `suggestion.json`; None if the test has not ended. Runs of older versions lack some of the values.

    `InputError` if it is damaged.
    """
    if not run.has(SUGGESTION):
        return None
    saved = run.read_json(SUGGESTION)
    _check(run, saved)
    names = ("max_lr", "conservative_max_lr", "initial_lr", "confidence", *ERROR_BAR, "spread")
    values: dict[str, Any] = {name: saved.get(name) for name in names}
    if values["max_lr"] is not None and values["conservative_max_lr"] is None:
        values["conservative_max_lr"] = values["max_lr"]
    return Suggestion(
        **values,
        rule=str(saved.get("rule")),
        reason=str(saved.get("reason", "")),
        peers=saved.get("peers") or {},
        typical_max_lr=saved.get("typical_max_lr"),
    )


def _check(run: RunDir, saved: Mapping[str, Any]) -> None:
    """Checks the kinds of the values of a suggestion; missing ones are those of older versions."""
    lrs = ("max_lr", "conservative_max_lr", "initial_lr", "lowest_max_lr", "highest_max_lr", "typical_max_lr")
    peers = saved.get("peers")
    wrong = [name for name in lrs if not _is_number(saved.get(name), above=0)]
    wrong += [name for name in (*ERROR_BAR, "spread") if name not in lrs and not _is_number(saved.get(name))]
    wrong += [name for name in ("confidence", "rule", "reason") if not isinstance(saved.get(name, ""), str | None)]
    if peers and not (isinstance(peers, dict) and all(_is_number(lr, above=0) for lr in peers.values())):
        wrong.append("peers")
    if wrong:
        what = f"{run.path / SUGGESTION} is damaged: {wrong[0]} is not what it should be."
        raise InputError(what, REPEAT)


def _is_number(value: Any, *, above: float = -math.inf) -> bool:
    """Whether a value is a finite number above a bound, or None."""
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and above < value < math.inf


def _valid_losses(run: RunDir) -> list[tuple[float, float]]:
    rows = run.read_growing_table(LR_RANGE)
    with numbers_in(run, LR_RANGE):
        return [(float(row["lr"]), float(row["valid_loss"])) for row in rows if row.get("valid_loss")]


def training_of(run: RunDir, label: str) -> Training | None:
    """Reads the curves of a training so far; None if it has not made a step."""
    steps, epochs = (_numbers(run, name) for name in (STEPS, EPOCHS))
    return Training(label, steps, epochs, _steps_per_epoch(run, steps, epochs)) if steps else None


def _numbers(run: RunDir, name: str) -> list[dict[str, float]]:
    with numbers_in(run, name):
        return [
            {column: float(value) for column, value in row.items() if value} for row in run.read_growing_table(name)
        ]


def _steps_per_epoch(run: RunDir, steps: Sequence[Mapping[str, float]], epochs: Sequence[Mapping[str, float]]) -> float:
    """Returns the steps of an epoch: from the epochs so far, or the recipe. Without both, all steps are one epoch."""
    if epochs:
        return (epochs[-1]["step"] + 1) / epochs[-1]["epoch"]
    try:
        recipe, images = dotted_values(run.intact(RECIPE)), run.facts["images"]["train"]
        return steps_per_epoch(images, int(recipe["data.batch_size"]), drop_last=bool(recipe.get("data.drop_last")))
    except (InputError, OSError, KeyError, TypeError, ValueError):
        return len(steps)


def training_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the curves of a training and the statements about them; nothing if the run is none."""
    training = training_of(run, run.path.name)
    if training is None:
        return [Text("The training has made no step yet.")] if run.has(STEPS) else []
    blocks: list[Block] = []
    statements: list[Statement] = []
    told: list[Block] = []
    if run.has(EPOCHS):
        try:
            statements = [_statement(n, one, training, name) for n, one in enumerate(diagnose(read_training(run)), 1)]
            text = "What `onecycle diagnose` reads from the curves:" if statements else "The curves say nothing."
            told.append(Text(text))
        except Exception as error:  # the curves can be drawn without a judgement, whatever it lacks
            told.append(Text(f"The curves cannot be judged: {reason_of(error)}", "note"))
    places = [Place(one.number, one.first, one.last) for one in statements]
    blocks += told
    if statements:
        blocks.append(Statements(statements))
    blocks.append(training_figure(name, title="Training curves", trainings=[training], places=places))
    if training.epochs:
        scores = csv_table(run, EPOCHS, identity=f"{name}-epochs", caption="Scores of each epoch")
        blocks.append(Details("The numbers of each epoch", [scores]))
    if run.has(PROFILE):
        caption = "Where the time of a step goes"
        table = guarded(caption, lambda: [csv_table(run, PROFILE, identity=f"{name}-profile", caption=caption)])
        blocks.append(Details("The time of a step", table))
    return blocks


def _statement(number: int, found: Found, training: Training, figure: str) -> Statement:
    """Returns a statement with its place in epochs: an epoch reaches from the end of the one before to its own."""
    place = found.place
    if place.unit == "epoch":
        first, last = place.first - 1.0, float(place.last)
    else:
        first, last = (place.first / training.steps_per_epoch, (place.last + 1) / training.steps_per_epoch)
    evidence = [(name, _digits(value)) for name, value in found.evidence.items()]
    title = f"{found.rule} ({place})"
    return Statement(number, title, found.text, found.advice, evidence, figure, first, last)


def _digits(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else str(value)
