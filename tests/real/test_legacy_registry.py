"""The registry of the original program, with real exposures and what the observatory chose for them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest
from astropy.time import Time

from isrcore import RepositoryError
from isrcore_cfht import CAMERA
from isrcore_repository.legacy_registry import read_legacy_registry
from isrcore_repository.lookup import CalibrationIndex, Query
from isrcore_repository.moments import as_utc, moment_of

FILE = Path(os.environ.get("ISRCORE_TEST_DATA", "/nowhere")) / "data/megacam/calibRegistry.sqlite3"
needs_registry = pytest.mark.skipif(not FILE.exists(), reason=f"no registry at {FILE}; set ISRCORE_TEST_DATA")

# DATE-OBS, UTC-OBS and FILTER of the headers.
WINTER = ("2010-11-03T04:37:54.31", "i.MP9702")
SPRING = ("2008-03-30T06:15:39.35", "r.MP9601")
LATE = ("2019-12-04T14:26:18.76", "r.MP9602")
NARROW = ("2019-12-04T16:39:33.67", "CaHK.MP9303")


@pytest.fixture(scope="module")
def index():
    return CalibrationIndex(read_legacy_registry(FILE))


def filters_of(name):
    """Every name of a filter, the header's first."""
    try:
        return (name, *sorted(CAMERA.filter(name).names - {name}))
    except KeyError:
        return (name,)


def find(index, kind, exposure, detector="ccd07"):
    date, name = exposure
    return index.find(Query(kind, detector, filters_of(name), Time(date, scale="utc")))


@needs_registry
@pytest.mark.parametrize("detector", ["ccd00", "ccd17", "ccd35"])
@pytest.mark.parametrize(
    ("exposure", "kind", "name"),
    [
        (WINTER, "bias", "10Bm03.bias.0.36.00"),
        (WINTER, "flat", "10Bm03.flat.i2.36.01"),
        (WINTER, "fringe", "10Bm03.fringe.i2.36.00"),
        (SPRING, "bias", "08Am03.bias.0.36.00"),
        (SPRING, "flat", "08Am03.flat.r.36.02"),
    ],
)
def test_the_choice_is_the_observatory_s_own(index, exposure, kind, name, detector):
    found = find(index, kind, exposure, detector)
    assert found.chosen is not None
    assert found.chosen.name == name
    assert found.chosen.payload[1] == int(detector[3:]) + 1


@needs_registry
@pytest.mark.parametrize("exposure", [LATE, NARROW])
@pytest.mark.parametrize("kind", ["bias", "flat"])
def test_exposures_after_the_last_calibration_find_none_and_are_told_why(index, exposure, kind):
    found = find(index, kind, exposure)
    assert found.chosen is None
    told = found.explain()
    assert "none suits" in told
    assert f"and {found.refused - 5} more" in told
    first, reason = found.rejected[0]
    assert first.detector == "ccd07"
    if kind == "bias":
        last = max(one.end for one, _ in found.rejected)
        assert first.end == last
        assert reason == f"valid until before {as_utc(last)}, the exposure is of {exposure[0]}"
    else:
        assert reason == f"is of filter {first.filter!r}, the exposure of {exposure[1]!r}"


@needs_registry
def test_winter_and_summer_dates_are_in_utc(index):
    # Unix 1041638400 was written as 2003-01-03T18:00:00, midnight in summer as 19:00:00.
    known = {one.name: one for one in read_legacy_registry(FILE)}
    assert as_utc(known["02Bm04.bias.0.36.00"].begin) == "2003-01-04T00:00:00"
    assert known["02Bm04.bias.0.36.00"].begin == moment_of(Time(1041638400, format="unix"))
    assert as_utc(known["08Am03.bias.0.36.00"].begin) == "2008-03-27T00:00:00"


@needs_registry
def test_everything_in_the_registry_is_read():
    found = read_legacy_registry(FILE)
    count = {kind: sum(one.kind == kind for one in found) for kind in ("bias", "dark", "flat", "fringe")}
    assert count == {"bias": 4140, "dark": 288, "flat": 20520, "fringe": 6300}
    assert {as_utc(begin)[11:] for begin in {one.begin for one in found}} == {"00:00:00"}


@pytest.mark.parametrize("content", ["text", "table", "date", None])
def test_what_is_no_registry_is_refused_by_name(tmp_path, content):
    path = tmp_path / "registry.sqlite3"
    if content == "text":
        path.write_text("not a database, " * 100)
    elif content is not None:
        with sqlite3.connect(path) as database:
            columns = "id, path, extension, version, filter, validStart, validEnd, registered"
            database.execute(f"CREATE TABLE bias ({columns})")
            if content == "date":
                database.execute("INSERT INTO bias VALUES (1, 'a.fits', 1, 0, 'NONE', 'never', '', '')")
        database.close()
    with pytest.raises(RepositoryError, match=r"registry\.sqlite3"):
        read_legacy_registry(path)
