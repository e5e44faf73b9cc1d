"""Uses trained models: loads the model of a run, and predicts classes and probabilities."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from onecycle_cli.data.batches import Normalization
from onecycle_cli.data.decoding import decode
from onecycle_cli.data.file_decoding import CHUNK, Decode, FileDecoder, read_image
from onecycle_cli.data.folder_listing import images_below
from onecycle_cli.errors import InputError
from onecycle_cli.models import OwnCode, network_from, on_device
from onecycle_cli.models.sources.torchvision import with_torchvision_names
from onecycle_cli.models.weights import Header, load_weights
from onecycle_cli.run_dir.files import BEST_MODEL, MODEL
from onecycle_cli.run_dir.finding import file_of
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.threads import threads_beside, using_threads

BATCH_SIZE = 256
"""The number of images that a model is given at once."""


class Classifier(nn.Module):
    """A trained network with its normalization.

    It maps pixels, uint8 (N, image_size, image_size, channels), to logits, float (N, classes).

    `classes`, `image_size`, `channels`, `mean` and `std` describe the training images. `value_range` is the range of
    values that was scaled to 0 to 255 in images with more than 8 bits a channel; None if there were none. `resize` and
    `interpolation` are how an image becomes a square, as in the recipe of the training. `header` has all that the file
    of the weights says.
    """

    def __init__(self, model: nn.Module, header: Header) -> None:
        super().__init__()
        self.model = model
        self.header = header
        self.classes = header.classes
        self.image_size = header.image_size
        self.channels: int = header.model["channels"]
        self.mean = header.mean
        self.std = header.std
        self.value_range = header.value_range
        self.resize = header.resize
        self.interpolation = header.interpolation

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns logits (N, classes) of `pixels`, uint8 (N, image_size, image_size, channels), from 0 to 255."""
        device = next(self.parameters()).device
        logits: Tensor = self.model(Normalization.of(self.mean, self.std, device)(pixels))
        return logits

    def read(self, path: str | Path) -> Tensor:
        """Reads an image file as an input of this model: uint8 (image_size, image_size, channels).

        `InputError` if the file is missing or cannot be decoded.
        """
        return torch.from_numpy(read_image(Path(path), self.decoder()).copy())

    def decoder(self) -> Decode:
        """Returns the function that decodes a file to an input of this model; worker processes can be given it."""
        return partial(
            decode,
            image_size=self.image_size,
            channels=self.channels,
            value_range=self.value_range,
            resize=self.resize,
            interpolation=self.interpolation,
        )

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor, hardware: Hardware | None = None) -> Tensor:
        """Returns class probabilities, float32 (N, classes) on the CPU. `pixels` are stacked results of `read`.

        The model must be on the device of `hardware`; the default is the CPU with float32.
        """
        self.eval()
        hardware = hardware or Hardware(torch.device("cpu"), "float32")
        outputs = []
        for start in range(0, len(pixels), BATCH_SIZE):
            with hardware.autocast():
                logits = self(pixels[start : start + BATCH_SIZE])
            outputs.append(logits.float().softmax(1).cpu())
        return torch.cat(outputs)


def load_model(
    run: str | Path, *, best: bool = False, trust_code: bool = False, model: nn.Module | None = None
) -> Classifier:
    """Loads the trained model of a run of `onecycle train`, on the CPU and in evaluation mode.

    `run` is the run's folder, such as "runs/my-run", or a safetensors file of a run. `best` loads the weights with the
    best validation accuracy, which a run keeps with `runtime.save_best`. `trust_code` runs the Python code that made
    the network, if the recipe names some (`model.function`). `model` is a network of the same kind, for a run that was
    given its network in Python; it is not changed. `InputError` if the file is missing or damaged, if its network is
    code that is not trusted, or if the weights do not fit the network.
    """
    path = Path(run)
    weights, header = load_weights(file_of(path, BEST_MODEL if best else MODEL))
    source = header.model.get("source", "onecycle")
    network = network_from(header.model, seed=0, code=OwnCode(trust_code, model))
    try:
        network.load_state_dict(with_torchvision_names(weights) if source == "torchvision" else weights)
    except RuntimeError as error:
        raise InputError(
            f"The weights in {path} do not fit the network: {' '.join(str(error).split())}",
            "Use the network that the training used.",
        ) from None
    return Classifier(on_device(network, source, torch.device("cpu")), header).eval()


@dataclass(frozen=True)
class Prediction:
    """The most likely class of an image file, and its probability."""

    path: Path
    label: str
    probability: float


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read as an image, and why."""

    path: Path
    reason: str


def predict(
    model: Classifier, paths: Iterable[str | Path], hardware: Hardware
) -> Iterator[tuple[list[Prediction], list[Unreadable]]]:
    """Classifies image files in batches. Yields for each batch the predictions, in order, and the unreadable files.

    If there are many, worker processes decode the next batches meanwhile. The memory does not grow with the number of
    files.
    """
    model = model.to(hardware.device)
    threads = torch.get_num_threads() if hardware.device.type == "cpu" else 0
    decoder = FileDecoder(map(Path, paths), model.decoder(), busy_cores=threads)
    chunks = iter(decoder)
    while batch := list(islice(chunks, BATCH_SIZE // CHUNK)):
        read = [path for chunk in batch for path in chunk.read]
        answers = []
        if read:
            pixels = torch.from_numpy(np.stack([one for chunk in batch for one in chunk.pixels]))
            with using_threads(threads_beside(decoder.workers)):
                best = model.probabilities(pixels, hardware).max(1)
            found = zip(read, best.indices.tolist(), best.values.tolist(), strict=True)
            answers = [Prediction(path, model.classes[label], probability) for path, label, probability in found]
        yield answers, [Unreadable(path, reason) for chunk in batch for path, reason in chunk.unreadable]


def refusal(unreadable: Sequence[Unreadable], most: int | None = None) -> InputError:
    """Returns one error that names the unreadable files, at most `most` of them."""
    lines = [f"  {one.reason}" for one in unreadable[:most]]
    if len(lines) < len(unreadable):
        lines.append(f"  and {len(unreadable) - len(lines)} more")
    count = "One file" if len(unreadable) == 1 else f"{len(unreadable):,} files"
    return InputError(f"{count} cannot be read as images:\n" + "\n".join(lines), "Repair or leave them out.")


def image_files(paths: Iterable[str | Path]) -> list[Path]:
    """Replaces each folder in `paths` by all images below it, sorted, without hidden ones.

    A folder without images stays in the list, so that it is reported as unreadable.
    """
    files: list[Path] = []
    for path in map(Path, paths):
        files += (images_below(path) or [path]) if path.is_dir() else [path]
    return files
