"""The order of the training images in an epoch."""

from dataclasses import dataclass

import torch
from torch import Tensor


def shuffled(images: int, generator: torch.Generator) -> Tensor:
    """Draws an order in which each image comes once: positions, int64 (images,)."""
    return torch.randperm(images, generator=generator)


@dataclass(frozen=True)
class ClassMembers:
    """The positions of the images of each class, on the CPU.

    `positions` has those of the first class, then those of the second, and so on; `starts` and `counts` are int64
    (classes,) and leave out classes without images.
    """

    positions: Tensor
    starts: Tensor
    counts: Tensor

    @staticmethod
    def of(labels: Tensor) -> "ClassMembers":
        """Sorts the positions of `labels`, int64 (N,) on the CPU, by class."""
        counts = torch.bincount(labels)
        counts = counts[counts > 0]
        return ClassMembers(labels.argsort(stable=True), counts.cumsum(0) - counts, counts)

    def balanced(self, generator: torch.Generator) -> Tensor:
        """Draws an order with as many images of each class, as equal as N allows; within a class with replacement.

        Returns positions, int64 (N,) for N images in all. A class of a few images repeats them.
        """
        images, classes = len(self.positions), len(self.counts)
        # Whole rounds of all classes; the rest goes to classes drawn at random.
        rounds = torch.arange(images) % classes
        named = torch.randperm(classes, generator=generator)[rounds][torch.randperm(images, generator=generator)]
        within = (torch.rand(images, generator=generator, dtype=torch.float64) * self.counts[named]).long()
        return self.positions[self.starts[named] + within]
