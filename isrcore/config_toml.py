"""The text forms of config values: TOML files and command-line words.

Knows nothing of config classes. TOML has no null, so in optional fields the word ``none`` (in any
case) stands for `None`, in files and on the command line alike.
"""

from __future__ import annotations

import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from isrcore.words import split_words

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\s-]+?)\s*\]\s*(?:#.*)?")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z0-9_-]+(?:\s*\.\s*[A-Za-z0-9_-]+)*)\s*=")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@attrs.frozen
class Document:
    """A parsed TOML file: its tables, and the line of every key that is easily found."""

    path: Path
    table: dict[str, Any]
    lines: Mapping[str, int]

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse a file; `ValueError` says where it is not TOML or not UTF-8 text."""
        text = path.read_text(encoding="utf-8")
        return cls(path, tomllib.loads(text), locate_keys(text))

    def place(self, name: str) -> str:
        """Where a dotted key is set: ``path:line``, or only the path."""
        return f"{self.path}:{self.lines[name]}" if name in self.lines else str(self.path)


def locate_keys(text: str) -> dict[str, int]:
    """Line numbers (from 1) of the dotted keys in a TOML text, without those that look set twice.

    A scan, not a parse: quoted keys and keys of inline tables are not found, and a key that also
    appears inside a multi-line string is left out.
    """
    prefix, found = "", dict[str, list[int]]()
    for number, line in enumerate(text.split("\n"), start=1):
        if header := _HEADER.fullmatch(line):
            prefix = _without_spaces(header[1]) + "."
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault(prefix + _without_spaces(assignment[1]), []).append(number)
    return {name: numbers[0] for name, numbers in found.items() if len(numbers) == 1}


def _without_spaces(text: str) -> str:
    return re.sub(r"\s", "", text)


def format_value(value: Any) -> str:
    """One value as TOML; reading it back gives the same value (tuples come back as lists)."""
    match value:
        case None:
            return '"none"'
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON strings are TOML strings but for DEL, which TOML wants escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case dict():
            items = (f"{format_key(key)} = {format_value(item)}" for key, item in sorted(value.items()))
            return "{" + ", ".join(items) + "}"
    return "[" + ", ".join(format_value(item) for item in value) + "]"


def format_key(key: str) -> str:
    """A key as TOML, quoted where it has to be."""
    return key if _BARE_KEY.fullmatch(key) else format_value(key)


def format_comment(text: str) -> str:
    """A text as comment lines."""
    return "".join(f"# {line}".rstrip() + "\n" for line in text.splitlines())


def optional_of(kind: Any) -> Any | None:
    """The ``T`` of ``T | None``; None when ``kind`` is no such type."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return None
    kinds = typing.get_args(kind)
    others = [other for other in kinds if other is not types.NoneType]
    return others[0] if len(others) == 1 and len(kinds) == 2 else None


def is_spelled_none(kind: Any, value: Any) -> bool:
    """Whether a value of a field of type ``kind`` is the word that stands for None."""
    return isinstance(value, str) and value.lower() == "none" and optional_of(kind) is not None


def parse_text(kind: Any, text: str) -> Any:
    """Read a command-line word as a value of type ``kind``.

    Lists are separated by commas or written as TOML arrays, dictionaries are inline TOML tables.
    Raises `ValueError` when the text does not have that form.
    """
    if is_spelled_none(kind, text.strip()):
        return None
    kind = optional_of(kind) or kind
    if kind is str:
        return text
    text = text.strip()
    if kind is bool:
        return _parse_bool(text)
    if kind in (int, float):
        return kind(text)
    if text.startswith(("[", "{")):
        return tomllib.loads(f"value = {text}")["value"]
    if typing.get_origin(kind) is dict:
        raise ValueError(f"{text!r} is not an inline table like '{{g = 1.0}}'")
    return [parse_text(typing.get_args(kind)[0], word) for word in split_words(text)]


def _parse_bool(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(f"{text!r} is neither true nor false")
    return _TRUTH[text.lower()]
