"""What a config field is: its type, constraints, default and documentation.

The parts that `isrcore.config` builds config classes from; import them from there.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import math
import sys
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .config_toml import is_spelled_none, optional_of

if TYPE_CHECKING:
    from .config import Config

_SPEC = "isrcore"
_TOLERANCE = 1e-8


class ConfigError(ValueError):
    """A config field, value or file that cannot be used."""


class UnknownFieldError(ConfigError, AttributeError):
    """A name that no field has."""


@attrs.frozen
class Change:
    """One value a field has had: what, in which layer, and who set it."""

    value: Any
    layer: str
    who: str


@attrs.frozen
class FieldInfo:
    """What documentation needs to know of one field; ``where`` is the class that defines it."""

    name: str
    doc: str
    type: str
    default: Any
    constraint: str
    where: str


class ConfigList(list[Any]):
    """A list that is only set as a whole, so that every change is checked and remembered."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from a plain list: filling item by item is refused."""
        return ConfigList, (list(self),)


class ConfigDict(dict[str, Any]):
    """A dictionary that is only set as a whole, so that every change is checked and remembered."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild from a plain dictionary: filling item by item is refused."""
        return ConfigDict, (dict(self),)


def _refuse_item_change(self: Any, *_: Any, **__: Any) -> None:
    raise ConfigError(
        f"a {type(self).__bases__[0].__name__} in a config is set as a whole\n"
        "  write config.planes = [*config.planes, 'NEW'], not config.planes.append('NEW')"
    )


_LIST_CHANGES = "append extend insert pop remove clear sort reverse __setitem__ __delitem__ __iadd__ __imul__"
_DICT_CHANGES = "update setdefault pop popitem clear __setitem__ __delitem__ __ior__"
for _collection, _changes in ((ConfigList, _LIST_CHANGES), (ConfigDict, _DICT_CHANGES)):
    for _change in _changes.split():
        setattr(_collection, _change, _refuse_item_change)


