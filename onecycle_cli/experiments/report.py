"""The report: one HTML file about any runs, finished or not. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from onecycle_cli import __version__
from onecycle_cli.analysis.comparison import Run, differing, groups, labels, over_seeds, short_names
from onecycle_cli.analysis.lr_range import shape_of
from onecycle_cli.errors import InputError, OnecycleError
from onecycle_cli.experiments.compare import RESULTS, read_runs
from onecycle_cli.experiments.report_curves import range_test_blocks, training_blocks, training_of
from onecycle_cli.experiments.report_parts import (
    cell,
    commands,
    guarded,
    identity,
    label_of,
    machine,
    main_result,
    notes,
    part,
    recipe_text,
    setting,
    times,
)
from onecycle_cli.experiments.report_results import (
    batch_size_blocks,
    evaluation_blocks,
    sweep_blocks,
    tune_blocks,
)
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.figures.report.charts import RangeTests, Training, overlay_figure, training_figure
from onecycle_cli.figures.report.content import Block, Cell, Commands, Details, Page, Pairs, Section, Table, Text
from onecycle_cli.figures.report.page import is_untouched, render
from onecycle_cli.recipe import as_written
from onecycle_cli.run_dir.facts import command_line
from onecycle_cli.run_dir.files import WRONG_PICTURES
from onecycle_cli.run_dir.finding import all_runs, find_run
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import must_be_new, write_whole

REPORT = "report.html"

MOST_WHOLE = 12
"""The most runs that have sections with figures of their own; of more, the page has their table and the curves of all
together."""

MOST_PICTURE_BYTES = 2_000_000
"""The most bytes of images of wrong predictions in a page; a third more as text."""

MOST_EVALUATIONS = 3
"""The most evaluations of a training that a report shows, the newest."""


@dataclass(frozen=True)
class Written:
    """A report on disk: its file, its size in bytes, and the reasons why named runs are not in it."""

    path: Path
    size: int
    left_out: list[str]


def write_report(named: Sequence[str | Path], *, runs_dir: Path, output: Path | None = None) -> Written:
    """Writes a report of runs, each a folder or a name in `runs_dir`, and returns its file.

    Without `output`, the file is `report.html` in the folder of the run, or with several runs a new file in `runs_dir`
    with the time in its name. An earlier report of a run is replaced if nobody has changed it. `InputError` if `output`
    exists, or if none of the runs can be read; `MachineError` if the packages for it are missing.
    """
    if output is not None:
        must_be_new(output)
    found, left_out = found_runs(named, runs_dir)
    path = output or _own_place(found, runs_dir)
    page = render(page_of(found, runs_dir, left_out=left_out)).encode()
    write_whole(path, lambda beside: beside.write_bytes(page))
    return Written(path, len(page), left_out)


def _own_place(found: Sequence[RunDir], runs_dir: Path) -> Path:
    if len(found) > 1:
        path = runs_dir / f"report-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
        must_be_new(path)
        return path
    path = found[0].path / REPORT
    if path.exists() and not (path.is_file() and is_untouched(path.read_bytes())):
        raise InputError(f"{path} is not a report as onecycle wrote it.", "Rename it, or name a new file with --output.")
    return path


def found_runs(named: Sequence[str | Path], runs_dir: Path) -> tuple[list[RunDir], list[str]]:
    """Returns the named runs, each once, and why others are left out. `InputError` if there are none."""
    runs: dict[Path, RunDir] = {}
    left_out = []
    for text in named:
        try:
            run = find_run(runs_dir, str(text))
            _ = run.facts
            runs.setdefault(run.path.resolve(), run)
        except InputError as error:
            left_out.append(error.what)
    if not runs:
        raise InputError("\n".join(left_out), "`onecycle runs` lists the runs.")
    return list(runs.values()), left_out


def page_of(runs: Sequence[RunDir], runs_dir: Path, *, left_out: Sequence[str] = (), live: str | None = None) -> Page:
    """Reads the runs and returns the content of their report. A damaged file costs its part only, with a sentence.

    `live` is the state of the runs for a page that refreshes itself.
    """
    reader = _Reader(runs, runs_dir)
    names = [label_of(run, runs_dir) for run in runs]
    title = names[0] if len(runs) == 1 else f"{len(runs)} runs: {names[0]} and others"
    made = f"onecycle {__version__} made this page at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC."
    sections = list(reader.sections())
    running = any(run.status == "running" for run in runs)
    unfinished = ["A run is still going: this page shows its results so far."] if running and live is None else []
    notes = [*unfinished, *(f"Left out: {reason}" for reason in left_out), *reader.notes]
    return Page(title, made, sections, live, running, notes)


class _Reader:
    """Reads runs into the sections of a page."""

    def __init__(self, runs: Sequence[RunDir], runs_dir: Path) -> None:
        self.runs, self.runs_dir = runs, runs_dir
        self.notes: list[str] = []
        self._picture_bytes = 0
        self._ids = [f"run-{n}-{identity(run.path.name)[:40]}" for n, run in enumerate(runs, 1)]

    def sections(self) -> Iterator[Section]:
        """Yields the overview, the comparison, each run, and how to make all of it again."""
        whole = len(self.runs) <= MOST_WHOLE
        if not whole:
            told = f"These are more than {MOST_WHOLE} runs: the figures of single runs are left out, their numbers are not."
            self.notes.append(f"{told} Make a report of some of them for the rest.")
        if len(self.runs) > 1:
            yield Section("overview", "Overview", guarded("The overview", self._overview))
        compared, _ = self._compared()
        if len(compared) > 1:
            yield from filter(None, [part("comparison", "Comparison", lambda: self._comparison(compared))])
        for run, name in zip(self.runs, self._ids, strict=True):
            if whole:
                yield self._run(run, name)
        yield Section("commands", "Make it again", self._again())

    def _overview(self) -> list[Block]:
        whole = len(self.runs) <= MOST_WHOLE
        lines = []
        for run, name in zip(self.runs, self._ids, strict=True):
            facts = run.facts
            link = name if whole else None
            try:
                result = main_result(run)
            except (OnecycleError, ValueError) as error:
                result = getattr(error, "what", str(error))
            first = Cell(label_of(run, self.runs_dir), None, link)
            rest = [Cell(str(value)) for value in (facts["command"], facts["recipe"], run.status, result)]
            lines.append([first, *rest, cell("seconds", facts["seconds"]), Cell(str(facts["started"])[:19])])
        columns = ["run", "command", "recipe", "status", "result", "seconds", "started (UTC)"]
        return [Table("overview-runs", "What was run, and what came out", columns, lines)]

    def _compared(self) -> tuple[list[Run], list[str]]:
        """Returns the runs that can be compared, with those inside of sweeps, and why others cannot."""
        try:
            runs, left_out = read_runs(self.runs_dir, [str(run.path.absolute()) for run in self.runs])
        except InputError as error:
            return [], [error.what]
        return runs, [one.reason for one in left_out]

    def _comparison(self, runs: Sequence[Run]) -> list[Block]:
        fields = differing(runs)
        names = short_names(fields, taken=("run", "status", *(name for name in RESULTS if name != "max_lr")))
        blocks: list[Block] = []
        if not fields:
            blocks.append(Text("The recipes of these runs are the same."))
        blocks.append(self._settings(runs, names))
        spreads = over_seeds(groups(runs, fields))
        if spreads:
            blocks.append(_spreads(spreads, names))
        blocks += self._together(runs, labels(runs, fields, names))
        return blocks

    def _settings(self, runs: Sequence[Run], names: dict[str, str]) -> Table:
        """Returns the settings that differ, and the results. A max_lr of a training stands among its results."""
        varying = [field for field in names if field != "schedule.max_lr"]
        results = [name for name in RESULTS if any(run.results[name] is not None for run in runs)]
        lines = []
        for run in runs:
            first = Cell(label_of(RunDir(run.path), self.runs_dir))
            settings = [setting(run.settings[field]) if field in run.settings else Cell("") for field in varying]
            rest = [cell(name, run.results[name]) for name in results]
            lines.append([first, *settings, Cell(run.status), *rest])
        columns = ["run", *(names[field] for field in varying), "status", *results]
        caption = "The settings that differ, and the results" if varying else "The results"
        return Table("comparison-settings", caption, columns, lines)

    def _together(self, runs: Sequence[Run], shown: Sequence[str]) -> list[Block]:
        """Returns the curves of all trainings and of all range tests."""
        trainings: list[Training] = []
        tests: list[RangeTests] = []
        bad: list[Block] = []
        for run, label in zip(runs, shown, strict=True):
            folder = RunDir(Path(run.path))
            label = label_of(folder, self.runs_dir) if label == run.path else label
            try:
                if run.command == "train":
                    trainings += [one] if (one := training_of(folder, label)) is not None else []
                elif run.command == "find-lr" and (curves := saved_curves(folder, growing=True)):
                    tests.append(RangeTests(label, shape_of(curves), run.results["max_lr"]))
            except (OnecycleError, KeyError, ValueError) as error:
                bad.append(Text(f"{folder.path} could not be drawn: {getattr(error, 'what', error)}", "note"))
        blocks: list[Block] = [*bad]
        if len(trainings) > 1:
            title = f"The curves of {len(trainings)} trainings"
            blocks.append(training_figure("comparison-trainings", title=title, trainings=trainings))
        if len(tests) > 1 and not self._is_drawn_by_sweep():
            title = f"The smoothed losses of {len(tests)} range tests"
            blocks.append(overlay_figure("comparison-tests", title=title, tests=tests, mark="max_lr", chosen=None))
        return blocks

    def _is_drawn_by_sweep(self) -> bool:
        """Whether the only run is a sweep, whose section draws its range tests."""
        return len(self.runs) == 1 and str(self.runs[0].facts["command"]).startswith("sweep")

    def _run(self, run: RunDir, name: str) -> Section:
        """Returns the section of one run: what was asked, what came out, and every part that it has."""
        title = label_of(run, self.runs_dir)
        try:
            facts, status = run.facts, run.status
        except OnecycleError as error:
            return Section(name, title, [Text(error.what, "note")])
        blocks = guarded("The result", lambda: _headline(run))
        blocks += guarded("The notes", lambda: notes(run))
        makers: list[tuple[str, str, Callable[[], Sequence[Block]]]] = [
            ("range-test", "Learning rate range test", lambda: range_test_blocks(run, f"{name}-lr-range")),
            ("training", "Training", lambda: training_blocks(run, f"{name}-training")),
        ]
        match facts["command"]:
            case "sweep" | "sweep-wd" if (run.path / "sweep.json").is_file():
                makers.append(("sweep", "Sweep", lambda: sweep_blocks(run, f"{name}-sweep")))
            case "tune":
                makers.append(("tune", "Decisions", lambda: tune_blocks(run, f"{name}-tune")))
            case "find-batch-size":
                makers.append(("sizes", "Batch sizes", lambda: batch_size_blocks(run, f"{name}-sizes")))
            case "evaluate":
                makers.append(("scores", "Scores", lambda: self._evaluation(run, f"{name}-scores")))
        for number, evaluation in enumerate(self._evaluations_of(run)):
            label = label_of(evaluation, self.runs_dir)
            key = f"{name}-scores-{number}"
            makers.append((key, f"Evaluation {label}", lambda one=evaluation, key=key: self._evaluation(one, key)))  # type: ignore[misc]
        makers.append(("origin", "Recipe, machine and versions", lambda: [*machine(run), *recipe_text(run)]))
        inner = [part(f"{name}-{key}", heading, make) for key, heading, make in makers]
        return Section(name, title, blocks, [one for one in inner if one is not None], status)

    def _evaluation(self, run: RunDir, name: str) -> list[Block]:
        size = (run.path / WRONG_PICTURES).stat().st_size if (run.path / WRONG_PICTURES).is_file() else 0
        fits = self._picture_bytes + size <= MOST_PICTURE_BYTES
        self._picture_bytes += size if fits else 0
        return evaluation_blocks(run, name, pictures=fits)

    def _evaluations_of(self, run: RunDir) -> list[RunDir]:
        """Returns the newest evaluations of a training in the runs folder that are not in the report anyway."""
        if run.facts["command"] != "train":
            return []
        own = {one.path.resolve() for one in self.runs}
        found = [
            one
            for one in all_runs(self.runs_dir)
            if one.facts["command"] == "evaluate" and one.path.resolve() not in own and _is_of(one, run)
        ]
        return found[-MOST_EVALUATIONS:]

    def _again(self) -> list[Block]:
        """Returns the commands of all runs, and the one that makes this page."""
        lines: dict[str, None] = {}
        for run in self.runs:
            for block in guarded("The command", lambda run=run: commands(run)):  # type: ignore[misc]
                if isinstance(block, Commands):
                    lines |= dict.fromkeys(block.lines)
        lines[command_line(["report", *(str(run.path) for run in self.runs)])] = None
        return [Commands(list(lines))]


def _is_of(evaluation: RunDir, training: RunDir) -> bool:
    """Whether an evaluation scored this training, also if both have been moved to another folder together."""
    trained = evaluation.facts.get("trained_run")
    if trained is None:
        return False
    beside = evaluation.path.resolve().parent / Path(trained).name
    return training.path.resolve() in (Path(trained).resolve(), beside)


def _spreads(spreads: Sequence[Any], names: dict[str, str]) -> Table:
    told = {
        names[field]: [as_written(spread.settings.get(field, "")) for spread in spreads]
        for field in names
        if len({as_written(spread.settings.get(field, "")) for spread in spreads}) > 1
    }
    lines = []
    for number, spread in enumerate(spreads):
        seeds = str(spread.n) if spread.n == spread.runs else f"{spread.n} of {spread.runs}"
        values = (spread.mean, spread.standard_deviation, spread.standard_error)
        settings = [Cell(column[number]) for column in told.values()]
        rest = [cell(spread.result, value) for value in values]
        lines.append([*settings, Cell(spread.result), Cell(seeds, float(spread.n)), *rest])
    columns = [*told, "result", "seeds", "mean", "standard_deviation", "standard_error"]
    return Table("comparison-seeds", "Means over seeds", columns, lines)


def _headline(run: RunDir) -> list[Block]:
    """Returns what was asked of a run and what came out of it."""
    facts, summary, status = run.facts, run.summary, run.status
    result = main_result(run)
    asked = f"{facts['command']} {facts['recipe']}"
    lead = f"{asked}: {result}" if result else f"{asked}: {status}"
    if summary.get("diverged_step") is not None:
        lead = f"{asked}: the loss was not finite at step {summary['diverged_step']}, at lr {summary['diverged_lr']:.3g}"
    names = [name for name in RESULTS if name not in ("seconds",) and summary.get(name) is not None]
    pairs = [(name, str(cell(name, summary[name]).text)) for name in names]
    further = ("weight_decay", "batch_size", "cells", "finished", "parameters", "only_answer", "conservative_max_lr")
    pairs += [(name, as_written(summary[name])) for name in further if summary.get(name) is not None]
    return [Text(f"{lead}.", "lead"), Pairs([*times(facts), *pairs])]
