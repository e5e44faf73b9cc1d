"""Learning rate range tests: curves in, a suggested `max_lr` with its reason out. Pure, without torch."""

from onecycle_cli.analysis.lr_range.basin import Shape, Turn, has_risen, shape_of, turn_of
from onecycle_cli.analysis.lr_range.curve import Curve, has_diverged, smoother
from onecycle_cli.analysis.lr_range.error_bar import ErrorBar, told_max_lr
from onecycle_cli.analysis.lr_range.stopping import End, StopRule
from onecycle_cli.analysis.lr_range.suggestion import USUAL_MAX_LR, CyclePlan, Suggestion, suggest
from onecycle_cli.analysis.lr_range.verification import PlannedCycle, VerificationCycle, next_cycles, verified

__all__ = [
    "USUAL_MAX_LR",
    "Curve",
    "CyclePlan",
    "End",
    "ErrorBar",
    "PlannedCycle",
    "Shape",
    "StopRule",
    "Suggestion",
    "Turn",
    "VerificationCycle",
    "has_diverged",
    "has_risen",
    "next_cycles",
    "shape_of",
    "smoother",
    "suggest",
    "told_max_lr",
    "turn_of",
    "verified",
]
