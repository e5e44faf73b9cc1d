"""No step and no score looks at a value: on torch's device `meta`, which has none, `.item()` and the like raise errors.

So a CUDA graph can record them. `Watch` sees what `meta` lets pass. To test another network, add a function that builds
it to `NETWORKS`; it gets images of 3x32x32 pixels of ten classes.
Whole recipes: tests/experiments/test_recipes_on_meta.py.
"""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Normalization, TrainBatches
from onecycle_cli.models import network_from
from onecycle_cli.recipe.model_fields import OnecycleModelSettings
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.optimizers import Sgd, build_optimizer
from onecycle_cli.training.trainer import Trainer
from onecycle_cli.training.weight_average import WeightAverage

META = Hardware(torch.device("meta"), "float32")
CPU = Hardware(torch.device("cpu"), "bfloat16")
CLASSES = 10

LOOKS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "bincount", "is_nonzero"}
"""Operations of torch whose result, or the size of it, has to come to the host."""


class Watch(TorchDispatchMode):
    """Refuses what makes a GPU wait, also where the device `meta` lets it pass.

    That is each of `LOOKS`; an index that is a mask; and, on another device than the CPU, a tensor of the host, which
    would have to be copied. A number of the host may take part, because it is an argument of a kernel.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        masks = [one for one in tree_leaves(args[1:2]) if isinstance(one, Tensor) and one.dtype == torch.bool]
        made = name == "lift_fresh"  # torch.tensor()
        of_host = made or any(one.device != self._device and (one.ndim or "copy" in name) for one in tensors)
        assert name not in LOOKS, f"{func} looks at a value"
        assert not (masks and name in ("index", "index_put", "index_put_")), f"{func} counts the values of a mask"
        assert not of_host, f"{func} takes numbers of the host"
        return func(*args, **(kwargs or {}))


def ours(architecture: str, **more: Any) -> Callable[[], nn.Module]:
    settings: dict[str, Any] = {"architecture": architecture, "width": 0.25, "shortcut_kind": "B", "dropout": 0.2}
    return lambda: network_from(settings | {"channels": 3, "classes": CLASSES} | more, seed=0)


def of_torchvision(architecture: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        with torch.device("meta"):  # their millions of weights take a second to draw
            return ours(architecture, source="torchvision")()

    return build


def of_timm(architecture: str) -> Callable[[], nn.Module]:
    settings = {"source": "timm", "architecture": architecture, "dropout": 0.1, "drop_path": 0.1, "image_size": 32}
    return lambda: network_from(settings | {"channels": 3, "classes": CLASSES}, seed=0)


class Transformer(nn.Module):
    """A transformer of one layer over rows of pixels, with attention, layer norm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.pos_embed = nn.Linear(96, 16), nn.Parameter(torch.zeros(32, 16))
        self.layer = nn.TransformerEncoderLayer(16, nhead=2, dim_feedforward=32, batch_first=True)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x.transpose(1, 2).flatten(2)) + self.pos_embed).mean(1))


class Mixed(nn.Sequential):
    """Group norm, instance norm and dropout of channels."""

    def __init__(self) -> None:
        norms = nn.GroupNorm(2, 8), nn.InstanceNorm2d(8, affine=True), nn.Dropout2d(0.1)
        super().__init__(nn.Conv2d(3, 8, 3), *norms, nn.ReLU(), nn.AvgPool2d(30), nn.Flatten(), nn.Linear(8, CLASSES))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet8": ours("resnet8"),
    "resnet8, shortcut A": ours("resnet8", shortcut_kind="A"),
    "resnet9": ours("resnet9"),
    "cnn": ours("cnn"),
    "cnn with group norm": ours("cnn", norm="group"),
    "resnet8 without norm": ours("resnet8", norm="none"),
    "torchvision resnet18": of_torchvision("resnet18"),
    "timm resnet": of_timm("test_resnet"),
    "timm vit": of_timm("test_vit"),
    "timm convnext": of_timm("test_convnext"),
    "timm efficientnet": of_timm("test_efficientnet"),
    "timm without batch norm": of_timm("test_nfnet"),
    "timm with regions": of_timm("test_byobnet"),
    "transformer": Transformer,
    "mixed norms": Mixed,
}

MORE_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    **{name: ours(name) for name in ("resnet18", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110")},
    "torchvision mobilenet": of_torchvision("mobilenet_v3_small"),
    "timm vit with relative positions": of_timm("test_vit_relpos"),
}
"""Those that are slow, most of them because they are deep: more of the same blocks."""

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "nesterov": True, "max_grad_norm": None},
    "adamw": {"name": "adamw", "nesterov": False, "max_grad_norm": 1.0},
}


