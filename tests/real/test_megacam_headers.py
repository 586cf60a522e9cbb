"""Headers of real MegaCam files: translation, levels and sections, and files rebuilt from them."""

from __future__ import annotations

import gzip
import math
import re
import warnings
from functools import cache

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from astropy.time import Time, TimeDelta
from astropy.utils.exceptions import AstropyWarning

from isrcore import Calibrations, Exposure, MaskedImage, RawError, RawSource, Section
from isrcore.raw import read_date
from isrcore_cfht import CAMERA, MegaCamLevels, isr_read_raw, read_visit
from tests.golden import DATA

FOLDER = DATA / "data/megacam/headers"
RAW = ["1257365o", "979412o", "2463796o", "979412b", "2463857d", "1000003f", "1927963f"]
PROCESSED = [
    "1257365p",
    "03Am02.dark.1800.36.00",
    "03Am05.fringe.z.36.00",
    "07Bm06.flat.z.36.02",
    "19Bm03.bias.0.40.00",
]
TYPES = {"OBJECT": "science", "BIAS": "bias", "DARK": "dark", "FLAT": "flat", "FRINGE": "fringe"}

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason=f"no real headers at {FOLDER}; set ISRCORE_TEST_DATA to the folder above data"
)


@cache
def hdus(name):
    """The headers of one file, primary first."""
    text = gzip.decompress((FOLDER / f"{name}.fits.header.gz").read_bytes()).decode("ascii", "replace")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("# HDU")]
    headers, start = [], 0
    for end, line in enumerate(lines):
        if line.rstrip() == "END":
            headers.append(Header.fromstring("".join(f"{card:80.80}" for card in lines[start:end])))
            start = end + 1
    return headers


def plain_seconds(clock):
    hours, minutes, seconds = clock.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.parametrize("name", RAW + PROCESSED)
def test_translation_agrees_with_the_cards(name):
    for header in (hdus(name)[0], hdus(name)[1], hdus(name)[-1]):
        visit = read_visit(header)
        cards = {key: header[key] for key in ("EXPNUM", "EXPTIME", "DARKTIME", "FILTER", "OBJECT", "AIRMASS")}
        assert cards == {
            "EXPNUM": visit.exposure_id,
            "EXPTIME": visit.exposure_s,
            "DARKTIME": visit.dark_s,
            "FILTER": visit.filter,
            "OBJECT": visit.object_name,
            "AIRMASS": visit.airmass,
        }
        assert visit.observation_type == TYPES[header["OBSTYPE"]]
        start = Time(header["DATE-OBS"], scale="utc") + TimeDelta(
            plain_seconds(header["UTC-OBS"]), format="sec"
        )
        middle = start + TimeDelta(header["EXPTIME"] / 2, format="sec")
        assert abs((visit.date - middle).to_value("s")) < 1e-6
        assert abs((visit.date - read_date(header, header["EXPTIME"])).to_value("s")) < 1e-6
        # MJD-OBS is the start as the observatory computed it, to 1e-7 d.
        assert (visit.date.mjd - header["MJD-OBS"]) * 86400 == pytest.approx(header["EXPTIME"] / 2, abs=0.02)


@pytest.mark.parametrize("name", RAW + PROCESSED)
def test_coordinates_are_icrs_where_the_telescope_tracks(name):
    header = hdus(name)[1]
    visit = read_visit(header)
    if header["RADECSYS"] == "GAPPT":
        assert math.isnan(visit.ra_deg)
        assert math.isnan(visit.dec_deg)
    else:
        # FK5 and ICRS differ by less than 0.1 arcsec.
        assert visit.dec_deg == pytest.approx(header["DEC_DEG"], abs=3e-5)
        assert visit.ra_deg == pytest.approx(header["RA_DEG"], abs=6e-5)


