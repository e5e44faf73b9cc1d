"""Recording and replaying, with a recorder that needs no GPU: a replay computes anew on the recorded inputs."""

from collections.abc import Callable
from typing import NoReturn

import pytest
import torch
from torch import Tensor

from onecycle_cli.errors import InputError
from onecycle_cli.training.cuda_graphs import CHANGES, WARM_UP, Replayed, replayed


class Accumulator:
    """A function with a state, as a step has: gives the sum of all it has seen, by its first input's place."""

    def __init__(self) -> None:
        self.total = torch.zeros(())
        self.runs = 0

    def __call__(self, values: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
        self.runs += 1
        self.total += (values * factor).sum()
        return (self.total,)


def recorder(function: Callable) -> Callable:
    """As CUDA graphs do: recording computes nothing, a replay reads and writes the recorded places."""

    def record(inputs: tuple[Tensor, ...]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        outputs = (torch.full((), torch.nan),)

        def replay() -> None:
            outputs[0].copy_(function(*inputs)[0])

        return replay, outputs

    return record


def test_from_the_first_call_to_the_last_replay_every_result_is_right_and_stays() -> None:
    function = Accumulator()
    fast = Replayed(function, recorder(function), pytest.fail)
    results, expected, total = [], [], 0.0
    for number in range(12):
        # Two shapes in turn, as the whole batches of an epoch and its short last one.
        values, factor = torch.full((4 if number % 3 else 2,), float(number)), torch.tensor(0.5)
        results.append(fast(values, factor)[0])
        total += float((values * 0.5).sum())
        expected.append(total)
    # A result of the function itself is its running total; replays give copies.
    assert [float(result) for result in results[-2:]] == expected[-2:]
    assert float(function.total) == expected[-1]


def test_each_shape_is_recorded_once_after_its_warm_up() -> None:
    recorded: list[torch.Size] = []

    function = Accumulator()

    def counting(inputs: tuple[Tensor, ...]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        recorded.append(inputs[0].shape)
        return recorder(function)(inputs)

    fast = Replayed(function, counting, pytest.fail)
    for _ in range(WARM_UP):
        fast(torch.ones(4), torch.ones(()))
    assert recorded == []
    for size in (4, 4, *[2] * (WARM_UP + 2), 4):
        fast(torch.ones(size), torch.ones(()))
    assert recorded == [torch.Size([4]), torch.Size([2])]


def test_where_recording_fails_it_goes_on_as_it_is_and_says_why_once() -> None:
    def failing(*_: object) -> NoReturn:
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    told: list[str] = []
    function = Accumulator()
    fast = Replayed(function, failing, told.append)
    for _ in range(10):
        result = fast(torch.ones(4), torch.ones(()))
    assert float(result[0]) == 40
    assert function.runs == 10
    why = "operation not permitted when stream is capturing"
    assert told == [f"CUDA graphs are off from here on, so steps are slower: {why}."]


@pytest.mark.parametrize("error", [KeyError("logits"), AssertionError(), ValueError("first\nmore")], ids=repr)
def test_an_error_of_any_kind_ends_the_recording_and_not_the_run(error: Exception) -> None:
    def failing(*_: object) -> NoReturn:
        raise error

    told: list[str] = []
    fast = Replayed(Accumulator(), failing, told.append)
    for _ in range(10):
        result = fast(torch.ones(4), torch.ones(()))
    assert float(result[0]) == 40
    (note,) = told
    assert note.endswith((": 'logits'.", ": AssertionError.", ": first."))


def test_the_first_error_of_a_recording_is_told_and_not_that_of_its_end() -> None:
    def failing(*_: object) -> NoReturn:
        try:
            try:
                raise RuntimeError("operation not permitted when stream is capturing")
            except RuntimeError as error:
                raise InputError("The network raised RuntimeError in net.py, line 3.", "Correct it there.") from error
        finally:
            raise RuntimeError("operation failed due to a previous error during capture")

    told: list[str] = []
    fast = Replayed(Accumulator(), failing, told.append)
    for _ in range(WARM_UP + 1):
        fast(torch.ones(4), torch.ones(()))
    assert told[0].endswith("steps are slower: The network raised RuntimeError in net.py, line 3.")


@pytest.mark.parametrize("changes_at", [[2], [3], [4]], ids=["second call", "third call", "recording"])
def test_a_function_that_changes_what_a_replay_does_not_runs_eagerly(changes_at: list[int]) -> None:
    function, told = Accumulator(), list[str]()

    def record(inputs: tuple[Tensor, ...]) -> tuple[Callable[[], None], tuple[Tensor, ...]]:
        function.runs += 1  # a recording runs the function, whose tensors keep their values
        return recorder(function)(inputs)

    fast = Replayed(function, record, told.append, lambda: sum(function.runs >= at for at in changes_at))
    for _ in range(10):
        result = fast(torch.ones(4), torch.ones(()))
    assert float(result[0]) == 40
    assert told == [f"CUDA graphs are off from here on, so steps are slower: {CHANGES}."]


def test_what_the_first_call_of_a_shape_fills_is_no_change() -> None:
    function = Accumulator()
    fast = Replayed(function, recorder(function), pytest.fail, lambda: function.runs > 0)
    for _ in range(10):
        result = fast(torch.ones(4), torch.ones(()))
    assert float(result[0]) == 40


def test_recordings_make_room_for_a_call_that_finds_no_memory() -> None:
    class Large(Accumulator):
        full = True

        def __call__(self, values: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
            if len(values) == 2 and self.full:
                self.full = False
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().__call__(values, factor)

    told: list[str] = []
    function = Large()
    fast = Replayed(function, recorder(function), told.append)
    for size in (*[4] * 6, 2, 4):
        result = fast(torch.ones(size), torch.ones(()))
    assert float(result[0]) == 30
    assert told == ["CUDA graphs are off from here on, so steps are slower: their memory is needed."]
    alone = Large()
    with pytest.raises(torch.OutOfMemoryError):
        Replayed(alone, recorder(alone), pytest.fail)(torch.ones(2), torch.ones(()))


def test_on_a_cpu_a_function_is_left_as_it_is() -> None:
    function = Accumulator()
    assert replayed(function, torch.device("cpu"), pytest.fail) is function


@pytest.mark.gpu
def test_on_a_gpu_a_graph_reads_its_inputs_anew_and_changes_what_the_function_changes() -> None:
    total = torch.zeros((), device="cuda")

    def add(values: Tensor) -> tuple[Tensor, ...]:
        total.add_(values.sum())
        return (total.clone(),)

    fast = replayed(add, torch.device("cuda"), pytest.fail)
    results = [float(fast(torch.full((3,), float(number), device="cuda"))[0]) for number in range(10)]
    assert results == [3.0 * sum(range(number + 1)) for number in range(10)]
