"""Prints the README's tables, made from the measurements in benchmarks/results/; a test holds the README to them."""

from pathlib import Path

import pandas as pd
from rows import COMMITTED, csv_file, results

FIGURE = Path(__file__).parent.parent / "docs" / "images" / "speed.png"


def measured(name: str) -> pd.DataFrame:
    """All rows of a benchmark."""
    return pd.read_csv(csv_file(name))


def accuracy_table() -> str:
    """A row for each recipe and machine, in Markdown: the mean accuracy over its seeds, the median time of a run."""
    lines = [
        "| recipe | epochs | max_lr | accuracy | seeds | a run takes | on |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = measured("accuracy")
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


def speed() -> pd.DataFrame:
    """The medians of the newest run of benchmarks/speed.py, a row a contender; images a second, and bytes."""
    rows = measured("speed")
    newest = rows[rows.date == rows.date.iloc[-1]].groupby("contender", sort=False)
    return pd.DataFrame(newest[["train", "validate", "range_test", "peak_bytes"]].median())


def speed_table() -> str:
    """A row a contender, in Markdown."""
    lines = ["| images a second | training | range test | scoring | peak memory |", "| --- | --- | --- | --- | --- |"]
    for contender, row in speed().iterrows():
        rates = ["" if pd.isna(rate) else f"{rate:,.0f}" for rate in (row.train, row.range_test, row.validate)]
        lines.append(f"| {contender} | {' | '.join(rates)} | {row.peak_bytes / 2**30:.1f} GiB |")
    return "\n".join(lines)


def fine_tuning_table() -> str:
    """A row for each way to train, in Markdown: its max_lr, and the mean accuracy after so many epochs."""
    rows = measured("fine_tuning")
    epochs = sorted(rows.epochs.unique())
    heads = [f"{n} epoch{'s' if n > 1 else ''}" for n in epochs]
    lines = [f"| | max_lr | {' | '.join(heads)} |", f"| --- | --- |{' --- |' * len(epochs)}"]
    for way, runs in rows.groupby("way", sort=False):
        cells = [_mean_and_range(runs.valid_accuracy[runs.epochs == n]) for n in epochs]
        lines.append(f"| {way} | {runs.max_lr.iloc[0]:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reproduction_table() -> str:
    """The newest runs of the blog post's experiments and the order of their accuracies, in Markdown, as two tables."""
    rows, orders = measured("reproduce"), measured("reproduce_order")
    rows, orders = (table[table.date == table.date.iloc[-1]] for table in (rows, orders))
    lines = ["| run | epochs | seeds | accuracy | blog | valid_loss |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows.itertuples():
        mean = f"{100 * row.valid_accuracy:.1f} ± {100 * row.valid_accuracy_sd:.1f} %"
        lines.append(
            f"| {row.experiment} | {row.epochs} of {row.published_epochs} | {row.n} | {mean} | "
            f"{100 * row.blog_accuracy:.2f} % | {row.valid_loss:.3f} |"
        )
    lines += ["", "| published order | published points | points here | is |", "| --- | --- | --- | --- |"]
    for row in orders.itertuples():
        points = [
            f"{100 * difference:+.2f} ± {100 * error:.2f}"
            for difference, error in (
                (row.published_difference, row.published_error),
                (row.difference, row.standard_error),
            )
        ]
        lines.append(f"| {row.better} > {row.worse} | {points[0]} | {points[1]} | {row.order} |")
    return "\n".join(lines)


def _mean_and_range(shares: pd.Series) -> str:
    if shares.empty:
        return ""
    return f"{shares.mean():.1%} ({100 * shares.min():.1f} to {100 * shares.max():.1f})"


def draw_speed(path: Path) -> None:
    """The training rates as bars, fastest first."""
    from matplotlib.figure import Figure

    rates = speed().train.dropna().sort_values()
    figure = Figure(figsize=(9, 0.45 * len(rates) + 1), layout="constrained")
    axes = figure.add_subplot()
    colors = ["#0072B2" if name.startswith("onecycle") else "#999999" for name in rates.index]
    bars = axes.barh(rates.index, rates, color=colors)
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=4)
    axes.set(xlabel="images a second, training ResNet-20 at batch 512 on a CPU", xlim=(0, 1.1 * rates.max()))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


WAYS = {
    "start": "the recipe as it is, `--max-lr auto`",
    "tune": "`tune`, then a training",
    "random": "random search, whole trainings",
}


def tuning_table(recipe: str) -> str:
    """A row for each way to tune `recipe`: the mean test accuracy over its seeds, what was chosen, how long it took."""
    lines = [
        "| way | test accuracy | from lowest to highest | batch sizes | weight decays | trainings | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = measured("tuning")
    for way, runs in rows[rows.recipe == recipe].groupby("way", sort=False):
        accuracy = 100 * runs.test_accuracy
        cells = (
            WAYS[str(way)],
            f"{accuracy.mean():.2f}%",
            f"{accuracy.min():.2f} to {accuracy.max():.2f}",
            ", ".join(map(str, runs.batch_size)),
            ", ".join(f"{value:.1g}" for value in runs.weight_decay),
            ", ".join(map(str, runs.trials)),
            f"{runs.seconds.median():.0f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def sweep_table(sweep: str) -> str:
    """A row for each combination of values of a sweep in docs/sweeps.md, the least mean validation loss first."""
    rows = measured("sweeps")
    rows = rows[rows.sweep == sweep]
    lines = [
        "| values | epochs | max_lr | validation loss | accuracy | seeds |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    of_values = [(values, runs) for values, runs in rows.groupby("values", sort=False)]
    for values, runs in sorted(of_values, key=lambda pair: pair[1].valid_loss.mean()):
        low, high = runs.max_lr.min(), runs.max_lr.max()
        cells = (
            values,
            runs.epochs.iloc[0],
            f"{low:g}" if low == high else f"{low:g} to {high:g}",
            f"{runs.valid_loss.mean():.3f} ± {runs.valid_loss.std():.3f}",
            f"{100 * runs.valid_accuracy.mean():.2f} ± {100 * runs.valid_accuracy.std():.2f}%",
            len(runs),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table of each benchmark that was run, and draws the figure of the speeds."""
    whole = {"accuracy": accuracy_table, "speed": speed_table, "fine_tuning": fine_tuning_table}
    whole |= {"reproduce": reproduction_table}
    tables = [table() for name, table in whole.items() if csv_file(name).exists()]
    for name, column, table in (("sweeps", "sweep", sweep_table), ("tuning", "recipe", tuning_table)):
        if csv_file(name).exists():
            tables += [f"{part}\n\n{table(part)}" for part in measured(name)[column].unique()]
    print("\n\n".join(tables))
    if csv_file("speed").exists():
        draw_speed(FIGURE if results() == COMMITTED else results() / "speed.png")


if __name__ == "__main__":
    main()
