"""A registry of the original program in a repository: what it says counts, files that are missing do not."""

from __future__ import annotations

import sqlite3

import pytest
from astropy.time import Time

from isrcore import Registry, RepositoryError, VisitInfo
from isrcore_repository.imported import import_registry
from isrcore_repository.making import make_repository
from isrcore_repository.rebuild import rebuild
from isrcore_repository.repository import EmbeddedRepository

COLUMNS = "id, path, extension, version, filter, validStart, validEnd, registered"
JUNE = "2010-05-31T19:00:00", "2010-06-30T19:00:00", "2010-07-01T00:00:00"
ROWS = [
    (1, "flat/r/old.fits", 1, 0, "r", *JUNE),
    (2, "flat/r/new.fits", 1, 1, "r", *JUNE),
    (3, "flat/g/only.fits", 1, 0, "g", *JUNE),
    (4, "../flat/outside.fits", 1, 7, "r", *JUNE),
]
DETECTOR = "ccd00"


@pytest.fixture(scope="module")
def plugins():
    return Registry.discover()


@pytest.fixture
def home(tmp_path):
    """A folder with a registry and some of its files."""
    folder = tmp_path / "home"
    for name in ("flat/r/old.fits", "flat/g/only.fits.fz", "../flat/outside.fits"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"pixels")
    with sqlite3.connect(folder / "calib.sqlite3") as database:
        for kind in ("bias", "dark", "flat", "fringe"):
            database.execute(f"CREATE TABLE {kind} ({COLUMNS})")
        database.executemany("INSERT INTO flat VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ROWS)
    database.close()
    return folder


@pytest.fixture
def repository(tmp_path, home, plugins):
    make_repository(tmp_path / "repository", "MegaCam")
    found = EmbeddedRepository.open(tmp_path / "repository", plugins)
    assert import_registry(found.root, plugins.camera("MegaCam"), home / "calib.sqlite3") == (4, 2)
    return found


def find(repository, date="2010-06-10T00:00:00", **how):
    visit = VisitInfo(date=Time(date, scale="utc"), filter="r.MP9601")
    return repository.find_calibrations({"flat": ["flat"]}, DETECTOR, visit, **how)[0]


def test_the_latest_version_whose_file_is_there_is_taken(repository):
    found = find(repository)
    assert found.chosen == repository.root / "imported/flat/r/old.fits"
    assert found.chosen.read_bytes() == b"pixels"
    told = dict(found.rejected)
    assert told["new"] == "its file is not in the repository: imported/flat/r/new.fits"
    assert told["outside"] == "its file is not in the repository: imported/../flat/outside.fits"
    assert told["only"] == "is of filter 'g', the exposure of 'r.MP9601'"


def test_a_file_put_there_later_is_found_also_compressed(repository):
    place = repository.root / "imported/flat/r/new.fits.gz"
    place.write_bytes(b"pixels")
    assert find(repository).chosen == place


def test_ranges_are_half_open_in_utc(repository):
    days = ("2010-05-31T23:59:59", "2010-06-01T00:00:00", "2010-06-30T23:59:59", "2010-07-01T00:00:00")
    assert [find(repository, day).chosen is not None for day in days] == [False, True, True, False]


def test_the_fallback_filter_is_used_only_when_asked_for_and_said(repository):
    (repository.root / "imported/flat/r/old.fits").unlink()
    assert find(repository).chosen is None
    found = find(repository, fallback="g.MP9401")
    assert found.chosen == repository.root / "imported/flat/g/only.fits.fz"
    assert found.is_fallback
    assert found.reason.startswith("of the fallback filter 'g'")


def test_a_policy_is_asked_by_name(repository):
    assert find(repository, policy="latest").reason == "version 0"
    assert find(repository, policy="before").chosen is None
    with pytest.raises(RepositoryError, match=r"no policy 'best'.*nearest, before, latest"):
        find(repository, policy="best")


def test_importing_again_and_rebuilding_change_nothing(repository, home, plugins):
    before = find(repository)
    assert import_registry(repository.root, plugins.camera("MegaCam"), home / "calib.sqlite3") == (4, 2)
    assert rebuild(repository).problems == []
    assert find(repository) == before


def test_another_camera_or_registry_is_refused_before_anything_is_done(repository, home, plugins, tmp_path):
    make_repository(tmp_path / "other", "EFOSC2")
    with pytest.raises(RepositoryError, match="camera 'EFOSC2' has none"):
        import_registry(tmp_path / "other", plugins.camera("EFOSC2"), home / "calib.sqlite3")
    assert not (tmp_path / "other/imported").exists()
    with sqlite3.connect(home / "calib.sqlite3") as database:
        database.execute("DELETE FROM flat WHERE id = 3")
    database.close()
    with pytest.raises(RepositoryError, match="is there already, and another one"):
        import_registry(repository.root, plugins.camera("MegaCam"), home / "calib.sqlite3")
