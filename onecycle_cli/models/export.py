"""Trained networks as files for other programs: ONNX, torch.export, TorchScript, safetensors; written and read back."""

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from onecycle_cli.errors import InputError, is_out_of_memory, missing_packages
from onecycle_cli.models.weights import as_bytes, as_stored, from_bytes

ENTRY = "onecycle.json"
"""The name of the JSON object with the metadata inside a file of torch.export or TorchScript."""

EXAMPLES = 2
"""The number of images in the batch that a network is traced with: torch.export takes a batch of 1 for a constant."""

Metadata = Mapping[str, Any]
Logits = Callable[[Tensor], Tensor]
"""A network that was read back: maps a batch, float32 (N, channels, height, width), to logits, float32 (N, classes)."""


class Normalized(nn.Module):
    """A network with its normalization: maps images, float32 (N, channels, height, width), from 0 to 1, to logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


@dataclass(frozen=True)
class Format:
    """A format of exported networks.

    `written` takes a network in evaluation mode, an example batch and the metadata, and returns the bytes of a file.
    `read` takes such bytes and a network of the same kind, and returns the network in the file; only a format without a
    graph uses the other one. `has_graph` is False if a file has the weights alone. `ending` is of file names. `needs`
    names the packages of the extra `export` that it is written and read with.
    """

    name: str
    ending: str
    has_graph: bool
    written: Callable[[nn.Module, Tensor, Metadata], bytes]
    read: Callable[[bytes, nn.Module], Logits]
    needs: tuple[str, ...] = ()

    def must_be_installed(self) -> None:
        """Raises `MachineError` if a package that the format needs is missing."""
        missing = [name for name in self.needs if find_spec(name) is None]
        if missing:
            raise missing_packages(f"The format {self.name}", _listed(missing), "export")


def written(network: nn.Module, shape: tuple[int, int, int], metadata: Metadata, form: Format) -> bytes:
    """Returns the bytes of a file with a copy of `network`, in evaluation mode on the CPU, and with the metadata.

    `shape` is (channels, height, width) of an image; the number of images in a batch stays free. `InputError` when the
    format cannot express the network.
    """
    network = copy.deepcopy(network).cpu().eval().to(memory_format=torch.contiguous_format)
    with _quiet(), _refused("The network cannot be exported as", form), torch.no_grad():
        return form.written(network, torch.zeros(EXAMPLES, *shape), metadata)


def read_back(file: bytes, network: nn.Module, form: Format) -> Logits:
    """Reads an exported file, and returns the network in it. `network` is one of the same kind; it does not change.

    `InputError` when the file cannot be read; also, when the network is called, if it cannot be run.
    """
    with _quiet(), _refused("The exported network cannot be read back as", form):
        loaded = form.read(file, network)

    def logits(images: Tensor) -> Tensor:
        with _quiet(), _refused(f"The exported network does not take a batch of {len(images)} as", form):
            answers = loaded(images)
            if len(answers) != len(images):
                raise ValueError(f"it gives {len(answers)} answers")
            return answers

    return logits


@contextmanager
def _refused(what: str, form: Format) -> Iterator[None]:
    """Turns an error of an exporter or of a reader, which may be of any kind, into an `InputError`."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or is_out_of_memory(error):
            raise
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        fix = "Try another --format; safetensors, which has weights alone, takes every network."
        raise InputError(f"{what} {form.name}: {why}", fix) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps warnings and log lines of the exporters, which are about their own code, off the screen."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _onnx(network: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        dynamic_shapes=(batch,),
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    model = program.model_proto
    # The exporter describes each node with lines of this machine's Python files.
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            del node.metadata_props[:]
    del model.metadata_props[:]
    for key, value in _json_texts(metadata).items():
        model.metadata_props.add(key=key, value=value)
    return bytes(model.SerializeToString())


def _read_onnx(file: bytes, _: nn.Module) -> Logits:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _torch_export(network: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # lines of this machine's Python files
    file = BytesIO()
    torch.export.save(program, file, extra_files={ENTRY: json.dumps(metadata)})
    return file.getvalue()


def _read_torch_export(file: bytes, _: nn.Module) -> Logits:
    return torch.export.load(BytesIO(file)).module()


def _torchscript(network: nn.Module, example: Tensor, metadata: Metadata) -> bytes:
    traced = torch.jit.trace(network, example, check_trace=False)  # the file is checked on images
    file = BytesIO()
    torch.jit.save(traced, file, _extra_files={ENTRY: json.dumps(metadata)})
    return file.getvalue()


def _read_torchscript(file: bytes, _: nn.Module) -> Logits:
    loaded: Logits = torch.jit.load(BytesIO(file))
    return loaded


def _safetensors(network: nn.Module, _: Tensor, metadata: Metadata) -> bytes:
    return as_bytes(as_stored(network.state_dict()), _json_texts(metadata))


def _read_safetensors(file: bytes, network: nn.Module) -> Logits:
    weights, _ = from_bytes(file)
    loaded = copy.deepcopy(network).cpu().eval()
    loaded.load_state_dict(weights)  # an error where the file lacks a tensor
    return loaded


FORMATS = {
    form.name: form
    for form in (
        Format("onnx", ".onnx", True, _onnx, _read_onnx, ("onnx", "onnxruntime", "onnxscript")),
        Format("torch-export", ".pt2", True, _torch_export, _read_torch_export),
        Format("torchscript", ".torchscript", True, _torchscript, _read_torchscript),
        Format("safetensors", ".safetensors", False, _safetensors, _read_safetensors),
    )
}
"""The formats by name."""


def _json_texts(metadata: Metadata) -> dict[str, str]:
    """Returns the metadata for a file whose entries are texts: each value as JSON."""
    return {name: json.dumps(value) for name, value in metadata.items()}


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
