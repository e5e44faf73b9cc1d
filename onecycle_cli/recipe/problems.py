"""What is wrong with a recipe, all at once, in the words of somebody who wrote one."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from onecycle_cli.errors import InputError, printable
from onecycle_cli.recipe.fields import Recipe

Field = tuple[str | int, ...]
"""The way to a value: ("schedule", "max_lr")."""


@dataclass(frozen=True)
class Problem:
    """`what` is wrong with a field, and `where` it was given: a line, a flag, or "" where it was given nowhere."""

    where: str
    field: Field
    what: str


def section_in(annotation: object) -> type[BaseModel] | None:
    """The section that a field may hold, itself or in a list, in one of its forms."""
    if isinstance(annotation, type(BaseModel)):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def found_by_pydantic(error: ValidationError, places: Mapping[Field, str]) -> list[Problem]:
    """What pydantic found, each where `places` has the field, or else the section that it is in."""
    details = error.errors(include_url=False)
    spare = {_named(detail["loc"]) for detail in details if detail["type"] == "extra_forbidden"}
    problems = []
    for detail in details:
        field = _named(detail["loc"])
        if detail["type"] == "missing" and any(
            known[:-1] == field[:-1] and difflib.get_close_matches(str(known[-1]), [str(field[-1])]) for known in spare
        ):
            continue  # the misspelt one is told already
        # A field inside a list has its list's line, and a missing one that of its section.
        at = next((field[:n] for n in range(len(field), 0, -1) if field[:n] in places), None)
        problems.append(Problem(places[at] if at else "", field, _in_words(detail, field)))
    return problems


def _named(location: Field) -> Field:
    """The way to a value as a recipe has it: pydantic also names the form of a value that has several."""
    return tuple(part for before, part in zip((None, *location), location, strict=False) if before != "max_lr")


def _in_words(detail: Mapping[str, Any], field: Field) -> str:
    given, context, kind = detail["input"], detail.get("ctx", {}), detail["type"]
    if kind in _WORDS:
        return _WORDS[kind].format(given=_shown(given))
    match kind:
        case "extra_forbidden":
            return f"is not a field{did_you_mean(str(field[-1]), _fields_of(field[:-1]))}"
        case "literal_error":
            choices = context["expected"].replace("'", "")
            known = re.split(r", | or ", choices)
            return f"must be {choices}, not {_shown(given)}{did_you_mean(str(given), known)}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
            bound = next(f"{words[key]} {value:g}" for key, value in context.items() if key in words)
            return f"must be {bound}, not {_shown(given)}"
        case "string_pattern_mismatch":
            return f"cannot be {_shown(given)}{_PATTERNS.get(field[-1], '')}"
        case "value_error":
            return str(context["error"])
    message: str = detail["msg"]
    return message[0].lower() + message[1:]


_WORDS = {
    "missing": "is missing",
    "float_type": "must be a number, not {given}",
    "int_type": "must be a whole number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "string_type": "must be text, not {given}",
    "string_unicode": "must be text in UTF-8, not {given}",
    "finite_number": "must be a finite number, not {given}",
    "model_type": "must be a section with fields, not {given}",
    "tuple_type": "must be a list, such as [0.1, 0.2], not {given}",
}

_PATTERNS: dict[str | int, str] = {
    "name": ": letters, digits, '.', '_' and '-' make the name of a run's folder",
    "device": ": it is auto, cpu, cuda, cuda:N or mps",
}


def _shown(value: object) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return str(value).lower()
        case str():
            return f"the text '{value}'" if len(value) <= 40 else f"the text '{value[:37]}...'"
        case list() | tuple():
            return "a list"
        case dict():
            return "a section"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fields_of(field: Field) -> Sequence[str]:
    model: type[BaseModel] = Recipe
    for name in field:
        if isinstance(name, str):  # a number is a place in a list, whose sections are all alike
            model = cast(type[BaseModel], section_in(model.model_fields[name].annotation))  # only sections hold fields
    return list(model.model_fields)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """The nearest of the known words as the end of a sentence; "" where none is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


MOST_TOLD = 20
"""Fields in one message: a terminal of 24 lines has room for no more, and a file of another kind needs no more."""


def on_one_line(text: str, widest: int = 100) -> str:
    """`text` without its line breaks, and cut where it is wider."""
    shown = printable(text[: widest + 1])
    return shown if len(shown) <= widest else f"{shown[:widest]}..."


def all_told(source: str, problems: Sequence[Problem]) -> InputError:
    """One error for all problems of the recipe called `source`, a line each."""
    places = [on_one_line(problem.where) for problem in problems[:MOST_TOLD]]
    wide = max(map(len, places))
    rows = []
    for place, problem in zip(places, problems, strict=False):
        # What does not fit between sections has neither a line nor a field of its own; it names them.
        name = f"{on_one_line('.'.join(map(str, problem.field)))}: " if problem.field else ""
        rows.append(f"  {place:<{wide}}  {name}{on_one_line(problem.what, 300)}")
    if len(problems) > MOST_TOLD:
        rows.append(f"  and {len(problems) - MOST_TOLD} more")
    told = "one field cannot be used as it is"
    if len(problems) > 1:
        told = f"{len(problems)} fields cannot be used as they are"
    return InputError(
        f"{source}: {told}:\n" + "\n".join(rows),
        "`onecycle recipes show images` explains every field.",
    )
