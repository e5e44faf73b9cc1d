"""The report: one HTML file about any runs, finished or not. Imports no torch."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from onecycle_cli import __version__
from onecycle_cli.analysis.comparison import Run, Spread, differing, groups, labels, over_seeds, short_names
from onecycle_cli.analysis.lr_range import shape_of
from onecycle_cli.errors import InputError, OnecycleError, naming
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
    reason_of,
    recipe_text,
    setting,
    shown,
    times,
)
from onecycle_cli.experiments.report_results import (
    batch_size_blocks,
    evaluation_blocks,
    reproduction_blocks,
    sweep_blocks,
    tune_blocks,
)
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.experiments.tune_report import told as told_values
from onecycle_cli.figures.report.charts import RangeTests, Training, overlay_figure, training_figure
from onecycle_cli.figures.report.content import Block, Cell, Command, Details, Page, Pairs, Section, Table, Text
from onecycle_cli.figures.report.page import is_untouched, render
from onecycle_cli.recipe import as_written, dotted_values
from onecycle_cli.run_dir.facts import command_line
from onecycle_cli.run_dir.files import (
    BEST_MODEL,
    EPOCHS,
    MODEL,
    RECIPE,
    REPORT,
    RUN,
    SWEEP,
    SWEEP_PLAN,
    WRONG_PICTURES,
)
from onecycle_cli.run_dir.finding import find_run, runs_and_facts
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import must_be_new, write_new

MOST_WHOLE = 12
"""The most runs that have sections with figures of their own; of more, the page has their table and the curves of all
together."""

MOST_IN_TITLE = 3
"""The most runs that the title names."""

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
    with the time in its name; beside the first run if there is no such folder. An earlier report of a run is replaced
    if nobody has changed it. `InputError` if `output` exists, or if none of the runs can be read; `MachineError` if the
    packages for it are missing.
    """
    if output is not None:
        must_be_new(output)
    found, left_out = found_runs(named, runs_dir)
    path = output or _own_place(found, runs_dir)
    page = render(page_of(found, runs_dir, left_out=left_out)).encode()
    write_new(path, lambda beside: beside.write_bytes(page))
    return Written(path, len(page), left_out)


def _own_place(found: Sequence[RunDir], runs_dir: Path) -> Path:
    if len(found) > 1:
        folder = runs_dir if runs_dir.is_dir() else found[0].path.resolve().parent
        path = folder / f"report-{datetime.now(UTC):%Y%m%d-%H%M%S}.html"
        must_be_new(path)
        return path
    path = found[0].path / REPORT
    with naming(path):
        changed = path.exists() and not (path.is_file() and is_untouched(path.read_bytes()))
    if changed:
        raise InputError(
            f"{path} is not a report as onecycle wrote it.", "Rename it, or name a new file with --output."
        )
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
    title = ", ".join(names) if len(runs) <= MOST_IN_TITLE else f"{len(runs)} runs"
    made = f"onecycle {__version__} made this page at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC."
    sections = list(reader.sections())
    running = any(_is_running(run) for run in runs)
    unfinished = ["A run is still going: this page shows its results so far."] if running and live is None else []
    gone = [f"{run.path} is gone: it was moved or removed." for run in runs if not (run.path / RUN).is_file()]
    notes = [*unfinished, *gone, *(f"Left out: {reason}" for reason in left_out), *reader.notes]
    return Page(title, made, sections, live, running, notes)


