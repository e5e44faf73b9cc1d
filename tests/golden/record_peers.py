"""Asks the peers' own code what it suggests on a number of curves, and writes the answers to peers.json.

Run by hand, in an environment of its own that is thrown away afterwards:

    pip install fastai
    python tests/golden/record_peers.py tests/golden/curves.json > tests/golden/peers.json

`curves.json` holds, for each curve, the lr and the smoothed loss of each step. fastai's functions see what fastai's
`lr_find` hands them: without the first tenth of the steps and the last five.
"""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from fastai.callback.schedule import combined_cos, minimum, slide, steep, valley

curves = json.loads(Path(sys.argv[1]).read_text())
answers = {}
for name, curve in curves.items():
    steps = len(curve["lr"])
    lrs = torch.tensor(curve["lr"], dtype=torch.float64)[steps // 10 : -5]
    losses = torch.tensor(curve["smoothed_loss"], dtype=torch.float64)[steps // 10 : -5]
    answers[name] = {rule.__name__: float(rule(lrs, losses, steps)[0]) for rule in (steep, valley, slide, minimum)}

# A cycle of 20 steps, up to 1 in 30 % of them, from a tenth, down to a thousandth.
clock = combined_cos(0.3, 0.1, 1.0, 0.001)
momentum = combined_cos(0.3, 0.95, 0.85, 0.95)
cycle = [[float(clock(step / 20)), float(momentum(step / 20))] for step in range(20)]
print(
    json.dumps(
        {
            "versions": {name: version(name) for name in ("fastai", "torch")},
            "suggestions": answers,
            "fastai_cycle": {"lrs": [value[0] for value in cycle], "momentums": [value[1] for value in cycle]},
        },
        indent=1,
    )
)
