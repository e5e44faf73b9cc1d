"""Tunes batch size, weight decay and momentum by short runs, and then max_lr by range tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onecycle_cli.analysis.batch_size import epochs_in_equal_time
from onecycle_cli.analysis.lr_range import ErrorBar, told_max_lr
from onecycle_cli.analysis.tuning import (
    BASE_MOMENTUM,
    BATCH_SIZE,
    FINAL_REPEATS,
    MAX_MOMENTUM,
    NOISE_SEEDS,
    WEIGHT_DECAY,
    Decision,
    TuningPlan,
    TuningRun,
    TuningStage,
    best_with,
    decided,
    noise,
    same_pace,
)
from onecycle_cli.errors import InputError, NoSuggestionError
from onecycle_cli.experiments.cell_runs import run_cells
from onecycle_cli.experiments.cells import Cell, Mode, begin_attempt, fingerprint, is_done, plan_cells, row_of
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.own_code import own_code_settings
from onecycle_cli.experiments.planning import of_length
from onecycle_cli.experiments.range_test import RETRY_SEEDS, RETRY_STEPS, retry_length, tested_lrs
from onecycle_cli.experiments.ray_cluster import RayOptions
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.tune_plan import Measured, measured, plan_within
from onecycle_cli.experiments.tune_report import TuneReport, told
from onecycle_cli.recipe import Recipe, relative, result_settings, to_yaml, with_values
from onecycle_cli.run_dir.files import ERROR_BAR, TUNE_REPORT, TUNE_STATE, TUNED_RECIPE
from onecycle_cli.run_dir.run import readable_runs

Values = dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """A tuned recipe, with a max_lr, and the decision behind each value.

    `error_bar` is None if `max_lr` is from a short run. `reason` is a sentence on the origin of `max_lr`, `left_out`
    names the stages that the budget had no time for, and `summary` is the content of `summary.json`.
    """

    recipe: Recipe
    max_lr: float
    confidence: str
    error_bar: ErrorBar | None
    reason: str
    decisions: Sequence[Decision]
    left_out: Sequence[str]
    summary: dict[str, Any]


def tune_name(recipe: Recipe, precision: str, budget: float) -> str:
    """Returns the default name of the run's folder. The same recipe and budget give the same name."""
    settings = result_settings(recipe, precision) | own_code_settings(recipe)
    return f"tune-{recipe.name}-{fingerprint(settings | {'budget': budget})[:8]}"


def tune(
    recipe: Recipe, session: Session, *, budget: float, source: str | None = None, ray: RayOptions | None = None
) -> Tuned:
    """Tunes a recipe within `budget` seconds, and writes `tuned.yaml` and a report of each decision.

    Each short run is a cell in its own folder, after a range test. A resumed tuning does not repeat finished cells.
    Runs with another batch size get as many epochs as take the same time. If the last range tests give no max_lr,
    that of the best short run with the chosen values is taken, with low confidence. With `ray`, the cells run on the
    Ray cluster that is connected, those of a stage side by side. `source` is the name of the recipe in messages.

    `InputError` if the budget is too short, or if the recipe has several stages or several lrs. `NoSuggestionError` if
    there is no max_lr and no short run finished.
    """
    run = session.run
    with run.alone(), Following(recipe, session) as session, run.recording():
        run.resume()
        begin_attempt(run)
        tuned = _tune(recipe, session, budget, source or recipe.name, ray)
        run.finish("finished", tuned.summary)
    return tuned