def _is_running(run: RunDir) -> bool:
    with suppress(OnecycleError, OSError):  # damaged or gone meanwhile, which its section says
        return run.status == "running"
    return False


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
            told = f"There are more than {MOST_WHOLE} runs, so the figures of single runs are left out."
            self.notes.append(f"{told} A report of some of them has those.")
        if len(self.runs) > 1:
            yield Section("overview", "Overview", guarded("The overview", self._overview))
            if found := part("comparison", "Comparison", self._comparison):
                yield found
        if whole:
            yield from (self._run(run, name) for run, name in zip(self.runs, self._ids, strict=True))
        yield Section("commands", "Make it again", self._again())

    def _overview(self) -> list[Block]:
        whole = len(self.runs) <= MOST_WHOLE
        lines = []
        for run, name in zip(self.runs, self._ids, strict=True):
            first = Cell(label_of(run, self.runs_dir), None, name if whole else None)
            try:
                facts, status = run.facts, run.status
            except (OnecycleError, OSError) as error:  # damaged or gone meanwhile
                lines.append([first, Cell(""), Cell(""), Cell(""), Cell(reason_of(error)), Cell(""), Cell("")])
                continue
            try:
                result = main_result(run)
            except (OnecycleError, OSError, ValueError) as error:
                result = reason_of(error)
            rest = [Cell(str(value)) for value in (facts["command"], facts["recipe"], status, result)]
            lines.append(
                [first, *rest, cell("seconds", facts["seconds"]), Cell(str(facts["started"])[:19].replace("T", " "))]
            )
        columns = ["run", "command", "recipe", "status", "result", "seconds", "started (UTC)"]
        return [Table("overview-runs", "What was run, and what came out", columns, lines)]

    def _comparison(self) -> list[Block]:
        """Returns the settings that differ, means over seeds, and all curves together, as `onecycle compare` does.

        A sweep stands for the runs inside it. The results of a command with one run stand in its section.
        """
        runs, left_out = read_runs(self.runs_dir, [str(run.path.absolute()) for run in self.runs])
        blocks: list[Block] = [Text(f"Left out: {one.reason}", "note") for one in left_out]
        fields = differing(runs)
        names = _short(fields)
        by_command = {command: [run for run in runs if run.command == command] for command in _commands(runs)}
        if fields and len(by_command) > 1 and len(runs) <= MOST_WHOLE:
            blocks.append(self._differences(runs, fields))
        for command, some in by_command.items():
            if len(some) > 1:
                blocks.append(self._settings(command, some, names))
        spreads = over_seeds(groups(runs, fields))
        if spreads:
            blocks.append(_spreads(spreads, names))
        return [*blocks, *self._together(runs, "comparison")]

    def _differences(self, runs: Sequence[Run], fields: Sequence[str]) -> Table:
        """Returns the settings that differ between runs of several commands, a column for each run."""
        columns = ["setting", *(label_of(RunDir(run.path), self.runs_dir) for run in runs)]
        lines = [
            [Cell(field), *(setting(run.settings[field]) if field in run.settings else Cell("") for run in runs)]
            for field in fields
        ]
        return Table("comparison-recipes", "The settings that differ", columns, lines)

    def _settings(self, command: str, runs: Sequence[Run], names: dict[str, str]) -> Table:
        """Returns the settings that differ, and the results. A max_lr of a training stands among its results."""
        varying = [field for field in names if field != "schedule.max_lr"]
        varying = [field for field in varying if any(field in run.settings for run in runs)]
        results = [name for name in RESULTS if any(run.results[name] is not None for run in runs)]
        lines = []
        for run in runs:
            first = Cell(label_of(RunDir(run.path), self.runs_dir))
            settings = [setting(run.settings[field]) if field in run.settings else Cell("") for field in varying]
            rest = [cell(name, run.results[name]) for name in results]
            lines.append([first, *settings, Cell(run.status), *rest])
        columns = ["run", *(names[field] for field in varying), "status", *results]
        caption = f"{command}: the settings that differ, and the results" if varying else f"{command}: the results"
        return Table(f"comparison-{identity(command)}", caption, columns, lines)

    def _together(self, runs: Sequence[Run], name: str, named: Sequence[str] | None = None) -> list[Block]:
        """Returns the curves of all trainings and of all range tests in two figures.

        Their labels are `named`, or those of `compare`.
        """
        fields = differing(runs)
        trainings: list[Training] = []
        tests: list[RangeTests] = []
        blocks: list[Block] = []
        words = named or labels(runs, fields, _short(fields))
        different = {
            command: {w for run, w in zip(runs, words, strict=True) if run.command == command}
            for command in _commands(runs)
        }
        for run, told in zip(runs, words, strict=True):
            folder = RunDir(Path(run.path))
            label = told if len(different[run.command]) > 1 else label_of(folder, self.runs_dir)
            try:
                if run.command == "train":
                    trainings += [one] if (one := training_of(folder, label)) is not None else []
                elif run.command == "find-lr" and (curves := saved_curves(folder, growing=True)):
                    shape = shape_of(curves)
                    tests += [RangeTests(label, shape, run.results["max_lr"])] if len(shape.lrs) else []
            except (OnecycleError, KeyError, ValueError) as error:
                blocks.append(Text(f"{folder.path} could not be drawn: {reason_of(error)}", "note"))
        if len(trainings) > 1:
            title = f"The curves of {len(trainings)} trainings"
            blocks.append(training_figure(f"{name}-trainings", title=title, trainings=trainings))
        if len(tests) > 1:
            title = f"The smoothed losses of {len(tests)} range tests"
            blocks.append(overlay_figure(f"{name}-tests", title=title, tests=tests, mark="max_lr", chosen=None))
        return blocks

    def _cells(self, run: RunDir, name: str) -> list[Block]:
        """Returns the curves of the runs inside a tuning, or of the trainings inside a sweep or a reproduction."""
        inside, _ = read_runs(self.runs_dir, [str(run.path.absolute())])
        shown = [one for one in inside if run.facts["command"] == "tune" or one.command == "train"]
        if len(shown) < 2:
            return []
        if run.facts["command"] == "reproduce":
            return self._together(shown, name, [Path(one.path).name for one in shown])
        return self._together(shown, name)

    def _run(self, run: RunDir, name: str) -> Section:
        """Returns the section of one run: what was asked, what came out, and every part that it has."""
        title = "Result" if len(self.runs) == 1 else label_of(run, self.runs_dir)
        try:
            facts, status = run.facts, run.status
        except (OnecycleError, OSError) as error:
            return Section(name, title, [Text(reason_of(error), "note")])
        blocks = guarded("The result", lambda: _headline(run))
        blocks += guarded("The notes", lambda: notes(run))
        makers: list[tuple[str, str, Callable[[], Sequence[Block]]]] = [
            ("range-test", "Learning rate range test", lambda: range_test_blocks(run, f"{name}-lr-range")),
            ("training", "Training", lambda: training_blocks(run, f"{name}-training")),
        ]
        match facts["command"]:
            case "sweep" | "sweep-wd" if any((run.path / file).is_file() for file in (SWEEP, SWEEP_PLAN)):
                makers.append(("sweep", "Sweep", lambda: sweep_blocks(run, f"{name}-sweep")))
                makers.append(("cells", "Curves of the cells", lambda: self._cells(run, f"{name}-cells")))
            case "tune":
                makers.append(("tune", "Decisions", lambda: tune_blocks(run, f"{name}-tune")))
                makers.append(("cells", "Curves of the short runs", lambda: self._cells(run, f"{name}-cells")))
            case "reproduce":
                makers.append(("runs", "Runs against the published ones", lambda: reproduction_blocks(run, name)))
                makers.append(("cells", "Curves of the runs", lambda: self._cells(run, f"{name}-cells")))
            case "find-batch-size":
                makers.append(("sizes", "Batch sizes", lambda: batch_size_blocks(run, f"{name}-sizes")))
            case "evaluate":
                makers.append(("scores", "Scores", lambda: self._evaluation(run, f"{name}-scores")))
        for number, evaluation in enumerate(self._evaluations_of(run) if facts["command"] == "train" else []):
            label = label_of(evaluation, self.runs_dir)
            key = f"{name}-scores-{number}"
            makers.append((key, f"Evaluation {label}", lambda one=evaluation, key=key: self._evaluation(one, key)))  # type: ignore[misc]
        makers.append(("origin", "Recipe, machine and versions", lambda: self._origin(run)))
        inner = [part(f"{name}-{key}", heading, make) for key, heading, make in makers]
        return Section(name, title, blocks, [one for one in inner if one is not None], status)

    def _origin(self, run: RunDir) -> list[Block]:
        """Returns the recipe and the machine of a run; with several runs hidden until they are opened."""
        found = machine(run)
        shown: list[Block] = [*found] if len(self.runs) == 1 else [Details("Machine and versions", found)]
        return [*shown, *recipe_text(run)]

    def _evaluation(self, run: RunDir, name: str) -> list[Block]:
        size = (run.path / WRONG_PICTURES).stat().st_size if (run.path / WRONG_PICTURES).is_file() else 0
        fits = self._picture_bytes + size <= MOST_PICTURE_BYTES
        self._picture_bytes += size if fits else 0
        return evaluation_blocks(run, name, pictures=fits)

    def _evaluations_of(self, run: RunDir) -> list[RunDir]:
        """Returns the newest evaluations of a training in the runs folder that are not in the report anyway."""
        own = {one.path.resolve() for one in self.runs}
        found = [
            one for one, trained in self._evaluations if one.path.resolve() not in own and _is_of(one, trained, run)
        ]
        return found[-MOST_EVALUATIONS:]

    @cached_property
    def _evaluations(self) -> list[tuple[RunDir, Path]]:
        """The evaluations in the runs folder that say which run they are of, each with that run; read once."""
        return [
            (run, Path(facts["trained_run"]))
            for run, facts in runs_and_facts(self.runs_dir)
            if facts["command"] == "evaluate" and isinstance(facts.get("trained_run"), str)
        ]

    def _again(self) -> list[Block]:
        """Returns the commands of all runs, and the one that makes this page."""
        shown: dict[str, Command] = {}
        for run in self.runs:
            who = f"{label_of(run, self.runs_dir)}: " if len(self.runs) > 1 else ""
            for block in guarded("The command", lambda run=run: commands(run)):  # type: ignore[misc]
                if isinstance(block, Command):
                    shown.setdefault(block.line, replace(block, told=who + block.told))
        line = command_line(["report", *(str(run.path) for run in self.runs)])
        blocks: list[Block] = [*shown.values(), Command("This page again.", line)]
        return blocks if len(blocks) <= 3 * MOST_WHOLE else [Details(f"{len(blocks)} commands", blocks)]


