"""Configuration: documented, typed fields that remember who set them.

A config is a class of annotated fields::

    class OverscanConfig(Config):
        numSigmaClip: float = field(3.0, "Rejection threshold, in sigma.", minimum=0.0)

Every assignment is checked at once and kept in the field's history together with its layer
("default", "file", a camera's overrides, ...) and its author. Lists and dictionaries are set as a
whole. A dotted name (``overscan.fitType``) reaches into sections; ``overscan.implementation`` is the
name of the class a section is for.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from .atomic import replacing
from .config_fields import (
    Change,
    ConfigDict,
    ConfigError,
    ConfigList,
    FieldInfo,
    FieldSpec,
    Member,
    NestedSpec,
    SectionSpec,
    UnknownFieldError,
    annotated_in,
    differences,
    field,
    members_of,
    nearest,
    section,
    spec_of,
    subconfig,
    target_name,
    type_name,
)
from .config_section import IMPLEMENTATION, ConfigSection, config_of
from .config_toml import Document, format_comment, format_value, is_spelled_none, parse_text

__all__ = [
    "Change",
    "Config",
    "ConfigDict",
    "ConfigError",
    "ConfigList",
    "ConfigSection",
    "FieldInfo",
    "UnknownFieldError",
    "field",
    "section",
    "subconfig",
    "target_name",
]

_SECTION_NAMES = frozenset({IMPLEMENTATION, "target", "value", "candidates", "retarget"})


@attrs.define
class _State:
    """What a config knows besides its values: its place, layers and history."""

    parent: Config | None = None
    name: str = ""
    is_frozen: bool = False
    layers: list[tuple[str, str]] = attrs.field(factory=list)
    history: dict[str, list[Change]] = attrs.field(factory=dict)


@attrs.define(slots=False, init=False, eq=False, repr=False)
class Config:
    """The base of config classes; subclasses declare fields, sections and subconfigs.

    Equality is exact (NaN equals NaN) and looks at values only; `compare` is tolerant and explains.
    Subclasses whose values change no result, only what is shown, say so in ``changes_results``.
    """

    changes_results: ClassVar[bool] = True

    if TYPE_CHECKING:
        _state: _State

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Collect the declared fields; `TypeError` when one is undocumented or its name is taken."""
        super().__init_subclass__(**keywords)
        attrs.define(cls, slots=False, init=False, eq=False, repr=False)
        for attribute in attrs.fields(cls):
            _check_declaration(cls, attribute)

    def __init__(self, **values: Any) -> None:
        """Start from the defaults, then set ``values``."""
        object.__setattr__(self, "_state", _State())
        for name, member in members_of(type(self)).items():
            self.__dict__[name] = self._default(member)
        self._adopt()
        for name, value in values.items():
            setattr(self, name, value)

    def _default(self, member: Member) -> Any:
        if isinstance(member.spec, NestedSpec):
            return member.spec.config_class()
        if isinstance(member.spec, SectionSpec):
            return ConfigSection.of(member.spec.target, member.where)
        change = Change(member.spec.default, "default", member.where)
        value = member.fit(change.value, member.name, change)
        self._state.history[member.name] = [attrs.evolve(change, value=value)]
        return value

    def _adopt(self) -> None:
        """Tell sections and subconfigs where they are."""
        for name, child in self._children():
            if isinstance(child, ConfigSection):
                object.__setattr__(child, "_place", (self, name))
            state = config_of(child)._state
            state.parent, state.name = self, name

    def _children(self) -> Iterator[tuple[str, Config | ConfigSection]]:
        for name in members_of(type(self)):
            child = self.__dict__[name]
            if isinstance(child, Config | ConfigSection):
                yield name, child

    def __getattr__(self, name: str) -> Any:
        """Only reached for names that are no field."""
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        raise self._unknown(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Check the value and remember the layer it was set in."""
        self._assign(name, Change(value, *self._source()))

    def __delattr__(self, name: str) -> None:
        """Refuse: fields stay."""
        raise ConfigError(f"{self._full_name(name)!r} cannot be deleted; set it to another value")

    def __eq__(self, other: object) -> bool:
        """Whether class, implementations and values are the same."""
        if not isinstance(other, Config):
            return NotImplemented
        return type(self) is type(other) and self._texts() == other._texts()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """The class and the values that are no defaults."""
        changed = [name for name in self.names() if len(self.history(name)) > 1]
        return f"{type(self).__name__}({', '.join(f'{name}={self.get(name)!r}' for name in changed)})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle values, history and frozenness, without what surrounds a section."""
        recipe = type(self).__dict__.get("_recipe", type(self))
        values = {name: self.__dict__[name] for name in members_of(type(self))}
        return _restore, (recipe, values, self._state.history, self._state.is_frozen)

    def _texts(self) -> dict[str, str]:
        return {name: format_value(node._read(leaf)) for name, node, leaf in self._leaves()}

    def _leaves(self, prefix: str = "") -> Iterator[tuple[str, Config | ConfigSection, str]]:
        """Every value below: its dotted name, who keeps it, and its name there."""
        for name in members_of(type(self)):
            child = self.__dict__[name]
            if isinstance(child, ConfigSection):
                yield f"{prefix}{name}.{IMPLEMENTATION}", child, IMPLEMENTATION
            if isinstance(child, Config | ConfigSection):
                yield from config_of(child)._leaves(f"{prefix}{name}.")
            else:
                yield prefix + name, self, name

    def names(self) -> Iterator[str]:
        """The dotted names of all values, in the order of their definition."""
        return (name for name, _, _ in self._leaves())

    def get(self, name: str) -> Any:
        """The value of a dotted name (a section or subconfig for the name of one)."""
        node, leaf = self._locate(name)
        return node._read(leaf)

    def set(self, name: str, value: Any, layer: str | None = None, who: str | None = None) -> None:
        """Set a dotted name; layer and author default to those of an assignment at this place.

        Raises `UnknownFieldError` with the nearest name, `ConfigError` for a wrong value.
        """
        node, leaf = self._locate(name)
        current_layer, current_who = self._source()
        node._assign(leaf, Change(value, layer or current_layer, who or current_who))

    def set_text(self, name: str, text: str, layer: str, who: str) -> None:
        """Set a dotted name from a command-line word, read by the type of the field.

        Truth is true, yes, 1, false, no or 0; lists are comma separated or TOML arrays; ``none`` is no
        value where a field may have none.
        """
        node, leaf = self._locate(name)
        value: Any = text
        # A text that cannot be read goes on as it is, so that the error is that of any wrong type.
        with contextlib.suppress(ValueError):
            value = parse_text(node._kind(leaf), text)
        node._assign(leaf, Change(value, layer, who))

    def history(self, name: str) -> tuple[Change, ...]:
        """All values a dotted name has had; the first is the default."""
        node, leaf = self._locate(name)
        return node._changes(leaf)

    def origin(self, name: str) -> Change:
        """The change that gave a dotted name its present value."""
        return self.history(name)[-1]

    def describe(self, name: str) -> FieldInfo:
        """Documentation, type, default and constraint of a dotted name."""
        node, leaf = self._locate(name)
        return node._info(leaf, name)

    @contextlib.contextmanager
    def layer(self, layer: str, who: str) -> Iterator[None]:
        """Attribute the assignments made inside, in sections too, to a layer and an author."""
        self._state.layers.append((layer, who))
        try:
            yield
        finally:
            self._state.layers.pop()

    def _source(self) -> tuple[str, str]:
        """The layer and author of an assignment made now; those nearest to the value win."""
        node: Config | None = self
        while node is not None:
            if node._state.layers:
                return node._state.layers[-1]
            node = node._state.parent
        return "user", "assignment"

    def _full_name(self, name: str) -> str:
        parts, node = [name], self
        while node._state.parent is not None:
            parts.insert(0, node._state.name)
            node = node._state.parent
        return ".".join(filter(None, parts))

    def _locate(self, dotted: str) -> tuple[Config | ConfigSection, str]:
        *path, leaf = dotted.split(".")
        node: Config | ConfigSection = self
        for name in path:
            child = config_of(node)._own(name)
            if not isinstance(child, Config | ConfigSection):
                raise self._unknown(dotted)
            node = child
        if isinstance(node, ConfigSection) and leaf == IMPLEMENTATION:
            return node, leaf
        config = config_of(node)
        if leaf not in members_of(type(config)):
            raise self._unknown(dotted)
        return config, leaf

    def _own(self, name: str) -> Any:
        return self.__dict__[name] if name in members_of(type(self)) else None

    def _group_names(self, prefix: str = "") -> Iterator[str]:
        for name, child in self._children():
            yield prefix + name
            yield from config_of(child)._group_names(f"{prefix}{name}.")

    def _unknown(self, dotted: str) -> UnknownFieldError:
        known = [self._full_name(name) for name in (*self.names(), *self._group_names())]
        hint = nearest(self._full_name(dotted), known)
        return UnknownFieldError(f"no field {self._full_name(dotted)!r} in {type(self).__name__!r}{hint}")

    def _read(self, name: str) -> Any:
        return self.__dict__[name]

    def _kind(self, name: str) -> Any:
        return self._plain(name).kind

    def _changes(self, name: str) -> tuple[Change, ...]:
        return tuple(self._state.history[self._plain(name).name])

    def _plain(self, name: str) -> Member:
        """The plain field of that name; groups of fields have no value of their own."""
        member = members_of(type(self)).get(name)
        if member is None:
            raise self._unknown(name)
        if not isinstance(member.spec, FieldSpec):
            full = self._full_name(name)
            raise ConfigError(
                f"{full!r} is a group of fields, not a value; name one of them: '{full}.<field>'"
            )
        return member

    def _assign(self, name: str, change: Change) -> None:
        member = self._plain(name)
        self._refuse_if_frozen(name, change)
        value = member.fit(change.value, self._full_name(name), change)
        self.__dict__[name] = value
        self._state.history[name].append(attrs.evolve(change, value=value))

    def _refuse_if_frozen(self, name: str, change: Change) -> None:
        if self._state.is_frozen:
            raise ConfigError(
                f"{self._full_name(name)!r} cannot become {change.value!r}: the config is frozen\n"
                f"  tried by {change.who!r} (layer {change.layer!r}); change it before planning, or a copy()"
            )

    def _info(self, name: str, full_name: str) -> FieldInfo:
        member = members_of(type(self))[name]
        if not isinstance(member.spec, FieldSpec):
            kind = type(config_of(self.__dict__[name])).__name__
            return FieldInfo(full_name, member.spec.doc, kind, None, "", member.where)
        default = self._state.history[name][0].value
        kind, constraint = type_name(member.kind), member.spec.constraint()
        return FieldInfo(full_name, member.spec.doc, kind, default, constraint, member.where)

    def freeze(self) -> None:
        """Refuse every later change, in sections and subconfigs too."""
        self._set_frozen(True)

    def _set_frozen(self, is_frozen: bool) -> None:
        self._state.is_frozen = is_frozen
        for _, child in self._children():
            config_of(child)._set_frozen(is_frozen)

    def copy(self) -> Self:
        """An independent config with the same values and history, not frozen."""
        twin = copy.deepcopy(self)
        twin._set_frozen(False)
        return twin

    def problems(self) -> Iterator[str]:
        """What is wrong with the values taken together; override for rules across fields."""
        return iter(())

    def validate(self) -> None:
        """Raise one `ConfigError` with the `problems` of this config and all below."""
        found = list(self._all_problems())
        if found:
            raise ConfigError(_report(f"config {type(self).__name__!r}", found))

    def _all_problems(self) -> Iterator[str]:
        place = self._full_name("")
        for problem in self.problems():
            yield f"{place}: {problem}" if place else problem
        for _, child in self._children():
            yield from config_of(child)._all_problems()

    def compare(self, other: Config) -> list[str]:
        """Every difference, one line each; none when the configs are equal.

        Types must be the same; floats agree within 1e-8, absolute and relative, and NaN with NaN.
        """
        found = []
        if type(self) is not type(other):
            found.append(f"class: {type(self).__name__} here, {type(other).__name__} there")
        mine = {name: self.get(name) for name in self.names()}
        theirs = {name: other.get(name) for name in other.names()}
        found += differences("", mine, theirs)
        return found

    def compare_stored(self, stored: Config | Mapping[str, Any]) -> list[str]:
        """Every difference from a config that was stored: as such, or as the table of its TOML form.

        Fields that the table lacks, and keys that are no fields here, are differences too. What changes no
        result (`Config.changes_results`) makes none.
        """
        silent = tuple(f"{name}." for name, child in self._children() if not config_of(child).changes_results)
        return [line for line in self._differences_from(stored) if not line.startswith(silent)]

    def _differences_from(self, stored: Config | Mapping[str, Any]) -> list[str]:
        if isinstance(stored, Config):
            return self.compare(stored)
        twin = self.copy()
        found = list(twin._load(stored, "", Document(Path("what is stored"), dict(stored), {})))
        known = set(_flat_names(stored))
        found += [f"{name}: only here" for name in self.names() if name not in known]
        return found + self.compare(twin)

    def to_toml(self) -> str:
        """The whole config as a TOML file, documentation as comments; None is written ``"none"``."""
        return "".join(self._toml_parts("")).lstrip("\n")

    def save(self, path: str | Path) -> None:
        """Write the config as a TOML file that is complete or not there; replaces one. Raises OSError."""
        with replacing(Path(path)) as stream:
            stream.write(self.to_toml().encode())

    def _toml_parts(self, path: str) -> Iterator[str]:
        for name, member in members_of(type(self)).items():
            if isinstance(member.spec, FieldSpec):
                yield format_comment(_comment_of(self._info(name, name)))
                yield f"{name} = {format_value(self.__dict__[name])}\n"
        for name, child in self._children():
            yield "\n" + format_comment(members_of(type(self))[name].spec.doc) + f"[{path}{name}]\n"
            if isinstance(child, ConfigSection):
                yield f"{IMPLEMENTATION} = {format_value(child._read(IMPLEMENTATION))}\n"
            yield from config_of(child)._toml_parts(f"{path}{name}.")

    def load(self, path: str | Path) -> None:
        """Set what a TOML file says, in layer "file"; tables are sections.

        The key ``implementation`` of a section chooses among its candidates, by name; nothing is imported.
        All problems are reported in one `ConfigError`, and then nothing is changed.
        """
        try:
            document = Document.read(Path(path))
        except (OSError, ValueError) as fault:
            raise ConfigError(f"config file '{path}' cannot be read: {fault}") from fault
        self.load_document(document, f"config file '{path}'")

    def load_document(self, document: Document, what: str, layer: str = "file") -> None:
        """Set what a document says, as `load` does; ``what`` names it in the `ConfigError`."""
        trial = copy.deepcopy(self)
        found = list(trial._load(document.table, "", document, layer))
        if found:
            raise ConfigError(_report(what, found))
        list(self._load(document.table, "", document, layer))

    def _load(
        self, table: Mapping[str, Any], prefix: str, document: Document, layer: str = "file"
    ) -> Iterator[str]:
        """Set the values of a table as far as they are right; yields what is wrong with the others."""
        # The implementation first: it decides which other keys exist.
        for key in sorted(table, key=lambda key: key != IMPLEMENTATION):
            name, value = prefix + key, table[key]
            try:
                node, leaf = self._locate(name)
                if isinstance(value, dict) and isinstance(node._read(leaf), Config | ConfigSection):
                    yield from self._load(value, name + ".", document, layer)
                    continue
                value = None if is_spelled_none(node._kind(leaf), value) else value
                node._assign(leaf, Change(value, layer, document.place(name)))
            except ConfigError as fault:
                place = document.place(name)
                yield str(fault) if place in str(fault) else f"{place}: {fault}"


def _flat_names(table: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted names of a TOML table, those of inner tables too."""
    for key, value in table.items():
        yield prefix + key
        if isinstance(value, Mapping):
            yield from _flat_names(value, f"{prefix}{key}.")


def _restore(
    recipe: Any, values: dict[str, Any], history: dict[str, list[Change]], is_frozen: bool
) -> Config:
    config_class = recipe if isinstance(recipe, type) else recipe.build()
    config: Config = object.__new__(config_class)
    object.__setattr__(config, "_state", _State(is_frozen=is_frozen, history=history))
    config.__dict__.update(values)
    config._adopt()
    return config


def _check_declaration(cls: type[Config], attribute: Any) -> None:
    name, owner = attribute.name, cls.__name__
    if spec_of(attribute) is None:
        raise TypeError(
            f"{name!r} of config {owner!r} needs a text: {name}: ... = field(default, 'what it does')"
        )
    if not annotated_in(cls, name):
        raise TypeError(f"{name!r} of config {owner!r} needs a type: {name}: float = field(...)")
    if name in _SECTION_NAMES or name.startswith("_") or hasattr(Config, name):
        raise TypeError(f"{name!r} of config {owner!r} is a name that configs use themselves; choose another")


def _report(what: str, problems: list[str]) -> str:
    lines = [f"  - {problem}".replace("\n", "\n  ") for problem in problems]
    return "\n".join([f"{what} has {len(problems)} problem{'s' * (len(problems) > 1)}:", *lines])


def _comment_of(info: FieldInfo) -> str:
    return f"{info.doc}\n({', '.join(filter(None, (info.type, info.constraint)))})"
