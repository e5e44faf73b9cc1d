"""The forms of a `max_lr`: one lr for the whole network, or different lrs for its layer groups."""

from typing import Annotated, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from onecycle_cli.recipe.field_types import Lr, Section


class BodyAndHead(Section):
    """A `max_lr` with two learning rates: `head` for the last layer and `body` for all layers before it."""

    body: Lr = Field(description="The lr of all layers before the last one.")
    head: Lr = Field(description="The lr of the last layer.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        _check_ratio(self.body, self.head)
        return self


FARTHEST = 1e15
"""The largest ratio between two lrs of one network. A larger one is a mistake, and could become 0 or infinity."""


def _check_ratio(one: float, other: float) -> None:
    if max(one, other) > FARTHEST * min(one, other):
        raise ValueError(f"{one:g} and {other:g} are more than a factor of {FARTHEST:g} apart")


def _first_and_head(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) != 2:
        raise ValueError(f"a list has two numbers, for the first layer group and for the head, not {len(value)}")
    _check_ratio(*value)
    return value


def _form(value: object) -> str:
    """Returns the form of a `max_lr`: "list", "section" or "number". Any other value counts as a number."""
    if isinstance(value, list | tuple):
        return "list"
    return "section" if isinstance(value, dict | BodyAndHead) else "number"


FirstAndHead = Annotated[tuple[Lr, ...], Field(strict=False), AfterValidator(_first_and_head)]
MaxLr = Annotated[
    Annotated[Lr | None, Tag("number")] | Annotated[FirstAndHead, Tag("list")] | Annotated[BodyAndHead, Tag("section")],
    Discriminator(_form),
]
"""The largest lr: one for the whole network, [first layer group, head], {body, head}, or None if not known yet."""
