"""Error messages about a recipe: all problems at once, each with its line and field name."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError

from onecycle_cli.errors import InputError, printable
from onecycle_cli.recipe.field_types import Section
from onecycle_cli.recipe.fields import CHOICES, Recipe
from onecycle_cli.recipe.variants import Choice

Field = tuple[str | int, ...]
"""The path to a value in a recipe: ("schedule", "max_lr")."""


@dataclass(frozen=True)
class Problem:
    """A problem with a field: `what` is wrong, and `where` it was set: a line, a flag, or "" if it was not set."""

    where: str
    field: Field
    what: str


def section_in(annotation: object) -> type[BaseModel] | None:
    """Returns the first section class in a type annotation, also in a union or a list; None if there is none."""
    if isinstance(annotation, type(BaseModel)):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def found_by_pydantic(error: ValidationError, places: Mapping[Field, str]) -> list[Problem]:
    """Converts pydantic's errors to problems. `places` gives the line or flag of each field, or of its section."""
    details = [(detail, _place_of(detail)) for detail in error.errors(include_url=False)]
    spare = {place.field for detail, place in details if detail["type"] == "extra_forbidden" and not place.is_foreign}
    problems = []
    for detail, place in details:
        field = place.field
        if detail["type"] == "missing" and any(
            known[:-1] == field[:-1] and difflib.get_close_matches(str(known[-1]), [str(field[-1])]) for known in spare
        ):
            continue  # the misspelt name is already reported
        # A field in a list gets the line of the list, and a missing field that of its section.
        at = next((field[:n] for n in range(len(field), 0, -1) if field[:n] in places), None)
        problems.append(Problem(places[at] if at else "", field, _in_words(detail, place)))
    return problems


@dataclass(frozen=True)
class _Place:
    """The path to a value in a recipe, and the variant of its section if it is known.

    pydantic's own path also has the variant of the section, and the form of a `max_lr`.
    """

    field: Field
    choice: Choice | None = None
    variant: type[Section] | None = None

    @property
    def name(self) -> str:
        return str(self.field[-1])

    @property
    def is_foreign(self) -> bool:
        """Whether the field belongs to another variant of its section."""
        return (
            self.choice is not None
            and self.variant is not None
            and len(self.field) == 2
            and self.name in self.choice.foreign(self.variant)
        )

    @property
    def is_of_variant(self) -> bool:
        """Whether the field belongs to the variant of its section, but not to all variants."""
        if self.choice is None or self.variant is None:
            return False
        return any(self.field[1] not in one.model_fields for one in self.choice.variants)


def _place_of(detail: Mapping[str, Any]) -> _Place:
    location: Field = detail["loc"]
    choice = CHOICES.get(str(location[0])) if location else None
    if choice is None:
        return _Place(_without_forms(location))
    section, *rest = location
    variants = choice.variants
    for decider in choice.decided_by:
        matching = [variant for variant in variants if rest and rest[0] in choice.values(variant, decider)]
        if matching:
            variants, rest = tuple(matching), rest[1:]
    if detail["type"].startswith("union_tag"):
        rest = [detail["ctx"]["discriminator"].strip("'")]
    return _Place(_without_forms((section, *rest)), choice, variants[0] if len(variants) == 1 else None)


def _without_forms(location: Field) -> Field:
    return tuple(part for before, part in zip((None, *location), location, strict=False) if before != "max_lr")


def _in_words(detail: Mapping[str, Any], place: _Place) -> str:
    field, given, context, kind = place.field, detail["input"], detail.get("ctx", {}), detail["type"]
    if kind == "missing" and place.is_of_variant:
        return f"is missing, and {_which(place)} needs it"
    if kind in _WORDS:
        return _WORDS[kind].format(given=_shown(given))
    match kind:
        case "extra_forbidden" if place.is_foreign:
            return _foreign(place)
        case "extra_forbidden":
            return f"is not a field{did_you_mean(str(field[-1]), _fields_of(place))}"
        case "union_tag_invalid" | "union_tag_not_found":
            return _undecided(given, place)
        case "literal_error":
            choices = context["expected"].replace("'", "")
            known = re.split(r", | or ", choices)
            hint = did_you_mean(str(given), known) + _of_another(given, place)
            return f"must be {choices}, not {_shown(given)}{hint}"
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
    "model_attributes_type": "must be a section with fields, not {given}",
    "tuple_type": "must be a list, such as [0.1, 0.2], not {given}",
}

