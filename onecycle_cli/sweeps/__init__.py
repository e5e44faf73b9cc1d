"""Many runs of one recipe: which there are, and what they say together. Pure.

`grid.py` makes the cells, `presets.py` has those that Smith's report asks for, `ranking.py` reads trainings,
`weight_decay.py` reads range tests.
"""

from onecycle_cli.sweeps.grid import column_names, folder_name, grid
from onecycle_cli.sweeps.presets import PRESETS
from onecycle_cli.sweeps.ranking import Outcome, Ranked, ranked, verdict
from onecycle_cli.sweeps.weight_decay import Reading, SweepRow, bisected, read_weight_decay

__all__ = [
    "PRESETS",
    "Outcome",
    "Ranked",
    "Reading",
    "SweepRow",
    "bisected",
    "column_names",
    "folder_name",
    "grid",
    "ranked",
    "read_weight_decay",
    "verdict",
]
