"""Sections with several variants, each with its own fields: which variant a section is, and which fields it lacks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from onecycle_cli.recipe.field_types import Section


def variants_in(annotation: object) -> tuple[type[Section], ...]:
    """Returns the section classes in a union, in order, also those in nested unions."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return (annotation,)
    return tuple(variant for part in get_args(annotation) for variant in variants_in(part))


@dataclass(frozen=True)
class Choice:
    """The variants of a section, and the fields that choose between them, such as `policy` and then `shape`.

    If a variant does not have one of these fields, the others choose it.
    """

    decided_by: tuple[str, ...]
    variants: tuple[type[Section], ...]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the fields of all variants."""
        return frozenset(name for variant in self.variants for name in variant.model_fields)

    def values(self, variant: type[Section], decider: str) -> tuple[str, ...]:
        """Returns the values of the field `decider` that choose `variant`; empty if it does not have this field."""
        field = variant.model_fields.get(decider)
        return () if field is None else get_args(field.annotation)

    def chosen(self, values: Mapping[Any, Any]) -> type[Section] | None:
        """Returns the variant that a section's values choose; None if a choosing field is missing or unknown."""

        def means(variant: type[Section]) -> bool:
            written = self.defaults(variant) | dict(values)
            return all(written.get(name) in self.values(variant, name) for name in self._in(variant.model_fields))

        return next(filter(means, self.variants), None)

    def defaults(self, variant: type[Section]) -> dict[str, Any]:
        """Returns the defaults of the choosing fields of `variant` that are optional."""
        fields = variant.model_fields
        return {name: fields[name].default for name in self._in(fields) if not fields[name].is_required()}

    def foreign(self, variant: type[Section]) -> frozenset[str]:
        """Returns the fields that other variants have, but `variant` does not."""
        return self.fields - variant.model_fields.keys()

    def owners(self, field: str, variant: type[Section]) -> tuple[str, list[str]]:
        """Returns the choosing field to change in `variant` to get `field`, and the values with that field.

        For `three_phase` and shape blog, the result is `shape` and ["torch"]; for `milestones`, it is `policy` and
        ["multistep"].
        """
        having = [other for other in self.variants if field in other.model_fields]
        for decider in self.decided_by:
            same = [other for other in having if self._agrees(other, variant, decider)]
            if not same:
                values = (value for other in having for value in self.values(other, decider))
                return decider, list(dict.fromkeys(values))
            having = same
        raise ValueError(f"{variant.__name__} has {field}")

    def _agrees(self, one: type[Section], other: type[Section], decider: str) -> bool:
        return bool(set(self.values(one, decider)) & set(self.values(other, decider)))

    def _in(self, fields: Iterable[str]) -> list[str]:
        return [name for name in self.decided_by if name in fields]
