"""The table of torchvision's sets agrees with torchvision and with the recipe's field."""

import inspect
from typing import get_args

import pytest
import torchvision

from onecycle_cli.data.torchvision_sets import SETS
from onecycle_cli.recipe.data_fields import TorchvisionSet


def test_the_names_are_those_that_a_recipe_may_have() -> None:
    assert sorted(get_args(TorchvisionSet)) == sorted(SETS)


@pytest.mark.parametrize("name", SETS)
def test_torchvision_has_the_set_with_these_arguments(name: str) -> None:
    known, made = SETS[name], getattr(torchvision.datasets, name)
    arguments = {argument for base in inspect.getmro(made)[:-1] for argument in inspect.signature(base).parameters}
    given = {argument for split in known.splits.values() for argument in split}
    assert arguments >= {"download", *given, *filter(None, [known.variant])}
    assert ("loader" in inspect.signature(made).parameters) == known.takes_loader
    assert (known.variant is None) == (not known.variants)


def test_emnist_has_these_variants() -> None:
    assert sorted(SETS["EMNIST"].variants) == sorted(torchvision.datasets.EMNIST.splits)
    assert sorted(SETS["Imagenette"].variants) == sorted(torchvision.datasets.Imagenette._ARCHIVES)
