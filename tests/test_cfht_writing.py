"""Raw MegaCam files that were written here: what was written is read, and headers are like real ones."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

import isrcore_cfht
import isrcore_standard
from isrcore import Calibrations, Detector, Exposure, MaskedImage, Registry, VisitInfo
from isrcore.raw_headers import celestial_wcs
from isrcore_cfht import CAMERA, MegaCamLevels
from isrcore_cfht.writing import write_raw
from tests.real.test_megacam_headers import FOLDER, hdus

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
START = Time("2008-03-30T06:19:33.516", scale="utc", precision=9)
VISIT = VisitInfo(979412, 468.332, 468.0, START, "r.MP9601", "field 4", "science", 132.43, 63.575, 1.388)

needs_real_headers = pytest.mark.skipif(not FOLDER.exists(), reason=f"no real headers at {FOLDER}")


def raw_frame(detector: Detector, visit: VisitInfo = VISIT) -> Exposure:
    """A frame of one level per row: quick to compress."""
    pixels = np.broadcast_to(np.arange(detector.raw_shape[0], dtype=np.uint16)[:, None], detector.raw_shape)
    return Exposure(MaskedImage.from_raw(pixels), detector, "MegaCam", visit)


def written(folder: Path, *exposures: Exposure) -> Path:
    path = folder / "979412o.fits.fz"
    write_raw(path, exposures)
    return path


def test_pixels_visit_levels_and_wcs_are_read_as_they_were_written(tmp_path: Path) -> None:
    own = CAMERA["ccd02"].with_amplifiers(
        A={"gain": 1.2345678901234, "read_noise": 3.25, "saturation": 61000.0},
        B={"gain": 2.0, "read_noise": 0.0, "saturation": 61000.0},
    )
    first, second = raw_frame(own), raw_frame(CAMERA["ccd20"])
    read = list(REGISTRY.read_raw(written(tmp_path, first, second)))
    assert [one.detector.name for one in read] == ["ccd02", "ccd20"]
    for one in read:
        np.testing.assert_array_equal(one.image, first.image)
        assert one.pixels.is_raw
        # The translator computes with the sky in degrees; a float's last places are lost.
        assert one.visit.ra_deg == pytest.approx(VISIT.ra_deg, abs=1e-12)
        assert one.visit.dec_deg == pytest.approx(VISIT.dec_deg, abs=1e-12)
        assert abs((one.visit.date - START).to_value("s")) < 2e-9
        unknown = {"ra_deg": 0.0, "dec_deg": 0.0, "date": None}
        assert attrs.evolve(one.visit, **unknown) == attrs.evolve(VISIT, **unknown)
    MegaCamLevels(name="levels").run(read[0], Calibrations())
    for amp in own.amplifiers:
        found = read[0].detector[amp.name]
        assert (found.gain, found.read_noise, found.saturation) == (amp.gain, amp.read_noise, amp.saturation)
    wcs = read[0].wcs
    again = next(REGISTRY.read_raw(written(tmp_path, attrs.evolve(read[0], wcs=wcs))))
    places = ([1, 2000], [2, 4600])
    np.testing.assert_allclose(
        again.wcs.pixel_to_world_values(*places), wcs.pixel_to_world_values(*places), rtol=0, atol=1e-10
    )


@pytest.mark.parametrize("kind", ["bias", "dark", "flat"])
def test_calibrations_have_no_place_in_the_sky(kind: str, tmp_path: Path) -> None:
    visit = attrs.evolve(VISIT, observation_type=kind, ra_deg=math.nan, dec_deg=math.nan)
    (read,) = REGISTRY.read_raw(written(tmp_path, raw_frame(CAMERA["ccd00"], visit)))
    assert read.visit.observation_type == kind
    assert math.isnan(read.visit.ra_deg)
    assert read.wcs is None


def test_the_file_is_compressed_like_the_observatory_s(tmp_path: Path) -> None:
    path = written(tmp_path, raw_frame(CAMERA["ccd00"]), raw_frame(CAMERA["ccd01"]))
    with fits.open(path, disable_image_compression=True, checksum=True) as packed:
        assert [hdu.verify_checksum() for hdu in packed] == [1, 1, 1]
        header = packed[1].header
        assert (header["ZCMPTYPE"], header["ZBITPIX"], header["BZERO"]) == ("RICE_1", 16, 32768)
    with fits.open(path) as opened:
        assert [hdu.header["EXTNAME"] for hdu in opened[1:]] == ["ccd00", "ccd01"]
        assert opened[0].header["NEXTEND"] == 2
        # As in every real header of ccd00, which is turned by 180 degrees; B is read from right to left.
        assert opened[1].header["DETSEC"] == "[4160:2113,19351:14740]"
        assert opened[1].header["DETSECA"] == "[4160:3137,19351:14740]"
        assert opened[1].header["DETSECB"] == "[2113:3136,19351:14740]"


# What a real extension says of geometry, levels and kind; the rest is people, files, weather and clocks.
EQUAL = (
    *("NAXIS1", "NAXIS2", "DETECTOR", "CCDBIN1", "CCDBIN2", "AMPLIST", "CCDSIZE", "DATASEC", "BIASSEC"),
    *(f"{kind}SEC{name}" for kind in "ADTBC" for name in "AB"),
    *("CCDNAME", "MAXLIN", "MAXLINA", "MAXLINB", "SATURATE", "GAINA", "GAINB", "RDNOISEA", "RDNOISEB"),
    *("EXTVER", "INHERIT", "OBSTYPE", "EXPTYPE", "CTYPE1", "CTYPE2"),
)


@needs_real_headers
@pytest.mark.parametrize("number", [0, 13, 22, 35])
def test_geometry_and_levels_are_those_of_a_real_header(number: int, tmp_path: Path) -> None:
    real = hdus("979412o")[1 + number]
    path = written(tmp_path, raw_frame(CAMERA[number]))
    with fits.open(path) as opened:
        ours = opened[1].header
    assert {key: ours[key] for key in EQUAL} == {key: real[key] for key in EQUAL}
    for key in ("DETSEC", "DETSECA", "DETSECB"):
        # The table has offsets to 0.01 mm, a pixel is 0.0135 mm.
        corners = (
            np.array([int(n) for n in text[key].strip("[]").replace(":", ",").split(",")])
            for text in (ours, real)
        )
        assert np.abs(np.subtract(*corners)).max() <= 3, key


@needs_real_headers
@pytest.mark.parametrize("number", [0, 13, 22, 35])
def test_the_sky_is_where_a_real_header_says(number: int, tmp_path: Path) -> None:
    real = hdus("979412o")[1 + number]
    (read,) = REGISTRY.read_raw(written(tmp_path, raw_frame(CAMERA[number])))
    theirs = celestial_wcs(real)
    for corner in ((33, 1), (2080, 4612)):
        ours = read.wcs.pixel_to_world(*corner)
        # The observatory's raw headers place CCDs at 0.187 arcsec per pixel around rough centres.
        assert ours.separation(theirs.pixel_to_world(*corner).icrs).arcsec < 30
    # North and east are those of the real frame.
    np.testing.assert_array_equal(
        np.sign(np.round(read.wcs.pixel_scale_matrix, 9)), np.sign(np.round(theirs.pixel_scale_matrix, 9))
    )
