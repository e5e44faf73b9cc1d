"""The peers' rules against what the peers' own code said of the same losses."""

import json
from pathlib import Path

import numpy as np
import pytest

from onecycle_cli.analysis.lr_range.peers import PEERS, peer_answers

GOLDEN = Path(__file__).parent.parent.parent / "golden"
CURVES = json.loads((GOLDEN / "curves.json").read_text())
RECORDED = json.loads((GOLDEN / "peers.json").read_text())["suggestions"]


@pytest.mark.parametrize("curve", sorted(CURVES))
def test_each_rule_says_what_its_librarys_own_code_says(curve: str) -> None:
    answers = peer_answers(*(np.array(CURVES[curve][name]) for name in ("lr", "train_loss")))
    assert answers.keys() - RECORDED[curve].keys() == {"lightning_before_2_5_3"}
    for name, recorded in RECORDED[curve].items():
        assert answers[name] == (recorded and pytest.approx(recorded, rel=1e-6)), name


def test_the_old_lightning_rule_is_the_new_one_with_slopes_per_step() -> None:
    """Its code is no longer published; on lrs that are equally far apart both agree."""
    losses = 2.3 - 1 / (1 + np.exp(-np.linspace(-6, 3, 60)))
    even, exponential = (peer_answers(lrs, losses) for lrs in (np.linspace(0.1, 1, 60), np.geomspace(1e-8, 1, 60)))
    assert even["lightning_before_2_5_3"] == even["lightning"]
    assert exponential["lightning"] < 1e-3 * exponential["lightning_before_2_5_3"]


@pytest.mark.parametrize("points", [0, 1, 2, 12])
def test_a_rule_that_needs_more_points_says_nothing(points: int) -> None:
    few = peer_answers(np.geomspace(1e-3, 1, 12)[:points], np.linspace(2, 1, 12)[:points])
    assert set(few) == set(PEERS)
    assert few["fastai_slide"] is None
    assert few["torch_lr_finder"] is None
    assert (few["fastai_minimum"] is None) is (points < 12)
