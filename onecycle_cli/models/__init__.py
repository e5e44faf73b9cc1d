"""The networks: `building.py` builds any of them, `sources/` has a file for each source of networks."""

from onecycle_cli.models.building import (
    NetworkSpec,
    Pretrained,
    build_model,
    network_arguments,
    network_from,
    network_in_words,
    on_device,
    pretrained_weights,
)
from onecycle_cli.models.layer_groups import layer_groups
from onecycle_cli.models.own_code import NO_CODE, OwnCode

__all__ = [
    "NO_CODE",
    "NetworkSpec",
    "OwnCode",
    "Pretrained",
    "build_model",
    "layer_groups",
    "network_arguments",
    "network_from",
    "network_in_words",
    "on_device",
    "pretrained_weights",
]
