"""Sections that are one of several variants, each with fields of its own: which variant it is, and what it lacks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from onecycle_cli.recipe.field_types import Section


def variants_in(annotation: object) -> tuple[type[Section], ...]:
    """The sections in a union, also in a union of unions, in their order."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return (annotation,)
    return tuple(variant for part in get_args(annotation) for variant in variants_in(part))


@dataclass(frozen=True)
class Choice:
    """The variants of a section, and the fields that decide between them, such as `policy` and then `shape`.

    A variant that lacks one of the deciding fields is decided by the others alone.
    """

    decided_by: tuple[str, ...]
    variants: tuple[type[Section], ...]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of all variants together."""
        return frozenset(name for variant in self.variants for name in variant.model_fields)

    def values(self, variant: type[Section], decider: str) -> tuple[str, ...]:
        """The values of a deciding field that mean this variant; none where it has no such field."""
        field = variant.model_fields.get(decider)
        return () if field is None else get_args(field.annotation)

    def chosen(self, values: Mapping[Any, Any]) -> type[Section] | None:
        """The variant that a section's values mean; None where a deciding field is missing or has no such value."""

        def means(variant: type[Section]) -> bool:
            written = self.defaults(variant) | dict(values)
            return all(written.get(name) in self.values(variant, name) for name in self._in(variant.model_fields))

        return next(filter(means, self.variants), None)

    def defaults(self, variant: type[Section]) -> dict[str, Any]:
        """The deciding fields that need not be written, with their values."""
        fields = variant.model_fields
        return {name: fields[name].default for name in self._in(fields) if not fields[name].is_required()}

    def foreign(self, variant: type[Section]) -> frozenset[str]:
        """The fields that other variants have and this one does not."""
        return self.fields - variant.model_fields.keys()

    def owners(self, field: str, variant: type[Section]) -> tuple[str, list[str]]:
        """The deciding field that `variant` would need another value of to have `field`, and the values that have it.

        Of `three_phase` and shape blog, this is `shape` with ["torch"]; of `milestones`, `policy` with ["multistep"].
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
