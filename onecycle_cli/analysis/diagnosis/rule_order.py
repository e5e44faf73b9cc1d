"""The rules of a diagnosis, in the order of their importance."""

from onecycle_cli.analysis.diagnosis.causes import (
    collapsed,
    decays_too_much,
    diverged,
    dropout_too_strong,
    lr_too_small,
    smoothing_too_strong,
    stalled,
    tail_too_long,
)
from onecycle_cli.analysis.diagnosis.curves import TrainingRun
from onecycle_cli.analysis.diagnosis.endings import cycle_too_long, overfitting, underfitting
from onecycle_cli.analysis.diagnosis.statement import Rule, Statement

FAILURES: tuple[Rule, ...] = (diverged, collapsed)
CAUSES: tuple[Rule, ...] = (
    stalled,
    decays_too_much,
    lr_too_small,
    dropout_too_strong,
    smoothing_too_strong,
    tail_too_long,
)
ENDINGS: tuple[Rule, ...] = (overfitting, cycle_too_long)


def diagnose(run: TrainingRun) -> list[Statement]:
    """Returns the statements on a run's curves, the most important first; empty if no rule applies.

    A failed run gets the failure statement only. A run with several cycles or without one gets no other statements:
    with a constant lr, a loss that stops falling is normal. Otherwise causes come first, since fixing a cause changes
    the ending, then statements on how the run ended. Underfitting is reported only if no cause was found.
    """
    if failure := _asked(FAILURES, run):
        return failure[:1]
    if not (run.epochs and run.settings.single_cycle):
        return []
    causes = _asked(CAUSES, run)
    return causes + _asked(ENDINGS if causes else (*ENDINGS, underfitting), run)


def _asked(rules: tuple[Rule, ...], run: TrainingRun) -> list[Statement]:
    return [statement for rule in rules if (statement := rule(run))]
