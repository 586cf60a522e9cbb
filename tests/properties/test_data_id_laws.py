"""Law: --id chooses what writing out every combination of its values chooses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Camera, Detector, Exposure, Filter, MaskedImage, VisitInfo
from isrcore.cli.data_ids import KEYS, Selection, keys_of
from isrcore.cli.faults import CommandError

NUMBERS = st.integers(0, 12)
WORDS = st.sampled_from(["r", "i2", "M31", "science", "x..y"])


@st.composite
def terms(draw, key):
    """One value as written, and all it stands for."""
    if key not in ("ccd", "visit"):
        word = draw(WORDS)
        return word, [word]
    first, last = sorted((draw(NUMBERS), draw(NUMBERS)))
    step = draw(st.integers(1, 4))
    written = draw(st.sampled_from(["number", "range", "stride"]))
    if written == "number":
        return str(first), [first]
    if written == "range":
        return f"{first}..{last}", [n for n in range(13) if first <= n <= last]
    return f"{first}..{last}:{step}", [n for n in range(13) if first <= n <= last and (n - first) % step == 0]


@st.composite
def expressions(draw):
    """The words of one --id, and every combination of key and value that it stands for."""
    words, meaning = [], {}
    for key in draw(st.lists(st.sampled_from(["ccd", "visit", "filter", "object"]), unique=True)):
        written = draw(st.lists(terms(key), min_size=1, max_size=3))
        words.append(f"{key}={'^'.join(text for text, _ in written)}")
        meaning[key] = [value for _, values in written for value in values]
    return words, [dict(zip(meaning, row, strict=True)) for row in itertools.product(*meaning.values())]


@given(drawn=expressions(), ccd=NUMBERS, visit=NUMBERS, names=st.sets(WORDS, min_size=1), target=WORDS)
def test_a_selection_accepts_what_any_of_its_combinations_names(drawn, ccd, visit, names, target):
    words, combinations = drawn
    unit = {"ccd": {ccd}, "visit": {visit}, "filter": names, "object": {target}}
    wanted = any(all(value in unit[key] for key, value in one.items()) for one in combinations)
    assert Selection.parse(words).accepts({key: frozenset(values) for key, values in unit.items()}) == wanted


@given(drawn=expressions())
def test_a_selection_that_is_written_out_is_the_same(drawn):
    selection = Selection.parse(drawn[0])
    assert Selection.parse(str(selection).split() if selection.values else []) == selection


def test_example_four_ccds_of_two_visits():
    selection = Selection.parse(["visit=10^12", "ccd=0..6:2"])
    assert selection.values == {"visit": (10, 12), "ccd": (0, 2, 4, 6)}
    assert selection.accepts({"visit": frozenset({12}), "ccd": frozenset({4})})
    assert not selection.accepts({"visit": frozenset({11}), "ccd": frozenset({4})})
    assert not selection.accepts({"visit": frozenset({12})})


def test_everything_wrong_is_told_together():
    words = ["ccd", "ccd=1", "ccd=2", "visit=north", "visits=1", "filter=", "object=3..1"]
    with pytest.raises(CommandError) as caught:
        Selection.parse(words)
    assert str(caught.value).splitlines() == [
        "--id cannot be used",
        "  - 'ccd' is not of the form key=value, as in visit=1038843",
        "  - key 'ccd' is given twice; separate its values with ^",
        "  - visit is a number, got 'north'",
        f"  - 'visits' is no key of a data id; those are {', '.join(KEYS)}",
        "  - 'filter=' is not of the form key=value, as in visit=1038843",
        "  - '3..1' is no range: write first..last or first..last:step, first <= last",
    ]


def test_a_unit_can_be_chosen_by_every_key():
    visit = VisitInfo(7, date=Time("2020-02-03T04:05:06"), filter="r.MP9601", object_name="M31")
    exposure = Exposure(
        MaskedImage.from_raw(np.zeros((1, 1), np.uint16)), Detector.of_shape((1, 1)), "mycam", visit
    )
    camera = Camera("mycam", (exposure.detector,), filters=(Filter("r.MP9601", "r"),), longitude_deg=-155.5)
    keys = keys_of(exposure, "7o", camera)
    assert set(keys) == set(KEYS)
    for word in ("camera=mycam", "ccd=0", "date=2020-02-03", "detector=unnamed", "file=7o", "visit=7"):
        assert Selection.parse([word]).accepts(keys)
    assert Selection.parse(["filter=r", "object=M31"]).accepts(keys)
    assert Selection.parse(["filter=r.MP9601"]).accepts(keys)
    # Early in the evening of the day before, in Hawaii.
    assert Selection.parse(["night=2020-02-02"]).accepts(keys)
    assert not Selection.parse(["type=bias"]).accepts(keys)
