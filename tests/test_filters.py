"""Names of filters: headers, people and older tables mean the same glass."""

from __future__ import annotations

import pytest

from isrcore import Camera, Detector, Filter
from isrcore.filters import filter_names, why_unlisted
from isrcore_cfht import CAMERA

ANY = Camera("any", (Detector.of_shape((1, 1)),), filters=(Filter("r.1", "r", aliases=("red", "R")),))


@pytest.mark.parametrize("name", ["r.1", "r", "red", "R", "  r.1 "])
def test_a_filter_goes_by_all_its_names_the_given_one_first(name: str) -> None:
    found = filter_names(name, ANY)
    assert found[0] == name.strip()
    assert set(found) == {"r.1", "r", "red", "R"}
    assert len(found) == 4


def test_a_filter_nobody_knows_has_its_own_name_only() -> None:
    assert filter_names("B", ANY) == ("B",)
    assert filter_names("B") == filter_names(" B ") == ("B",)
    assert filter_names("", ANY) == filter_names("  ") == ()


def test_any_name_in_a_list_is_enough() -> None:
    assert why_unlisted("r.1", ["g", "red "], ANY) == ""
    assert why_unlisted("r.1", ["g", "red"]) == "filter 'r.1' is not"
    assert why_unlisted("", ["g"], ANY) == "the exposure names no filter, so that it cannot be"


def test_example_the_old_and_the_new_i_of_megacam_are_two_filters() -> None:
    assert why_unlisted("i.MP9702", ["i2"], CAMERA) == ""
    assert why_unlisted("i.MP9702", ["i"], CAMERA) == "filter 'i.MP9702' is not"
    assert why_unlisted("CaHK.MP9303", ["u.MP9303"], CAMERA) == ""