def _tune(recipe: Recipe, session: Session, budget: float, source: str, ray: RayOptions | None) -> Tuned:
    if recipe.fine_tune is not None or relative(recipe.schedule.max_lr) is not None:
        raise InputError(
            "tune looks for the settings of one cycle with one max_lr, and the recipe has fine_tune, or several lrs.",
            "Leave fine_tune out and set schedule.max_lr to null; `onecycle sweep` varies any fields.",
        )
    recipe = with_values(recipe, {"schedule.max_lr": None})
    found = measured(recipe, session)
    plan = plan_within(budget, recipe, found)
    bench = _Bench(recipe, session, source, budget, found, plan, ray)
    now: Values = {
        BATCH_SIZE: recipe.data.batch_size,
        WEIGHT_DECAY: recipe.optimizer.weight_decay,
        MAX_MOMENTUM: recipe.schedule.max_momentum,
    }
    if recipe.schedule.cycles:
        now[BASE_MOMENTUM] = recipe.schedule.at_peak
    session.report(f"{NOISE_SEEDS} runs of {plan.epochs} epochs of the recipe as it is, for the noise between seeds.")
    losses = [run.valid_loss for run in bench.trials([(now, recipe.seed + n) for n in range(NOISE_SEEDS)])]
    error = noise([loss for loss in losses if loss is not None])
    decisions: list[Decision] = []
    left_out = list(plan.left_out)
    for stage in plan.stages:
        if not bench.has_time_for(stage):
            left_out.append(stage.name)
            continue
        tried = [now, *({**now, **values} for values in stage.values)]
        start, *others = bench.trials([(values, recipe.seed) for values in tried])
        decision = decided(stage, start, others, error)
        session.report(f"{stage.name}: {told(decision.chosen)}. {decision.reason}")
        decisions.append(decision)
        now = {**now, **decision.chosen}
    values = {**now, **of_length(recipe, bench.epochs(now[BATCH_SIZE], recipe.schedule.epochs))}
    name = f"{recipe.name}-tuned"[:80]
    max_lr = bench.final_max_lr(now, values)
    text = TuneReport(name, budget, bench.used(), error, max_lr.told(), decisions, left_out).to_markdown()
    session.run.write_text(TUNE_REPORT, text)
    if max_lr.value is None:
        raise NoSuggestionError(
            f"No short run came to its end, and {max_lr.reason[:1].lower()}{max_lr.reason[1:]}",
            f"What was tried is in {session.run.path / TUNE_REPORT}. Change what the reason names, and tune again. "
            f"{tested_lrs(recipe)}",
        )
    tuned = with_values(recipe, {**values, "schedule.max_lr": max_lr.value, "name": name})
    session.run.write_text(TUNED_RECIPE, to_yaml(tuned))
    summary = {
        "max_lr": max_lr.value,
        "confidence": max_lr.confidence,
        **{name: getattr(max_lr.error_bar, name, None) for name in ERROR_BAR},
        "reason": max_lr.reason,
        "decisions": decisions,
        "left_out": left_out,
        "recipe": str(session.run.path / TUNED_RECIPE),
    }
    return Tuned(tuned, max_lr.value, max_lr.confidence, max_lr.error_bar, max_lr.reason, decisions, left_out, summary)


@dataclass(frozen=True)
class _MaxLr:
    """The max_lr of the tuned recipe, or None. `reason` says where it comes from, or why there is none."""

    value: float | None
    confidence: str
    error_bar: ErrorBar | None
    reason: str

    def told(self) -> str:
        """Returns the sentence for the report."""
        if self.value is None:
            return f"No max_lr, and so no recipe. {self.reason}"
        return told_max_lr(self.value, self.confidence, self.error_bar, self.reason)