@pytest.mark.parametrize("name", RAW + PROCESSED)
def test_sections_of_the_table_are_those_of_the_headers(name):
    for detector, header in zip(CAMERA.detectors, hdus(name)[1:], strict=False):
        assert header["CCDNAME"].replace("-", "") == detector.serial
        for amp in detector.amplifiers:
            section = {key: Section.parse(header[f"{key}SEC{amp.name}"]).box for key in "DCAB"}
            assert section["D"] == amp.raw_data_box
            assert section["C"] == amp.box
            # ASEC and BSEC: all columns of the amplifier and of its overscan; they differ in their rows.
            assert (section["A"].x0, section["A"].x1) == (amp.raw_box.x0, amp.raw_box.x1)
            overscan = amp.serial_overscan_box
            assert (section["B"].x0, section["B"].x1) == (overscan.x0, overscan.x1)
            assert section["B"].contains(overscan)


@pytest.mark.parametrize("name", RAW)
def test_levels_of_every_ccd_are_its_cards(name):
    step = MegaCamLevels(name="levels")
    pixels = MaskedImage.from_raw(np.full((2, 2), 1200, np.uint16))
    for detector, header in zip(CAMERA.detectors, hdus(name)[1:], strict=False):
        exposure = Exposure(pixels, detector, "MegaCam", header=header)
        step.run(exposure, Calibrations())
        for amp in exposure.detector.amplifiers:
            assert amp.gain == header[f"GAIN{amp.name}"]
            assert amp.read_noise == header[f"RDNOISE{amp.name}"]
            assert amp.saturation == header["SATURATE"]
            # The cards of raw files are where the table's values come from.
            assert (amp.gain, amp.read_noise) == (detector[amp.name].gain, detector[amp.name].read_noise)


def image_cards(header):
    """The cards of a decompressed image."""
    made_by_tiling = re.compile(
        r"Z[A-Z]+\d*|T(TYPE|FORM)\d+|TFIELDS|XTENSION|BITPIX|NAXIS\d*|[PG]COUNT|B(ZERO|SCALE)"
    )
    kept = [
        card
        for card in header.cards
        if not made_by_tiling.fullmatch(card.keyword) or card.keyword == "ZPROBE"
    ]
    return Header([card for card in kept if card.value != "COMPRESSED_IMAGE"])


def rebuild(path, name, numbers, shape=(2, 3), compress=False):
    """A small file with the real headers of some CCDs; pixels hold the CCD number."""
    headers = hdus(name)
    make = fits.CompImageHDU if compress else fits.ImageHDU
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        images = [
            make(np.full(shape, number, np.uint16), image_cards(headers[number + 1])) for number in numbers
        ]
        fits.HDUList([fits.PrimaryHDU(header=headers[0]), *images]).writeto(path, output_verify="silentfix")
    return RawSource.open(path)


@pytest.mark.parametrize("suffix", ["fits", "fits.fz"])
@pytest.mark.parametrize("name", ["1257365o", "979412b", "2463857d", "1000003f"])
def test_a_raw_file_with_real_headers(name, suffix, tmp_path):
    source = rebuild(
        tmp_path / f"{name}.{suffix}", name, [2, 20], CAMERA["ccd02"].raw_shape, suffix == "fits.fz"
    )
    first, second = isr_read_raw(source, None)
    assert (first.detector.name, second.detector.name) == ("ccd02", "ccd20")
    assert (first.image == 2).all()
    assert (second.image == 20).all()
    assert attrs.asdict(first.visit) == attrs.asdict(read_visit(hdus(name)[3]))
    assert first.header["GAINA"] == hdus(name)[3]["GAINA"]
    if first.visit.observation_type == "science":
        assert first.wcs.has_celestial


def test_a_later_file_has_four_ccds_more(tmp_path):
    source = rebuild(tmp_path / "2463796o.fits", "2463796o", [35, 39])
    with pytest.raises(RawError, match="'ccd39', but the camera table describes only"):
        isr_read_raw(source, ["ccd39"])


@pytest.mark.parametrize("name", PROCESSED)
def test_processed_files_do_not_pretend_to_be_raw(name, tmp_path):
    source = rebuild(tmp_path / "p.fits", name, [0])
    with pytest.raises(RawError, match="is not raw, Elixir made it"):
        isr_read_raw(source, None)


def test_amplifiers_in_extensions_of_their_own_are_refused(tmp_path):
    source = rebuild(tmp_path / "675258o.fits", "675258o", [0, 1])
    with pytest.raises(RawError, match="one extension per amplifier"):
        isr_read_raw(source, None)
