"""The statements on recorded runs: the planted fault first, and nothing on healthy runs."""

import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.diagnosis import CurveEpoch, Settings, TrainingRun, diagnose

GOLDEN = Path(__file__).parent.parent.parent / "golden"
CASES = runpy.run_path(str(GOLDEN / "read_diagnosis.py"))["cases"]()
MISSED = {
    "cifar-overfit": None,
    "mnist-overfit-200": None,
    "mnist-tail": "cycle-too-long",
    "catdog-dropout": "underfitting",
}
"""Recorded runs whose first statement is not what was planted, with what it is; see docs/diagnose.md."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_statement_is_on_what_was_planted(case) -> None:
    if case.name in MISSED:
        assert case.first == MISSED[case.name]
        assert not case.right
    else:
        assert case.right, [statement.line for statement in case.statements]


HEALTHY = [case for case in CASES if case.fault == "healthy"]


@pytest.mark.parametrize("case", HEALTHY, ids=lambda case: case.name)
def test_nothing_is_said_of_a_healthy_run_at_any_moment_of_it(case) -> None:
    for done in range(len(case.run.epochs)):
        said = diagnose(replace(case.run, status="running", epochs=case.run.epochs[:done]))
        assert said == [], f"after epoch {done}"


def test_both_sets_have_every_kind_of_fault() -> None:
    sets = {name: [case for case in CASES if case.set == name] for name in ("fit", "held-out")}
    planted = {name: {case.fault for case in cases} for name, cases in sets.items()}
    assert planted["fit"] == planted["held-out"]


def test_a_failure_is_the_only_statement(run_of: Callable) -> None:
    run = run_of([2.0, 2.4], [2.0, 2.4], status="collapsed", dropout=0.9, tail_share=0.6)
    assert [found.rule for found in diagnose(run)] == ["collapsed"]


def test_a_cause_comes_before_its_effect_and_underfitting_not_at_all(run_of: Callable) -> None:
    learning = [1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5]
    staying = [1.5, 1.4, 1.3, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2, 1.2]
    tail = diagnose(run_of(learning, staying, tail_share=0.6))
    assert [found.rule for found in tail] == ["tail-too-long", "overfitting"]
    stalling = [2.0, 1.8, 1.7, 1.75, 1.72, 1.8, 1.7, 1.6, 1.5, 1.4]
    assert [found.rule for found in diagnose(run_of(stalling, stalling, max_lr=2.0))] == ["lr-too-large"]
    assert [found.rule for found in diagnose(run_of([1.4], [1.4]))] == ["underfitting"]


def test_of_a_run_without_epochs_nothing_is_said(run_of: Callable) -> None:
    assert diagnose(run_of([], [], planned=5, status="running")) == []


loss = st.one_of(st.floats(0, 1e30), st.sampled_from([0.0, float("inf"), float("nan")]))
share = st.floats(0, 1)
epoch = st.builds(CurveEpoch, st.just(1), st.floats(1e-6, 1), loss, share, loss, share)
settings = st.builds(
    Settings,
    epochs=st.integers(1, 12),
    max_lr=st.floats(1e-6, 1e3),
    usual_max_lr=st.just(0.11),
    suggested_max_lr=st.one_of(st.none(), st.floats(1e-6, 10)),
    tail_share=share,
    gain=st.floats(1, 1000),
    weight_decay=share,
    label_smoothing=st.floats(0, 0.99),
    dropout=st.floats(0, 0.99),
    augmented=st.booleans(),
    classes=st.integers(2, 100),
    valid_images=st.integers(1, 10_000),
)


@given(
    st.sampled_from(["running", "finished", "collapsed", "diverged", "interrupted", "failed"]),
    settings,
    st.lists(epoch, max_size=12),
)
def test_whatever_the_curves_are_each_statement_stands_in_the_run(status: str, plan: Settings, rows: list) -> None:
    epochs = [replace(row, epoch=number) for number, row in enumerate(rows[: plan.epochs], start=1)]
    for found in diagnose(TrainingRun(status, plan, [], epochs)):
        assert 1 <= found.place.first <= found.place.last <= len(epochs)
        assert found.text.endswith(".")
        assert found.advice.endswith(".")


@pytest.mark.parametrize("case", [case for case in CASES if case.statements], ids=lambda case: case.name)
def test_of_several_cycles_or_none_only_a_failure_is_said(case) -> None:
    """Under a constant lr, or before the next milestone, a loss that stands still is no fault."""
    said = diagnose(replace(case.run, settings=replace(case.run.settings, single_cycle=False)))
    assert {statement.rule for statement in said} <= {"diverged", "collapsed", "lr-too-small"}
    assert bool(said) == (case.run.status in ("diverged", "collapsed"))
