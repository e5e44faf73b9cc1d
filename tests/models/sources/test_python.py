"""A network object that was given in Python."""

import pytest
import torch
from torch import nn

from onecycle_cli.errors import InputError
from onecycle_cli.models import NO_CODE, OwnCode
from onecycle_cli.models.sources.python import PythonSpec, build, in_words, own_arguments, trained_before
from onecycle_cli.recipe.model_fields import PythonModelSettings

SPEC: PythonSpec = PythonModelSettings(source="python", class_name="Sequential")


def test_it_is_a_copy_with_the_weights_that_were_given() -> None:
    given = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    own = own_arguments(SPEC, image_size=2)
    made = build(**own, channels=1, classes=2, code=OwnCode(network=given))
    assert made is not given
    assert torch.equal(made.get_parameter("1.weight"), given.get_parameter("1.weight"))
    with torch.no_grad():
        made.get_parameter("1.weight").zero_()
    assert given.get_parameter("1.weight").any()
    assert not given._forward_pre_hooks  # it is not changed
    assert in_words(own) == "a Sequential that was given in Python"


def test_without_one_it_is_told_how_to_give_it() -> None:
    with pytest.raises(InputError, match="an object of class Sequential that was given in Python") as caught:
        build(class_name="Sequential", channels=1, classes=2, code=NO_CODE)
    assert "load_model(run, model=...)" in caught.value.fix
    trained_before_is_none: object = trained_before(SPEC, channels=1, image_size=2, report=pytest.fail)  # type: ignore[func-returns-value]
    assert trained_before_is_none is None
