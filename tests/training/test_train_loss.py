"""The train loss against that of torch."""

import pytest
import torch
from torch.nn import functional as F

from onecycle_cli.data.batches import Batch
from onecycle_cli.training.train_loss import TrainLoss

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 2, 1, 2])
WEIGHTS = torch.tensor([0.5, 1.0, 4.0])
BATCH = Batch(torch.zeros(6, 1, 1, 1), LABELS)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_class_weights_it_is_the_mean_and_weighs_as_many_as_there_are_images(smoothing: float) -> None:
    loss, weight = TrainLoss(smoothing)(LOGITS, BATCH)
    assert loss.item() == pytest.approx(F.cross_entropy(LOGITS, LABELS, label_smoothing=smoothing).item())
    assert weight.item() == 6


def test_class_weights_are_those_of_torch() -> None:
    loss, weight = TrainLoss(0.0, WEIGHTS)(LOGITS, BATCH)
    assert loss.item() == pytest.approx(F.cross_entropy(LOGITS, LABELS, weight=WEIGHTS).item())
    assert weight.item() == pytest.approx(0.5 + 2 * 1 + 3 * 4)


def test_an_image_has_one_weight_whatever_its_smoothed_label() -> None:
    own = WEIGHTS[LABELS]
    each = F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1, reduction="none")
    loss, _ = TrainLoss(0.1, WEIGHTS)(LOGITS, BATCH)
    assert loss.item() == pytest.approx(((own * each).sum() / own.sum()).item())


def test_a_mixed_image_counts_as_parts_of_two() -> None:
    share = torch.full((6,), 0.75)
    mixed = BATCH._replace(other_labels=LABELS.roll(1), share=share)
    soft = 0.75 * F.one_hot(LABELS, 3) + 0.25 * F.one_hot(LABELS.roll(1), 3)
    loss, weight = TrainLoss(0.0)(LOGITS, mixed)
    assert loss.item() == pytest.approx(F.cross_entropy(LOGITS, soft).item())
    assert weight.item() == pytest.approx(6)