def _conform(kind: Any, value: Any) -> Any:
    """The value as its field keeps it; `TypeError` unless it has type ``kind``."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if (inner := optional_of(kind)) is not None:
        return None if value is None else _conform(inner, value)
    if origin is dict and isinstance(value, dict):
        return ConfigDict({_conform(str, key): _conform(arguments[1], item) for key, item in value.items()})
    if origin is list and isinstance(value, list | tuple):
        return ConfigList(_conform(arguments[0], item) for item in value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(map(_conform, kinds, value))
    return _conform_scalar(kind, value)


def _conform_scalar(kind: Any, value: Any) -> Any:
    if kind is float and type(value) is int:
        return float(value)
    if kind is bool and isinstance(value, bool):
        return value
    if isinstance(value, str):
        value.encode()
    if kind in (str, int, float) and isinstance(value, kind) and not isinstance(value, bool):
        return kind(value)
    raise TypeError(f"{value!r} is not {kind!r}")


def _is_supported(kind: Any) -> bool:
    # Only a whole field may be None: TOML has no spelling for it inside a list.
    return _is_plain(optional_of(kind) or kind)


def _is_plain(kind: Any) -> bool:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return arguments[0] is str and _is_plain(arguments[1])
    if origin in (list, tuple):
        return all(_is_plain(item) for item in arguments if item is not Ellipsis)
    return kind in (str, bool, int, float)


def type_name(kind: Any) -> str:
    """A type as an annotation writes it."""
    return kind.__name__ if isinstance(kind, type) else str(kind)


def _items_of(value: Any) -> Iterable[Any]:
    """What a constraint looks at: the elements of a collection, or the value itself."""
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | tuple) else (value,)


def nearest(name: str, known: Collection[str]) -> str:
    """A hint at the known name closest to ``name``; empty when none is close."""
    found = [other for other in known if other.endswith(f".{name}")]
    found = found or difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


@attrs.frozen
class FieldSpec:
    """A plain field: its default, documentation and constraints."""

    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: float | None = None
    choices: tuple[Any, ...] | None = None
    check: Callable[[Any], bool] | None = None

    def constraint(self) -> str:
        """The constraints in words; empty when there are none."""
        bounds = ((">=", self.minimum), (">", self.exclusive_minimum), ("<=", self.maximum))
        words = [f"{sign} {bound}" for sign, bound in bounds if bound is not None]
        if self.choices is not None:
            words.append("one of " + ", ".join(map(repr, self.choices)))
        if self.check is not None:
            words.append((self.check.__doc__ or self.check.__name__).strip().splitlines()[0])
        return ", ".join(words)

    def is_met(self, value: Any) -> bool:
        """Whether a value of the right type keeps the constraints; None and NaN keep the bounds."""
        items = [item for item in _items_of(value) if item is not None]
        return (
            not any(self.minimum is not None and item < self.minimum for item in items)
            and not any(self.maximum is not None and item > self.maximum for item in items)
            and not any(
                self.exclusive_minimum is not None and item <= self.exclusive_minimum for item in items
            )
            and (self.choices is None or all(item in self.choices for item in items))
            and (self.check is None or self.check(value))
        )


@attrs.frozen
class SectionSpec:
    """A section whose implementation, and with it its fields, can be exchanged."""

    target: Any
    doc: str
    candidates: tuple[Any, ...] = ()

    def by_name(self) -> dict[str, Any]:
        """The classes a file may choose from, by their written names."""
        return {target_name(target): target for target in (self.target, *self.candidates)}


@attrs.frozen
class NestedSpec:
    """A group of fields that always has the same class."""

    config_class: type[Config]
    doc: str


def field(
    default: Any,
    doc: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    exclusive_minimum: float | None = None,
    choices: Iterable[Any] | None = None,
    check: Callable[[Any], bool] | None = None,
) -> Any:
    """Declare a field: ``rate: float = field(1.0, "Counts per second.", minimum=0.0)``.

    Types: str, bool, int, float, ``T | None``, ``list[T]``, ``tuple[T, ...]``, ``dict[str, T]``. Bounds and
    choices hold for every element of a collection, ``check`` for the value as a whole.
    """
    allowed = None if choices is None else tuple(choices)
    return declare(FieldSpec(default, doc, minimum, maximum, exclusive_minimum, allowed, check))


def section(default_target: Any, doc: str, candidates: Iterable[Any] = ()) -> Any:
    """Declare a retargetable section: ``overscan: ConfigSection = section(Overscan, "Overscan level.")``.

    A target is a class with a ``ConfigClass``, usually a Task. Files and the command line choose among
    the default target and the candidates by name; code may retarget to any target.
    """
    spec = SectionSpec(default_target, doc, tuple(candidates))
    for target in (default_target, *spec.candidates):
        if not isinstance(getattr(target, "ConfigClass", None), type):
            raise TypeError(f"section target {target!r} has no 'ConfigClass'; pass a Task class")
        if spec.by_name()[target_name(target)] is not target:
            raise TypeError(f"two candidates have the written name {target_name(target)!r}; rename one")
    return declare(spec)


def subconfig(config_class: type[Config], doc: str) -> Any:
    """Declare a plain group of fields: ``qa: QaConfig = subconfig(QaConfig, "Quality control.")``."""
    return declare(NestedSpec(config_class, doc))


def declare(spec: Any) -> Any:
    """The class attribute that carries a spec until the class is made."""
    return attrs.field(default=None, metadata={_SPEC: spec})


def spec_of(declaration: Any) -> Any:
    """The spec of a declaration or of the attrs attribute made from it; None when it is not ours."""
    return declaration.metadata.get(_SPEC)


def target_name(target: Any) -> str:
    """How files write a target: ``plugin:ClassName``, the plugin being its top-level package."""
    return f"{target.__module__.partition('.')[0]}:{target.__name__}"


@attrs.frozen
class Member:
    """A field bound to the class that defines it."""

    name: str
    kind: Any
    spec: Any
    where: str

    def fit(self, value: Any, full_name: str, change: Change) -> Any:
        """The value as kept; `ConfigError` that says everything when type or constraint is wrong."""
        try:
            if is_spelled_none(self.kind, value):
                raise TypeError("the word is reserved")
            fitted = _conform(self.kind, value)
            fitting = self.spec.is_met(fitted)
        except (TypeError, OverflowError, UnicodeEncodeError):
            fitted, fitting = None, False
        if not fitting:
            raise ConfigError(self._complaint(value, full_name, change))
        return fitted

    def _complaint(self, value: Any, full_name: str, change: Change) -> str:
        wanted = " ".join(filter(None, (type_name(self.kind), self.spec.constraint())))
        hint = nearest(value, self.spec.choices) if self.spec.choices and isinstance(value, str) else ""
        if is_spelled_none(self.kind, value):
            hint = "; that word stands for no value: set None"
        return (
            f"{full_name!r} wants {wanted}, got {value!r} ({type(value).__name__}){hint}\n"
            f"  set by {change.who!r} (layer {change.layer!r}); defined in {self.where}: {self.spec.doc}"
        )


def annotated_in(cls: type, name: str) -> type | None:
    """The class, among ``cls`` and its bases, whose annotation of ``name`` holds; None without one."""
    return next((base for base in cls.__mro__ if name in inspect.get_annotations(base)), None)


def members_of(cls: Any) -> Mapping[str, Member]:
    """The fields of a config class, by name, in the order of their definition.

    Worked out at the first use, when all names in annotations are known.
    """
    return _members_of(cls)


@functools.cache
def _members_of(cls: Any) -> Mapping[str, Member]:
    found = {}
    for attribute in attrs.fields(cls):
        owner = annotated_in(cls, attribute.name) or cls
        spec = attribute.metadata[_SPEC]
        kind = _resolve(owner, attribute.name) if isinstance(spec, FieldSpec) else None
        found[attribute.name] = Member(attribute.name, kind, spec, f"{owner.__module__}.{owner.__name__}")
    return types.MappingProxyType(found)


def _resolve(owner: type, name: str) -> Any:
    """The type of an annotation, which may be a string; `TypeError` when fields cannot have it."""
    holder = types.SimpleNamespace(__annotations__={name: owner.__annotations__[name]})
    kind = typing.get_type_hints(holder, globalns=vars(sys.modules[owner.__module__]))[name]
    if not _is_supported(kind):
        raise TypeError(
            f"field {name!r} of {owner.__name__!r} has type {kind}, which a config does not support"
        )
    return kind


def differences(name: str, mine: Any, theirs: Any) -> Iterator[str]:
    """The differences of two values, collections item by item."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in {**mine, **theirs}:
            label = f"{name}[{key!r}]" if name else key
            if key in mine and key in theirs:
                yield from differences(label, mine[key], theirs[key])
            else:
                yield f"{label}: only {'here' if key in mine else 'there'}"
    elif type(mine) is type(theirs) and isinstance(mine, list | tuple) and len(mine) == len(theirs):
        for index, (here, there) in enumerate(zip(mine, theirs, strict=True)):
            yield from differences(f"{name}[{index}]", here, there)
    elif not _agree(mine, theirs):
        yield f"{name}: {mine!r} here, {theirs!r} there"


def _agree(mine: Any, theirs: Any) -> bool:
    if type(mine) is not type(theirs):
        return False
    if not isinstance(mine, float):
        return bool(mine == theirs)
    both_nan = math.isnan(mine) and math.isnan(theirs)
    return both_nan or math.isclose(mine, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
