"""Loads a validated `Recipe` from YAML and overrides, reporting all errors at once, and writes a recipe to YAML."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import BaseModel, ValidationError

from onecycle_cli.errors import InputError, all_from_utf8, from_utf8, naming, to_utf8
from onecycle_cli.recipe.augmentation_fields import AugmentationSettings, as_section
from onecycle_cli.recipe.dialect import UNREADABLE, Dumper, Loader
from onecycle_cli.recipe.fields import CHOICES, Recipe
from onecycle_cli.recipe.problems import (
    Field,
    Problem,
    all_told,
    did_you_mean,
    found_by_pydantic,
    on_one_line,
    section_in,
)
from onecycle_cli.recipe.writing import as_written

SECTIONS = [name for name, field in Recipe.model_fields.items() if section_in(field.annotation)]

INNER_SECTIONS = {
    "augmentation": [name for name, field in AugmentationSettings.model_fields.items() if section_in(field.annotation)]
}
"""The sections within a section whose fields can be overridden one by one: `augmentation.color_jitter.hue=0.1`."""

LARGEST = 2**20
"""The largest size of a recipe file, in bytes. The longest shipped one has ~7,000; PyYAML takes 90 s on 100 MB."""

PATHS = (("data", "path"), ("model", "init"), ("model", "weights"), ("model", "function"))
"""The fields that contain a path, which may not be UTF-8: `errors.py` describes how it is written to a file."""

TEXTS = {
    *("name", "description", *(".".join(field) for field in PATHS)),
    *("data.path_column", "data.image_column", "data.label_column", "data.split_column"),
}
"""The fields whose override is plain text and not parsed as YAML: a folder may be called 2024 or `photos #1`."""


@dataclass(frozen=True)
class Override:
    """A field's new value from the command line: the dotted `field`, its `text`, and the `flag` to name in messages."""

    field: str
    text: str
    flag: str


def load(path: Path, overrides: Sequence[Override] = ()) -> Recipe:
    """Loads the recipe in the file `path` and applies `overrides`.

    `InputError` lists every wrong field: its line or flag, what is wrong, and the most similar known name.
    """
    return parse(_text(path), str(path), overrides)


def dotted_values(path: Path) -> dict[str, Any]:
    """Returns the fields of the recipe in a file, by dotted name.

    If this version cannot validate the recipe, the values are returned as the file has them.
    """
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
        raise InputError(f"{path} has more than {LARGEST:,} bytes, so it is not a recipe.", "Name the recipe's file.")
    try:
        with naming(path):
            return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8, so it is not a recipe.", "Save it as UTF-8.") from None


def parse(text: str, source: str, overrides: Sequence[Override] = ()) -> Recipe:
    """Parses the recipe in `text` and applies `overrides`. Relative paths are resolved from the current folder.

    `InputError` lists every wrong field; `source` is the name of the recipe in that message.
    """
    values, lines = _read_yaml(text, source)
    places = {field: f"line {line}" for field, line in lines.items()}
    problems: list[Problem] = []
    chosen = _chosen(values)
    _leave_out_preset(values, [override.field for override in overrides])
    for override in overrides:
        places[tuple(override.field.split("."))] = override.flag
        problems += _apply(values, override)
    _leave_out(values, chosen, [override.field for override in overrides])
    return _validated(values, source, places, problems)


def choices(text: str, flag: str) -> tuple[str, list[Any]]:
    """Parses a sweep's parameter: `optimizer.weight_decay=1e-2,1e-3` gives the field and its list of values.

    A value may itself be a list, such as [0.1, 0.2]. `InputError` names `flag` if the text cannot be parsed or a value
    is repeated.
    """
    field, equals, listed = text.partition("=")
    fix = "Write it as --param optimizer.weight_decay=1e-2,1e-3."
    if not (field and equals and listed.strip()):
        raise InputError(f"{flag} is not of the form FIELD=VALUE,VALUE,...", fix)
    try:
        values = all_from_utf8(yaml.load(f"[{to_utf8(listed)}]", Loader))  # noqa: S506 -- it is a SafeLoader
    except UNREADABLE:
        raise InputError(f"{flag}: the values are not readable as YAML.", fix) from None
    if len({repr(value) for value in values}) < len(values):
        raise InputError(f"{flag} holds the same value twice.", "Leave one of them out.")
    return field, values


def varied(recipe: Recipe, values: Mapping[str, Any], source: str) -> Recipe:
    """Returns `recipe` with some fields replaced, by dotted name, such as the values of a sweep's cell.

    `InputError` lists every wrong field with its value; `source` is the name of the recipe in that message.
    """
    changed = recipe.model_dump()
    places: dict[Field, str] = {}
    problems: list[Problem] = []
    _leave_out_preset(changed, values)
    for field, value in values.items():
        flag = f"{field}={as_written(value)}"
        places[tuple(field.split("."))] = flag
        problems += _put(changed, field, value, flag)
    _leave_out(changed, _chosen(recipe.model_dump()), values)
    return _validated(changed, source, places, problems)


def with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """Returns `recipe` with some fields replaced, by dotted name, and validates it again.

    A new policy, shape or source removes the fields that it does not have. Raises pydantic's `ValidationError`: use
    `varied` for values from the user.
    """
    changed = recipe.model_dump()
    for field, value in values.items():
        *sections, name = field.split(".")
        target = changed
        for section in sections:
            target = target[section]
        target[name] = value
    _leave_out(changed, _chosen(recipe.model_dump()), values)
    return Recipe.model_validate(changed)


