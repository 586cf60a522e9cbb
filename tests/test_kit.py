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


class TestSimulated(CameraContract):
    camera = "simulated"
    registry = REGISTRY


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
