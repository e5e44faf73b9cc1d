"""Replay of a function of tensors as a CUDA graph.

On a GPU, kernel launches limit the speed of these networks: some thousands per step. A graph launches them all at once.
There are three ways to change lr and momentum under a graph: scalars on the device with foreach updates, an eager
update after a recorded backward pass, and torch.compile. The first is used: no part stays eager, and nothing is
compiled, which takes longer than a whole range test. Not measured yet.
"""

import gc
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from onecycle_cli.errors import InputError

Function = Callable[..., tuple[Tensor, ...]]
Record = Callable[[tuple[Tensor, ...]], tuple[Callable[[], None], tuple[Tensor, ...]]]
"""A function that records one call on given inputs; returns a replay function and the outputs that it fills."""

WARM_UP = 3
"""The number of eager calls per shape before recording: the first calls choose kernels and allocate workspaces."""

CHANGES = "the network changes its Python state in each call, which no graph repeats"


class _Recording(NamedTuple):
    inputs: tuple[Tensor, ...]
    replay: Callable[[], None]
    outputs: tuple[Tensor, ...]


class Replayed:
    """A function of tensors that runs eagerly at first, and is then recorded once per shape of its first input.

    The function may change other tensors (weights, statistics, moments) in place; their addresses must not change. If
    recording fails, or the recordings leave no memory for a call of another shape, `report` gets a message and the
    function runs eagerly from then on. So it does if a call changes `unseen`, the state that a replay does not change.
    The first call of each shape may, because it fills caches.
    """

    def __init__(
        self,
        function: Function,
        record: Record,
        report: Callable[[str], None],
        unseen: Callable[[], object] = lambda: None,
    ) -> None:
        self._function, self._record, self._report, self._unseen = function, record, report, unseen
        self._calls: dict[torch.Size, int] = {}
        self._recordings: dict[torch.Size, _Recording] = {}
        self._impossible = False

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shape = inputs[0].shape
        calls = self._calls[shape] = self._calls.get(shape, 0) + 1
        if calls > WARM_UP and shape not in self._recordings and not self._impossible:
            self._try_to_record(inputs)
        if shape not in self._recordings:
            return self._watched(inputs) if 1 < calls <= WARM_UP else self._run_eagerly(inputs)
        recording = self._recordings[shape]
        for kept, given in zip(recording.inputs, inputs, strict=True):
            kept.copy_(given)
        recording.replay()
        # Copies, because the next replay writes to the same memory.
        return tuple(output.clone() for output in recording.outputs)

    def _watched(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        before = self._unseen()
        outputs = self._run_eagerly(inputs)
        if not self._impossible and self._unseen() != before:
            self._stop_recording(CHANGES)
        return outputs

    def _run_eagerly(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        try:
            return self._function(*inputs)
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
        # Each recording holds the memory of a call of its shape, and nothing else can use that memory.
        self._stop_recording("their memory is needed")
        torch.cuda.empty_cache()
        return self._function(*inputs)

    def _stop_recording(self, why: str) -> None:
        # All graphs: deleting one frees the workspace of its stream, which the others use (pytorch issue 193402).
        self._recordings.clear()
        self._impossible = True
        self._report(f"CUDA graphs are off from here on, so steps are slower: {why}.")

    def _try_to_record(self, inputs: tuple[Tensor, ...]) -> None:
        gc.collect()  # a graph that is deleted during a recording may break the recording
        kept = tuple(given.clone() for given in inputs)
        before = self._unseen()
        try:
            self._recordings[inputs[0].shape] = _Recording(kept, *self._record(kept))
        except Exception as error:  # a network may answer an error of CUDA with one of any other kind
            self._stop_recording(_reason(error))
            return
        if self._unseen() != before:
            self._stop_recording(CHANGES)


def _reason(error: BaseException) -> str:
    """Returns the first line of the error that ended a recording.

    Ending a broken recording raises another error. The first one says more, and where a network raised it.
    """
    while error.__context__ is not None and not isinstance(error, InputError):
        error = error.__context__
    said = error.what if isinstance(error, InputError) else str(error)
    return (said.splitlines() or [type(error).__name__])[0].rstrip(".")


def replayed(
    function: Function,
    device: torch.device,
    report: Callable[[str], None],
    unseen: Callable[[], object] = lambda: None,
) -> Function:
    """Returns `function` as a `Replayed` on a CUDA device, and unchanged on other devices.

    Eager calls and recordings use one separate stream: libraries keep a workspace per stream, and on a new stream they
    would allocate one during recording, which is not allowed (pytorch pull request 187745). All recordings share one
    memory pool, because they are replayed one at a time and their outputs are copied.
    """
    if device.type != "cuda":
        return function
    stream, pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            outputs = function(*inputs)
        torch.cuda.current_stream(device).wait_stream(stream)
        return outputs

    def record(inputs: tuple[Tensor, ...]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=stream):
            outputs = function(*inputs)
        return graph.replay, outputs

    return Replayed(run, record, report, unseen)
