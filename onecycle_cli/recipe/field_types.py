"""What a field of a recipe may hold, and the base of all sections."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticKnownError


def _whole(value: object) -> object:
    """`1e4` is a float to YAML, but a whole number to the person who wrote it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _path(value: object) -> str:
    """A path as the system has it: pydantic's own text refuses a name that is not UTF-8."""
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
    """Frozen; a key that is no field is an error; `true` is no number and text is no number."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
