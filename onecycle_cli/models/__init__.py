"""The networks: a file for each source (`onecycle.py`, `torchvision.py`), and `building.py` for any of them."""

from onecycle_cli.models.building import (
    NetworkSpec,
    Pretrained,
    build_model,
    layer_groups,
    network_arguments,
    network_from,
    pretrained_weights,
)

__all__ = [
    "NetworkSpec",
    "Pretrained",
    "build_model",
    "layer_groups",
    "network_arguments",
    "network_from",
    "pretrained_weights",
]
