"""Writes docs/recipe_fields.md from the recipe's classes: every field, its type, default, limits and meaning.

`make docs` runs this script; a test keeps the page current.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onecycle_cli.recipe import Recipe

PAGE = Path(__file__).parent / "recipe_fields.md"

HEAD = """# Recipe fields

<!-- docs/recipe_fields.py writes this page: make docs -->

A recipe is one YAML file. `onecycle recipes copy images my-photos.yaml` copies one that explains its fields, `onecycle
recipes check my-photos.yaml` checks yours, and `--set section.field=value` overrides a field. A field without a default
has to be in the file. [Schedules](schedules.md), [images](images.md), [networks](networks.md) and
[fine-tuning](fine-tuning.md) explain the sections with examples.
"""

BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
}
OTHER_NAMES = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
"""What pydantic writes for the bounds of an optional number that is checked before."""

TYPES = {"number": "number", "integer": "whole number", "string": "text", "boolean": "true, false", "null": "null"}
LONGEST_CHOICE = 10
"""Values that a cell lists; more of them are in the guide of the section."""

Schema = Mapping[str, Any]


def page() -> str:
    """Returns the page: the fields beside the sections, then each section."""
    schema = Recipe.model_json_schema()
    definitions = {name: _Section(name, inner) for name, inner in schema["$defs"].items()}
    fields, parts = schema["properties"], []
    plain = {name: field for name, field in fields.items() if not _sections(field)}
    parts.append("## The recipe\n\n" + _table(plain, schema.get("required", ())))
    for name, field in fields.items():
        if variants := [definitions[variant] for variant in _sections(field)]:
            optional = "" if name in schema.get("required", ()) else " It may be left out."
            parts.append(f"## `{name}`" + _variants(name, variants, definitions, optional))
    return "\n\n".join([HEAD.strip(), *parts]) + "\n"


class _Section:
    """A class of the recipe: what it is, and its fields."""

    def __init__(self, name: str, schema: Schema) -> None:
        self.name = name
        self.about = " ".join(schema.get("description", "").split())
        self.fields: dict[str, Schema] = schema["properties"]
        self.required: tuple[str, ...] = tuple(schema.get("required", ()))

    @property
    def chosen_by(self) -> str:
        """The fields that have one value in this variant, such as `policy: one_cycle`."""
        fixed = [f"`{name}: {field['const']}`" for name, field in self.fields.items() if "const" in field]
        return ", ".join(fixed)


def _variants(name: str, variants: list[_Section], definitions: Mapping[str, _Section], optional: str) -> str:
    """Returns the fields that all variants have alike, then those of each variant, then the sections inside."""
    first, *others = variants
    text = "" if others else f"\n\n{first.about}{optional}"
    alike = {
        key: field
        for key, field in first.fields.items()
        if "const" not in field and all(field == other.fields.get(key) for other in others)
    }
    text += "\n\n" + _table(alike, first.required)
    for variant in variants if others else ():
        own = {key: field for key, field in variant.fields.items() if key not in alike and "const" not in field}
        text += f"\n\n### {variant.chosen_by}\n\n{variant.about}"
        text += "\n\n" + _table(own, variant.required) if own else " It has no other fields."
    inside = dict.fromkeys(
        inner for variant in variants for field in variant.fields.values() for inner in _sections(field)
    )
    for inner in map(definitions.__getitem__, inside):
        field = next(
            key for variant in variants for key, found in variant.fields.items() if inner.name in _sections(found)
        )
        text += f"\n\n### A section in `{name}.{field}`\n\n{inner.about}\n\n{_table(inner.fields, inner.required)}"
    return text


def _table(fields: Mapping[str, Schema], required: tuple[str, ...]) -> str:
    lines = ["| field | type | default | limits | meaning |", "| --- | --- | --- | --- | --- |"]
    for name, field in fields.items():
        default = "" if name in required else f"`{_shown(field.get('default'))}`"
        cells = (f"`{name}`", _type(field), default, _limits(field), field.get("description", "").replace("<", "&lt;"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    return f"{value:,.0f}" if type(value) in (int, float) else json.dumps(value).strip('"')


def _parts(field: Schema) -> list[Schema]:
    """Returns the alternatives of a field, each with a type."""
    inner = field.get("anyOf") or field.get("oneOf")
    return [part for one in inner for part in _parts(one)] if inner else [field]


def _sections(field: Schema) -> list[str]:
    """Returns the names of the classes that the value of a field may have, also those in a list."""
    found = [part.get("$ref") or part.get("items", {}).get("$ref", "") for part in _parts(field)]
    return [reference.rpartition("/")[2] for reference in found if reference]


def _type(field: Schema) -> str:
    return ", or ".join(dict.fromkeys(map(_one_type, _parts(field))))


def _one_type(part: Schema) -> str:
    if values := part.get("enum"):
        listed = ", ".join(f"`{value}`" for value in values[:LONGEST_CHOICE])
        return listed if len(values) <= LONGEST_CHOICE else f"{listed} and {len(values) - LONGEST_CHOICE} more"
    if "$ref" in part:
        return "a section"
    if part["type"] == "array":
        return f"list of {_plural(_one_type(part['items']))}"
    return "a mapping" if part["type"] == "object" else TYPES[part["type"]]


def _plural(one: str) -> str:
    return {"a section": "sections", "text": "texts"}.get(one, f"{one}s")


def _limits(field: Schema) -> str:
    found = []
    for part in _parts(field):
        numbers = part.get("items", part)
        numbers = {OTHER_NAMES.get(key, key): value for key, value in numbers.items()}
        found += [said.format(_shown(numbers[key])) for key, said in BOUNDS.items() if key in numbers]
        found += [f"at least {part['minItems']} of them"] if part.get("minItems", 0) > 1 else []
        found += [f"at most {part['maxItems']} of them"] if "maxItems" in part else []
    return ", ".join(dict.fromkeys(found))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
