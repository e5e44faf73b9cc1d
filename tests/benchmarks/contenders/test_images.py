from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch

Module = Callable[[str], ModuleType]
ALL = ("train/cat", "train/dog", "test/cat", "test/dog")


def test_images_keep_their_labels_when_they_are_shuffled(module: Module, image_folder: Callable[..., Path]) -> None:
    images, labels = module("images").read(image_folder(*ALL, images=6), "train")
    # Cats are dark and dogs are bright.
    assert [int(image.getextrema()[0][0] >= 128) for image in images] == labels.tolist()
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6
    assert labels.tolist() != sorted(labels.tolist())


def test_an_image_is_normalized_and_cropped_for_the_peers(module: Module, image_folder: Callable[..., Path]) -> None:
    folder = image_folder(*ALL, size=(32, 32))
    for split, augmented in (("train", True), ("test", False)):
        data = module("images").Images(folder, split, augmented=augmented)
        image, label = data[0]
        assert image.shape == (3, 32, 32)
        assert image.dtype == torch.float32
        assert label in (0, 1)
        assert len(data) == 8
