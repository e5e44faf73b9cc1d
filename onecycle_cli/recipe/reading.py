"""YAML and overrides in, a validated `Recipe` out, with all errors at once; and a recipe back to YAML."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from onecycle_cli.errors import InputError, printable
from onecycle_cli.recipe.fields import Recipe
from onecycle_cli.recipe.writing import as_written

Field = tuple[str | int, ...]
"""The way to a value: ("schedule", "max_lr")."""


def _section_in(annotation: object) -> type[BaseModel] | None:
    """The section that a field may hold, itself or in a list, in one of its forms."""
    if isinstance(annotation, type(BaseModel)):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)


SECTIONS = [name for name, field in Recipe.model_fields.items() if _section_in(field.annotation)]

LARGEST = 2**20
"""Bytes of a recipe; the longest that is shipped has some 5,000, and of 100 MB, PyYAML took a minute and a half."""

TEXTS = {"name", "description", "data.path", "model.init"}
"""Fields whose value is taken from the command line as it stands: a folder may be called 2024 or `photos #1`."""


@dataclass(frozen=True)
class Override:
    """One field given on the command line; `flag` is how the person wrote it."""

    field: str
    text: str
    flag: str


@dataclass(frozen=True)
class _Problem:
    where: str
    field: Field
    what: str


class _Loader(yaml.SafeLoader):
    """Safe YAML that takes `1e-4`, `1e4` and `1.0e4` for numbers, which YAML 1.1 leaves as text."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """An alias stands for one value: of lists, a few lines of aliases make billions of values, or a circle."""
        alias = self.peek_event()  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        if isinstance(alias, yaml.AliasEvent) and not isinstance(node, yaml.ScalarNode):
            what = f"*{alias.anchor} stands for a list or a section, and only single values are repeated so"
            raise yaml.MarkedYAMLError(problem=what, problem_mark=alias.start_mark)  # type: ignore[arg-type]
        return node


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists on one line; what the loader takes for a number is quoted where it is text."""


for _yaml in (_Loader, _Dumper):
    _yaml.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )
_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=True)
)


def _construct_whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    number: int = loader.construct_yaml_int(node)
    str(number)  # a ValueError where there are thousands of digits; Python has it of decimal ones, YAML knows others
    return number


_Loader.add_constructor("tag:yaml.org,2002:int", _construct_whole)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    # Unicode's other line breaks survive in double quotes alone, where they are escaped.
    style = '"' if any(mark in text for mark in "\x85\u2028\u2029") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


UNREADABLE = (yaml.YAMLError, ValueError, RecursionError)
"""What is raised of text that is no YAML, of a date or a number that only looks like one, such as 2024-13-45, and of
thousands of brackets in one another."""


def load(path: Path, overrides: Sequence[Override] = ()) -> Recipe:
    """The recipe in the file `path`, with `overrides` put over it.

    `InputError` names every field that is wrong: its line or flag, what is wrong, the nearest known spelling.
    """
    return parse(_text(path), str(path), overrides)


def dotted_values(path: Path) -> dict[str, Any]:
    """The fields of the recipe in a file by their dotted names; where it is none of this version, what stands there."""
    try:
        values = load(path).model_dump(mode="json")
    except InputError:
        values, _ = _read_yaml(_text(path), str(path))
    dotted: dict[str, Any] = {}
    for name, value in values.items():
        dotted |= {f"{name}.{inner}": one for inner, one in value.items()} if isinstance(value, dict) else {name: value}
    return dotted


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise InputError(f"{path} has more than {LARGEST:,} bytes, so it is no recipe.", "Name the recipe's file.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8, so it is no recipe.", "Save it as UTF-8.") from None


def parse(text: str, source: str, overrides: Sequence[Override] = ()) -> Recipe:
    """The recipe in `text`, called `source` in messages. Relative paths in it are taken from the current folder."""
    values, lines = _read_yaml(text, source)
    places = {field: f"line {line}" for field, line in lines.items()}
    problems: list[_Problem] = []
    for override in overrides:
        places[tuple(override.field.split("."))] = override.flag
        problems += _apply(values, override)
    return _validated(values, source, places, problems)


def choices(text: str, flag: str) -> tuple[str, list[Any]]:
    """The field and the values in `optimizer.weight_decay=1e-2,1e-3`; a value may be a list, such as [0.1, 0.2]."""
    field, equals, listed = text.partition("=")
    mend = "Write it as --param optimizer.weight_decay=1e-2,1e-3."
    if not (field and equals and listed.strip()):
        raise InputError(f"{flag} has no FIELD=VALUE,VALUE,...", mend)
    try:
        values = yaml.load(f"[{listed}]", _Loader)
    except UNREADABLE:
        raise InputError(f"{flag}: the values are not readable as YAML.", mend) from None
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"{flag} holds the same value twice.", "Leave one of them out.")
    return field, values


