"""Scores every rule on every task, from the committed curves and the committed truth, in seconds.

    python benchmarks/suggestion/score.py

Writes benchmarks/results/suggestion/scores.csv: for each rule, task and finder seed the suggested max_lr, and what a
run at it loses against the best of the truth, in accuracy and in loss; decay_scores.csv, the same for `sweep-wd`; and
the tables in docs/suggestion.md and the README, if the results are the committed ones.
"""

import re
import sys
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from rows import COMMITTED, csv_file, results
from tasks import TASKS, Task
from truth import Truth, truth_of

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, VerificationCycle, suggest, verified
from onecycle_cli.analysis.lr_range.basin import Basin, basin_of, turn_of
from onecycle_cli.analysis.lr_range.curve import median_curve
from onecycle_cli.analysis.lr_range.peers import PEERS, peer_answers
from onecycle_cli.analysis.lr_range.suggestion import weighed
from onecycle_cli.analysis.weight_decay import SweepRow, read_weight_decay
from onecycle_cli.experiments.verification import FEWEST_STEPS

ROOT = Path(__file__).parents[2]

FACTORS, SHARE = (1 / 3, 1.0, 3.0), 1 / 12
"""The multiples of the suggested max_lr at which the cycles of the row `--verify` were trained, and their length as a
share of the run."""

PAGES = (ROOT / "docs" / "suggestion.md", ROOT / "README.md")

OWN_RANGE = {name: "Lightning" if "lightning" in name else "fastai" for name in PEERS}
"""The range that each library tests by default."""

LIBRARIES = {
    "fastai_valley": "fastai `valley` (its default)",
    "fastai_slide": "fastai `slide`",
    "fastai_minimum": "fastai `minimum`",
    "fastai_steep": "fastai `steep`",
    "torch_lr_finder": "torch-lr-finder",
    "ignite": "ignite",
    "lightning": "Lightning",
    "lightning_before_2_5_3": "Lightning before 2.5.3",
}

SMALL_TEST_SET = "digits-resnet8-64"
"""Its 360 test images cannot tell a point from another; it is told apart."""

CANDIDATES = tuple(float(share) for share in np.geomspace(0.1, 4, 38))
"""The shares of the middle that leaving one task out chooses from."""

Answer = tuple[str, str, str, int, float | None, str | None]
"""Rule, range, task, finder seed, suggested max_lr, confidence."""

Tests = dict[tuple[str, str, int], Curve]
"""Curves by task, range and finder seed."""


def main() -> None:
    """Scores, writes and prints."""
    scores = scored(*map(measured, ("curves", "truth", "short")))
    scores.to_csv(csv_file("suggestion/scores"), index=False, float_format="%.6g")
    decay = decay_scores(*map(measured, ("decay", "decay_curves")))
    decay.to_csv(csv_file("suggestion/decay_scores"), index=False, float_format="%.6g")
    tables = {made.__name__: made(scores) for made in (table, by_task, confidence_table, short_table)}
    tables["decay_table"] = decay_table(decay)
    for page in PAGES if results() == COMMITTED else ():
        page.write_text(with_tables(page.read_text(), tables))
    print(tables["table"])


def measured(name: str) -> pd.DataFrame:
    """What benchmarks/suggestion/measure.py has measured, or what was scored."""
    return pd.read_csv(csv_file(f"suggestion/{name}"))


def with_tables(page: str, tables: dict[str, str]) -> str:
    """`page` with each table behind its mark, `<!-- score.py: NAME -->`, up to the next empty line."""
    for name, text in tables.items():
        page = re.sub(rf"(<!-- score.py: {name} -->\n)(?:.+\n)*", partial(_below_mark, text), page)
    return page


def _below_mark(text: str, mark: re.Match[str]) -> str:
    return f"{mark[1]}{text}\n"


