"""Trained models at work: from a run to classes and probabilities."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from onecycle_cli.data.batches import Normalization
from onecycle_cli.data.decoding import decode
from onecycle_cli.engine import Hardware
from onecycle_cli.errors import InputError
from onecycle_cli.models import build_model
from onecycle_cli.run_dir.files import BEST_MODEL, MODEL
from onecycle_cli.weights import Header, load_weights

BATCH_SIZE = 256


class Classifier(nn.Module):
    """A trained network that takes pixels: uint8 (N, image_size, image_size, channels) to logits (N, classes).

    `classes`, `image_size`, `channels`, `mean`, `std` and `value_range` say what it was trained on; the last is of
    images with more than 8 bits a channel, and None where there were none.
    """

    def __init__(self, model: nn.Module, header: Header) -> None:
        super().__init__()
        self.model = model
        self.classes = header.classes
        self.image_size = header.image_size
        self.channels: int = header.model["channels"]
        self.mean = header.mean
        self.std = header.std
        self.value_range = header.value_range

    def forward(self, pixels: Tensor) -> Tensor:
        device = next(self.parameters()).device
        logits: Tensor = self.model(Normalization.of(self.mean, self.std, device)(pixels))
        return logits

    def read(self, path: Path) -> Tensor:
        """An image file as this model wants it: uint8 (image_size, image_size, channels)."""
        if not path.is_file():
            raise InputError(f"There is no image at {path}.", "Name image files.")
        try:
            return torch.from_numpy(decode(path, self.image_size, self.channels, self.value_range).copy())
        except Exception as error:  # Pillow's plugins raise anything
            raise InputError(f"{path} cannot be read as an image: {error}", "Mend the file or leave it out.") from None

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor, hardware: Hardware | None = None) -> Tensor:
        """The class probabilities of many images, float32 (N, classes), on the CPU."""
        self.eval()
        hardware = hardware or Hardware(torch.device("cpu"), "float32")
        outputs = []
        for start in range(0, len(pixels), BATCH_SIZE):
            with hardware.autocast():
                logits = self(pixels[start : start + BATCH_SIZE])
            outputs.append(logits.float().softmax(1).cpu())
        return torch.cat(outputs)


def load_model(run: str | Path, *, best: bool = False) -> Classifier:
    """The model that a run of `onecycle train` left, ready to use, on the CPU.

    `run` is the run's folder, or a safetensors file in one; `best` takes the weights with the best validation accuracy,
    where the run kept them. `InputError` where there are none.
    """
    path = Path(run)
    weights, header = load_weights(path / (BEST_MODEL if best else MODEL) if path.is_dir() else path)
    model = build_model(**header.model, seed=0)
    model.load_state_dict(weights)
    return Classifier(model.to(memory_format=torch.channels_last), header).eval()


def predict(model: Classifier, paths: Sequence[Path], hardware: Hardware) -> list[tuple[str, float]]:
    """The most likely class of each image file, and its probability."""
    if not paths:
        return []
    likely = model.to(hardware.device).probabilities(torch.stack([model.read(path) for path in paths]), hardware)
    best = likely.max(1)
    return [
        (model.classes[label], probability)
        for label, probability in zip(best.indices.tolist(), best.values.tolist(), strict=True)
    ]
