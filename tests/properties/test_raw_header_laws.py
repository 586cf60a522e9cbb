"""Laws: merging headers is what astropy's slower way makes of them; a WCS that is made late is the same."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from astropy.io.fits import Card, Header, VerifyError
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Detector, Exposure, MaskedImage
from isrcore.exposure import LazyWcs
from isrcore.raw_headers import FILE_KEYWORDS, celestial_wcs, merge_headers

TEXTS = st.text("abcXYZ 0123'/", max_size=30)
LONG = st.text("abc '", min_size=70, max_size=160)
VALUES = TEXTS | st.integers(-(10**9), 10**9) | st.booleans() | st.floats(-1e6, 1e6)
KEYWORDS = st.sampled_from(["GAIN", "FILTER", "EXPTIME", "A-B", "A_B", "X1", "X2", "DATE-OBS"])
NAMED = st.tuples(KEYWORDS, VALUES, TEXTS)
CONTINUED = st.tuples(KEYWORDS, LONG, TEXTS)
HIERARCH = st.tuples(st.sampled_from(["HIERARCH ESO DET ID", "HIERARCH ESO TEL"]), VALUES, st.just(""))
REMARKS = st.tuples(st.sampled_from(["HISTORY", "COMMENT", ""]), TEXTS, st.just(""))
BLANK = st.just(("", "", ""))
OF_THE_FILE = st.tuples(
    st.sampled_from(sorted(FILE_KEYWORDS - {"NAXIS", "SIMPLE", "XTENSION"} | {"NAXIS1", "NAXIS2", "NAXIS3"})),
    st.integers(0, 9),
    TEXTS,
)
FORMS = [NAMED, NAMED, NAMED, CONTINUED, HIERARCH, REMARKS, OF_THE_FILE]


def headers(*more: st.SearchStrategy[tuple[str, Any, str]]) -> st.SearchStrategy[Header]:
    """Headers as they come from files, with any card any number of times."""
    cards = st.lists(st.one_of(*FORMS, *more), max_size=14)
    return st.builds(as_read, st.sampled_from(["SIMPLE", "XTENSION"]), st.integers(0, 2), cards)


def as_read(first: str, axes: int, cards: list[tuple[str, Any, str]]) -> Header:
    """A header as it comes from a file."""
    begin = [(first, True if first == "SIMPLE" else "IMAGE", ""), ("BITPIX", 16, ""), ("NAXIS", axes, "")]
    sizes = [(f"NAXIS{axis + 1}", 5, "") for axis in range(axes)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        return Header.fromstring(Header([Card(*card) for card in [*begin, *sizes, *cards]]).tostring())


def merged_plainly(primary: Header, extension: Header) -> Header:
    """As astropy does it, card after card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        first, second = (header.copy(strip=True) for header in (primary, extension))
        for header in (first, second):
            for keyword in FILE_KEYWORDS & set(header):
                del header[keyword]
        first.extend(second, update=True)
    return first


def told(header: Header) -> tuple[Any, ...]:
    """All a header says, and how it is written."""
    return [(card.keyword, card.value, card.comment) for card in header.cards], header.tostring()


@given(headers(), headers())
def test_headers_are_merged_as_astropy_merges_them(primary: Header, extension: Header) -> None:
    before = primary.tostring(), extension.tostring()
    wanted = merged_plainly(primary.copy(), extension.copy())
    found = merge_headers(primary, extension)
    assert told(found) == told(wanted)
    assert [found.index(keyword) for keyword in found] == [wanted.index(keyword) for keyword in wanted]
    assert (primary.tostring(), extension.tostring()) == before


@given(headers(BLANK), headers(BLANK))
def test_blank_cards_give_way_as_astropy_has_it(primary: Header, extension: Header) -> None:
    assert told(merge_headers(primary, extension)) == told(merged_plainly(primary, extension))


@given(headers())
def test_a_header_merged_with_itself_is_itself(header: Header) -> None:
    assert told(merge_headers(header, header)) == told(merged_plainly(header, Header()))


def test_remarks_stay_behind_values() -> None:
    primary = as_read("SIMPLE", 0, [("GAIN", 1.5, ""), ("HISTORY", "old", "")])
    extension = as_read(
        "XTENSION", 2, [("HISTORY", "new", ""), ("HISTORY", "old", ""), ("X1", 2, ""), ("GAIN", 1.7, "of A")]
    )
    found = [tuple(card) for card in merge_headers(primary, extension).cards]
    assert found == [("GAIN", 1.7, "of A"), ("X1", 2, ""), ("HISTORY", "old", ""), ("HISTORY", "new", "")]


DAMAGED = [
    *(
        "GAIN    = 'abc",
        "GAIN    = 1.5.2 / x",
        "GAIN    =1.5/x",
        "gain    = 1.5",
        "GAIN    = NaN",
        "GAIN 1.5",
    ),
    *("GAIN    = abc def", "GAIN    = 'it''s' and more", "GAIN    = 1.5D3 / \xe9", "GAIN    = 'caf\xe9'"),
    *("GAIN    = 00012", "GAIN    = 1.50 / of A", "GAIN    =", "HIERARCH GAIN = 3"),
]


@pytest.mark.parametrize("one", DAMAGED)
@pytest.mark.parametrize("other", DAMAGED)
def test_damaged_cards_are_told_of_as_astropy_tells(one: str, other: str) -> None:
    def outcome(merge: Callable[[Header, Header], Header]) -> Any:
        first, second = (Header.fromstring(text.ljust(80)) for text in (one, other))
        try:
            return told(merge(first, second))
        except (VerifyError, ValueError) as fault:
            return type(fault), str(fault)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        assert outcome(merge_headers) == outcome(merged_plainly)


SKY = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 10.0,
    "CRVAL2": 20.0,
    "CD1_1": 1e-4,
    "CD2_2": 1e-4,
}
ANGLES = st.floats(-80, 80)


def exposure(wcs: Any) -> Exposure:
    detector = Detector.of_shape((4, 5))
    return Exposure(MaskedImage.from_raw(np.zeros((4, 5), np.uint16)), detector, wcs=wcs)


def counting(header: Header, calls: list[int]) -> Callable[[], WCS | None]:
    """What makes the WCS of a header, and counts."""

    def make() -> WCS | None:
        calls.append(1)
        return celestial_wcs(header)

    return make


@given(ANGLES, ANGLES, st.booleans())
def test_a_wcs_made_late_is_the_same(ra: float, dec: float, is_there: bool) -> None:
    header, calls = Header((SKY if is_there else {}) | {"CRVAL1": ra, "CRVAL2": dec}), list[int]()
    late, eager = exposure(LazyWcs(counting(header, calls))), exposure(celestial_wcs(header))
    shared, cloned = late.share(), late.clone()
    assert not calls
    found = late.wcs
    assert (found is None) == (eager.wcs is None) == (not is_there)
    if found is not None and eager.wcs is not None:
        assert found.to_header_string() == eager.wcs.to_header_string()
    assert shared.wcs is found
    assert cloned.wcs is found
    assert len(calls) == 1


def test_a_late_wcs_survives_copies_and_can_be_replaced() -> None:
    late = exposure(LazyWcs(partial(celestial_wcs, Header(SKY))))
    for again in (pickle.loads(pickle.dumps(late)), copy.deepcopy(late)):
        assert again.wcs.to_header_string() == celestial_wcs(Header(SKY)).to_header_string()  # type: ignore[union-attr]
    late.wcs = None
    assert late.wcs is None
