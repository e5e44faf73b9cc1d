"""Which rules are asked, and in which order they have the word."""

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
from onecycle_cli.analysis.diagnosis.outcomes import cycle_too_long, overfitting, underfitting
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
OUTCOMES: tuple[Rule, ...] = (overfitting, cycle_too_long)


def diagnose(run: TrainingRun) -> list[Statement]:
    """What the curves of a run say, the most important first; nothing where they say nothing.

    A run that failed is not read any further, nor one of several cycles or none: under a constant lr a loss that stands
    still is no fault. Else causes come first, since mending one changes what follows from it, then how the run came
    out. Underfitting is said only where no cause was found.
    """
    if failure := _asked(FAILURES, run):
        return failure[:1]
    if not (run.epochs and run.settings.single_cycle):
        return []
    causes = _asked(CAUSES, run)
    return causes + _asked(OUTCOMES if causes else (*OUTCOMES, underfitting), run)


def _asked(rules: tuple[Rule, ...], run: TrainingRun) -> list[Statement]:
    return [statement for rule in rules if (statement := rule(run))]
