"""The discipline as one command: batch size, weight decay and momentum by short runs, then the range test again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from onecycle_cli.batch_size import epochs_in_equal_time
from onecycle_cli.engine import Hardware
from onecycle_cli.errors import InputError, NoSuggestionError
from onecycle_cli.experiments.batch_size import images_per_second
from onecycle_cli.experiments.cells import Mode, ended, fingerprint, plan_cells, row_of, run_cells
from onecycle_cli.experiments.planning import of_length
from onecycle_cli.experiments.setup import prepare
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, as_written, relative, result_settings, to_yaml, with_values
from onecycle_cli.run_dir.files import RUN, TUNE_REPORT, TUNE_STATE, TUNED_RECIPE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.tuning import (
    BASE_MOMENTUM,
    BATCH_SIZE,
    FINAL_REPEATS,
    MAX_MOMENTUM,
    SEEDS,
    WEIGHT_DECAY,
    Cost,
    Decision,
    Plan,
    Stage,
    Trial,
    decided,
    noise,
    planned,
    same_pace,
    stages,
)

Values = dict[str, Any]


@dataclass(frozen=True)
class Tuned:
    """A recipe with nothing left to be found, and how each of its values was decided."""

    recipe: Recipe
    max_lr: float
    confidence: str
    decisions: Sequence[Decision]
    left_out: Sequence[str]


def tune_name(recipe: Recipe, precision: str, budget: float) -> str:
    """The name of the folder: the same command finds it again."""
    return f"tune-{recipe.name}-{fingerprint(result_settings(recipe, precision) | {'budget': budget})[:8]}"


def tune(recipe: Recipe, hardware: Hardware, run: RunDir, report: Report, *, budget: float, source: str) -> Tuned:
    """Tunes a recipe within `budget` seconds, and leaves `tuned.yaml` and a report of each decision in `run`.

    Each short run is a cell of its own with the range test before it; what was run before an interrupt is not run
    again. Runs with other batch sizes have as many epochs as take the same time. `InputError` where there is no time
    for anything, and for a recipe of several stages or several lrs.
    """
    if recipe.fine_tune is not None or relative(recipe.schedule.max_lr) is not None:
        raise InputError(
            "tune looks for the settings of one cycle with one max_lr, and the recipe has fine_tune, or several lrs.",
            "Leave fine_tune out and set schedule.max_lr to null; `onecycle sweep` varies any fields.",
        )
    bench = _Bench.of(recipe, hardware, run, report, budget, source)
    now: Values = {
        BATCH_SIZE: recipe.data.batch_size,
        WEIGHT_DECAY: recipe.optimizer.weight_decay,
        MAX_MOMENTUM: recipe.schedule.max_momentum,
        BASE_MOMENTUM: recipe.schedule.at_peak,
    }
    report(f"{SEEDS} runs of {bench.plan.epochs} epochs of the recipe as it is, for the noise between seeds.")
    seeds = [recipe.seed + n for n in range(SEEDS)]
    losses = [bench.trial(now, {}, seed).valid_loss for seed in seeds]
    error = noise([loss for loss in losses if loss is not None])
    decisions: list[Decision] = []
    left_out = list(bench.plan.left_out)
    for stage in bench.plan.stages:
        if not bench.has_time_for(stage):
            left_out.append(stage.name)
            continue
        start = bench.trial(now, {}, recipe.seed)
        others = [bench.trial(now, values, recipe.seed) for values in stage.values]
        decision = decided(stage.name, Trial(now, start.valid_loss), others, error)
        report(f"{stage.name}: {told(decision.chosen)}. {decision.reason}")
        decisions.append(decision)
        now = {**now, **decision.chosen}
    result = bench.finished(now, decisions, left_out)
    run.write_text(TUNED_RECIPE, to_yaml(result.recipe))
    run.write_text(TUNE_REPORT, _report(result, budget, bench.used(), error))
    return result


class _Bench:
    """Where short runs are made: what they cost, how long they are, and what was spent on them."""

    def __init__(
        self,
        recipe: Recipe,
        hardware: Hardware,
        run: RunDir,
        report: Report,
        source: str,
        *,
        budget: float,
        speeds: Mapping[int, float],
        cost: Cost,
        plan: Plan,
        setup_seconds: float,
    ) -> None:
        self.recipe, self.hardware, self.run, self.report, self.source = recipe, hardware, run, report, source
        self.budget, self.speeds, self.cost, self.plan = budget, speeds, cost, plan
        self.setup_seconds = setup_seconds

    @staticmethod
    def of(recipe: Recipe, hardware: Hardware, run: RunDir, report: Report, budget: float, source: str) -> "_Bench":
        """Measures speeds and plans, or takes what was measured before an interrupt."""
        recipe = with_values(recipe, {"schedule.max_lr": None})
        if not (run.path / TUNE_STATE).is_file():
            _measure(recipe, hardware, run, report, budget)
        state = run.read_json(TUNE_STATE)
        speeds = {int(size): speed for size, speed in state["speeds"].items()}
        cost = Cost(**state["cost"])
        found = _stages(recipe, int(state["images"]))
        plan = planned(found, cost, budget - state["setup_seconds"], recipe.schedule.epochs)
        if plan is None:
            least = SEEDS * cost.epoch + (1 + FINAL_REPEATS) * cost.range_test
            raise InputError(
                f"A budget of {budget:.0f} s is too short: an epoch takes {cost.epoch:.1f} s, a range test "
                f"{cost.range_test:.1f} s.",
                f"Give at least --budget {1.2 * least + state['setup_seconds']:.0f}s.",
            )
        return _Bench(
            recipe,
            hardware,
            run,
            report,
            source,
            budget=budget,
            speeds=speeds,
            cost=cost,
            plan=plan,
            setup_seconds=state["setup_seconds"],
        )

    def epochs(self, batch_size: int, epochs: int) -> int:
        """The epochs with `batch_size` that take the time of so many with the recipe's."""
        return epochs_in_equal_time(epochs, self.speeds[self.recipe.data.batch_size], self.speeds[batch_size])

    def trial(self, now: Values, values: Mapping[str, Any], seed: int) -> Trial:
        """A short run with some values in the place of those that hold now."""
        tried = {**now, **values}
        max_lr = self._max_lr(tried)
        if max_lr is None:
            return Trial(values, None)
        length = of_length(self.recipe, self.epochs(tried[BATCH_SIZE], self.plan.epochs))
        row = self._row({**tried, **length, "schedule.max_lr": max_lr, "seed": seed}, "train", 1)
        return Trial(values, row["valid_loss"] if row["status"] == "finished" else None)

    def _max_lr(self, tried: Values) -> float | None:
        """What the range test of a batch size suggests, for the momentum that is tried; None where it has no number."""
        schedule = self.recipe.schedule
        found: float | None = self._row({BATCH_SIZE: tried[BATCH_SIZE]}, "range", 1)["max_lr"]
        if found is None or self.recipe.optimizer.name != "sgd":
            return found
        return float(f"{same_pace(found, schedule.at_peak, tried[BASE_MOMENTUM]):.3g}")

    def finished(self, now: Values, decisions: Sequence[Decision], left_out: Sequence[str]) -> Tuned:
        """The recipe with the values that hold now, and the max_lr that range tests under them suggest."""
        length = of_length(self.recipe, self.epochs(now[BATCH_SIZE], self.recipe.schedule.epochs))
        self.report("Range tests under the chosen values.")
        row = self._row({**now, **length}, "range", FINAL_REPEATS)
        if row.get("max_lr") is None:
            raise NoSuggestionError(
                f"The range tests under the chosen values gave no max_lr. {row.get('reason') or row['error']}",
                f"Their curves are in {self.run.path}.",
            )
        values = {**now, **length, "schedule.max_lr": row["max_lr"], "name": f"{self.recipe.name}-tuned"[:80]}
        return Tuned(with_values(self.recipe, values), row["max_lr"], row["confidence"], decisions, left_out)

    def has_time_for(self, stage: Stage) -> bool:
        """Whether the trials of a stage and the last range tests fit into what is left of the budget."""
        trials = len(stage.values) * self.plan.epochs * self.cost.epoch
        last = FINAL_REPEATS * self.cost.range_test
        return self.used() + self.cost.range_tests(stage) + trials + last <= self.budget

    def used(self) -> float:
        """Seconds that were spent so far, in all processes that worked on this."""
        runs = [RunDir(path.parent) for path in self.run.path.glob(f"*/{RUN}")]
        return self.setup_seconds + sum(run.facts["seconds"] or 0.0 for run in runs)

    def _row(self, values: Values, mode: Mode, repeats: int) -> dict[str, Any]:
        """What came out of the cell with these values, which is run if it was not."""
        (cell,) = plan_cells(
            self.recipe, [values], mode=mode, precision=self.hardware.precision, repeats=repeats, source=self.source
        )
        if ended(cell, self.run) is None:
            run_cells([cell], self.run, self.hardware, self.report, jobs=1, after_each=lambda: None)
        row = row_of(cell, self.run)
        assert row is not None  # it has been run
        return {"max_lr": None} | row