class _Bench:
    """Runs the short trainings and the range tests of a tuning, and keeps account of the time spent."""

    def __init__(
        self,
        recipe: Recipe,
        session: Session,
        source: str,
        budget: float,
        found: Measured,
        plan: TuningPlan,
        ray: RayOptions | None,
    ) -> None:
        self.recipe, self.session, self.source, self.ray = recipe, session, source, ray
        self.budget, self.found, self.plan = budget, found, plan
        self.trials_made: list[TuningRun] = []
        self.range_tests: dict[int, dict[str, Any]] = {}

    def epochs(self, batch_size: int, epochs: int) -> int:
        """Converts `epochs` at the recipe's batch size to the number at `batch_size` that takes the same time."""
        return epochs_in_equal_time(
            epochs, self.found.speeds[self.recipe.data.batch_size], self.found.speeds[batch_size]
        )

    def trials(self, tried: Sequence[tuple[Values, int]]) -> list[TuningRun]:
        """Trains a short run for each pair of values and seed; on Ray, side by side."""
        if self.ray is not None:
            sizes = dict.fromkeys(values[BATCH_SIZE] for values, _ in tried)
            self._run([self._cell({BATCH_SIZE: size}, "range", 1) for size in sizes])
            runs = [self._short_run(values, seed) for values, seed in tried]
            self._run([self._cell(run, "train", 1) for run in runs if run is not None])
        made = [self._trial(values, seed) for values, seed in tried]
        self.trials_made += made
        return made

    def _trial(self, values: Values, seed: int) -> TuningRun:
        run = self._short_run(values, seed)
        if run is None:
            return TuningRun(values, None, problem=f"no max_lr: {_why(self._range_test_of(values[BATCH_SIZE]))}")
        row = self._row(run, "train", 1)
        max_lr = run["schedule.max_lr"]
        if row["status"] == "finished":
            return TuningRun(values, row["valid_loss"], max_lr)
        return TuningRun(values, None, max_lr, row["status"] if row.get("error") is None else _why(row))

    def _short_run(self, values: Values, seed: int) -> Values | None:
        """Returns the settings of a short run with these values; None if the range test gives it no max_lr."""
        test = self._range_test_of(values[BATCH_SIZE])
        if test["max_lr"] is None:
            return None
        max_lr = self._at_same_pace(test["max_lr"], values[BASE_MOMENTUM if BASE_MOMENTUM in values else MAX_MOMENTUM])
        length = of_length(self.recipe, self.epochs(values[BATCH_SIZE], self.plan.epochs))
        return {**values, **length, "schedule.max_lr": max_lr, "seed": seed}

    def _range_test_of(self, batch_size: int) -> dict[str, Any]:
        """Returns the range test that gives the short runs of a batch size their max_lr."""
        if batch_size not in self.range_tests:
            self.range_tests[batch_size] = self._range_test({BATCH_SIZE: batch_size}, 1)
        return self.range_tests[batch_size]

    def _at_same_pace(self, max_lr: float, momentum: float) -> float:
        """Converts a max_lr found with the recipe's momentum to another momentum."""
        if self.recipe.optimizer.name != "sgd":
            return max_lr
        return float(f"{same_pace(max_lr, self.recipe.schedule.at_peak, momentum):.3g}")

    def final_max_lr(self, chosen: Values, whole: Values) -> _MaxLr:
        """Returns the max_lr that range tests suggest with the `chosen` values, or that of the best such short run.

        `whole` has the same values, with the length of the tuned recipe.
        """
        self.session.report("Range tests under the chosen values.")
        row = self._range_test(whole, FINAL_REPEATS)
        if row["max_lr"] is not None:
            reason = f"From range tests under these values: {row['reason']}"
            return _MaxLr(row["max_lr"], row["confidence"], ErrorBar.of(row), reason)
        why = f"The range tests under the chosen values gave no max_lr. {_why(row)}"
        best = best_with(chosen, self.trials_made)
        if best is None or best.max_lr is None:
            return _MaxLr(None, "", None, why)
        source = "It is the max_lr of the short runs with these values, which ended at a validation loss of"
        return _MaxLr(best.max_lr, "low", None, f"{source} {best.valid_loss:.4f}. {why}")

    def _range_test(self, values: Values, repeats: int) -> dict[str, Any]:
        """Returns the row of a range test. One without a max_lr is repeated if there is time, and that row counts."""
        row = self._row(values, "range", repeats)
        if row["max_lr"] is not None or row["status"] != "finished":
            return row
        retry = retry_length(self.recipe)
        share = values[BATCH_SIZE] / self.recipe.data.batch_size
        seconds = RETRY_STEPS * RETRY_SEEDS * share * self.found.cost.range_test
        if not self._has_time(f"the range test of {told(values)} again", seconds):
            return row
        self.session.report(f"{_why(row)} The range test is repeated with more steps.")
        return self._row({**values, **retry}, "range", RETRY_SEEDS)

    def has_time_for(self, stage: TuningStage) -> bool:
        """Whether the short runs of a stage and the last range tests fit into the rest of the budget."""
        cost = self.found.cost
        trials = len(stage.values) * self.plan.epochs * cost.epoch
        return self._has_time(stage.name, cost.range_tests(stage) + trials + FINAL_REPEATS * cost.range_test)

    def _has_time(self, work: str, seconds: float) -> bool:
        """Whether work of `seconds` fits into the rest of the budget. The answer is saved for a resumed tuning."""
        state, work = self.session.run.read_json(TUNE_STATE), f"{work}, in {self.budget:g} s"
        if work not in state["has_time"]:
            state["has_time"][work] = self.used() + seconds <= self.budget
            self.session.run.write_json(TUNE_STATE, state)
        return bool(state["has_time"][work])

    def used(self) -> float:
        """Returns the seconds spent so far, over all processes that worked on this tuning."""
        runs = readable_runs(self.session.run.path)  # a damaged one runs again
        return self.found.seconds + sum(facts["seconds"] or 0.0 for _, facts in runs)

    def _row(self, values: Values, mode: Mode, repeats: int) -> dict[str, Any]:
        """Returns the result of the cell with these values, and runs it first if needed."""
        cell = self._cell(values, mode, repeats)
        self._run([cell])
        row = row_of(cell, self.session.run)
        assert row is not None  # it has been run
        return {"max_lr": None} | row

    def _cell(self, values: Values, mode: Mode, repeats: int) -> Cell:
        precision = self.session.hardware.precision
        (cell,) = plan_cells(self.recipe, [values], mode=mode, precision=precision, repeats=repeats, source=self.source)
        return cell

    def _run(self, cells: Sequence[Cell]) -> None:
        """Runs the cells that are left to do, each once."""
        left = {cell.name: cell for cell in cells if not is_done(cell, self.session.run)}
        if left:
            run_cells([*left.values()], self.session, ray=self.ray, after_each=lambda: None)


def _why(row: Mapping[str, Any]) -> str:
    """Returns the first line of the reason why a range test or a short run has no result."""
    return str(row.get("reason") or row["error"]).splitlines()[0]