_PATTERNS: dict[str | int, str] = {
    "name": ": it is part of a folder name, so use only letters, digits, '.', '_' and '-'",
    "device": ": use auto, cpu, cuda, cuda:N or mps",
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


def _undecided(section: Mapping[str, Any], place: _Place) -> str:
    """Returns the message that a field that chooses the variant of its section is missing or has an unknown value."""
    assert place.choice is not None
    values = (value for variant in place.choice.variants for value in place.choice.values(variant, place.name))
    known = list(dict.fromkeys(values))
    if place.name not in section:
        return f"is missing: it must be {_listed(known)}"
    value = section[place.name]
    return f"must be {_listed(known)}, not {_shown(value)}{did_you_mean(str(value), known)}"


def _foreign(place: _Place) -> str:
    """Returns the message that a field belongs to another variant, with both ways to fix it."""
    assert place.choice is not None
    assert place.variant is not None
    decider, owners = place.choice.owners(place.name, place.variant)
    here = " or ".join(place.choice.values(place.variant, decider))
    fix = f"leave it out, or set {place.field[0]}.{decider} to {_listed(owners)}"
    return f"is a field of {decider} {_listed(owners)}, not of {here}: {fix}"


def _of_another(given: object, place: _Place) -> str:
    """Returns a hint at the variant in which a field may have this value, to end a sentence; "" if there is none."""
    if place.choice is None or place.variant is None or len(place.field) != 2:
        return ""
    having = [other for other in place.choice.variants if given in place.choice.values(other, place.name)]
    for decider in place.choice.decided_by:
        here = place.choice.values(place.variant, decider)
        values = [value for other in having for value in place.choice.values(other, decider) if value not in here]
        if values:
            section = place.field[0]
            return f": that belongs to {decider} {_listed(values)}, so set {section}.{decider} to {_listed(values)}"
    open_to_all = [other for other in place.choice.variants if _takes_any_text(other, place.name)]
    for decider in place.choice.decided_by:
        values = [value for other in open_to_all for value in place.choice.values(other, decider)]
        if values:
            return f"; with {decider} {_listed(values)} it can be another"
    return ""


def _takes_any_text(variant: type[Section], name: str) -> bool:
    field = variant.model_fields.get(name)
    return field is not None and field.annotation is str


def _which(place: _Place) -> str:
    """Returns the name of a variant, from the first field that chooses it: "policy one_cycle"."""
    assert place.choice is not None
    assert place.variant is not None
    decider = place.choice.decided_by[0]
    return f"{decider} {_listed(place.choice.values(place.variant, decider))}"


def _listed(words: Sequence[str]) -> str:
    """Joins words to a choice: "a, b or c"."""
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _fields_of(place: _Place) -> Sequence[str]:
    """Returns the names of all fields in the section of a field."""
    model: type[BaseModel] = Recipe
    if place.variant is not None and len(place.field) > 1:
        model = place.variant
        inner = place.field[1:-1]
    else:
        inner = place.field[:-1]
    for name in inner:
        if isinstance(name, str):  # a number is an index of a list, whose sections all have one class
            model = cast(type[BaseModel], section_in(model.model_fields[name].annotation))  # only sections hold fields
    return list(model.model_fields)


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """Returns a hint at the most similar known word, to end a sentence; "" if none is similar."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


MOST_TOLD = 20
"""The largest number of fields in a message: a terminal of 24 lines has no room for more, and a file that is not a
recipe at all needs no more."""


def on_one_line(text: str, widest: int = 100) -> str:
    """Returns `text` with line breaks escaped, cut to `widest` characters."""
    shown = printable(text[: widest + 1])
    return shown if len(shown) <= widest else f"{shown[:widest]}..."


def all_told(source: str, problems: Sequence[Problem]) -> InputError:
    """Returns one error for all problems of the recipe `source`, one per line."""
    places = [on_one_line(problem.where) for problem in problems[:MOST_TOLD]]
    wide = max(map(len, places))
    rows = []
    for place, problem in zip(places, problems, strict=False):
        # A conflict between two sections has neither a line nor a field: its text names the fields.
        name = f"{on_one_line('.'.join(map(str, problem.field)))}: " if problem.field else ""
        rows.append(f"  {place:<{wide}}  {name}{on_one_line(problem.what, 300)}")
    if len(problems) > MOST_TOLD:
        rows.append(f"  and {len(problems) - MOST_TOLD} more")
    told = "one field is wrong"
    if len(problems) > 1:
        told = f"{len(problems)} fields are wrong"
    return InputError(
        f"{source}: {told}:\n" + "\n".join(rows),
        "`onecycle recipes show images` explains the usual fields, docs/recipe_fields.md has all.",
    )
