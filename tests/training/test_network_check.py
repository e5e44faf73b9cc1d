"""What is told about a network that cannot be trained, in the words of its author."""

import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.errors import InputError
from onecycle_cli.models import network_from
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.network_check import Checked, call_network, check_network

CPU = Hardware(torch.device("cpu"), "float32")
IMAGES = torch.rand(2, 1, 8, 8)


class Network(nn.Module):
    """A linear layer, and what `ends` makes of its logits."""

    def __init__(self, ends: Callable[[Tensor], object] = lambda logits: logits) -> None:
        super().__init__()
        self.head, self.ends = nn.Linear(64, 3), ends

    def forward(self, x: Tensor) -> object:
        return self.ends(self.head(x.flatten(1)))


def checked(model: nn.Module, precision: str = "float32") -> Checked:
    return check_network(model, IMAGES, 3, Hardware(CPU.device, precision))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_good_network_is_left_as_it_is(precision: str) -> None:
    settings = {"architecture": "resnet8", "width": 0.25, "shortcut_kind": "B", "dropout": 0.5}
    model = network_from(settings | {"channels": 1, "classes": 3}, seed=0).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    drawn = torch.get_rng_state()
    assert checked(model, precision) == Checked()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not model.training


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        (lambda x: (x, x[:, 0]), "a tuple of a tensor of float32 (2, 3), a tensor of float32 (2,) in scoring"),
        (lambda x: {"logits": x}, "a dict with 'logits' in scoring"),
        (lambda x: x[:, :2], "a tensor of float32 (2, 2) in scoring, for 2 images and 3 classes"),
        (lambda x: x.sum(), "a tensor of float32 () in scoring"),
        (lambda x: x.argmax(1, keepdim=True).expand(2, 3), "a tensor of int64 (2, 3)"),
        (lambda _: None, "a NoneType in scoring"),
    ],
)
def test_what_it_returned_and_what_it_must_return_are_told(ends: Callable, told: str) -> None:
    with pytest.raises(InputError) as caught:
        checked(Network(ends))
    assert told in caught.value.what
    assert "one tensor of floats (2, 3)" in caught.value.fix


def test_a_network_that_returns_something_else_in_training_alone_is_found_as_well() -> None:
    class Auxiliary(Network):
        def forward(self, x: Tensor) -> object:
            logits = super().forward(x)
            return (logits, logits) if self.training else logits

    with pytest.raises(InputError, match="in training"):
        checked(Auxiliary())


def test_an_error_is_told_with_its_place_in_the_file_of_the_author() -> None:
    class Failing(Network):
        def forward(self, x: Tensor) -> object:
            return super().forward(x.transpose(1, 5))

    with pytest.raises(InputError) as caught:
        checked(Failing())
    line = Failing.forward.__code__.co_firstlineno + 1
    assert f"The network raised IndexError in {__file__}, line {line}, in forward: Dimension out of range" in (
        caught.value.what
    )
    assert "float32 (2, 1, 8, 8), on cpu" in caught.value.fix


def test_an_error_in_a_layer_of_torch_is_told_with_the_place_that_called_it() -> None:
    with pytest.raises(InputError, match=r"RuntimeError in .*_check.py, line \d+, in forward: mat1 and mat2"):
        call_network(Network(), torch.zeros(2, 1, 4, 4))


def test_an_error_in_a_network_of_an_installed_package_is_told_with_its_place_there() -> None:
    import timm

    model = timm.create_model("vit_tiny_patch16_224", num_classes=3, in_chans=1, depth=1)
    with pytest.raises(InputError, match=r"AssertionError in .*timm.*: Input height \(8\) doesn't match"):
        checked(model)


def test_an_error_in_our_own_networks_is_a_bug_and_stays_as_it_is() -> None:
    settings = {"architecture": "resnet8", "width": 0.25, "shortcut_kind": "B", "dropout": 0.0}
    model = network_from(settings | {"channels": 3, "classes": 3}, seed=0)
    with pytest.raises(RuntimeError, match="to have 3 channels"):
        call_network(model, IMAGES)


def test_a_lack_of_memory_is_left_to_the_first_step() -> None:
    def no_memory(_: Tensor) -> object:
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert checked(Network(no_memory)) == Checked()
    with pytest.raises(torch.OutOfMemoryError):
        call_network(Network(no_memory), IMAGES)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (nn.Flatten(), "no parameters to train"),
        (Network().requires_grad_(False), "no parameters to train"),
        (nn.Sequential(nn.Flatten(), nn.LazyLinear(3)), "no size before their first call: 1.weight, 1.bias"),
        (Network().double(), r"not float32: head.weight \(torch.float64\), head.bias"),
        (Network(lambda x: x.detach()), "do not depend on its parameters"),
    ],
    ids=["none", "frozen", "lazy", "double", "detached"],
)
def test_parameters_that_cannot_be_trained_are_told(model: nn.Module, told: str) -> None:
    with pytest.raises(InputError, match=told):
        checked(model)


def test_a_gradient_that_cannot_be_computed_is_told() -> None:
    def spoiled(logits: Tensor) -> Tensor:
        result = logits.exp()
        result += 1
        return result

    with pytest.raises(InputError, match="cannot be computed: one of the variables needed for gradient"):
        checked(Network(spoiled))


def test_sparse_gradients_are_told() -> None:
    class Looked(Network):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(4, 3, sparse=True)

        def forward(self, x: Tensor) -> object:
            return super().forward(x) + self.table(torch.zeros(len(x), dtype=torch.int64))

    with pytest.raises(InputError, match=r"sparse gradients: table.weight"):
        checked(Looked())


def test_parameters_without_a_part_in_the_loss_are_noted_but_not_those_that_the_author_excluded() -> None:
    model = Network()
    model.extra, model.constant = nn.Linear(2, 2), nn.Parameter(torch.ones(1), requires_grad=False)
    found = checked(model)
    assert found.unused == ("extra.weight", "extra.bias")
    assert "not trained and do not decay: extra.weight, extra.bias." in found.notes[0]


def test_of_many_names_five_are_listed() -> None:
    note = Checked(tuple(f"layer{n}" for n in range(8))).notes[0]
    assert note.endswith("layer0, layer1, layer2, layer3, layer4 and 3 more.")


def test_numbers_drawn_from_python_are_noted() -> None:
    found = checked(Network(lambda logits: logits * random.random()))
    assert found.draws_outside_torch
    assert "Python or NumPy" in found.notes[0]
    assert checked(Network(F.dropout)) == Checked()
