"""The steps of whole recipes on torch's device `meta`, as `onecycle train` takes them: none looks at a value.

So no field of a recipe makes a GPU wait in a step. The losses stay on the device; `step_blocks.py` reads them, a block
at a time, and a checkpoint and a score copy from the device too. tests/training/test_steps_on_meta.py has the networks.
"""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from onecycle_cli.data.images import Source, Split
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.staged_steps import StagedSteps
from onecycle_cli.models import OwnCode
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, shipped_names, shipped_path, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.trainer import Step

META = Hardware(torch.device("meta"), "float32")
TINY = {"data.image_size": 8, "data.padding": 1, "data.batch_size": 8, "data.valid_fraction": 0.5}

pytestmark = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")


@pytest.fixture
def steps_of(tmp_path: Path) -> Callable[[Recipe], list[Step]]:
    """Takes two steps on 20 images of 10 classes: the small last one of an epoch, and the first of the next."""

    def taken(recipe: Recipe) -> list[Step]:
        size, channels = recipe.data.image_size, recipe.data.channels
        pixels = np.random.default_rng(0).integers(0, 256, (40, size, size, channels), dtype=np.uint8)
        source = Source(Split(pixels, np.arange(40) % 10), None, None, tuple("0123456789"), "made here")
        run = RunDir.create(tmp_path, command="train", recipe_name="x", recipe_yaml="", facts={}, name=None)
        session = Session(run, META, silent, OwnCode(trusted=True))
        prepared = prepare(recipe, session, source)
        last = prepared.train.steps_per_epoch - 1
        steps = list(islice(StagedSteps(recipe, prepared, session).since(last), 2))
        assert all(step.loss.is_meta and step.weight.is_meta and step.correct.is_meta for step in steps)
        return steps

    return taken


def kinds_of_shipped() -> dict[str, Recipe]:
    """Of the shipped recipes with the same update on the same network, the first."""
    kinds: dict[str, tuple[str, Recipe]] = {}
    for name in shipped_names():
        recipe = load(shipped_path(name))
        what = str((recipe.model, recipe.augmentation, recipe.fine_tune, recipe.optimizer.name, recipe.data.channels))
        kinds.setdefault(what, (name, recipe))
    return dict(kinds.values())


SHIPPED = kinds_of_shipped()
# The others differ from these in the depth of the network and the number of its channels.
NAMES = [pytest.param(name, marks=[] if name in ("digits", "images") else [pytest.mark.slow]) for name in SHIPPED]


@pytest.mark.parametrize("name", NAMES)
def test_no_step_of_a_shipped_recipe_looks_at_a_value(name: str, steps_of: Callable[[Recipe], list[Step]]) -> None:
    recipe = SHIPPED[name]
    own: dict[str, Any] = {"schedule.max_lr": 0.1} if recipe.schedule.max_lr is None else {}
    if hasattr(recipe.model, "pretrained"):
        own |= {"model.pretrained": False}
    assert len(steps_of(with_values(recipe, TINY | own))) == 2


NET = """
from torch import nn

def net(channels, classes):
    return nn.Sequential(nn.Conv2d(channels, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1), nn.Flatten(),
                         nn.Linear(8 * 36, classes))
"""

AUGMENTATION = {
    "random_resized_crop": {},
    "affine": {"degrees": 10.0, "translate": 0.1, "scale": [0.9, 1.1], "shear": 5.0},
    "trivial_augment": True,
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "random_erasing": {},
    "mixup": 0.2,
    "cutmix": 1.0,
}

EVERY_STEP = {
    "optimizer.label_smoothing": 0.1,
    "optimizer.max_grad_norm": 1.0,
    "optimizer.decay_norm_and_bias": False,
    "data.accumulate": 3,
    "runtime.ema": 0.99,
}

FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "every augmentation": {"augmentation": AUGMENTATION, "data.random_crop": False, "data.horizontal_flip": True},
    "sgd with all else": EVERY_STEP | {"optimizer.nesterov": True, "optimizer.class_weights": "balanced"},
    "adamw with all else": EVERY_STEP | {"optimizer.name": "adamw", "data.sampler": "balanced"},
    "mixed and weighted": EVERY_STEP | {"augmentation": "strong", "optimizer.class_weights": "balanced"},
    "stages": {
        "fine_tune": {"stages": [{"freeze_to": "head", "epochs": 1}, {"epochs": 14, "max_lr": [0.01, 0.1]}]},
        "runtime.ema": 0.99,
    },
    "stages that train frozen norms": {
        "fine_tune": {"stages": [{"freeze_to": "layer2", "epochs": 15}], "train_frozen_norms": True},
        "optimizer.max_grad_norm": 1.0,
    },
    "many cycles": {"schedule.policy": "triangular", "schedule.step_size": 2},
    "no cycle": {"schedule.policy": "cosine", "schedule.final_div_factor": 100.0},
}


@pytest.mark.parametrize("fields", FIELDS)
def test_no_field_makes_a_step_look_at_a_value(fields: str, steps_of: Callable[[Recipe], list[Step]]) -> None:
    values = TINY | {"data.channels": 3, "model.architecture": "cnn", "model.width": 0.25, "schedule.max_lr": 0.1}
    steps = steps_of(with_values(load(shipped_path("digits")), values | FIELDS[fields]))
    assert [step.images for step in steps] == [4, 8]


def test_no_step_of_a_network_of_ones_own_looks_at_a_value(
    steps_of: Callable[[Recipe], list[Step]], tmp_path: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    values = TINY | {"model": {"source": "module", "function": f"{tmp_path / 'net.py'}:net"}, "schedule.max_lr": 0.1}
    assert len(steps_of(with_values(load(shipped_path("digits")), values))) == 2


def test_a_step_that_looks_at_a_value_is_caught(steps_of: Callable[[Recipe], list[Step]], tmp_path: Path) -> None:
    looks = NET.replace("nn.ReLU()", "Looks()") + (
        "\nclass Looks(nn.ReLU):\n    def forward(self, x):\n"
        "        return super().forward(x) if not self.training or x.shape[0] < 4 or x.mean().item() < 9 else x\n"
    )
    (tmp_path / "net.py").write_text(looks)
    values = TINY | {"model": {"source": "module", "function": f"{tmp_path / 'net.py'}:net"}, "schedule.max_lr": 0.1}
    with pytest.raises(Exception, match="meta tensors"):
        steps_of(with_values(load(shipped_path("digits")), values))
