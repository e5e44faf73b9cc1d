"""No step and no score looks at a value: on torch's device `meta`, which has none, `.item()` and the like raise errors.

So a CUDA graph can record them. To test another network, add a function that builds it to `NETWORKS`; it gets images of
3x32x32 pixels of ten classes.
"""

from collections.abc import Callable
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Normalization, TrainBatches
from onecycle_cli.models import network_from
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.trainer import Trainer
from onecycle_cli.training.weight_average import WeightAverage

META = Hardware(torch.device("meta"), "float32")
CLASSES = 10


def ours(architecture: str, **more: Any) -> Callable[[], nn.Module]:
    settings: dict[str, Any] = {"architecture": architecture, "width": 0.25, "shortcut_kind": "B", "dropout": 0.2}
    return lambda: network_from(settings | {"channels": 3, "classes": CLASSES} | more, seed=0)


def of_timm(architecture: str) -> Callable[[], nn.Module]:
    settings = {"source": "timm", "architecture": architecture, "dropout": 0.1, "drop_path": 0.0, "image_size": 32}
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
    "resnet18": ours("resnet18"),
    "cnn with group norm": ours("cnn", norm="group"),
    "resnet8 without norm": ours("resnet8", norm="none"),
    "torchvision resnet18": ours("resnet18", source="torchvision", width=1.0),
    "torchvision mobilenet": ours("mobilenet_v3_small", source="torchvision", width=1.0),
    "timm resnet": of_timm("test_resnet"),
    "timm vit": of_timm("test_vit"),
    "timm convnext": of_timm("test_convnext"),
    "timm efficientnet": of_timm("test_efficientnet"),
    "timm vit with relative positions": of_timm("test_vit_relpos"),
    "timm without batch norm": of_timm("test_nfnet"),
    "transformer": Transformer,
    "mixed norms": Mixed,
}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"name": "sgd", "nesterov": True, "max_grad_norm": None},
    "adamw": {"name": "adamw", "nesterov": False, "max_grad_norm": 1.0},
}


def trainer(model: nn.Module, optimizer: str, *, all_on: bool) -> Trainer:
    model = model.to("meta")
    images = torch.empty(50, 32, 32, 3, dtype=torch.uint8, device="meta")
    labels = torch.empty(50, dtype=torch.int64, device="meta")
    normalization = Normalization.of((0.5,) * 3, (0.25,) * 3, META.device)
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=4)
    # 50 images: batches of 16, and a last one of 2, which is not split.
    source = TrainBatches(images, labels, normalization, augmentation, 16, drop_last=False, seed=0)
    common = {"weight_decay": 1e-2, "decay_norm_and_bias": not all_on, "beta2": 0.99, "eps": 1e-8}
    ratios = {name: 0.1 if all_on and "head" not in name else 1.0 for name, _ in model.named_parameters()}
    built = build_optimizer(model, SimpleNamespace(**common, **OPTIMIZERS[optimizer]), lr_ratios=ratios)
    more: dict[str, Any] = {}
    if all_on:
        more = {"label_smoothing": 0.1, "class_weights": torch.ones(CLASSES, device="meta"), "accumulate": 3}
    return Trainer(model, built, source, **({"label_smoothing": 0.0} | more), hardware=META, report=pytest.fail)


CASES = [(network, "adamw") for network in NETWORKS] + [("resnet8", "sgd"), ("transformer", "sgd")]
"""adamw has everything on, and sgd nothing; what one network shows of the two holds for all."""


@pytest.mark.parametrize(("network", "optimizer"), CASES)
def test_a_step_and_its_score_do_not_look_at_the_device(network: str, optimizer: str) -> None:
    one = trainer(NETWORKS[network](), optimizer, all_on=optimizer == "adamw")
    average = WeightAverage(one.model, 0.999)
    # The last whole batch of an epoch, and the small one after it.
    for step in islice(one.steps(lambda _: LrMomentum(0.1, 0.9), first_step=2), 2):
        average.update()
        assert step.loss.is_meta
        assert step.loss.shape == step.weight.shape == step.correct.shape == ()
    one.model.eval()
    loss, by_class, in_top_5 = one._scored(one.batches.images[:8], one.batches.labels[:8])
    assert (loss.shape, by_class.shape, in_top_5.shape) == ((), (3, CLASSES), ())


class Looking(Mixed):
    """A network that looks at a value."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.mean() > 0 else -x)


def test_a_network_that_looks_at_a_value_is_caught() -> None:
    one = trainer(Looking(), "sgd", all_on=False)
    with pytest.raises(Exception, match="meta"):
        next(one.steps(lambda _: LrMomentum(0.1, 0.9)))