def groups(rows: pd.DataFrame, by: str | list[str], *, sort: bool = True) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The groups of rows that are alike in `by`, with the value or the values there, which pandas has no type for."""
    yield from rows.groupby(by, sort=sort)


def scored(curves: pd.DataFrame, runs: pd.DataFrame, short: pd.DataFrame) -> pd.DataFrame:
    """A row for each rule, range, task and finder seed, on the tasks whose truth is whole."""
    whole = runs.groupby("task").size()
    tasks = [name for name, task in TASKS.items() if whole.get(name, 0) == 3 * len(task.grid)]
    truths = {
        name: {c: truth_of(runs[runs.task == name], c) for c in ("valid_accuracy", "valid_loss")} for name in tasks
    }
    tests = {
        key: Curve(group.lr.tolist(), group.train_loss.tolist())
        for key, group in groups(curves[curves.task.isin(tasks)], ["task", "range", "seed"])
    }
    rows = []
    answers = [*ours(tests), *with_verify(tests, short), *theirs(tests), *simple(tests), *left_one_out(tests, truths)]
    for answer in answers:
        rule, kind, task, seed, max_lr, confidence = answer
        truth = truths[task]
        rows.append(
            {"rule": rule, "range": kind, "task": task, "seed": seed}
            | {"max_lr": max_lr, "confidence": confidence, "error": truth["valid_accuracy"].error}
            | {
                f"{column}_regret": np.nan if max_lr is None else truth[column].regret(max_lr)
                for column in ("valid_accuracy", "valid_loss")
            }
        )
    return pd.DataFrame(rows)


def plan_of(task: Task) -> CyclePlan:
    """What the rule is told of a task's cycle."""
    return CyclePlan(task.changes.get("optimizer.name", "sgd"), div_factor=10)


def _ours(tests: Tests, kind: str) -> Iterator[tuple[str, int, Curve]]:
    for (task, of, seed), curve in tests.items():
        if of == kind:
            yield task, seed, curve


def ours(tests: Tests) -> Iterator[Answer]:
    """`basin`, alone and with three repeats."""
    seeds: dict[str, list[Curve]] = {}
    for task, seed, curve in _ours(tests, "recipe"):
        seeds.setdefault(task, []).append(curve)
        suggestion = suggest([curve], plan_of(TASKS[task]))
        yield "onecycle `basin`", "recipe", task, seed, suggestion.max_lr, suggestion.confidence
    for task, curves in seeds.items():
        for number, three in enumerate(combinations(curves, 3)):
            suggestion = suggest(three, plan_of(TASKS[task]))
            yield "onecycle `basin`, `--repeats 3`", "recipe", task, number, suggestion.max_lr, suggestion.confidence


def with_verify(tests: Tests, short: pd.DataFrame) -> Iterator[Answer]:
    """`basin` with the short cycles of --verify; their losses are the grid's, interpolated over log lr.

    Cycles of a twelfth of the run were trained over the whole grid, with two seeds; each suggestion is verified with
    each of both.
    """
    tasks = {name for name, _, _ in _ours(tests, "recipe")}
    cycles = short[(short.share.round(4) == round(SHARE, 4)) & short.task.isin(tasks)]
    for (task, verify_seed), grid in groups(cycles.sort_values("max_lr"), ["task", "seed"]):
        if len(grid) < len(TASKS[task].grid):
            continue
        losses = grid.valid_loss.fillna(np.log(10) * 3)
        for name, seed, curve in _ours(tests, "recipe"):
            if name != task:
                continue
            plan = plan_of(TASKS[task])
            suggestion = suggest([curve], plan)
            if suggestion.max_lr is None:
                yield "onecycle `basin`, `--verify`", "recipe", task, 10 * seed + verify_seed % 10, None, None
                continue
            trials = [
                VerificationCycle(lr, 1, float(np.interp(np.log(lr), np.log(grid.max_lr), losses)), np.nan)
                for lr in (factor * suggestion.max_lr for factor in FACTORS)
            ]
            enough = grid.steps.max() >= FEWEST_STEPS
            better = verified(suggestion, trials, div_factor=plan.div_factor) if enough else suggestion
            key = 10 * seed + verify_seed % 10
            yield "onecycle `basin`, `--verify`", "recipe", task, key, better.max_lr, better.confidence


def theirs(tests: Tests) -> Iterator[Answer]:
    """Each peer's rule over its own default range and over ours."""
    for (task, kind, seed), curve in tests.items():
        lrs, losses, _ = median_curve([curve])
        for name, max_lr in peer_answers(lrs, losses).items():
            if kind in ("recipe", OWN_RANGE[name]):
                yield LIBRARIES[name], kind, task, seed, max_lr, None


