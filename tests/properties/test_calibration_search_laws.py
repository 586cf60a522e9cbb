"""Which calibration a repository takes: one that suits, the nearest of them, and reasons for all others."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from astropy.time import Time, TimeDelta
from hypothesis import given
from hypothesis import strategies as st

from isrcore import CalibrationSearch, Filter, VisitInfo
from isrcore_repository.search import Wanted, search
from isrcore_repository.tables import CalibrationRow, as_text
from tests.small_camera import CAMERA as SMALL

START = Time("2022-01-01T00:00:00", scale="utc")
CAMERA = attrs.evolve(SMALL, filters=(Filter("r.long", "r", aliases=("red",)), Filter("g.long", "g")))
NIGHTS = st.integers(0, 20)


def day(number: float) -> Time:
    return START + TimeDelta(number, format="jd")


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A folder with a file for every calibration."""
    global ROOT
    ROOT = tmp_path_factory.mktemp("search")
    for number in range(10):
        (ROOT / f"{number}.fits").write_bytes(b"12345")


ROOT = Path()


@st.composite
def rows(draw: st.DrawFn) -> CalibrationRow:
    middle, before, after = draw(NIGHTS), draw(st.integers(0, 9)), draw(st.integers(1, 9))
    return CalibrationRow(
        path="",
        kind=draw(st.sampled_from(["flat", "bias"])),
        detector=draw(st.sampled_from(["left", "right"])),
        filter=draw(st.sampled_from(["", "r.long", "g"])),
        first=draw(st.sampled_from([None, as_text(day(middle - before))])),
        last=draw(st.sampled_from([None, as_text(day(middle + after))])),
        middle=as_text(day(middle)),
        exposure_s=None,
        dark_s=None,
        made=as_text(day(draw(NIGHTS))),
        size=draw(st.sampled_from([5, 5, 5, 6])),
        sha256="",
    )


def numbered(found: list[CalibrationRow]) -> list[CalibrationRow]:
    return [attrs.evolve(row, path=f"{number}.fits") for number, row in enumerate(found)]


TABLES = st.lists(rows(), max_size=8).map(numbered)


def ask(table: list[CalibrationRow], night: int, name: str = "red") -> CalibrationSearch:
    wanted = Wanted.of(CAMERA, "left", VisitInfo(date=day(night), filter=name))
    return search(ROOT, table, "flat", {"flat"}, wanted)


def suits(row: CalibrationRow, night: int) -> bool:
    """The rule, written once more."""
    begins = row.first is None or Time(row.first) - day(night) <= TimeDelta(0, format="jd")
    ends = row.last is None or Time(row.last) - day(night) > TimeDelta(0, format="jd")
    is_ours = (row.kind, row.detector, row.size) == ("flat", "left", 5)
    return is_ours and row.filter in ("", "r.long") and begins and ends


@given(TABLES, NIGHTS)
def test_what_is_taken_suits_and_is_the_nearest(table: list[CalibrationRow], night: int) -> None:
    found = ask(table, night)
    fitting = {row.path: abs((Time(row.middle) - day(night)).jd) for row in table if suits(row, night)}
    assert (found.chosen is None) == (not fitting)
    if found.chosen is not None:
        assert fitting[found.chosen.name] == min(fitting.values())


@given(TABLES, NIGHTS)
def test_every_candidate_is_taken_or_has_a_reason(table: list[CalibrationRow], night: int) -> None:
    found = ask(table, night)
    told = [*([found.chosen.name] if found.chosen else []), *(name for name, why in found.rejected if why)]
    assert sorted(told) == sorted(row.path for row in table if row.kind == "flat")


@given(TABLES, NIGHTS, st.randoms())
def test_the_order_of_candidates_does_not_matter(
    table: list[CalibrationRow], night: int, order: object
) -> None:
    shuffled = list(table)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ask(shuffled, night) == ask(table, night)


@given(TABLES, NIGHTS)
def test_all_names_of_a_filter_are_one_filter(table: list[CalibrationRow], night: int) -> None:
    assert len({ask(table, night, name).chosen for name in ("r.long", "r", "red")}) == 1


def flat(number: int, made: int, first: str | None = None, last: str | None = None) -> CalibrationRow:
    """A flat of the third day."""
    dates = first, last, as_text(day(3)), None, None, as_text(day(made))
    return CalibrationRow(f"{number}.fits", "flat", "left", "", *dates, 5, "")


def test_example_the_begin_of_a_range_belongs_to_it_and_the_end_to_the_next_one() -> None:
    row = flat(0, 9, as_text(day(3)), as_text(day(5)))
    assert [ask([row], night).chosen is not None for night in range(2, 7)] == [
        False,
        True,
        True,
        False,
        False,
    ]
    assert ask([row], 6).rejected[0][1].startswith("valid until before 2022-01-06T00:00:00")


def test_example_of_two_equally_near_the_last_certified_is_taken() -> None:
    table = [flat(1, 1), flat(2, 2)]
    assert ask(table, 3).chosen == ROOT / "2.fits"
    assert ask(table, 3).explain().splitlines()[1] == "  1.fits: 2.fits was made later"
