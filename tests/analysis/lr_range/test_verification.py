"""Which short cycles are trained, and what they make of a suggestion."""

import math
import random
from collections.abc import Callable

import pytest

from onecycle_cli.analysis.lr_range import PlannedCycle, Suggestion, VerificationCycle, next_cycles, verified
from onecycle_cli.analysis.lr_range.error_bar import error_bar

BAR = error_bar(0.3, "medium")
PLAIN = Suggestion(
    max_lr=0.3,
    conservative_max_lr=0.1,
    initial_lr=0.03,
    confidence="medium",
    expected_points_lost=BAR.expected_points_lost,
    points_lost_90=BAR.points_lost_90,
    lowest_max_lr=BAR.lowest_max_lr,
    highest_max_lr=BAR.highest_max_lr,
    spread=None,
    rule="basin",
    reason="Because.",
    peers={},
)


def judged(*losses: float) -> Suggestion:
    trials = [VerificationCycle(lr, 40, loss, 0.5) for lr, loss in zip((0.1, 0.3, 0.9), losses, strict=True)]
    return verified(PLAIN, trials, div_factor=10)


def test_losses_that_are_least_at_the_suggestion_leave_it_there() -> None:
    assert judged(1.1, 1.0, 1.1).max_lr == 0.3
    assert judged(1.1, 1.0, 1.1).reason.endswith("and did not move it.")


def test_it_moves_a_quarter_of_the_way_to_where_the_parabola_is_least() -> None:
    # By hand, in units of log 3: losses 1.3, 1.0, 0.9 at -1, 0, 1 are 1 - 0.2 x + 0.1 x^2, least at 1.
    assert judged(1.3, 1.0, 0.9).max_lr == pytest.approx(0.3 * 3**0.25, rel=0.01)
    # 1.2, 1.0, 1.1: 1 - 0.05 x + 0.15 x^2, least at a sixth.
    assert judged(1.2, 1.0, 1.1).max_lr == pytest.approx(0.3 * 3 ** (1 / 24), rel=0.01)


def test_it_never_leaves_the_lrs_that_were_tried() -> None:
    assert judged(1.0, 1.2, 1.399).max_lr == pytest.approx(0.3 * 3**-0.25, rel=0.01)
    assert judged(1.0, 1.2, 1.3).max_lr == pytest.approx(0.3 * 3**-0.25, rel=0.01)