def simple(tests: Tests) -> Iterator[Answer]:
    """A tenth of the onset and of the least loss, both on the smooth curve."""
    for task, seed, curve in _ours(tests, "recipe"):
        turn = turn_of([curve])
        onset = turn.onset_lr / 10 if turn and turn.onset_lr else None
        yield "onset / 10", "recipe", task, seed, onset, None
        yield "least loss / 10", "recipe", task, seed, turn.argmin_lr / 10 if turn else None, None


def left_one_out(tests: Tests, truths: dict[str, dict[str, Truth]]) -> Iterator[Answer]:
    """`basin` with its constants from the other tasks of the same optimizer.

    They are the share of the middle that is best on them in the mean, and the geometric mean of their best max_lrs.
    """
    basins: dict[str, list[tuple[int, Basin]]] = {}
    for task, seed, curve in _ours(tests, "recipe"):
        basins.setdefault(task, []).append((seed, _basin(curve)))

    def cost(task: str, share: float, typical: float) -> float:
        truth = truths[task]["valid_accuracy"]
        answers = [weighed(share * basin.middle, basin.signal, typical) for _, basin in basins[task]]
        return float(np.mean([truth.regret(answer) for answer in answers]))

    for task, seen in basins.items():
        alike = [name for name in basins if plan_of(TASKS[name]) == plan_of(TASKS[task])]
        others = [name for name in alike if name not in (task, SMALL_TEST_SET)]
        if others:
            best = [truths[other]["valid_accuracy"].best_lr for other in others]
            typical = float(np.exp(np.mean(np.log(best))))
            share = min(CANDIDATES, key=lambda share: np.mean([cost(other, share, typical) for other in others]))
            for seed, basin in seen:
                max_lr = weighed(share * basin.middle, basin.signal, typical)
                yield "onecycle `basin`, constants fitted on the other tasks", "recipe", task, seed, max_lr, None


