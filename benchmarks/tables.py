"""Prints the README's tables, made from the measurements in benchmarks/results/; a test holds the README to them."""

from pathlib import Path

import pandas as pd

RESULTS = Path(__file__).parent / "results"


def accuracy_table() -> str:
    """A row for each recipe and machine, in Markdown: the mean accuracy over its seeds, the median time of a run."""
    lines = [
        "| recipe | epochs | max_lr | accuracy | seeds | a run takes | on |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = pd.read_csv(RESULTS / "accuracy.csv")
    for (recipe, device, threads), runs in rows.groupby(["recipe", "device_name", "threads"], sort=False):
        low, high = runs.max_lr.min(), runs.max_lr.max()
        max_lr = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        accuracy, seconds = runs.valid_accuracy.mean(), runs.seconds.median()
        machine = f"{device}, {threads} cores, {runs.precision.iloc[0]}"
        cells = (f"`{recipe}`", runs.epochs.iloc[0], max_lr, f"{accuracy:.1%}", len(runs), _time(seconds), machine)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    print(accuracy_table())
