"""Every name on the API page of the documented task is there, with its signature and a docstring."""

from __future__ import annotations

import builtins
import inspect
import re

import pytest

import isrcore
from isrcore_cfht import CfhtIsrTask
from tests.documented_page import Method, attributes, methods, needs_page

pytestmark = needs_page


def test_the_page_is_understood() -> None:
    assert len(methods()) == 43
    assert attributes() == {"canMultiprocess": "True"}
    assert methods()["darkCorrection"].parameters == (
        ("exposure", None),
        ("darkExposure", None),
        ("invert", "False"),
    )
    assert methods()["makeField"].is_class_method
    assert methods()["run"].keywords == "kwds"
    assert {name: method.raises for name, method in methods().items() if method.raises} == {
        "convertIntToFloat": ("RuntimeError",),
        "darkCorrection": ("RuntimeError",),
        "ensureExposure": ("TypeError",),
        "getIsrExposure": ("RuntimeError",),
        "overscanCorrection": ("RuntimeError",),
        "readIsrData": ("NotImplementedError",),
        "runDataRef": ("RuntimeError",),
        "writePackageVersions": ("TaskError",),
    }


@pytest.mark.parametrize("name", attributes())
def test_every_documented_attribute_has_its_value(name: str) -> None:
    assert repr(getattr(CfhtIsrTask, name)) == attributes()[name]


@pytest.mark.parametrize("method", methods().values(), ids=methods())
def test_every_documented_method_has_its_signature(method: Method) -> None:
    found = getattr(CfhtIsrTask, method.name)
    signature = inspect.signature(found)
    parameters = [p for p in signature.parameters.values() if p.name != "self" or method.is_class_method]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    given = [(p.name, None if p.default is p.empty else repr(p.default)) for p in named]
    assert given == list(method.parameters)
    # Whatever the page does not name must not be needed.
    others = [p for p in parameters if p not in named]
    assert all(p.default is not p.empty for p in others if p.kind is p.KEYWORD_ONLY)
    assert any(p.kind is p.VAR_KEYWORD for p in others) == bool(method.keywords)
    assert inspect.ismethod(found) == method.is_class_method


def errors_in(docstring: str) -> list[type]:
    """The errors that a docstring names, whose names may be those of isrcore or of Python."""
    names = re.findall(r"\b\w+Error\b", docstring)
    return [getattr(isrcore, name, None) or getattr(builtins, name) for name in names]


# A kernel for each amplifier is no error here: it is used.
@pytest.mark.parametrize(
    "name", sorted({name for name in methods() if methods()[name].raises} - {"readIsrData"})
)
def test_documented_errors_are_those_of_the_page_or_derive_from_them(name: str) -> None:
    docstring = inspect.getdoc(getattr(CfhtIsrTask, name)) or ""
    assert "Raises" in docstring
    for error in methods()[name].raises:
        wanted = getattr(isrcore, error, None) or getattr(builtins, error)
        assert any(issubclass(found, wanted) for found in errors_in(docstring))


@pytest.mark.parametrize("name", methods())
def test_every_documented_method_says_what_it_does(name: str) -> None:
    docstring = inspect.getdoc(getattr(CfhtIsrTask, name)) or ""
    assert len(docstring.split()) >= 5, f"{name} needs a docstring"