def test_it_falls_farther_than_it_rises() -> None:
    # A quarter of the way to 81 times the suggestion is a factor of 3; a suggestion rises by 1.5 at most.
    up = [VerificationCycle(0.3 * 9**k, 40, 1.4 - 0.2 * k, 0.5) for k in range(3)]
    down = [VerificationCycle(0.3 / 9**k, 40, 1.4 - 0.2 * k, 0.5) for k in range(3)]
    assert verified(PLAIN, up, div_factor=10).max_lr == pytest.approx(0.3 * 1.5, rel=0.01)
    assert verified(PLAIN, down, div_factor=10).max_lr == pytest.approx(0.3 / 3, rel=0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_a_cycle_that_diverged_counts_as_a_cliff_whatever_its_loss(bad: float) -> None:
    assert judged(1.0, 1.0, bad).max_lr == judged(1.0, 1.0, 1.5).max_lr < 0.3
    assert judged(1.0, 1.0, bad).confidence == "medium"


@pytest.mark.parametrize("losses", [(1.0, math.nan, math.nan), (math.nan, math.nan, 1.0), (1.0, 1.6, 2.0)])
def test_where_the_suggestion_itself_did_far_worse_than_another_the_confidence_is_low(losses: tuple) -> None:
    assert judged(*losses).confidence == "low"


@pytest.mark.parametrize("losses", [(2.3026, 2.3026, 2.3026), (2.300, 2.302, 2.304), (0.0, 0.0, 0.0)])
def test_losses_that_are_too_much_alike_move_nothing(losses: tuple) -> None:
    assert judged(*losses).max_lr == 0.3
    assert "too similar to move" in judged(*losses).reason


def test_what_was_tried_is_told() -> None:
    better = judged(1.2, 1.0, 1.1)
    assert better.reason == (
        "Because. Cycles of 40 steps had validation losses of 1.2 at lr 0.1, 1 at lr 0.3, 1.1 at lr 0.9, "
        "and moved it from 0.3."
    )
    assert "none, diverged, at lr 0.9" in judged(1.2, 1.0, math.nan).reason
    assert better.rule == "basin, verified"
    assert better.initial_lr == pytest.approx(better.max_lr / 10, rel=0.01)
    assert better.conservative_max_lr == pytest.approx(better.max_lr / 3, rel=0.01)
    assert better.confidence == "medium"
    assert better.lowest_max_lr <= better.max_lr <= better.highest_max_lr
    assert (better.expected_points_lost, better.points_lost_90) == (PLAIN.expected_points_lost, PLAIN.points_lost_90)


def test_where_every_cycle_diverged_the_confidence_is_low() -> None:
    worse = judged(math.nan, math.nan, math.nan)
    assert (worse.max_lr, worse.confidence) == (0.3, "low")
    assert "take conservative_max_lr" in worse.reason


Loss = Callable[[float, int], float]


def valley(best: float, cliff: float = math.inf) -> Loss:
    """The loss of a cycle, least at `best`, less for longer cycles, and NaN above `cliff`."""

    def loss(max_lr: float, steps: int) -> float:
        return math.nan if max_lr > cliff else (1 + 0.1 * math.log(max_lr / best) ** 2) * (1 + 10 / steps)

    return loss


def run(loss: Loss, total_steps: int = 1000, budget: float = 0.5, fewest_steps: int = 16) -> list[list[PlannedCycle]]:
    """The rounds of a verification whose cycles end with this loss."""
    rounds: list[list[PlannedCycle]] = []
    done: list[VerificationCycle] = []
    while cycles := next_cycles(PLAIN, done, total_steps=total_steps, budget=budget, fewest_steps=fewest_steps):
        rounds.append(cycles)
        done += results(loss, cycles)
    return rounds


def results(loss: Loss, cycles: list[PlannedCycle]) -> list[VerificationCycle]:
    return [VerificationCycle(one.max_lr, one.steps, loss(one.max_lr, one.steps), 0.5) for one in cycles]


def all_of(rounds: list[list[PlannedCycle]]) -> list[PlannedCycle]:
    return [cycle for cycles in rounds for cycle in cycles]


@pytest.mark.parametrize("total_steps", [10, 20, 63, 192, 500, 640, 1001, 78_125])
@pytest.mark.parametrize("budget", [0.01, 0.25, 1 / 3, 1, 4])
@pytest.mark.parametrize("best", [0.01, 0.3, 20])
def test_the_budget_holds_and_no_cycle_is_too_short_or_longer_than_the_run(
    total_steps: int, budget: float, best: float
) -> None:
    cycles = all_of(run(valley(best), total_steps, budget, 16))
    assert sum(cycle.steps for cycle in cycles) <= budget * total_steps
    assert all(16 <= cycle.steps <= total_steps for cycle in cycles)
    assert bool(cycles) == (budget * total_steps / 3 >= 16)


def test_a_small_budget_has_fewer_cycles_around_the_suggestion_than_a_large_one() -> None:
    (small,), (large, _) = run(valley(0.3), budget=0.06), run(valley(0.3), budget=0.25)
    assert len(small) < len(large)
    for cycles in (small, large):
        assert PLAIN.max_lr in [cycle.max_lr for cycle in cycles]
        assert min(cycle.max_lr for cycle in cycles) < PLAIN.max_lr < max(cycle.max_lr for cycle in cycles)


@pytest.mark.parametrize("best", [0.001, 0.05, 0.3, 1, 100])
def test_later_cycles_are_fewer_longer_and_nearer_to_the_best(best: float) -> None:
    first, second = run(valley(best))
    assert len(second) < len(first)
    assert min(cycle.steps for cycle in second) > max(cycle.steps for cycle in first)
    lrs = [cycle.max_lr for cycle in first]
    assert all(min(lrs) <= cycle.max_lr <= max(lrs) for cycle in second)
    assert min(lrs, key=lambda lr: valley(best)(lr, 100)) in [cycle.max_lr for cycle in second]


@pytest.mark.parametrize("best", [0.02, 0.3, 4])
def test_the_order_of_the_rows_and_a_second_call_change_nothing(best: float) -> None:
    loss = valley(best, cliff=1)
    first, second = run(loss)
    assert run(loss) == [first, second]
    done = results(loss, first)
    cycles = [*done, *results(loss, second)]
    told = verified(PLAIN, cycles, div_factor=10)
    for seed in range(5):
        random.Random(seed).shuffle(done)
        random.Random(seed).shuffle(cycles)
        assert next_cycles(PLAIN, done, total_steps=1000, budget=0.5, fewest_steps=16) == second
        assert verified(PLAIN, cycles, div_factor=10) == told


def test_a_cycle_that_diverged_is_never_the_best_of_a_round() -> None:
    first, second = run(valley(2.7, cliff=0.5))
    assert second[0].max_lr == max(cycle.max_lr for cycle in first if cycle.max_lr < 0.5)


def test_after_a_round_that_diverged_as_a_whole_none_follows_and_the_confidence_is_low() -> None:
    loss = valley(0.3, cliff=0)
    (only,) = run(loss)
    told = verified(PLAIN, results(loss, only), div_factor=10)
    assert (told.max_lr, told.confidence) == (PLAIN.max_lr, "low")


@pytest.mark.parametrize("best", [0.1, 0.3, 0.9])
def test_a_suggestion_moves_towards_the_best_of_all_rounds(best: float) -> None:
    # The valley is a parabola over log lr, at another height in each round, so that the fit is exact.
    loss = valley(best)
    told = verified(PLAIN, results(loss, all_of(run(loss))), div_factor=10)
    assert told.max_lr == pytest.approx(PLAIN.max_lr * (best / PLAIN.max_lr) ** 0.25, rel=0.05)
    assert told.reason.startswith("Because. Cycles of 50 steps had validation losses of ")
    assert "; cycles of 125 steps had validation losses of " in told.reason


def test_the_longest_cycles_count_most() -> None:
    shorter, longer = ([VerificationCycle(lr, steps, loss, 0.5) for lr, loss in rows] for steps, rows in DISAGREEING)
    (short,), (long,) = ({one.steps for one in cycles} for cycles in (shorter, longer))
    as_measured = verified(PLAIN, [*shorter, *longer], div_factor=10)
    exchanged = [
        VerificationCycle(one.max_lr, short + long - one.steps, one.valid_loss, 0.5) for one in shorter + longer
    ]
    assert as_measured.max_lr > PLAIN.max_lr > verified(PLAIN, exchanged, div_factor=10).max_lr


FALLING, RISING = [(0.1, 1.2), (0.3, 1.1), (0.9, 1.05)], [(0.1, 1.05), (0.3, 1.1), (0.9, 1.2)]
DISAGREEING = ((20, RISING), (200, FALLING))


def test_a_suggestion_whose_longer_cycle_diverged_has_low_confidence() -> None:
    short = [VerificationCycle(lr, 20, loss, 0.5) for lr, loss in ((0.1, 1.1), (0.3, 1.0), (0.9, 1.2))]
    long = [VerificationCycle(lr, 50, loss, 0.5) for lr, loss in ((0.3, math.nan), (0.17, 0.9))]
    assert verified(PLAIN, short, div_factor=10).confidence == "medium"
    assert verified(PLAIN, [*short, *long], div_factor=10).confidence == "low"
    assert verified(PLAIN, [*short, *long], div_factor=10).max_lr < 0.3


def test_the_steps_before_a_cycle_diverged_as_older_versions_wrote_them_are_no_round_of_their_own() -> None:
    rows = [(0.1, 40, 1.0), (0.3, 40, 1.1), (0.9, 7, math.nan)]
    old = [VerificationCycle(lr, steps, loss, 0.5) for lr, steps, loss in rows]
    assert verified(PLAIN, old, div_factor=10) == judged(1.0, 1.1, math.nan)


def test_a_single_cycle_of_an_interrupted_verification_moves_nothing() -> None:
    assert verified(PLAIN, [VerificationCycle(0.1, 40, 1.0, 0.5)], div_factor=10).max_lr == 0.3


@pytest.mark.parametrize("lrs", [(0.03,), (0.03, 0.1), (0.1, 0.3)])
def test_fewer_than_three_cycles_of_a_stopped_run_move_nothing(lrs: tuple[float, ...]) -> None:
    cycles = [VerificationCycle(lr, 40, 2 - lr, 0.5) for lr in lrs]
    assert verified(PLAIN, cycles, div_factor=10).max_lr == PLAIN.max_lr


def test_low_confidence_tells_that_the_cycle_nearest_to_the_suggestion_was_far_worse() -> None:
    worse = judged(1.0, 2.0, 2.4)
    assert worse.confidence == "low"
    assert worse.reason.endswith("The cycle nearest to it diverged, or was far worse than the best.")
    short = [VerificationCycle(lr, 20, 1.0, 0.5) for lr in (0.1, 0.3, 0.9)]
    diverged = [VerificationCycle(lr, 50, math.nan, 0.5) for lr in (0.3, 0.5)]
    alike = verified(PLAIN, short + diverged, div_factor=10)
    assert (alike.max_lr, alike.confidence) == (0.3, "low")
    assert "far worse" not in judged(1.1, 1.0, 1.1).reason


def test_a_loss_of_zero_is_no_cliff() -> None:
    assert judged(0.0, 0.0, 0.0).confidence == "medium"
    perfect = judged(1.0, 0.0, 1.0)
    assert (perfect.max_lr, perfect.confidence) == (0.3, "medium")
    assert judged(1.0, 1.0, 0.0).max_lr > 0.3
