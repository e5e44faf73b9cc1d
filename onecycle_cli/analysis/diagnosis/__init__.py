"""Diagnosis of training runs: curves in, statements with their evidence out. Pure, without torch or file access.

`curves.py` holds the curves and their measurements, `causes.py` and `endings.py` the rules, and `rule_order.py` the
order of the rules.
"""

from onecycle_cli.analysis.diagnosis.curves import CurveEpoch, CurveStep, Settings, TrainingRun
from onecycle_cli.analysis.diagnosis.rule_order import diagnose
from onecycle_cli.analysis.diagnosis.statement import Place, Statement

__all__ = ["CurveEpoch", "CurveStep", "Place", "Settings", "Statement", "TrainingRun", "diagnose"]
