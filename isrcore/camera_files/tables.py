"""TOML tables read key by key; what is wrong is collected, and what nobody asked for is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

_MISSING = object()
_NAMES = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", list: "a list"}


@attrs.define(eq=False)
class Table:
    """A table, the ``place`` of it in the file, and the list that takes every problem."""

    values: Mapping[str, Any]
    place: str
    problems: list[str]
    _asked: set[str] = attrs.field(factory=set, init=False)

    def __contains__(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self.values

    def named(self, key: str) -> str:
        """A key with the place of its table in front."""
        return f"{self.place}.{key}" if self.place else key

    def knows(self, *keys: str) -> None:
        """Say that keys may be there, asked for or not."""
        self._asked.update(keys)

    def complain(self, key: str, what: str) -> None:
        """Add a problem of a key."""
        self.problems.append(f"{self.named(key)}: {what}")

    def take(self, key: str, kind: type, default: Any = None) -> Any:
        """The value of a key if it is of a kind, else the default; a float may be written as a whole number.

        Without a default (``...``) the key must be there.
        """
        self._asked.add(key)
        value = self.values.get(key, _MISSING)
        if value is _MISSING:
            if default is ...:
                self.complain(key, "is missing")
            return None if default is ... else default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            self.complain(key, f"is {value!r}, it must be {_NAMES.get(kind, 'a table')}")
            return None if default is ... else default
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A text or a list of texts; none when the key is not there."""
        value = self.take_any(key, ())
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            self.complain(key, f"is {value!r}, it must be a text or a list of texts")
            return ()
        return tuple(texts)

    def take_any(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is."""
        self._asked.add(key)
        return self.values.get(key, default)

    def table(self, key: str) -> Table:
        """A table inside; an empty one when it is not there or no table."""
        self._asked.add(key)
        value = self.values.get(key, {})
        if not isinstance(value, Mapping):
            self.complain(key, f"is {value!r}, it must be a table")
            value = {}
        return Table(value, self.named(key), self.problems)

    def tables(self, key: str) -> Iterator[Table]:
        """The tables of a list of tables."""
        self._asked.add(key)
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
            self.complain(key, f"is {value!r}, it must be tables: [[{self.named(key)}]]")
            return
        for number, one in enumerate(value, 1):
            yield Table(one, f"{self.named(key)}[{number}]", self.problems)

    def close(self) -> None:
        """Complain of keys that nobody asked for."""
        for key in self.values.keys() - self._asked:
            near = difflib.get_close_matches(key, self._asked, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(self._asked))}"
            self.complain(key, f"is no key of a camera file; {hint}")
