"""Reproduction of the six runs of the 1cycle blog post: trains them over seeds, and compares them with the post."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter
from typing import Any

from onecycle_cli.analysis.reproduction import (
    PUBLISHED,
    PUBLISHED_IMAGES,
    Measured,
    Ordered,
    against_published,
    orders,
    scaled_epochs,
)
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.experiments.batch_size import try_batch_size
from onecycle_cli.experiments.cell_runs import run_cells
from onecycle_cli.experiments.cells import ENDED, Cell, begin_attempt, fingerprint, plan_cells, row_of
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.planning import of_length
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.ray_cluster import RayOptions
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep import draw_trainings
from onecycle_cli.progress import duration
from onecycle_cli.recipe import Recipe, differences, load, result_settings, shipped_path, with_values
from onecycle_cli.run_dir.files import (
    ORDER,
    ORDER_COLUMNS,
    REPRODUCTION,
    REPRODUCTION_COLUMNS,
    REPRODUCTION_FIGURE,
    REPRODUCTION_PLAN,
)
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv

TRAIN_IMAGES, CLASSES = 50_000, 10
"""The numbers of images that the published runs were trained on, and of their classes."""

FROM_ELSEWHERE = ("data.source", "data.path")
"""Fields that say where the images are, and may differ from the shipped recipe."""

COMPARED_ALONE = ("seed", "schedule.")
"""Fields, or prefixes of them, that the experiments are about, and nobody may override."""


NOT_COMPARED = "not compared"
"""The verdict on an accuracy of runs that differ from the published ones."""


@dataclass(frozen=True)
class ReproductionPlan:
    """The runs to train: `recipes` by the experiments' names, at full length; all six, with the same overrides.

    `asked` are the experiments to run, `seeds` how often each, `scale` the factor of their epochs.
    """

    recipes: Mapping[str, Recipe]
    asked: Sequence[str]
    seeds: int
    scale: float

    def scaled(self, name: str) -> Recipe:
        """Returns the recipe of an experiment with its epochs scaled; its legs keep their shares."""
        recipe = self.recipes[name]
        return with_values(recipe, of_length(recipe, scaled_epochs(recipe.schedule.epochs, self.scale)))

    def settings(self, precision: str) -> dict[str, Any]:
        """Returns what all runs share: the settings of the first experiment, and the scale."""
        shared = result_settings(self.recipes["E1"], precision)
        return {name: value for name, value in shared.items() if name != "seed"} | {"scale": self.scale}

    def run_name(self, precision: str) -> str:
        """Returns the default name of the folder. More experiments or seeds belong to the same one."""
        return f"reproduce-{self.recipes['E1'].name}-{fingerprint(self.settings(precision))[:8]}"

    def cells(self, planned: Sequence[tuple[str, int]], precision: str) -> list[Cell]:
        """Returns a cell for each experiment and seed of `planned`. `InputError` if a cycle is too short."""
        found = []
        for name, seed in planned:
            (cell,) = plan_cells(
                self.scaled(name), [{"seed": seed}], mode="train", precision=precision, repeats=1, source=name
            )
            found.append(replace(cell, name=f"{name},seed={seed}", values={"experiment": name, "seed": seed}))
        return found


def changed_settings(recipes: Mapping[str, Recipe]) -> list[str]:
    """Returns the fields that differ from the shipped recipes. `InputError` if the experiments themselves do.

    Where the images are does not count.
    """
    changed: dict[str, None] = {}
    for name, recipe in recipes.items():
        shipped = load(shipped_path(PUBLISHED[name].recipe))
        found = differences(result_settings(shipped, "float32"), result_settings(recipe, "float32"))
        changed |= dict.fromkeys(one.field for one in found if one.field not in FROM_ELSEWHERE)
    for field in changed:
        if field.startswith(COMPARED_ALONE):
            raise InputError(
                f"{field} is what the published runs differ in, so it cannot be changed.",
                "Give --scale for shorter runs and --seeds for more of them, or `onecycle train` the recipe alone.",
            )
    return list(changed)


@dataclass(frozen=True)
class Reproduction:
    """A reproduction: a row for each experiment, the published orders, and the content of `summary.json`.

    `rows` have the columns of `reproduction.csv`. `differs` is what differs from the published runs, so that the
    accuracies cannot be compared with theirs; empty if they can.
    """

    rows: Sequence[Mapping[str, Any]]
    orders: Sequence[Ordered]
    differs: Sequence[str]
    summary: dict[str, Any]


def reproduce(
    plan: ReproductionPlan, session: Session, *, jobs: int = 1, ray: RayOptions | None = None
) -> Reproduction:
    """Trains the experiments of a plan that have no result yet, and compares all in the folder with the published runs.

    First reports how long it will take, from steps that are measured, or from the runs that have ended. A run that
    fails or diverges counts as not finished. `InputError` if the folder holds runs of other settings.
    """
    run, precision = session.run, session.hardware.precision
    changed = changed_settings(plan.recipes)
    with run.alone(), Following(plan.recipes["E1"], session) as session, run.recording():
        run.resume()
        planned = _joined(plan, run, precision)
        cells = plan.cells(planned, precision)
        begin_attempt(run)
        # Seed by seed, so that all experiments can be compared as early as possible.
        asked = sorted((cell for cell in cells if _is_asked(cell, plan)), key=lambda cell: cell.recipe.seed)
        _report_time(asked, cells, session)
        # Not before the images were read: a folder where they could not be is free for other settings.
        run.write_json(REPRODUCTION_PLAN, {"settings": plan.settings(precision), "planned": planned})
        run_cells(
            asked, session, jobs=jobs, ray=ray, after_each=lambda: _write_tables(_read(plan, cells, run, changed), run)
        )
        result = _read(plan, cells, run, changed)
        draw_trainings(cells, session, REPRODUCTION_FIGURE, by="experiment")
        run.finish("finished", result.summary)
    _write_report(session)
    return result


def _is_asked(cell: Cell, plan: ReproductionPlan) -> bool:
    return cell.values["experiment"] in plan.asked and cell.values["seed"] < plan.recipes["E1"].seed + plan.seeds


def _joined(plan: ReproductionPlan, run: RunDir, precision: str) -> list[tuple[str, int]]:
    """Returns the experiments and seeds that are in the folder or asked for, in order."""
    settings, first = plan.settings(precision), plan.recipes["E1"].seed
    planned = {(name, first + n) for name in plan.asked for n in range(plan.seeds)}
    if (run.path / REPRODUCTION_PLAN).is_file():
        saved = run.read_json(REPRODUCTION_PLAN)
        if other := differences(saved["settings"], settings):
            listed = "\n".join(f"  {setting}" for setting in other)
            raise InputError(f"{run.path} holds runs of other settings:\n{listed}", "Give another --name.")
        planned |= {(str(name), int(seed)) for name, seed in saved["planned"]}
    names = list(PUBLISHED)
    return sorted(planned, key=lambda one: (names.index(one[0]), one[1]))


def _report_time(asked: Sequence[Cell], cells: Sequence[Cell], session: Session) -> None:
    """Reports what is left to do and how long it takes, one run after another."""
    ended = {cell.name: row for cell in cells if (row := row_of(cell, session.run)) and row["status"] in ENDED}
    left = [cell for cell in asked if cell.name not in ended]
    if not left:
        return
    epochs = sum(cell.recipe.schedule.epochs for cell in left)
    rates = [row["seconds"] / row["epochs"] for row in ended.values() if row.get("seconds") and row.get("epochs")]
    seconds = fmean(rates) if rates else _seconds_per_epoch(left[0].recipe, session)
    runs = f"{len(left)} runs" if len(left) > 1 else "One run"
    session.report(f"{runs}, {epochs} epochs in all: about {duration(epochs * seconds)} one after another.")


def _seconds_per_epoch(recipe: Recipe, session: Session) -> float:
    """Measures steps and scoring. All experiments have the same network, images and batch size."""
    prepared = prepare(recipe, session)
    session.report("Timing steps.")
    speed = try_batch_size(recipe, prepared, recipe.data.batch_size).images_per_second
    if speed is None:
        raise MachineError(
            f"A batch of {recipe.data.batch_size:,} images does not fit in memory.", "Use a machine with more of it."
        )
    started = perf_counter()
    prepared.trainer.evaluate(prepared.valid)
    return len(prepared.train.labels) / speed + perf_counter() - started


def _measured(plan: ReproductionPlan, cells: Sequence[Cell], run: RunDir, images: int) -> dict[str, Measured]:
    """Returns the results by experiment, of those with a run that has ended; `images` were scored in each."""
    found = {}
    for name in plan.recipes:
        ends = [end for cell in cells if cell.values["experiment"] == name and (end := row_of(cell, run))]
        ends = [end for end in ends if end["status"] in (*ENDED, "failed")]
        if ends:
            # As `compare` does: a run that ended no better than chance has a result too.
            finished = [end for end in ends if end["status"] in ("finished", "collapsed")]
            found[name] = Measured(
                [end["valid_accuracy"] for end in finished],
                [end["valid_loss"] for end in finished],
                len(ends) - len(finished),
                images,
            )
    return found


def _images(cells: Sequence[Cell], run: RunDir) -> tuple[dict[str, int], int]:
    """Returns the numbers of images of the splits and of the classes, from the first run that knows them."""
    for cell in cells:
        with suppress(FileNotFoundError, InputError):
            facts = RunDir(run.path / cell.name).facts
            if facts.get("images"):
                return dict(facts["images"]), len(facts.get("classes") or ())
    return {}, 0


def _row(plan: ReproductionPlan, name: str, runs: Measured, *, comparable: bool) -> dict[str, Any]:
    """Returns the row of an experiment in `reproduction.csv`."""
    published = PUBLISHED[name]
    against = against_published(published, runs)
    return {
        "experiment": name,
        "recipe": published.recipe,
        "epochs": plan.scaled(name).schedule.epochs,
        "published_epochs": plan.recipes[name].schedule.epochs,
        "n": runs.n,
        "not_finished": runs.not_finished,
        "valid_accuracy": runs.accuracy,
        "valid_accuracy_sd": runs.deviation,
        "valid_loss": runs.loss,
        "blog_accuracy": published.accuracy,
        "blog_loss": published.loss,
        "paper_accuracy": published.paper and published.paper.accuracy,
        "paper_accuracy_sd": published.paper and published.paper.deviation,
        "difference": against.difference,
        "standard_error": against.standard_error,
        "verdict": against.verdict if comparable or runs.n == 0 else NOT_COMPARED,
    }


def _read(plan: ReproductionPlan, cells: Sequence[Cell], run: RunDir, changed: Sequence[str]) -> Reproduction:
    """Compares the runs that have ended so far."""
    images, classes = _images(cells, run)
    measured = _measured(plan, cells, run, images.get("valid", PUBLISHED_IMAGES))
    differs = ["the number of epochs"] if plan.scale != 1 else []
    differs += changed
    if images and (images["train"], images["valid"], classes) != (TRAIN_IMAGES, PUBLISHED_IMAGES, CLASSES):
        differs.append("the images")
    rows = [_row(plan, name, runs, comparable=not differs) for name, runs in measured.items()]
    found = orders(measured)
    summary = {
        "scale": plan.scale,
        "finished": sum(row["n"] for row in rows),
        "differs": differs,
        "verdict": " ".join([_told_accuracies(rows, differs), *_told_orders(found)]),
        "experiments": rows,
        "orders": found,
    }
    return Reproduction(rows, found, differs, summary)


def _told_accuracies(rows: Sequence[Mapping[str, Any]], differs: Sequence[str]) -> str:
    """Returns a sentence on the accuracies."""
    if differs:
        return f"The accuracies cannot be compared with the published ones. What differs: {', '.join(differs)}."
    return f"Accuracies: {_counted(row['verdict'] for row in rows)}."


def _told_orders(found: Sequence[Ordered]) -> list[str]:
    """Returns a sentence on the order of the runs, if two of a pair are there."""
    if not found:
        return []
    return [f"Orders of published pairs: {_counted(one.order for one in found)}."]


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in Counter(words).items())


def _write_tables(result: Reproduction, run: RunDir) -> None:
    for name, columns, rows in (
        (REPRODUCTION, REPRODUCTION_COLUMNS, result.rows),
        (ORDER, ORDER_COLUMNS, [vars(one) for one in result.orders]),
    ):
        run.write_text(name, to_csv(columns, [[row[column] for column in columns] for row in rows]))


def _write_report(session: Session) -> None:
    """Writes the HTML report into the folder if the packages for it are there. A failure becomes a note."""
    from onecycle_cli.experiments.report import write_report

    run = session.run
    try:
        write_report([run.path.absolute()], runs_dir=run.path.parent)
    except MachineError:
        session.report("Without the extra 'report', there is no report.html: pip install 'onecycle-cli[report]'.")
    except Exception as error:  # the page must not cost the result
        session.note(f"The report was not written: {getattr(error, 'what', error)}")
