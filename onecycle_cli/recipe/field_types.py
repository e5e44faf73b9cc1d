"""The types of recipe fields, and the base class of all sections."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError


def _whole(value: object) -> object:
    """Converts a float without a fraction to an int: `1e4` is a float in YAML, but a whole number to its author."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _path(value: object) -> str:
    """Checks that a path is text and not empty. pydantic's own `str` refuses file names that are not UTF-8."""
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    if not value:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    return value


PathText = Annotated[str, PlainValidator(_path), WithJsonSchema({"type": "string", "minLength": 1})]
WholeNumber = Annotated[int, BeforeValidator(_whole)]
Lr = Annotated[float, Field(gt=0, le=1000)]
Epochs = Annotated[float, Field(gt=0, le=100_000)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
WeightDecay = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """The base class of recipe sections: frozen and strict. Unknown keys are errors; `true` and text are no numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
