"""Reading training runs: curves in, statements with their evidence out. Pure, and free of torch and of files.

`curves.py` holds what a run looks like and what is measured on it, `causes.py` and `outcomes.py` the rules, and
`reading.py` their order.
"""

from onecycle_cli.analysis.diagnosis.curves import Epoch, Settings, Step, TrainingRun
from onecycle_cli.analysis.diagnosis.reading import diagnose
from onecycle_cli.analysis.diagnosis.statement import Place, Statement

__all__ = ["Epoch", "Place", "Settings", "Statement", "Step", "TrainingRun", "diagnose"]
