"""The network of a recipe, to look at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.network import network_table
from onecycle_cli.models import NO_CODE, OwnCode
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]


def test_the_classes_come_from_the_images_or_are_given(tiny: Tiny) -> None:
    name, rows = network_table(tiny(), None, silent, NO_CODE)
    assert name == "a cnn"
    assert rows[-1].shapes == "weight 10x32, bias 10"
    cifar = tiny({"data.source": "cifar10"})  # nothing is downloaded for it
    assert network_table(cifar, 7, silent, NO_CODE)[1][-1].shapes == "weight 7x32, bias 7"
    with pytest.raises(InputError, match="--classes 1 is too few"):
        network_table(tiny(), 1, silent, NO_CODE)


def test_a_layer_group_that_the_recipe_names_and_the_network_lacks_is_told(tiny: Tiny) -> None:
    staged = tiny({"fine_tune": {"stages": [{"freeze_to": "layer9", "epochs": 2}]}})
    with pytest.raises(InputError, match="freeze_to layer9, but the network has the layer groups stem, layer1"):
        network_table(staged, 10, silent, NO_CODE)


def test_code_is_run_only_if_it_is_trusted(tiny: Tiny, tmp_path: Path) -> None:
    text = "from torch import nn\n\ndef f(channels, classes):\n    return nn.Linear(channels, classes)\n"
    (tmp_path / "net.py").write_text(text)
    recipe = tiny({"model": {"source": "module", "function": f"{tmp_path}/net.py:f"}})
    with pytest.raises(InputError, match="is code that is not part of onecycle"):
        network_table(recipe, 3, silent, NO_CODE)
    assert [row.layer for row in network_table(recipe, 3, silent, OwnCode(trusted=True))[1]] == ["(network)"]
