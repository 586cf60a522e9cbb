"""Every method of the API page has a test of its name, and the test notices when the method is wrong."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.documented_faults import FAULTS, PAGE, Fault, files_of_tests, killers, render
from tests.documented_page import methods, needs_page


@needs_page
def test_every_documented_method_has_a_test_of_its_name() -> None:
    assert set(files_of_tests()) == set(methods())


@needs_page
def test_every_documented_method_has_a_fault() -> None:
    assert Counter(fault.method for fault in FAULTS) == Counter(list(methods()))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.method)
def test_every_fault_is_about_the_method_as_it_is(fault: Fault) -> None:
    assert fault.source().count(fault.old) == 1
    # Whatever the fault is, the file can still be imported: it is the test that has to notice.
    compile(fault.mutated(), str(fault.path), "exec")
    assert fault.mutated() != (fault.path.absolute().read_text() if fault.path.exists() else "")


def test_the_page_lists_every_fault() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(tests/\S+)` \|$", PAGE.read_text(), re.MULTILINE)
    wanted = [(f.method, f"tests/{files_of_tests()[f.method]}::test_{f.method}") for f in FAULTS]
    assert rows == wanted
    assert PAGE.read_text() == render(dict(rows))


@pytest.mark.slow
def test_every_fault_is_noticed() -> None:
    found = killers()
    assert [method for method, test in found.items() if not test] == []
    assert PAGE.read_text() == render(found), "bring it up to date: python -m tests.documented_faults"


@pytest.mark.slow
def test_a_fault_that_is_none_is_not_noticed() -> None:
    harmless = Fault("getName", "return self._name", "return str(self._name)")
    assert killers((harmless,)) == {"getName": ""}
