"""Laws of the strategies that the conformance kit offers: plans are plans, damaged headers say how."""

from __future__ import annotations

import re

import pytest
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Plan, Registry
from isrcore.testing import strategies
from isrcore.testing.headers import KINDS, ChangedHeader, changes_of
from isrcore.testing.twins import small_twin

REGISTRY = Registry({"standard": isrcore_standard})
HEADER = Header([("SIMPLE", True), ("NAXIS", 0), ("EXPTIME", 30.5), ("FILTER", "r"), ("SHUT", True)])
HEADER["EXPNUM"] = 7


@given(strategies.plans(REGISTRY))
@settings(max_examples=10)
def test_a_plan_names_what_runs_once_and_in_order_of_segments(plan: Plan) -> None:
    names = [planned.spec.name for planned in plan.steps]
    assert len(set(names)) == len(names)
    assert "conversion" in names
    numbers = [planned.segment for planned in plan.steps]
    assert numbers == sorted(numbers)


@given(strategies.headers_like(HEADER))
def test_a_changed_header_says_what_changed_and_stays_a_header(drawn: ChangedHeader) -> None:
    named = re.findall(r"([A-Z]+) ([a-z]+)", drawn.change)
    assert repr(drawn) == f"<header with {drawn.change}>"
    assert {kind for _, kind in named} == drawn.kinds <= set(KINDS)
    changed = {keyword for keyword, _ in named}
    for keyword in HEADER:
        if keyword not in changed:
            assert drawn.header[keyword] == HEADER[keyword]
    assert Header.fromstring(drawn.header.tostring()) is not None
    assert {"SIMPLE", "NAXIS"} <= set(drawn.header)


@pytest.mark.parametrize(
    ("keyword", "expected"),
    [
        (
            "EXPTIME",
            ["dropped", "emptied", "undefined", "retyped to '30.5'", "absurd to -1.0", "absurd to 1e+300"],
        ),
        ("SHUT", ["dropped", "emptied", "undefined", "retyped to 'True'", "absurd to False"]),
    ],
)
def test_example_every_change_of_a_card(keyword: str, expected: list[str]) -> None:
    found = list(changes_of(HEADER, keyword))
    assert [one.change for one in found] == [f"{keyword} {change}" for change in expected]
    assert keyword not in found[0].header
    assert found[1].header[keyword] == ""
    assert str(found[2].header.cards[keyword]).split("=")[1].strip(" /") == ""
    assert HEADER["EXPTIME"] == 30.5


@given(strategies.detectors(), st.integers(1, 40))
def test_a_small_twin_is_laid_out_alike(detector, factor):
    def orders(one):
        boxes = [box for amp in one.amplifiers for box in (amp.raw_data_box, amp.serial_overscan_box)]
        return [(a.x0 < b.x0, a.y0 < b.y0, a.x1 <= b.x0) for a in boxes for b in boxes if a.area and b.area]

    twin = small_twin(detector)
    assert max(twin.shape) <= 24 * len(detector.amplifiers)
    assert orders(twin) == orders(detector)
    assert [amp.gather().flip_x for amp in twin.amplifiers] == [amp.flip_x for amp in detector.amplifiers]