def _stages(recipe: Recipe, images: int) -> list[Stage]:
    schedule, decay = recipe.schedule, recipe.optimizer.weight_decay
    momentum = (schedule.max_momentum, schedule.at_peak)
    return stages(recipe.data.batch_size, decay, recipe.sweep_wd.weight_decays, momentum, images)


def _measure(recipe: Recipe, hardware: Hardware, run: RunDir, report: Report, budget: float) -> None:
    """Times real steps at each batch size that may be tried, and keeps what was measured."""
    started = perf_counter()
    setup = prepare(recipe, hardware, run, report)
    images = len(setup.train.labels)
    tried = [values[BATCH_SIZE] for stage in _stages(recipe, images) for values in stage.values if BATCH_SIZE in values]
    report("Timing steps.")
    speeds = {size: images_per_second(recipe, setup, size) or 0.0 for size in (recipe.data.batch_size, *tried)}
    scored = perf_counter()
    setup.trainer.evaluate(setup.valid)
    scoring = perf_counter() - scored
    speed = speeds[recipe.data.batch_size]
    cost = Cost(
        recipe.data.batch_size,
        range_test=recipe.find_lr.num_steps * recipe.data.batch_size / speed,
        epoch=images / speed + scoring,
    )
    run.write_json(
        TUNE_STATE,
        {
            "budget": budget,
            "images": images,
            "speeds": speeds,
            "cost": vars(cost),
            "setup_seconds": perf_counter() - started,
        },
    )


