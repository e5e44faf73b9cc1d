"""What tune tries, for how long, and when it changes a value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.tuning import (
    BASE_MOMENTUM,
    BATCH_SIZE,
    FINAL_REPEATS,
    MAX_MOMENTUM,
    NOISE_SEEDS,
    SPARE,
    WEIGHT_DECAY,
    Cost,
    TuningRun,
    TuningStage,
    best_with,
    decided,
    noise,
    planned,
    same_pace,
    stages,
)

NOW = {BATCH_SIZE: 512, WEIGHT_DECAY: 1e-3, MAX_MOMENTUM: 0.95, BASE_MOMENTUM: 0.85}


def test_the_stages_are_smiths_and_try_what_the_start_does_not_have() -> None:
    size, decay, momentum = stages(512, 1e-3, [1e-2, 1e-3, 1e-4], (0.95, 0.85), images=50_000)
    assert [values[BATCH_SIZE] for values in size.values] == [128, 256, 1024]
    assert [values[WEIGHT_DECAY] for values in decay.values] == [1e-2, 1e-4]
    assert [tuple(values.values()) for values in momentum.values] == [(0.95, 0.95), (0.9, 0.9)]


@pytest.mark.parametrize(("images", "sizes"), [(1600, [64, 128]), (100_000, [64, 128, 512])])
def test_a_batch_leaves_an_epoch_some_steps(images: int, sizes: list[int]) -> None:
    first = stages(256, 1e-3, [1e-3], (0.9, 0.9), images)[0]
    assert [values[BATCH_SIZE] for values in first.values] == sizes


def test_a_stage_with_nothing_to_try_is_none() -> None:
    found = stages(16, 1e-3, [1e-3], (0.95, 0.85), images=20)
    assert [stage.name for stage in found] == ["momentum"]


stage_lists = st.lists(
    st.builds(lambda n: TuningStage("s", [{"f": i} for i in range(n)]), st.integers(1, 5))
    | st.builds(lambda sizes: TuningStage("b", [{BATCH_SIZE: size} for size in sizes]), st.lists(st.integers(8, 999))),
    max_size=4,
)


def test_a_schedule_without_cycles_is_tried_under_constant_momentums_alone() -> None:
    *_, momentum = stages(512, 1e-3, [1e-3], (0.95, 0.95), images=50_000, cycles=False)
    assert momentum.values == [{"schedule.max_momentum": 0.9}]


@given(
    stages=stage_lists,
    cost=st.builds(Cost, st.integers(8, 512), st.floats(0.1, 50), st.floats(0.1, 100)),
    budget=st.floats(1, 10_000),
    epochs=st.integers(1, 50),
)
def test_a_plan_keeps_within_the_budget_and_no_longer_run_would(
    stages: list[TuningStage], cost: Cost, budget: float, epochs: int
) -> None:
    plan, usable = planned(stages, cost, budget, epochs), (1 - SPARE) * budget

    def seconds(length: int, kept: list[TuningStage]) -> float:
        trials = NOISE_SEEDS + sum(len(stage.values) for stage in kept)
        sizes = [values[BATCH_SIZE] for stage in kept for values in stage.values if BATCH_SIZE in values]
        tests = 1 + FINAL_REPEATS + sum(sizes) / cost.batch_size
        return trials * length * cost.epoch + tests * cost.range_test

    if plan is None:
        assert seconds(1, []) > usable - 1e-6
        return
    assert 1 <= plan.epochs <= epochs
    assert seconds(plan.epochs, list(plan.stages)) <= usable + 1e-6
    assert len(plan.stages) + len(plan.left_out) == len(stages)
    if plan.epochs < epochs:
        assert seconds(plan.epochs + 1, list(plan.stages)) > usable - 1e-6
    if plan.left_out:
        assert seconds(1, stages[: len(plan.stages) + 1]) > usable - 1e-6


def test_at_the_same_pace_more_momentum_wants_a_lower_max_lr() -> None:
    # A step with 0.85 goes as far as 1 / 0.15 steps without, one with 0.95 as far as 1 / 0.05: three times.
    assert same_pace(0.3, 0.85, 0.95) == pytest.approx(0.1)
    assert same_pace(0.3, 0.9, 0.9) == pytest.approx(0.3)


def test_noise_is_the_standard_error_of_a_difference_of_two_runs() -> None:
    # Deviations of 0.1 around the middle: a standard deviation of 0.1, times the root of 2.
    assert noise([0.4, 0.5, 0.6]) == pytest.approx(0.1 * 2**0.5)
    assert noise([0.5]) is None
    assert noise([]) is None


def trial(weight_decay: float, loss: float | None) -> TuningRun:
    return TuningRun({**NOW, WEIGHT_DECAY: weight_decay}, loss)


DECAYS = TuningStage("weight decay", [{WEIGHT_DECAY: 1e-2}, {WEIGHT_DECAY: 1e-4}])


@pytest.mark.parametrize(
    ("start", "losses", "chosen", "says"),
    [
        (0.5, [0.45, 0.3], 1e-4, "Better by more than noise: validation loss 0.3000 against 0.5000"),
        (0.5, [0.45, 0.6], 1e-3, "No other value is better by more than noise: validation loss 0.4500 against 0.5000"),
        (0.5, [None, 0.3], 1e-4, "Better by more than noise"),
        (0.5, [None, None], 1e-3, "No other run finished."),
        (None, [0.9, None], 1e-2, "The run with the current values did not finish."),
    ],
)
def test_a_value_is_changed_for_a_gain_beyond_noise(
    start: float | None, losses: list[float | None], chosen: float, says: str
) -> None:
    others = [trial(value, loss) for value, loss in zip((1e-2, 1e-4), losses, strict=True)]
    decision = decided(DECAYS, TuningRun(NOW, start), others, noise=0.1)
    assert decision.chosen == {WEIGHT_DECAY: chosen}
    assert decision.was == {WEIGHT_DECAY: 1e-3}
    assert says in decision.reason
    assert len(decision.trials) == 3


@pytest.mark.parametrize(("start", "chosen"), [(0.5, 1e-3), (None, 1e-2)])
def test_where_the_noise_is_not_known_a_start_that_ended_stays(start: float | None, chosen: float) -> None:
    decision = decided(DECAYS, TuningRun(NOW, start), [trial(1e-2, 0.1), trial(1e-4, 0.2)], noise=None)
    assert decision.chosen == {WEIGHT_DECAY: chosen}
    assert (start is None) or "unknown: validation loss 0.1000 against 0.5000" in decision.reason


def test_the_best_run_with_some_values_is_of_those_that_ended() -> None:
    trials = [trial(1e-2, None), trial(1e-2, 0.4), trial(1e-2, 0.3), trial(1e-4, 0.1)]
    assert best_with({WEIGHT_DECAY: 1e-2}, trials) == trials[2]
    assert best_with({WEIGHT_DECAY: 1e-2}, trials[:1]) is None
    assert best_with({WEIGHT_DECAY: 1e-3}, trials) is None


def test_runs_are_no_shorter_than_a_whole_cycle() -> None:
    stage, cost = [TuningStage("s", [{"f": 1}])], Cost(64, range_test=1.0, epoch=1.0)
    # Four range tests and three runs: 4 + 3 x 2 = 10 s of 0.9 x 12.
    assert planned(stage, cost, 12, epochs=9, least=2).epochs == 2
    assert planned(stage, cost, 12, epochs=9, least=2).left_out == ["s"]
    assert planned(stage, cost, 12, epochs=9, least=3) is None
