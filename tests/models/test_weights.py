"""Weights and their header in a safetensors file."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from onecycle_cli.errors import InputError
from onecycle_cli.models import network_from
from onecycle_cli.models.weights import Header, load_weights, save_weights

MODEL: dict[str, Any] = {
    "architecture": "resnet8",
    "width": 0.25,
    "shortcut_kind": "B",
    "dropout": 0.0,
    "channels": 1,
    "classes": 2,
}
HEADER = Header(MODEL, ("cat", "größer", "\udcff", "\\xff"), 8, (0.1,), (0.2,))


def test_weights_and_header_come_back_as_they_were(tmp_path: Path) -> None:
    model = network_from(MODEL, seed=0).to(memory_format=torch.channels_last)
    save_weights(tmp_path / "m.safetensors", model.state_dict(), HEADER)
    weights, header = load_weights(tmp_path / "m.safetensors")
    assert header == HEADER
    assert weights.keys() == model.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_panic_of_safetensors_where_memory_is_short_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        """What a library in Rust raises, as pyo3 does."""

    def panic(*_: object) -> bytes:
        raise Panic("PyObject pointer is null")

    monkeypatch.setattr("onecycle_cli.models.weights.save", panic)
    with pytest.raises(MemoryError, match="safetensors got none"):
        save_weights(tmp_path / "m.safetensors", {"w": torch.ones(2)}, HEADER)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_an_older_version_has_the_resize_of_then(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_weights(path, {"w": torch.ones(2)}, replace(HEADER, resize="pad", interpolation="lanczos"))
    header = load_weights(path)[1]
    assert (header.resize, header.interpolation) == ("pad", "lanczos")
    with safe_open(path, framework="pt") as file:
        entries = {
            name: value for name, value in file.metadata().items() if name not in ("resize", "interpolation", "sha256")
        }
    save_file({"w": torch.ones(2)}, path, entries)
    assert load_weights(path)[1] == HEADER


def test_any_changed_bit_of_the_file_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_weights(path, {"w": torch.tensor([1.0, 2.0])}, HEADER)
    written = path.read_bytes()
    for at in range(len(written)):
        for bit in (0, 3, 5):
            changed = bytearray(written)
            changed[at] ^= 1 << bit
            path.write_bytes(bytes(changed))
            with suppress(InputError):
                weights, header = load_weights(path)
                assert (weights["w"].tolist(), header) == ([1.0, 2.0], HEADER)


def test_weights_that_two_layers_share_are_stored_for_each(tmp_path: Path) -> None:
    one = torch.nn.Linear(2, 2)
    model = torch.nn.Sequential(one, torch.nn.Linear(2, 2))
    model[1].weight = one.weight
    save_weights(tmp_path / "m.safetensors", model.state_dict(), HEADER)
    weights, _ = load_weights(tmp_path / "m.safetensors")
    assert torch.equal(weights["0.weight"], one.weight)
    assert torch.equal(weights["1.weight"], one.weight)


def test_weights_lie_in_a_folder_of_any_name(tmp_path: Path) -> None:
    path = tmp_path / "\udcff 中" / "m.safetensors"
    path.parent.mkdir()
    save_weights(path, {"w": torch.ones(2)}, HEADER)
    assert torch.equal(load_weights(path)[0]["w"], torch.ones(2))


def test_the_same_weights_are_the_same_file_whose_data_begins_where_it_should(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.safetensors" for number in range(5)]
    for path in paths:
        save_weights(path, network_from(MODEL, seed=0).state_dict(), HEADER)
    assert len({path.read_bytes() for path in paths}) == 1
    assert int.from_bytes(paths[0].read_bytes()[:8], "little") % 8 == 0


def test_any_safetensors_reader_sees_classes_and_normalization(tmp_path: Path) -> None:
    save_weights(tmp_path / "m.safetensors", {"w": torch.ones(2)}, HEADER)
    with safe_open(tmp_path / "m.safetensors", framework="np") as file:
        assert file.metadata()["classes"] == r'["cat", "gr\u00f6\u00dfer", "\\xff", "\\x5cxff"]'
        assert file.metadata()["mean"] == "[0.1]"
        assert file.metadata()["image_size"] == "8"


def test_what_holds_no_weights_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There are no weights"):
        load_weights(tmp_path / "nowhere.safetensors")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "empty.safetensors").touch()
    save_file({"w": torch.ones(2)}, tmp_path / "plain.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "other.safetensors", {"model": "x"})
    for name in ("text", "empty", "plain", "other"):
        with pytest.raises(InputError, match="does not hold weights that onecycle saved"):
            load_weights(tmp_path / f"{name}.safetensors")
