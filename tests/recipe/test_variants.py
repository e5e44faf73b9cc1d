"""Which of several variants the values of a section mean, and what belongs to which."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from onecycle_cli.recipe.field_types import Section
from onecycle_cli.recipe.variants import Choice, variants_in


class Circle(Section):
    kind: Literal["round"]
    size: Literal["small", "large"]
    radius: float


class Ring(Section):
    kind: Literal["round"]
    size: Literal["huge"]
    radius: float
    hole: float


class Square(Section):
    kind: Literal["square"] = "square"
    side: float


Round = Annotated[Circle | Ring, Field(discriminator="size")]
AnyFigure = Annotated[Round | Square, Field(discriminator="kind")]
FIGURES = Choice(("kind", "size"), variants_in(AnyFigure))


def test_the_variants_of_a_union_in_a_union_are_found_in_their_order() -> None:
    assert variants_in(AnyFigure) == (Circle, Ring, Square)


@pytest.mark.parametrize(
    ("values", "variant"),
    [
        ({"kind": "round", "size": "large"}, Circle),
        ({"kind": "round", "size": "huge", "side": 1}, Ring),
        ({"kind": "square", "size": "huge"}, Square),
        ({}, Square),
        ({"kind": "round"}, None),
        ({"kind": "round", "size": "wide"}, None),
        ({"kind": None, "size": "huge"}, None),
        ({"kind": ["round"], "size": {}}, None),
    ],
)
def test_the_deciding_fields_mean_a_variant_or_none(values: dict, variant: type[Section] | None) -> None:
    assert FIGURES.chosen(values) is variant


def test_a_field_is_foreign_where_other_variants_alone_have_it() -> None:
    assert FIGURES.foreign(Circle) == {"hole", "side"}
    assert FIGURES.foreign(Square) == {"size", "radius", "hole"}


def test_the_owners_of_a_foreign_field_are_named_by_the_first_value_that_has_to_change() -> None:
    assert FIGURES.owners("hole", Circle) == ("size", ["huge"])
    assert FIGURES.owners("side", Circle) == ("kind", ["square"])
    assert FIGURES.owners("radius", Square) == ("kind", ["round"])


def test_a_deciding_field_with_a_default_need_not_be_written() -> None:
    assert FIGURES.defaults(Square) == {"kind": "square"}
    assert FIGURES.defaults(Ring) == {}
