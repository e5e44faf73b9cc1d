"""Asks the peers' own code what it suggests on a number of curves, and writes the answers to peers.json.

Run by hand, in an environment of its own that is thrown away afterwards:

    pip install fastai lightning torch-lr-finder pytorch-ignite
    python tests/golden/record_peers.py

`curves.json` holds, for each curve, the lr and the loss of each step. torch-lr-finder and ignite see the losses as
those of a training, and smooth and stop by themselves. fastai's and Lightning's rules see a moving average, with the
factor and the stop that their callbacks have.
"""

import json
from importlib.metadata import version
from itertools import chain, repeat
from pathlib import Path

import matplotlib as mpl
import torch
from fastai.callback.schedule import combined_cos, minimum, slide, steep, valley
from ignite.engine import Engine
from ignite.handlers import FastaiLRFinder
from lightning.pytorch.tuner.lr_finder import _LRFinder
from torch.utils.data import DataLoader, TensorDataset
from torch_lr_finder import LRFinder

mpl.use("Agg")


def averaged(losses):
    """The bias-corrected moving average of fastai's Recorder and Lightning's callback, up to four times the best."""
    average, best, kept = 0.0, float("inf"), []
    for step, loss in enumerate(losses, start=1):
        average = 0.98 * average + 0.02 * loss
        kept.append(average / (1 - 0.98**step))
        best = min(best, kept[-1])
        if kept[-1] > 4 * best:
            break
    return kept


def fastai_answers(lrs, losses):
    smoothed = averaged(losses)
    seen = [torch.tensor(column, dtype=torch.float64) for column in (lrs[: len(smoothed)], smoothed)]
    seen = [column[len(lrs) // 10 : -5] for column in seen]
    return {f"fastai_{rule.__name__}": float(rule(*seen, len(lrs))[0]) for rule in (steep, valley, slide, minimum)}


def torch_lr_finder_answer(lrs, losses):
    model = torch.nn.Linear(1, 1)
    left = chain(losses, repeat(losses[-1]))
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=1e-7), lambda out, _: 0 * out.sum() + next(left))
    one = DataLoader(TensorDataset(torch.zeros(1, 1), torch.zeros(1)))
    finder.range_test(one, end_lr=10, num_iter=len(losses))
    finder.history["lr"] = lrs[: len(finder.history["loss"])]
    return float(finder.plot(suggest_lr=True, ax=mpl.figure.Figure().add_subplot())[1])


def ignite_answer(lrs, losses):
    model = torch.nn.Linear(1, 1)
    left = iter(losses)
    finder = FastaiLRFinder()
    trainer = Engine(lambda *_: float(next(left)))
    save = {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=1e-7)}
    with finder.attach(trainer, save, num_iter=len(losses), end_lr=10.0) as running:
        running.run([0] * len(losses))
    finder._history["lr"] = lrs[: len(finder._history["loss"])]
    try:
        return float(finder.lr_suggestion())
    except RuntimeError:  # its word for a curve that never fell
        return None


def lightning_answer(lrs, losses):
    smoothed = averaged(losses)
    finder = _LRFinder("exponential", lrs[0], lrs[-1], len(lrs))
    finder.results = {"lr": lrs[: len(smoothed)], "loss": smoothed}
    return float(finder.suggestion())


def main():
    curves = json.loads(Path("tests/golden/curves.json").read_text())
    torch.set_default_dtype(torch.float64)
    answers = {}
    for name, curve in curves.items():
        columns = curve["lr"], curve["train_loss"]
        answers[name] = fastai_answers(*columns) | {
            "torch_lr_finder": torch_lr_finder_answer(*columns),
            "ignite": ignite_answer(*columns),
            "lightning": lightning_answer(*columns),
        }
    # A cycle of 20 steps, up to 1 in 30 % of them, from a tenth, down to a thousandth.
    clock = combined_cos(0.3, 0.1, 1.0, 0.001)
    momentum = combined_cos(0.3, 0.95, 0.85, 0.95)
    cycle = [[float(clock(step / 20)), float(momentum(step / 20))] for step in range(20)]
    versions = ("fastai", "lightning", "torch-lr-finder", "pytorch-ignite", "torch")
    recorded = {
        "versions": {name: version(name) for name in versions},
        "suggestions": answers,
        "fastai_cycle": {"lrs": [value[0] for value in cycle], "momentums": [value[1] for value in cycle]},
    }
    Path("tests/golden/peers.json").write_text(json.dumps(recorded, indent=1) + "\n")


main()