def _chosen(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the fields that choose the variants of sections, by dotted name."""
    found: dict[str, Any] = {}
    for section, choice in CHOICES.items():
        inner = values.get(section)
        if isinstance(inner, dict):
            variant = choice.chosen(inner)
            whole = inner if variant is None else choice.defaults(variant) | inner
            found |= {f"{section}.{name}": whole.get(name) for name in choice.decided_by}
    return found


def _leave_out(values: dict[str, Any], chosen: Mapping[str, Any], given: Collection[str]) -> None:
    """Removes the fields that do not exist in the new variant of a section from `values`.

    `chosen` has the choosing fields before the change, and `given` the fields that the user set. Fields are removed
    only if the user changed the variant. A field that the user set is never removed.
    """
    now = _chosen(values)
    for section, choice in CHOICES.items():
        deciding = [f"{section}.{name}" for name in choice.decided_by]
        if all(field not in given or now.get(field) == chosen.get(field) for field in deciding):
            continue
        variant = choice.chosen(values[section]) if isinstance(values[section], dict) else None
        if variant is not None:
            for name in choice.foreign(variant) & values[section].keys():
                if f"{section}.{name}" not in given:
                    del values[section][name]


def _leave_out_preset(values: dict[str, Any], given: Collection[str]) -> None:
    """Empties the section `augmentation` of `values` if the user sets its preset.

    A resolved recipe has all fields of its preset, and they would override those of the new one.
    """
    if "augmentation.preset" in given and isinstance(values.get("augmentation"), dict):
        values["augmentation"] = {}


def to_yaml(recipe: Recipe) -> str:
    """Writes a recipe as YAML that loads to the same recipe. Optional fields that are None are omitted."""
    values = _with_paths(_written(recipe), to_utf8)
    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def _with_paths(values: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """Returns the values of a recipe with `change` applied to its paths."""
    for section, name in PATHS:
        inner = values.get(section)
        if isinstance(inner, dict) and isinstance(inner.get(name), str):
            values = values | {section: inner | {name: change(inner[name])}}
    return values


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
    """Parses a YAML mapping into its values and the line of each key. `InputError` if it is not one."""
    try:
        loader = Loader(text)
        node = loader.get_single_node()
        lines = dict(_lines(node, ())) if node is not None else {}
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{source}, line {mark.line + 1}" if mark else source
        raise InputError(f"{where}: not readable as YAML: {error.problem}.", "Fix that line.") from None
    except UNREADABLE as error:
        raise InputError(f"{source} is not readable as YAML: {error}.", "Is it a recipe?") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{source} does not contain the sections of a recipe.",
            "`onecycle recipes show digits` prints a whole recipe.",
        )
    return _with_paths(cast(dict[str, Any], values), from_utf8), lines


def _lines(node: yaml.Node, field: Field) -> Iterator[tuple[Field, int]]:
    """Yields the line of each key in a YAML node, also of nested keys."""
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
            raise yaml.MarkedYAMLError(problem=f"'{key.value}' appears here a second time", problem_mark=key.start_mark)
        seen.add(key.value)
        yield (*field, key.value), key.start_mark.line + 1
        yield from _lines(value, (*field, key.value))


def _validated(values: dict[str, Any], source: str, places: Mapping[Field, str], problems: list[Problem]) -> Recipe:
    """Validates `values` as a recipe; `InputError` with the `problems` found before and those found here."""
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        problems += found_by_pydantic(error, places)
    if problems:
        raise all_told(source, problems)
    paths = {field: getattr(getattr(recipe, field[0]), field[1], None) for field in PATHS}
    whole = {".".join(field): _absolute(field, path) for field, path in paths.items() if path is not None}
    return with_values(recipe, whole)


def _absolute(field: Field, path: str) -> str:
    """Makes the path in a field absolute, also in `path/to/file.py:function`; `package.module:function` has none."""
    if field == ("model", "function"):
        file, _, function = path.rpartition(":")
        return f"{_absolute((), file)}:{function}" if file.endswith(".py") else path
    return str(Path(path).expanduser().absolute())


def _apply(values: dict[str, Any], override: Override) -> list[Problem]:
    """Applies one override to `values`, and returns its problems."""
    value: Any = override.text
    if override.field not in TEXTS:
        try:
            value = yaml.load(override.text, Loader)  # noqa: S506 -- it is a SafeLoader
        except UNREADABLE:
            what = f"the value {on_one_line(override.text)!r} is not readable as YAML"
            return [Problem(override.flag, (override.field,), what)]
    return _put(values, override.field, value, override.flag)


def _put(values: dict[str, Any], field: str, value: Any, flag: str) -> list[Problem]:
    *sections, name = field.split(".")
    target = values
    for depth, section in enumerate(sections):
        known = INNER_SECTIONS.get(sections[0], []) if depth else SECTIONS
        if section in known and target.get(section) is None:
            target[section] = {}
        if section == "augmentation" and section in known:
            target[section] = as_section(target[section])
        inner = target.get(section) if section in known else None
        if not isinstance(inner, dict):
            what = f"there is no section '{section}'{did_you_mean(section, known)}"
            return [Problem(flag, (field,), what)]
        target = inner
    target[name] = value
    return []
