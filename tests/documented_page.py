"""The API page of the documented task: its attributes, methods and signatures."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import attrs
import pytest

from tests.golden import DATA

PAGE = DATA / "spec" / "CfhtIsrTask.txt"

needs_page = pytest.mark.skipif(
    not PAGE.exists(), reason=f"no API page at {PAGE}; set ISRCORE_TEST_DATA to the folder above"
)


@attrs.frozen
class Method:
    """One method of the page: parameters in order, with their defaults as written (None: required).

    ``raises`` are the names of the errors it documents.
    """

    name: str
    is_class_method: bool
    parameters: tuple[tuple[str, str | None], ...]
    keywords: str = ""
    raises: tuple[str, ...] = ()


@cache
def methods() -> dict[str, Method]:
    """Every documented method by name."""
    if not PAGE.exists():
        return {}
    text = PAGE.read_text()
    summary, _, details = text.partition("Methods Documentation")
    names = re.findall(r"^(\w+)\(", summary.partition("Methods Summary")[2], re.MULTILINE)
    return {name: _parse(name, details) for name in names}


def attributes() -> dict[str, str]:
    """Every documented attribute and its value as written."""
    if not PAGE.exists():
        return {}
    text = PAGE.read_text().partition("Attributes Documentation")[2].partition("Methods Documentation")[0]
    return dict(re.findall(r"^(\w+) = (.+)$", text, re.MULTILINE))


def _parse(name: str, details: str) -> Method:
    """The signature as the details give it."""
    found = re.search(rf"^(classmethod )?{name}\(([^)]*)\)$", details, re.MULTILINE)
    assert found, name
    arguments = ast.parse(f"def f({found[2]}): ...").body[0].args  # type: ignore[attr-defined]
    defaults = [None] * (len(arguments.args) - len(arguments.defaults)) + [
        ast.unparse(default) for default in arguments.defaults
    ]
    pairs = zip((argument.arg for argument in arguments.args), defaults, strict=True)
    return Method(
        name,
        bool(found[1]),
        tuple(pairs),
        arguments.kwarg.arg if arguments.kwarg else "",
        _errors(details[found.end() :]),
    )


def _errors(details: str) -> tuple[str, ...]:
    """The errors that stand below "Raises:", up to the next method."""
    own = re.split(r"^(?:classmethod )?\w+\([^)]*\)$", details, maxsplit=1, flags=re.MULTILINE)[0]
    told = own.partition("\nRaises:\n")[2]
    return tuple(re.findall(r"^(\w+Error)\b", told, re.MULTILINE))


ROOT = Path(__file__).parents[1]