def trainer(model: nn.Module, optimizer: str, *, all_on: bool, hardware: Hardware = META) -> Trainer:
    device = hardware.device
    model = model.to(device).to(memory_format=torch.channels_last)
    images = torch.zeros(50, 32, 32, 3, dtype=torch.uint8, device=device)
    labels = torch.zeros(50, dtype=torch.int64, device=device)
    normalization = Normalization.of((0.5,) * 3, (0.25,) * 3, device)
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=4)
    # 50 images: batches of 16, and a last one of 2, which is not split.
    source = TrainBatches(images, labels, normalization, augmentation, 16, drop_last=False, seed=0)
    common = {"weight_decay": 1e-2, "decay_norm_and_bias": not all_on, "beta2": 0.99, "eps": 1e-8}
    ratios = {name: 0.1 if all_on and "head" not in name else 1.0 for name, _ in model.named_parameters()}
    built = build_optimizer(model, SimpleNamespace(**common, **OPTIMIZERS[optimizer]), lr_ratios=ratios)
    more: dict[str, Any] = {}
    if all_on:
        more = {"label_smoothing": 0.1, "class_weights": torch.ones(CLASSES, device=device), "accumulate": 2}
    return Trainer(model, built, source, **({"label_smoothing": 0.0} | more), hardware=hardware, report=pytest.fail)


def take(one: Trainer, average: WeightAverage, step: int) -> tuple[Tensor, ...]:
    """The part of a step that a CUDA graph records, and what comes before and after it on the device."""
    drawn = next(one.batches.drawn(step))
    with Watch(one.hardware.device):
        one.optimizer.set(0.1, 0.9)
        results = one._take(*drawn)
        average.update()
    return results


CASES = [(network, "adamw") for network in NETWORKS] + [("resnet8", "sgd"), ("transformer", "sgd")]
"""adamw has everything on, and sgd nothing; what one network shows of the two holds for all."""


@pytest.mark.parametrize(("network", "optimizer"), CASES)
def test_a_step_and_its_score_do_not_look_at_the_device(network: str, optimizer: str) -> None:
    one = trainer(NETWORKS[network](), optimizer, all_on=optimizer == "adamw")
    average = WeightAverage(one.model, 0.999)
    for step in (2, 3) if network in ("resnet8", "transformer") else (3,):  # the last whole batch, and the small one
        results = take(one, average, step)
        assert all(result.is_meta and result.shape == () for result in results)
    one.model.eval()
    with Watch(META.device):
        loss, by_class, in_top_5 = one._scored(one.batches.images[:8], one.batches.labels[:8])
    assert (loss.shape, by_class.shape, in_top_5.shape) == ((), (3, CLASSES), ())


@pytest.mark.slow
@pytest.mark.parametrize("network", MORE_NETWORKS)
def test_nor_do_those_of_a_slow_network(network: str) -> None:
    one = trainer(MORE_NETWORKS[network](), "adamw", all_on=True)
    assert all(result.is_meta for result in take(one, WeightAverage(one.model, 0.999), 2))


@pytest.mark.parametrize("network", ["resnet8", "transformer", "mixed norms"])
def test_a_step_in_bfloat16_does_not_look_either(network: str) -> None:
    # There is no autocast on `meta`, so this one computes.
    one = trainer(NETWORKS[network](), "adamw", all_on=True, hardware=CPU)
    seen = set()
    one.model.register_forward_hook(lambda *called: seen.add(called[2].dtype))
    loss, weight, _ = take(one, WeightAverage(one.model, 0.999), 2)
    assert (loss.dtype, float(weight), seen) == (torch.float32, 16.0, {torch.bfloat16})


def test_every_architecture_of_ours_takes_a_step() -> None:
    known = get_args(OnecycleModelSettings.model_fields["architecture"].annotation)
    assert {*known} <= NETWORKS.keys() | MORE_NETWORKS.keys()


class Looking(Mixed):
    """A network that looks at a value."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.mean() > 0 else -x)


class ByMask(Mixed):
    """A network that counts the values of a mask, which `meta` lets pass."""

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        logits[logits > 10] = logits
        return logits


class FromHost(Mixed):
    """A network that copies numbers from the host, which `meta` lets pass."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * torch.tensor([1.0, 2.0, 3.0]).to(x.device)[:, None, None])


class LooksAtGradients(Sgd):
    """An optimizer that looks at a gradient."""

    def _update(self, gradients: list[Tensor | None]) -> None:
        if all(float(one.norm()) < 1e9 for one in gradients if one is not None):
            super()._update(gradients)


@pytest.mark.parametrize("hardware", [META, CPU], ids=["meta", "bfloat16"])
@pytest.mark.parametrize(("network", "says"), [(Looking, "looks"), (ByMask, "mask"), (FromHost, "of the host")])
def test_a_network_that_looks_at_a_value_is_caught(network: type[nn.Module], says: str, hardware: Hardware) -> None:
    one = trainer(network(), "sgd", all_on=False, hardware=hardware)
    with pytest.raises(Exception, match=says):
        take(one, WeightAverage(one.model, 0.9), 0)


@pytest.mark.parametrize("hardware", [META, CPU], ids=["meta", "bfloat16"])
def test_an_optimizer_that_looks_at_a_gradient_is_caught(hardware: Hardware) -> None:
    one = trainer(Mixed(), "sgd", all_on=False, hardware=hardware)
    options: dict[str, Any] = {"weight_decay": 0.0, "decay_norm_and_bias": True, "nesterov": False}
    one.optimizer = LooksAtGradients(one.model, **options)
    with pytest.raises(AssertionError, match="looks at a value"):
        take(one, WeightAverage(one.model, 0.9), 0)
