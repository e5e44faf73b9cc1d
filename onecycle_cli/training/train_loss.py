"""The loss that a training minimizes: cross-entropy with label smoothing, class weights and mixed labels."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onecycle_cli.data.batches import Batch


@dataclass(frozen=True)
class TrainLoss:
    """The train loss of a batch, and the weight of the batch in an epoch's mean loss.

    `class_weights` is float32 (classes,), on the device of the logits; None: all classes count the same. A mixed image
    counts as its share of an image with its own label, and the rest as one with the other label.
    """

    label_smoothing: float
    class_weights: Tensor | None = None

    def __call__(self, logits: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Returns loss and weight, both scalars; `logits` is float32 (B, classes)."""
        if self.class_weights is None and batch.other_labels is None:
            smoothing = self.label_smoothing
            return F.cross_entropy(logits, batch.labels, label_smoothing=smoothing), logits.new_full((), len(logits))
        loss, weight = self._summed(logits, batch.labels, batch.share)
        if batch.other_labels is not None and batch.share is not None:
            other_loss, other_weight = self._summed(logits, batch.other_labels, 1 - batch.share)
            loss, weight = loss + other_loss, weight + other_weight
        return loss / weight, weight

    def _summed(self, logits: Tensor, labels: Tensor, share: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns the weighted sum of the losses of all images, and the sum of their weights.

        The weight of an image is `share`, by default 1, times the weight of its class.
        """
        # An image has one weight, whatever its smoothed label. torch weights each class of a smoothed label, so that
        # with label smoothing a rare class of weight 500 would attract the answers on all images.
        losses = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
        weights = torch.ones_like(losses) if self.class_weights is None else self.class_weights[labels]
        if share is not None:
            weights = weights * share
        return (weights * losses).sum(), weights.sum()