def told(values: Mapping[str, Any]) -> str:
    """Values as a person reads them."""
    return ", ".join(f"{field} {as_written(value)}" for field, value in values.items())


def _report(result: Tuned, budget: float, used: float, error: float) -> str:
    """The decisions with their evidence, in Markdown."""
    lines = [
        f"# {result.recipe.name}",
        "",
        f"Of a budget of {budget:.0f} s, {used:.0f} s were used. The standard error of the difference between two "
        f"short runs is {error:.4f} in validation loss, from {SEEDS} seeds of the start.",
        "",
        f"max_lr {result.max_lr:g}, confidence {result.confidence}, from {FINAL_REPEATS} range tests under these "
        "values.",
    ]
    for decision in result.decisions:
        stays = decision.chosen == decision.was
        change = f"{told(decision.was)} stays" if stays else f"{told(decision.was)} becomes {told(decision.chosen)}"
        lines += ["", f"## {decision.stage}", "", f"{change}. {decision.reason}"]
        lines += ["", "| values | validation loss |", "| --- | --- |"]
        for trial in decision.trials:
            values = {field: trial.values[field] for field in decision.was}
            lines.append(
                f"| {told(values)} | {'did not finish' if trial.valid_loss is None else f'{trial.valid_loss:.4f}'} |"
            )
    if result.left_out:
        lines += ["", f"Left out for lack of time: {', '.join(result.left_out)}."]
    return "\n".join(lines) + "\n"