def varied(recipe: Recipe, values: Mapping[str, Any], source: str) -> Recipe:
    """`recipe` with the values of a sweep put over it; `InputError` as of `load`, with the values in place of lines."""
    changed = recipe.model_dump()
    places: dict[Field, str] = {}
    problems: list[_Problem] = []
    for field, value in values.items():
        flag = f"{field}={as_written(value)}"
        places[tuple(field.split("."))] = flag
        problems += _put(changed, field, value, flag)
    return _validated(changed, source, places, problems)


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """`recipe` with some fields replaced, by their dotted names; validated again."""
    changed = recipe.model_dump()
    for field, value in values.items():
        *sections, name = field.split(".")
        target = changed
        for section in sections:
            target = target[section]
        target[name] = value
    return Recipe.model_validate(changed)


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML that loads again to the same recipe; what is absent by default is left out."""
    return yaml.dump(_written(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def _written(section: BaseModel) -> dict[str, Any]:
    values = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        inner = getattr(section, name)
        if isinstance(inner, BaseModel):
            values[name] = _written(inner)
        elif inner is None and not field.is_required():
            del values[name]
    return values


def _read_yaml(text: str, source: str) -> tuple[dict[str, Any], dict[Field, int]]:
    """The values of a YAML mapping, and the line of each key."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, ())) if node is not None else {}
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise InputError(f"{where}: not readable as YAML: {error.problem}.", "Mend that line.") from None
    except UNREADABLE as error:
        raise InputError(f"{source} is not readable as YAML: {error}.", "Is it a recipe?") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{source} does not hold the sections of a recipe.", "`onecycle recipes show digits` prints a whole one."
        )
    return cast(dict[str, Any], values), lines


def _lines(node: yaml.Node, field: Field) -> Iterator[tuple[Field, int]]:
    """The line of each key of a section, and of those in the lists and sections in it."""
    if isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            yield from _lines(inner, (*field, number))
    if not isinstance(node, yaml.MappingNode):
        return
    seen = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="the name of a field must be one word", problem_mark=key.start_mark)
        if key.value in seen:
            raise yaml.MarkedYAMLError(problem=f"'{key.value}' stands here a second time", problem_mark=key.start_mark)
        seen.add(key.value)
        yield (*field, key.value), key.start_mark.line + 1
        yield from _lines(value, (*field, key.value))


def _validated(values: dict[str, Any], source: str, places: Mapping[Field, str], problems: list[_Problem]) -> Recipe:
    """The recipe that `values` make; `InputError` with what is wrong with them, and the `problems` known so far."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems += _problems(error, places)
    if problems:
        raise _error(source, problems)
    paths = {"data.path": recipe.data.path, "model.init": recipe.model.init}
    whole = {field: str(Path(path).expanduser().absolute()) for field, path in paths.items() if path is not None}
    return with_values(recipe, whole)


def _apply(values: dict[str, Any], override: Override) -> list[_Problem]:
    """Puts one override into `values`; what is wrong with it, if anything."""
    value: Any = override.text
    if override.field not in TEXTS:
        try:
            value = yaml.load(override.text, _Loader)
        except UNREADABLE:
            what = f"the value {_on_one_line(override.text)!r} is not readable as YAML"
            return [_Problem(override.flag, (override.field,), what)]
    return _put(values, override.field, value, override.flag)


def _put(values: dict[str, Any], field: str, value: Any, flag: str) -> list[_Problem]:
    *sections, name = field.split(".")
    target = values
    for section in sections:
        if section in SECTIONS and target.get(section) is None:
            target[section] = {}
        inner = target.get(section) if section in SECTIONS else None
        if not isinstance(inner, dict):
            what = f"there is no section '{section}'{_did_you_mean(section, SECTIONS)}"
            return [_Problem(flag, (field,), what)]
        target = inner
    target[name] = value
    return []


def _problems(error: ValidationError, places: Mapping[Field, str]) -> list[_Problem]:
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
        problems.append(_Problem(places[at] if at else "", field, _in_words(detail, field)))
    return problems


def _named(location: Field) -> Field:
    """The way to a value as a recipe has it: pydantic also names the form of a value that has several."""
    return tuple(part for before, part in zip((None, *location), location, strict=False) if before != "max_lr")


def _in_words(detail: Mapping[str, Any], field: Field) -> str:
    """What pydantic found, in the words of somebody who wrote a recipe."""
    given, context, kind = detail["input"], detail.get("ctx", {}), detail["type"]
    if kind in _WORDS:
        return _WORDS[kind].format(given=_shown(given))
    match kind:
        case "extra_forbidden":
            return f"is not a field{_did_you_mean(str(field[-1]), _fields_of(field[:-1]))}"
        case "literal_error":
            choices = context["expected"].replace("'", "")
            known = re.split(r", | or ", choices)
            return f"must be {choices}, not {_shown(given)}{_did_you_mean(str(given), known)}"
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
            model = cast(type[BaseModel], _section_in(model.model_fields[name].annotation))  # only sections hold fields
    return list(model.model_fields)


def _did_you_mean(word: str, known: Sequence[str] | Mapping[str, object]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


MOST_TOLD = 20
"""Fields in one message: a terminal of 24 lines has room for no more, and a file of another kind needs no more."""


def _on_one_line(text: str, widest: int = 100) -> str:
    shown = printable(text[: widest + 1])
    return shown if len(shown) <= widest else f"{shown[:widest]}..."


def _error(source: str, problems: Sequence[_Problem]) -> InputError:
    places = [_on_one_line(problem.where) for problem in problems[:MOST_TOLD]]
    wide = max(map(len, places))
    rows = []
    for place, problem in zip(places, problems, strict=False):
        # What does not fit between sections has neither a line nor a field of its own; it names them.
        name = f"{_on_one_line('.'.join(map(str, problem.field)))}: " if problem.field else ""
        rows.append(f"  {place:<{wide}}  {name}{_on_one_line(problem.what, 300)}")
    if len(problems) > MOST_TOLD:
        rows.append(f"  and {len(problems) - MOST_TOLD} more")
    told = "one field cannot be used as it is"
    if len(problems) > 1:
        told = f"{len(problems)} fields cannot be used as they are"
    return InputError(
        f"{source}: {told}:\n" + "\n".join(rows),
        "`onecycle recipes show images` explains every field.",
    )
