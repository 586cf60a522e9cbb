"""The conformance kit passes the cameras that come with isrcore, on real frames where there are."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_eso
import isrcore_simulated
import isrcore_standard
from isrcore import Registry
from isrcore.testing import CameraContract
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.raw_checks import check_raw_headers
from isrcore.testing.raw_files import Outline
from tests.camera_texts import TWO, camera_file
from tests.golden import DATA

REGISTRY = Registry(
    {
        "cfht": isrcore_cfht,
        "eso": isrcore_eso,
        "simulated": isrcore_simulated,
        "standard": isrcore_standard,
    }
)
EFOSC2, MEGACAM = DATA / "data/efosc2", DATA / "data/megacam/headers"


@cache
def megacam_files(*names: str) -> tuple[Path, ...]:
    """Files with real headers of a CCD or two of MegaCam and zeros for pixels, where there are headers."""
    folder = Path(mkdtemp(prefix="isrcore-headers-"))
    return tuple(
        rebuilt(MEGACAM / f"{name}.fits.header.gz", folder / f"{name}.fits")
        for name in names
        if MEGACAM.is_dir()
    )


def rebuilt(text: Path, path: Path) -> Path:
    """A file with the headers that a text file holds, one card a line."""
    cards: list[list[str]] = [[]]
    for line in gzip.decompress(text.read_bytes()).decode("ascii", "replace").splitlines():
        if line.rstrip() == "END":
            cards.append([])
        elif line.strip() and not line.startswith("# HDU"):
            cards[-1].append(f"{line:80.80}")
    # The first CCD, in one extension or two, and perhaps another one: forty take a minute.
    headers = tuple(Header.fromstring("".join(found)) for found in cards[:3] if found)
    Outline(headers, tuple(size_of(header) for header in headers)).write(path, {})
    return path


def size_of(header: Header) -> int:
    """Bytes of data behind a header, with padding."""
    axes = [header[f"NAXIS{axis}"] for axis in range(1, header["NAXIS"] + 1)]
    size = abs(header["BITPIX"]) // 8 * axes[0] * axes[1] + header.get("PCOUNT", 0) if axes else 0
    return -(-size // 2880) * 2880


class TestMegaCam(CameraContract):
    camera = "MegaCam"
    registry = REGISTRY
    # One of the first files, with an extension for each amplifier.
    raw = megacam_files("675258o")


class TestEfosc2(CameraContract):
    camera = "EFOSC2"
    registry = REGISTRY
    # A bias and a science frame.
    raw = tuple(sorted(EFOSC2.glob("*.fits"))[::10]) if EFOSC2.is_dir() else ()
    # It has one detector, and does not say where that lies.
    test_one_detector_is_read_alone = None
    test_detectors_lie_apart_in_the_focal_plane = None
    test_the_focal_plane_comes_back_from_the_field = None


class TestSimulated(CameraContract):
    camera = "simulated"
    registry = REGISTRY
    # It exists in computers alone: no sky, no real frames.
    test_the_focal_plane_comes_back_from_the_field = None
    test_real_frames_are_read = None
    test_damaged_real_headers_are_borne = None
    test_overscans_of_real_frames_are_dark = None


class TestCameraFile(CameraContract):
    """A camera that is a file, with two amplifiers whose overscans lie in the middle."""

    camera = str(camera_file(Path(mkdtemp(prefix="isrcore-camera-")), TWO))
    test_one_detector_is_read_alone = None
    test_pixels_come_back_from_the_focal_plane = None
    test_detectors_lie_apart_in_the_focal_plane = None
    test_the_focal_plane_comes_back_from_the_field = None
    test_real_frames_are_read = None
    test_damaged_real_headers_are_borne = None
    test_overscans_of_real_frames_are_dark = None
    # Nothing is imported.
    test_importing_the_plugin_does_nothing_else = None
    test_no_optional_dependency_is_needed_to_import = None


def test_real_frames_are_looked_at_where_there_are_some() -> None:
    if not DATA.is_dir():
        pytest.skip(f"no real frames at {DATA}; set ISRCORE_TEST_DATA")
    assert len(TestEfosc2.raw) == 2
    assert len(TestMegaCam.raw) == 1


def test_damaged_headers_of_a_compressed_file_are_borne() -> None:
    # Its pixels cannot be zeros: tables of compressed tiles hold something.
    files = megacam_files("1257365o")
    if not files:
        pytest.skip(f"no real headers at {MEGACAM}; set ISRCORE_TEST_DATA to the folder above data")
    check_raw_headers(CameraCase.of("MegaCam", REGISTRY, files))
