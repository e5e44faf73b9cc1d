"""Whatever a curve is, finite or not, short or flat: a number or a reason comes out of it, and never an error."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st

from onecycle_cli.analysis.diagnosis import CurveEpoch, CurveStep, Settings, TrainingRun, diagnose
from onecycle_cli.analysis.lr_range import (
    Curve,
    CyclePlan,
    VerificationCycle,
    has_diverged,
    has_risen,
    shape_of,
    smoother,
    suggest,
    turn_of,
)
from onecycle_cli.analysis.lr_range import verified as verify
from onecycle_cli.analysis.lr_range.peers import PEERS, peer_answers
from onecycle_cli.schedules import Range

RANGES = st.builds(
    lambda start, decades, steps, mode: Range(start, start * 10**decades, steps, mode),
    st.floats(1e-9, 1),
    st.floats(0.1, 9),
    st.integers(10, 60),
    st.sampled_from(["exponential", "linear"]),
)
NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf])
LOSSES = (
    st.lists(st.floats(0, 10, width=32), min_size=1, max_size=80)
    | st.lists(st.floats(width=32), min_size=1, max_size=80)  # whatever a float32 holds
    | st.lists(st.sampled_from([0.0, 1.0, 2.3]), min_size=1, max_size=80)
    | st.builds(lambda loss, steps: [loss] * steps, st.floats(width=32), st.integers(1, 80))
)


@st.composite
def troughs(draw: st.DrawFn) -> list[float]:
    """Losses that fall and may rise again, with noise, and may end in an explosion or in nothing."""
    steps, bottom = draw(st.integers(10, 80)), draw(st.floats(0.05, 1.2))
    height, noise = draw(st.floats(0, 1e6)), draw(st.floats(0, 1))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    way = np.linspace(0, 1, steps)
    losses = height * (1 - np.exp(-(((way - bottom) / 0.2) ** 2)) + noise * generator.standard_normal(steps))
    return [*losses[: draw(st.integers(1, steps))].tolist(), *draw(st.lists(NOT_FINITE | st.just(3e38), max_size=2))]


@st.composite
def range_tests(draw: st.DrawFn) -> list[Curve]:
    """One range test, or several over the same lrs that may have ended at different steps."""
    lrs = draw(RANGES)
    repeats = draw(st.lists(LOSSES | troughs(), min_size=1, max_size=3))
    return [Curve([lrs.lr(step) for step in range(len(losses))], losses) for losses in repeats]


def is_lr(number: float | None) -> bool:
    return number is not None and math.isfinite(number) and number > 0


@given(range_tests(), st.sampled_from(["sgd", "adamw"]), st.floats(1, 1e6))
@example([Curve([0.1], [math.nan])], "sgd", 10.0)
@example([Curve([0.1, 0.2], [1.0, 1.0])], "sgd", 10.0)
def test_any_range_test_gives_a_suggestion_or_a_reason(curves: list[Curve], optimizer: str, div_factor: float) -> None:
    found = suggest(curves, CyclePlan(optimizer, div_factor))
    assert found.reason.endswith(".")
    assert all(answer is None or is_lr(answer) for answer in found.peers.values())
    if found.max_lr is None:
        assert (found.conservative_max_lr, found.initial_lr, found.confidence) == (None, None, None)
        assert {found.expected_points_lost, found.points_lost_90, found.lowest_max_lr, found.highest_max_lr} == {None}
        return
    assert is_lr(found.max_lr)
    assert is_lr(found.initial_lr)
    assert is_lr(found.conservative_max_lr)
    assert found.conservative_max_lr <= found.max_lr
    assert found.confidence in ("high", "medium", "low")
    assert 0 <= found.expected_points_lost <= found.points_lost_90 < math.inf
    assert is_lr(found.lowest_max_lr)
    assert found.lowest_max_lr <= found.max_lr <= found.highest_max_lr < math.inf
    assert found.spread is None or found.spread >= 1


@given(range_tests())
def test_any_range_test_has_a_shape_and_a_turn_or_none(curves: list[Curve]) -> None:
    shape = shape_of(curves)
    assert len(shape.lrs) == len(shape.median) == len(shape.low) == len(shape.high)
    assert np.isfinite(shape.median).all()
    turn = turn_of(curves)
    assert turn is None or (is_lr(turn.argmin_lr) and is_lr(turn.reach_lr) and turn.onset_lr != 0)
    for curve in curves:
        assert has_risen(curve) in (True, False)


@given(RANGES, LOSSES | troughs())
def test_any_curve_has_an_answer_of_every_peer(lrs: Range, losses: Sequence[float]) -> None:
    end = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    answers = peer_answers(np.array([lrs.lr(step) for step in range(end)]), np.array(losses[:end], dtype=float))
    assert answers.keys() == PEERS.keys()
    assert all(answer is None or is_lr(answer) for answer in answers.values())


@given(LOSSES | troughs(), st.floats(0, 0.999), st.floats(1.001, 1e6))
def test_any_loss_ends_a_test_or_does_not(losses: list[float], smoothing: float, factor: float) -> None:
    smooth, best = smoother(smoothing), math.inf
    for loss in losses:
        smoothed = smooth(loss)
        best = min(best, smoothed)
        assert has_diverged(loss, smoothed, best, factor) or math.isfinite(loss)


@st.composite
def clear_troughs(draw: st.DrawFn) -> list[Curve]:
    """A range test with a fall and a rise that can be read."""
    lrs, bottom = Range(1e-5, 10.0, 100, "exponential"), draw(st.floats(0.4, 0.7))
    way, scale = np.linspace(0, 1, 100), draw(st.floats(1e-3, 1e3))
    losses = scale * (2 - np.exp(-(((way - bottom) / draw(st.floats(0.1, 0.15))) ** 2)))
    return [Curve([lrs.lr(step) for step in range(100)], losses.tolist())]


@given(
    clear_troughs(),
    st.lists(st.floats(0, 100, width=32) | st.floats(0, width=32) | NOT_FINITE, min_size=3, max_size=3),
    st.lists(st.integers(1, 50), min_size=3, max_size=3),
    st.floats(1, 1e6),
)
def test_any_short_cycles_leave_a_suggestion(
    curves: list[Curve], losses: list[float], steps: list[int], div_factor: float
) -> None:
    found = suggest(curves, CyclePlan("sgd", div_factor))
    assert found.max_lr is not None
    trials = [
        VerificationCycle(found.max_lr * factor, length, loss, 0.5)
        for factor, length, loss in zip((0.5, 1, 2), steps, losses, strict=True)
    ]
    after = verify(found, trials, div_factor=div_factor)
    assert is_lr(after.max_lr)
    assert is_lr(after.initial_lr)
    assert after.conservative_max_lr <= after.max_lr
    assert found.max_lr / 2 * 0.99 <= after.max_lr <= found.max_lr * 2 * 1.01


LONG = Settings(
    single_cycle=True,
    epochs=12,
    max_lr=0.1,
    usual_max_lr=0.11,
    suggested_max_lr=None,
    tail_share=0.5,
    gain=1.0,
    weight_decay=0.0,
    label_smoothing=0.0,
    dropout=0.0,
    augmented=False,
    classes=10,
    valid_images=10_000,
)
TIMID = replace(LONG, epochs=8, max_lr=1e-9, tail_share=0.0)
ANY_LOSS, SHARES = st.floats(0, 10) | st.floats(0, width=32) | NOT_FINITE, st.floats(0, 1)
SETTINGS = st.builds(
    Settings,
    epochs=st.integers(1, 12),
    max_lr=st.floats(1e-12, 1e3),
    usual_max_lr=st.just(0.11) | st.floats(1e-12, 1e3),
    suggested_max_lr=st.none() | st.floats(1e-12, 1e3),
    tail_share=SHARES,
    gain=st.floats(1, 1e6),
    weight_decay=SHARES,
    label_smoothing=st.floats(0, 1, exclude_max=True),
    dropout=st.floats(0, 1, exclude_max=True),
    augmented=st.booleans(),
    classes=st.integers(2, 10_000),
    valid_images=st.integers(1, 10**6),
)


@given(
    st.sampled_from(["running", "finished", "collapsed", "diverged", "interrupted", "failed"]),
    SETTINGS,
    st.lists(st.tuples(st.floats(0, 1e3), ANY_LOSS), max_size=30),
    # A train loss that is not finite ends a run before its epoch does.
    st.lists(st.tuples(st.floats(0, 1e3), st.floats(0, 1e30), SHARES, ANY_LOSS, SHARES), max_size=12),
)
@example("collapsed", LONG, [], [(0.1, 0.5, 0.9, 2.0, 0.5), (0.1, 0.3, 0.9, math.nan, 0.5)])
@example("finished", replace(LONG, epochs=2), [], [(0.1, 0.0, 1.0, 2.0, 0.5), (0.0, 0.0, 1.0, math.nan, 0.5)])
@example("finished", replace(LONG, epochs=2), [], [(0.1, 0.5, 0.9, 1.0, 0.5), (0.0, 0.01, 1.0, math.inf, 0.5)])
@example("running", LONG, [], [(0.1, 2.0 / n, 0.9, n if n < 9 else math.nan, 0.5) for n in range(1, 10)])
@example("running", LONG, [], [(0.1, 2.0 / n, 0.9, n if n < 9 else math.inf, 0.5) for n in range(1, 10)])
@example("finished", replace(LONG, epochs=4), [], [(0.1, 2.0 / n**2, 0.9, math.inf, 0.5) for n in range(1, 5)])
@example("finished", TIMID, [], [(1e-9, 2.2, 0.2, math.inf if n == 0 else 2.3 - 0.01 * n, 0.2) for n in range(8)])
@example("finished", replace(LONG, epochs=1, label_smoothing=0.75, classes=2), [], [(0.0, 0.0, 0.0, -math.inf, 0.0)])
@example("finished", replace(LONG, epochs=1, tail_share=0.0), [], [(0.0, 2.0, 0.0, -math.inf, 0.0)])
def test_any_training_is_diagnosed(status: str, settings: Settings, steps: list, rows: list) -> None:
    assume(status != "diverged" or steps)  # a run that diverged had a step that did
    seen = [CurveStep(number, *step) for number, step in enumerate(steps)]
    epochs = [CurveEpoch(number, *row) for number, row in enumerate(rows[: settings.epochs], start=1)]
    for found in diagnose(TrainingRun(status, settings, seen, epochs)):
        assert found.text.endswith(".")
        assert found.advice.endswith(".")
        assert not re.search(r"\b(nan|inf)\b", found.line)
