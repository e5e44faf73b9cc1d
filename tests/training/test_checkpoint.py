"""A checkpoint's file: every bit comes back, and a byte that changed is seen."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.training.checkpoint import read_checkpoint, write_checkpoint

TENSORS = {
    "weight": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "count": torch.tensor(7),
    "nothing": torch.zeros(0, 3),
}
VALUES = {"step": 3, "sums": {"loss": 0.1 + 0.2}, "epochs": []}


def test_every_bit_comes_back(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "c", TENSORS, VALUES)
    tensors, values = read_checkpoint(tmp_path / "c")
    assert values == VALUES
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert all(tensors[name].dtype == tensor.dtype for name, tensor in TENSORS.items())


def test_the_same_values_make_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_checkpoint(tmp_path / name, TENSORS, VALUES)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "c"
    write_checkpoint(path, TENSORS, VALUES)
    return path.read_bytes()


@given(data=st.data())
def test_no_changed_byte_and_no_cut_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, written: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged"
    at = data.draw(st.integers(0, len(written) - 1))
    changed = bytes([written[at] ^ data.draw(st.integers(1, 255))])
    cut = data.draw(st.booleans())
    path.write_bytes(written[:at] if cut else written[:at] + changed + written[at + 1 :])
    try:
        tensors, values = read_checkpoint(path)
    except InputError:
        return
    # A byte that changed nothing: a blank of the header's end.
    assert values == VALUES
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_a_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "c")
    with pytest.raises(InputError, match="is damaged"):
        read_checkpoint(tmp_path / "c")
