"""Replaying a function of tensors as a CUDA graph.

On a GPU the networks of this house are bound by the launches of their kernels, some thousands a step, and a graph
launches them all at once. Of the ways to let lr and momentum move under a graph (scalars on the device in foreach
updates; an eager update after a captured backward pass; torch.compile) the first is taken: nothing stays eager, and
nothing is compiled, which takes longer than a whole range test. Not measured yet.
"""

import gc
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]
Record = Callable[[tuple[Tensor, ...]], tuple[Callable[[], None], tuple[Tensor, ...]]]
"""Records one call on given inputs: gives what replays it, and the outputs that a replay fills."""

WARM_UP = 3
"""Calls with inputs of one shape before they are recorded: the first ones choose kernels and allocate workspaces."""


class _Recording(NamedTuple):
    inputs: tuple[Tensor, ...]
    replay: Callable[[], None]
    outputs: tuple[Tensor, ...]


class Replayed:
    """A function of tensors that runs as it is at first, and is then recorded once for each shape of its first input.

    The function may change other tensors (weights, statistics, moments) in place; their addresses must stay. Where
    recording fails, or recordings leave no memory for a call of another shape, `report` is told, and the function goes
    on as it is.
    """

    def __init__(self, function: Function, record: Record, report: Callable[[str], None]) -> None:
        self._function, self._record, self._report = function, record, report
        self._calls: dict[torch.Size, int] = {}
        self._recordings: dict[torch.Size, _Recording] = {}
        self._impossible = False

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        shape = inputs[0].shape
        calls = self._calls[shape] = self._calls.get(shape, 0) + 1
        if calls > WARM_UP and shape not in self._recordings and not self._impossible:
            self._try_to_record(inputs)
        if shape not in self._recordings:
            return self._as_it_is(inputs)
        recording = self._recordings[shape]
        for kept, given in zip(recording.inputs, inputs, strict=True):
            kept.copy_(given)
        recording.replay()
        # The next replay writes to the same places.
        return tuple(output.clone() for output in recording.outputs)

    def _as_it_is(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        try:
            return self._function(*inputs)
        except torch.OutOfMemoryError:
            if not self._recordings:
                raise
        # The recordings hold as much memory as a call of theirs needs, and nothing else can use it.
        self._give_up("their memory is needed")
        torch.cuda.empty_cache()
        return self._function(*inputs)

    def _give_up(self, why: str) -> None:
        # All of them: a graph that goes takes the workspace of its stream with it, which the others use (pytorch issue
        # 193402).
        self._recordings.clear()
        self._impossible = True
        self._report(f"There are no CUDA graphs from here on, so steps are slower: {why}.")

    def _try_to_record(self, inputs: tuple[Tensor, ...]) -> None:
        gc.collect()  # a graph that dies while another is recorded may spoil it
        kept = tuple(given.clone() for given in inputs)
        try:
            self._recordings[inputs[0].shape] = _Recording(kept, *self._record(kept))
        except RuntimeError as error:
            self._give_up(str(error).splitlines()[0])


def replayed(function: Function, device: torch.device, report: Callable[[str], None]) -> Function:
    """`function`, replayed on a CUDA device and as it is on any other.

    It runs and is recorded on one stream of its own: libraries keep a workspace for each stream, and would have to make
    a new one while they are recorded, which is not allowed (pytorch pull request 187745). All recordings share one pool
    of memory, since they are replayed one at a time and their outputs are copied.
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

    return Replayed(run, record, report)
