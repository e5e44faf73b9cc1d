"""Reads saved runs in Python: values, and tables as pandas DataFrames."""

from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import Recipe, load
from onecycle_cli.run_dir.files import (
    BATCH_SIZE,
    CONFUSION,
    EPOCHS,
    LR_RANGE,
    PER_CLASS,
    PROFILE,
    RANKING,
    RECIPE,
    REPEAT,
    STEPS,
    SWEEP,
    VERIFY,
    WRONG,
)
from onecycle_cli.run_dir.finding import run_at, runs_in
from onecycle_cli.run_dir.run import RunDir, Status

if TYPE_CHECKING:
    import pandas as pd

TABLES = (STEPS, EPOCHS, LR_RANGE, VERIFY, PROFILE, SWEEP, RANKING, BATCH_SIZE, PER_CLASS, CONFUSION, WRONG)
"""The names of the tables that a run can have."""

TEXTS = ("class", "true", "predicted", "file")
"""The columns that hold names of classes and files."""


def open_run(path: str | Path) -> "SavedRun":
    """Opens the run in the folder `path`, such as "runs/my-run", whatever its command.

    `InputError` if there is no such folder, or it is not a run.
    """
    return SavedRun(run_at(path))


class SavedRun:
    """The folder of a run, as values and tables.

    Each property reads its file again, so a run in progress gives its rows so far. Reading a table that the run does
    not have raises `InputError`. runs/README.md explains the columns.
    """

    def __init__(self, run: RunDir) -> None:
        self._run = run

    def __repr__(self) -> str:
        return f"open_run({str(self.path)!r})"

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self._run.path

    @property
    def command(self) -> str:
        """The command that made the run, such as "train"."""
        return str(self.facts["command"])

    @property
    def status(self) -> Status:
        """The status: running, finished, diverged, collapsed, interrupted or failed."""
        return self._run.status

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `run.json`: command line, versions, device, seed, classes, times, notes."""
        return self._run.facts

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`, the results. Empty until the run has ended."""
        return self._run.summary

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe with all overrides. `InputError` if this version cannot read it."""
        return load(self._run.intact(RECIPE))

    @property
    def cells(self) -> "list[SavedRun]":
        """The runs inside a sweep or a tuning, sorted by name. Empty for other runs."""
        return [SavedRun(run) for run in runs_in(self._run) if run is not self._run]

    @property
    def steps(self) -> "pd.DataFrame":
        """The table `steps.csv`: a row for each step of a training."""
        return self._table(STEPS)

    @property
    def epochs(self) -> "pd.DataFrame":
        """The table `epochs.csv`: a row for each epoch of a training."""
        return self._table(EPOCHS)

    @property
    def lr_range(self) -> "pd.DataFrame":
        """The table `lr_range.csv`: a row for each step of a range test."""
        return self._table(LR_RANGE)

    @property
    def verify(self) -> "pd.DataFrame":
        """The table `verify.csv`: a row for each short cycle of `find-lr --budget` or `--verify`."""
        return self._table(VERIFY)

    @property
    def profile(self) -> "pd.DataFrame":
        """The table `profile.csv` of `train --profile`: a row for each part of a step."""
        return self._table(PROFILE)

    @property
    def sweep(self) -> "pd.DataFrame":
        """The table `sweep.csv`: a row for each cell of a sweep."""
        return self._table(SWEEP)

    @property
    def ranking(self) -> "pd.DataFrame":
        """The table `ranking.csv`: a row for each combination of values of a sweep, the best first."""
        return self._table(RANKING)

    @property
    def batch_size(self) -> "pd.DataFrame":
        """The table `batch_size.csv`: a row for each size that `find-batch-size` tried."""
        return self._table(BATCH_SIZE)

    @property
    def per_class(self) -> "pd.DataFrame":
        """The table `per_class.csv`: a row for each class of an evaluation."""
        return self._table(PER_CLASS)

    @property
    def wrong_predictions(self) -> "pd.DataFrame":
        """The table `wrong_predictions.csv`: some wrong predictions of an evaluation, the most confident first."""
        return self._table(WRONG)

    @property
    def confusion_matrix(self) -> "pd.DataFrame":
        """The table `confusion_matrix.csv`: counts of images by class (rows) and predicted class (columns)."""
        table = self._table(CONFUSION)
        table = table.set_index(table.columns[0])
        # pandas renames a class called "true", and reads its counts as names.
        return table.set_axis(table.index.to_list(), axis="columns").astype(int)

    def _table(self, name: str) -> "pd.DataFrame":
        import pandas as pd

        if not self._run.has(name):
            has = ", ".join(table.removesuffix(".csv") for table in TABLES if (self.path / table).is_file())
            what = f"{self.path} has no {name}: it is a run of {self.command}, {self.status}."
            raise InputError(what, f"It has {has}." if has else "It has no tables.")
        written = self._run.content(name)
        whole = written[: written.rfind(b"\n") + 1]  # a run in progress may have written half a row
        try:
            columns = pd.read_csv(BytesIO(whole), nrows=0).columns
            # pandas reads a name "1" as a number, and "NA" or "null" as missing.
            absent = {column: ["", "nan"] for column in columns if column not in TEXTS}
            kinds = dict.fromkeys(TEXTS, str)
            return pd.read_csv(BytesIO(whole), dtype=kinds, na_values=absent, keep_default_na=False)
        except ValueError as error:  # also of pandas' parser, and of text that is not UTF-8
            raise InputError(f"{self.path / name} is damaged: {error}.", REPEAT) from None
