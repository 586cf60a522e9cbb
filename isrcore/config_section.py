"""Retargetable sections: the part of a config that belongs to an exchangeable implementation.

Import `ConfigSection` from `isrcore.config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from .config_fields import Change, ConfigError, FieldInfo, SectionSpec, members_of, nearest, target_name

if TYPE_CHECKING:
    from .config import Config

IMPLEMENTATION = "implementation"


def config_of(node: Config | ConfigSection) -> Config:
    """The config itself, also when it is seen through a section."""
    return node.value if isinstance(node, ConfigSection) else node


class ConfigSection:
    """A config section with an exchangeable implementation; fields are read and set through it.

    ``config.overscan.fitType = "MEAN"`` sets a field of the implementation's config, and
    ``config.overscan.retarget(Other)`` chooses another implementation.
    """

    __slots__ = ("_history", "_place", "_target", "_value")

    if TYPE_CHECKING:
        _history: list[Change]
        _place: tuple[Config, str]
        _target: Any
        _value: Config

    def __init__(self, target: Any, value: Config, history: list[Change]) -> None:
        """A section as it was; new ones are made by `of`."""
        object.__setattr__(self, "_target", target)
        object.__setattr__(self, "_value", value)
        object.__setattr__(self, "_history", history)

    @classmethod
    def of(cls, target: Any, where: str) -> ConfigSection:
        """A fresh section: the target's defaults; ``where`` is the class that defines it."""
        return cls(target, target.ConfigClass(), [Change(target_name(target), "default", where)])

    @property
    def target(self) -> Any:
        """The class this section is for."""
        return self._target

    @property
    def value(self) -> Config:
        """The config of the target."""
        return self._value

    @property
    def candidates(self) -> dict[str, Any]:
        """The classes a file may choose from, by their written names."""
        owner, name = self._place
        spec: SectionSpec = members_of(type(owner))[name].spec
        return spec.by_name()

    def retarget(self, target: Any) -> None:
        """Choose another class, or a candidate by its name.

        Values are kept when the new class has the same ConfigClass, else they become its defaults.
        """
        self._assign(IMPLEMENTATION, Change(target, *self._place[0]._source()))

    def __getattr__(self, name: str) -> Any:
        """A field or method of the target's config."""
        if name.startswith("_"):
            raise AttributeError(f"'ConfigSection' has no attribute {name!r}")
        return getattr(self._value, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field of the target's config."""
        setattr(self._value, name, value)

    def __delattr__(self, name: str) -> None:
        """Refuse: fields stay."""
        delattr(self._value, name)

    def __repr__(self) -> str:
        """The target's name and config."""
        return f"ConfigSection({target_name(self._target)}, {self._value!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle without the config around it."""
        return ConfigSection, (self._target, self._value, self._history)

    def _read(self, _name: str) -> str:
        return target_name(self._target)

    def _kind(self, _name: str) -> Any:
        return str

    def _changes(self, _name: str) -> tuple[Change, ...]:
        return tuple(self._history)

    def _info(self, _name: str, full_name: str) -> FieldInfo:
        owner, name = self._place
        member, first = members_of(type(owner))[name], self._history[0]
        constraint = "one of " + ", ".join(map(repr, self.candidates))
        return FieldInfo(full_name, member.spec.doc, "str", first.value, constraint, member.where)

    def _assign(self, leaf: str, change: Change) -> None:
        owner, name = self._place
        target = self._find(change, owner._full_name(f"{name}.{leaf}"))
        self._value._refuse_if_frozen(leaf, change)
        if type(self._value) is not target.ConfigClass:
            object.__setattr__(self, "_value", target.ConfigClass())
        object.__setattr__(self, "_target", target)
        self._history.append(attrs.evolve(change, value=target_name(target)))
        owner._adopt()

    def _find(self, change: Change, full_name: str) -> Any:
        target = self.candidates.get(change.value) if isinstance(change.value, str) else change.value
        if isinstance(getattr(target, "ConfigClass", None), type):
            return target
        hint = nearest(change.value, self.candidates) if isinstance(change.value, str) else ""
        raise ConfigError(
            f"{full_name!r} wants a class with a ConfigClass or one of the names"
            f" {', '.join(map(repr, self.candidates))}, got {change.value!r}{hint}\n"
            f"  set by {change.who!r} (layer {change.layer!r})"
        )
