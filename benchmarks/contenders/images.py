"""CIFAR-10 for the peers: a folder of images, read to memory as they like them."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

MEAN, STD = (0.4914, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)


def read(folder: Path, split: str) -> tuple[list[Image.Image], torch.Tensor]:
    """All images of a split as Pillow images in memory, and their labels."""
    images, labels = [], []
    for label, name in enumerate(sorted(path.name for path in (folder / split).iterdir())):
        for file in sorted((folder / split / name).iterdir()):
            with Image.open(file) as opened:
                images.append(opened.convert("RGB").copy())
            labels.append(label)
    order = np.random.default_rng(0).permutation(len(images))
    return [images[number] for number in order], torch.tensor(labels)[torch.from_numpy(order)]


class Images(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Images in memory, flipped and cropped one by one with torchvision's transforms, as the peers' tutorials do."""

    def __init__(self, folder: Path, split: str, *, augmented: bool) -> None:
        from torchvision import transforms

        self.images, self.labels = read(folder, split)
        changes = [transforms.RandomHorizontalFlip(), transforms.RandomCrop(32, 4, padding_mode="reflect")]
        fixed = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        self.transform = transforms.Compose(changes * augmented + fixed)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[number]), int(self.labels[number])