def _is_of(evaluation: RunDir, trained: Path, training: RunDir) -> bool:
    """Whether an evaluation of the run `trained` scored this training, also if both have moved to one other folder.

    A run beside the evaluation is meant by its name only if nothing is at the path now: another one may have that name.
    """
    with suppress(OSError, ValueError):  # text that cannot be a path
        named = trained if trained.exists() else evaluation.path.resolve().parent / trained.name
        return named.resolve() == training.path.resolve()
    return False


def _commands(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(run.command for run in runs))


def _short(fields: Sequence[str]) -> dict[str, str]:
    """Returns the column of each setting that differs; the max_lr of a training is among its results."""
    return short_names(fields, taken=("run", "status", *(name for name in RESULTS if name != "max_lr")))


def _spreads(spreads: Sequence[Spread], names: dict[str, str]) -> Table:
    columns = {names[field]: [as_written(spread.settings.get(field, "")) for spread in spreads] for field in names}
    told = {name: column for name, column in columns.items() if len(set(column)) > 1}
    lines = []
    for number, spread in enumerate(spreads):
        seeds = str(spread.n) if spread.n == spread.runs else f"{spread.n} of {spread.runs}"
        values = (spread.mean, spread.standard_deviation, spread.standard_error)
        settings = [Cell(column[number]) for column in told.values()]
        rest = [cell(spread.result, value) for value in values]
        lines.append([*settings, Cell(spread.result), Cell(seeds, float(spread.n)), *rest])
    heads = [*told, "result", "seeds", "mean", "standard_deviation", "standard_error"]
    return Table("comparison-seeds", "Means over seeds", heads, lines)


