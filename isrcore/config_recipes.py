"""Config classes made from data: the fields that plugins bring are not known before they are found.

Import Config itself from `isrcore.config`.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import attrs

from .config import Config
from .config_fields import NestedSpec, SectionSpec, declare, spec_of


@attrs.frozen
class _Recipe:
    """How a class made by `make_config_class` is made again, in another process too."""

    name: str
    bases: tuple[type[Config], ...]
    fields: tuple[tuple[str, Any, Any], ...]

    def build(self) -> type[Config]:
        """The class; the same one for the same recipe."""
        classes = tuple(used for _, _, spec in self.fields for used in _classes_of(spec))
        key = self.name, self.bases, repr(self.fields), classes
        if key not in _MADE:
            _MADE[key] = types.new_class(self.name, self.bases, exec_body=self._fill)
        return _MADE[key]

    def _fill(self, namespace: dict[str, Any]) -> None:
        namespace["__annotations__"] = {name: kind for name, kind, _ in self.fields}
        namespace["__module__"] = self.bases[0].__module__
        namespace["_recipe"] = self
        namespace.update({name: declare(spec) for name, _, spec in self.fields})


_MADE: dict[Any, type[Config]] = {}


def make_config_class(
    name: str, bases: tuple[type[Config], ...], fields: Mapping[str, tuple[Any, Any]]
) -> type[Config]:
    """A config class from types and declarations: ``{"rate": (float, field(1.0, "Rate."))}``.

    Equal arguments give the same class, so its instances can be compared and pickled.
    """
    declared = ((key, kind, spec_of(declaration)) for key, (kind, declaration) in fields.items())
    return _Recipe(name, tuple(bases), tuple(declared)).build()


def _classes_of(spec: Any) -> tuple[Any, ...]:
    if isinstance(spec, SectionSpec):
        return (spec.target, *spec.candidates)
    return (spec.config_class,) if isinstance(spec, NestedSpec) else ()
