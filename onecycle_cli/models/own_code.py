"""What a person lets onecycle run, or gives it, beside a recipe: code and networks."""

from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class OwnCode:
    """Says whether the function that a recipe names may run, and holds the network that was given in Python, if any.

    `network` is for recipes whose model source is "python". Each training starts from its weights; it is not changed.
    """

    trusted: bool = False
    network: nn.Module | None = None


NO_CODE = OwnCode()
"""Nothing is trusted or given."""