def _basin(curve: Curve) -> Basin:
    lrs, losses, diverged = median_curve([curve])
    return basin_of(lrs, losses, diverged=diverged)


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a rule and range: worst and mean regret in points, the widest spread of a number, how often none came."""
    rows = []
    for (name, kind), group in groups(scores[scores.task != SMALL_TEST_SET], ["rule", "range"], sort=False):
        each = group.groupby("task").max_lr
        points, loss = 100 * group.valid_accuracy_regret, group.valid_loss_regret
        rows.append(
            {"rule": name, "range": kind, "worst": points.max(), "mean": points.mean()}
            | {"worst_loss": loss.max(), "mean_loss": loss.mean()}
            | {"spread": (each.max() / each.min()).max(), "none": group.max_lr.isna().mean()}
        )
    return pd.DataFrame(rows)


def table(scores: pd.DataFrame) -> str:
    """The rules, best mean first, in Markdown."""
    lines = [
        "| rule | over | worst | mean | loss, worst | loss, mean | spread | no answer |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary(scores).sort_values("mean").to_dict("records"):
        over = {"recipe": "our range", "fastai": "its own", "Lightning": "its own"}[row["range"]]
        lines.append(
            f"| {row['rule']} | {over} | {row['worst']:.1f} | {row['mean']:.1f} "
            f"| {row['worst_loss']:.2f} | {row['mean_loss']:.2f} | {_factor(row['spread'])} | {row['none']:.0%} |"
        )
    return "\n".join(lines)


def decay_scores(grid: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """What `sweep-wd` chooses, and what a run with that pair loses against the best pair of the grid.

    A row for each task and finder seed, and for each three of them read together (`repeats` 3).
    """
    rows = []
    for task, runs in groups(grid, "task"):
        truths = {wd: truth_of(of_wd, "valid_accuracy") for wd, of_wd in groups(runs, "weight_decay")}
        best = max(truth.smoothed.max() for truth in truths.values())
        tests = {
            key: Curve(group.lr.tolist(), group.train_loss.tolist())
            for key, group in groups(curves[curves.task == task], ["weight_decay", "seed"])
        }
        seeds = sorted({seed for _, seed in tests})
        for repeats in (1, 3):
            for some in combinations(seeds, repeats):
                read = [_swept(wd, [tests[wd, seed] for seed in some], plan_of(TASKS[task])) for wd in truths]
                chosen = read_weight_decay(read, gain=1 / (1 - 0.85)).chosen
                assert chosen is not None
                assert chosen.max_lr is not None
                truth = truths[chosen.weight_decay]
                regret = best - truth.smoothed.max() + truth.regret(chosen.max_lr)
                row = {"task": task, "repeats": repeats, "seeds": " ".join(map(str, some))}
                rows.append(row | {"weight_decay": chosen.weight_decay, "max_lr": chosen.max_lr, "regret": regret})
    return pd.DataFrame(rows)


def _swept(weight_decay: float, curves: list[Curve], plan: CyclePlan) -> SweepRow:
    suggestion, turn = suggest(curves, plan), turn_of(curves)
    reach = turn.reach_lr if turn else None
    return SweepRow(weight_decay, None, None, reach, None, suggestion.max_lr, "finished")


def decay_table(scores: pd.DataFrame) -> str:
    """The choices of sweep-wd, in Markdown."""
    lines = ["| task | repeats | chosen | worst regret | mean regret |", "| --- | --- | --- | --- | --- |"]
    for (task, repeats), group in groups(scores, ["task", "repeats"]):
        counts = group.weight_decay.value_counts(normalize=True).sort_index()
        chosen = ", ".join(f"{share:.0%} {wd:g}" for wd, share in counts.items())
        points = 100 * group.regret
        lines.append(f"| {task} | {repeats} | {chosen} | {points.max():.1f} | {points.mean():.1f} |")
    return "\n".join(lines)


def short_table(scores: pd.DataFrame) -> str:
    """Ours and the libraries over their own ranges, in Markdown, as the README has it."""
    lines = ["| rule | worst | mean | spread | no answer |", "| --- | --- | --- | --- | --- |"]
    rows = summary(scores)
    shown = rows[rows.rule.str.startswith("onecycle") | (rows.range != "recipe")]
    lines += [
        f"| {row['rule']} | {row['worst']:.1f} | {row['mean']:.1f} | {_factor(row['spread'])} | {row['none']:.0%} |"
        for row in shown.sort_values("mean").to_dict("records")
    ]
    return "\n".join(lines)


def _factor(spread: float) -> str:
    return f"{spread:.1f}" if spread < 1000 else f"{spread:.0e}"


def by_task(scores: pd.DataFrame) -> str:
    """Our rule on each task, in Markdown: the best max_lr of the grid, what was suggested, what it loses."""
    runs = measured("truth")
    lines = [
        "| task | best max_lr | accuracy there | suggested | mean regret | worst regret | s.e. |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for task, group in groups(scores[scores.rule == "onecycle `basin`"], "task", sort=False):
        truth = truth_of(runs[runs.task == task], "valid_accuracy")
        points = 100 * group.valid_accuracy_regret
        mark = " (new)" if task == "mnist-2000-resnet20-64-smoothed" else ""
        lines.append(
            f"| {task}{mark} | {truth.best_lr:.2g} | {truth.smoothed.max():.1%} | {group.max_lr.min():.2g} to "
            f"{group.max_lr.max():.2g} | {points.mean():.1f} | {points.max():.1f} | {100 * truth.error:.1f} |"
        )
    return "\n".join(lines)


def confidence_table(scores: pd.DataFrame) -> str:
    """What each word of our rule's confidence stands for, in Markdown."""
    lines = ["| confidence | of tests | regret at most 1 point | mean | worst |", "| --- | --- | --- | --- | --- |"]
    mine = scores[(scores.rule == "onecycle `basin`") & (scores.task != SMALL_TEST_SET)]
    for word in ("high", "medium", "low"):
        points = 100 * mine[mine.confidence == word].valid_accuracy_regret
        if len(points):
            share, good = len(points) / len(mine), (points <= 1).mean()
            lines.append(f"| {word} | {share:.0%} | {good:.0%} | {points.mean():.1f} | {points.max():.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