def _headline(run: RunDir) -> list[Block]:
    """Returns what was asked of a run and what came out of it."""
    facts, summary, status = run.facts, run.summary, run.status
    lead = f"{facts['command']} {facts['recipe']}: {_outcome(run) or status}."
    names = [name for name in RESULTS if name != "seconds" and summary.get(name) is not None]
    pairs = [(name, shown(name, summary[name])) for name in names]
    further = ("conservative_max_lr", "weight_decay", "batch_size", "parameters", "only_answer")
    pairs += [(name, _as_counted(summary[name])) for name in further if summary.get(name) is not None]
    return [Text(lead, "lead"), Pairs([*times(facts), *pairs]), *_saved_model(run)]


def _as_counted(value: object) -> str:
    """Returns a value as a person writes it, a count with separators."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else as_written(value)


def _saved_model(run: RunDir) -> list[Block]:
    """Returns which epoch the saved model is of, if another one had the best validation accuracy."""
    best, last = run.summary.get("best_epoch"), run.summary.get("epochs")
    if run.facts["command"] != "train" or best in (None, last) or not (run.path / MODEL).is_file():
        return []
    told = f"The saved model is that of the last epoch, not of the best one, {best}."
    if (run.path / BEST_MODEL).is_file():
        return [Text(f"{told} That one is in {BEST_MODEL}.")]
    return [Text(f"{told} `--set runtime.save_best=true` keeps that one too.")]


def _outcome(run: RunDir) -> str:
    """Returns what came out of a run, as the end of a sentence; empty if nothing has yet."""
    summary = run.summary
    if not summary:
        return _so_far(run)
    match run.facts["command"]:
        case "find-lr" if summary.get("max_lr") is not None:
            return f"max_lr {summary['max_lr']:g}, confidence {summary['confidence']}"
        case "find-lr":
            return "no max_lr"
        case "train" if summary.get("diverged_step") is not None:
            return f"the loss was not finite from step {summary['diverged_step']}, at lr {summary['diverged_lr']:.3g}"
        case "train" if summary.get("valid_accuracy") is not None:
            scores = {"validation": summary["valid_accuracy"], "test": summary.get("test_accuracy")}
            told = ", ".join(f"{name} accuracy {score:.4f}" for name, score in scores.items() if score is not None)
            return f"{told} after {summary['epochs']} epochs at max_lr {summary['max_lr']:g}"
        case "sweep" if "cells" in summary:
            best = summary.get("best")
            told = f"; the best has {told_values(best)}" if best else ""
            return f"{summary['finished']} of {summary['cells']} cells finished{told}"
        case "sweep-wd" if summary.get("weight_decay") is not None:
            return f"weight_decay {as_written(summary['weight_decay'])}, with max_lr {summary['max_lr']:g}"
        case "tune" if summary.get("decisions") is not None:
            changed = [told_values(one["chosen"]) for one in summary["decisions"] if one["chosen"] != one["was"]]
            return f"max_lr {summary['max_lr']:g}, {', '.join(changed) or 'nothing else changes'}"
        case "evaluate" if summary.get("accuracy") is not None:
            return f"accuracy {summary['accuracy']:.4f} on {summary['images']:,} images"
    return main_result(run)


def _so_far(run: RunDir) -> str:
    """Returns how far a training has come, before its status; empty if it has not ended an epoch."""
    epochs = run.read_growing_table(EPOCHS)
    if not epochs:
        return ""
    planned = dotted_values(run.intact(RECIPE)).get("schedule.epochs")
    accuracy = float(epochs[-1]["valid_accuracy"])
    return f"{run.status}, {len(epochs)} of {planned} epochs, validation accuracy {accuracy:.4f}"
