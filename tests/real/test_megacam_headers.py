"""Headers of real MegaCam files: translation, levels and sections, and files rebuilt from them."""

from __future__ import annotations

import importlib.util
import math
import re
import warnings
from functools import cache
from pathlib import Path

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from astropy.time import Time, TimeDelta
from astropy.utils.exceptions import AstropyWarning

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Calibrations,
    Exposure,
    IsrTask,
    MaskedImage,
    RawError,
    RawSource,
    Registry,
    Section,
    default_config,
    focal_plane,
)
from isrcore.raw_headers import celestial_wcs
from isrcore.raw_visits import read_date
from isrcore_cfht import (
    CAMERA,
    MegaCamLevels,
    by_ccd,
    given_facts,
    isr_read_raw,
    mask_set_of,
    master_kind,
    mosaic_section,
    read_calibration,
    read_visit,
)
from tests.golden import DATA

FOLDER = DATA / "data/megacam/headers"
ROOT = Path(__file__).parents[2]
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


def load(name):
    """A module of the documentation's own tools."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs/_ext" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


headers = load("megacam_headers")


@cache
def hdus(name):
    """The headers of one file, primary first."""
    return headers.read_headers(FOLDER / f"{name}.fits.header.gz")


@cache
def source_of(name):
    """The file by its headers alone, with an extension per CCD."""
    return by_ccd(headers.source_of(FOLDER / f"{name}.fits.header.gz"))


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
    source = rebuild(tmp_path / "2463796o.fits", "2463796o", [35, 39], CAMERA["ccd39"].raw_shape)
    (last,) = isr_read_raw(source, ["ccd39"])
    assert (last.image == 39).all()
    assert (last.detector.id, last.detector.serial) == (39, "8261155")


def test_amplifiers_in_extensions_of_their_own_become_ccds(tmp_path):
    source = rebuild(tmp_path / "675258o.fits", "675258o", [72, 73, 0, 1], (4644, 1056))
    first, last = isr_read_raw(source, None)
    assert (first.detector.name, last.detector.name) == ("ccd00", "ccd36")
    assert (first.image[:, :1056] == 1).all()
    assert (first.image[:, 1056:] == 0).all()
    assert first.wcs is None
    assert (first.header["GAINA"], first.header["GAINB"]) == (1.54, 1.63)
    assert (first.header["RDNOISEA"], first.header["RDNOISEB"]) == (3.9, 6.5)
    assert first.visit.observation_type == "science"
    assert first.visit.date is None


@pytest.mark.parametrize("name", ["03Am02.dark.1800.36.00", "19Bm03.bias.0.40.00"])
def test_masters_are_no_exposures(name, tmp_path):
    source = rebuild(tmp_path / "master.fits", name, [0])
    with pytest.raises(RawError, match=f"it is Elixir's master {name.split('.')[1]}"):
        isr_read_raw(source, None)


NUMBER_OF_CCDS = dict.fromkeys(RAW + PROCESSED, 36) | dict.fromkeys(
    ["2463796o", "2463857d", "1927963f", "19Bm03.bias.0.40.00", "675258o"], 40
)


@pytest.mark.parametrize("name", NUMBER_OF_CCDS)
def test_every_file_has_its_ccds_in_order(name):
    images = source_of(name).images
    assert [item.name for item in images] == [f"ccd{n:02d}" for n in range(NUMBER_OF_CCDS[name])]
    for item in images:
        assert item.shape == CAMERA[item.name].raw_shape
        assert item.header["CCDNAME"].replace("-", "") == CAMERA[item.name].serial


@pytest.mark.parametrize("name", NUMBER_OF_CCDS)
def test_detsec_is_the_place_in_the_focal_plane(name):
    for item in source_of(name).images:
        detector = CAMERA[item.name]
        place = Section.parse(item.header["DETSEC"])
        assert str(mosaic_section(detector)) == item.header["DETSEC"]
        # A pixel of the mosaic is 13.5 micron; the first CCD pixel lies at the first number of DETSEC.
        x_mm, y_mm = focal_plane.pixel_to_focal_plane(detector, [0, 2047], [0, 4611])
        for ends, low, high, is_reversed in (
            (x_mm, place.box.x0, place.box.x1 - 1, place.flip_x),
            (y_mm, place.box.y0, place.box.y1 - 1, place.flip_y),
        ):
            steps = (ends - ends.min()) / 0.0135
            np.testing.assert_allclose(sorted(steps), [0, high - low], atol=1e-6)
            assert (ends[0] > ends[1]) == is_reversed
        for amp in detector.amplifiers:
            half = Section.parse(item.header[f"DETSEC{amp.name}"])
            wanted = mosaic_section(detector, amp.box)
            # One card of 2002 is a row too tall.
            assert half.box.intersect(wanted.box) == wanted.box
            assert half.box.area - wanted.box.area in (0, 1024)
            assert half.flip_y == wanted.flip_y
            assert half.flip_x == (wanted.flip_x == (amp.name == "A"))


@pytest.mark.parametrize("name", [name for name in RAW if name != "979412b"] + ["1257365p"])
def test_the_wcs_points_where_the_focal_plane_does(name):
    """+y is north and +x is west of the axis, to the 3 % by which a linear WCS misses the distortion."""
    for item in source_of(name).images:
        wcs, detector = celestial_wcs(item.header), CAMERA[item.name]
        if wcs is None:
            assert item.header["OBSTYPE"] != "OBJECT"
            continue
        # Intermediate world coordinates of the middle of the CCD, which is at column 1056 of the raw frame.
        offset = np.array([1023.5 + 32 + 1, 2305.5 + 1]) - wcs.wcs.crpix
        east, north = wcs.wcs.cd @ offset
        x, y = focal_plane.focal_plane_to_field(CAMERA, *detector.offset_mm)
        np.testing.assert_allclose((-east, north), np.degrees((x, y)), rtol=0.03, atol=0.01)


@pytest.mark.parametrize("number", [2, 20])
@pytest.mark.parametrize("name", ["1257365o", "1257365p"])
def test_the_products_wcs_is_that_of_the_same_pixels(name, number, tmp_path):
    source = rebuild(tmp_path / f"{name}.fits", name, [number], CAMERA["ccd02"].raw_shape)
    (exposure,) = isr_read_raw(source, None)
    registry = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
    config = default_config(registry, "MegaCam")
    config.doVariance = config.doInterpolate = config.doWidenSaturationTrails = False
    with config.layer("camera", "test"):
        config.doBias = config.doFlat = config.doOverscan = False
    product = IsrTask(config, camera="MegaCam", registry=registry).run(exposure).exposure
    assert product.shape == (4612, 2048)
    # Corners of both amplifiers: 32 columns of overscan are gone on the left, none below.
    x, y = np.array([0, 1023, 1024, 2047, 0, 1023, 1024, 2047]), np.repeat([0, 4611], 4)
    raw, trimmed = exposure.wcs.pixel_to_world(x + 32, y), product.wcs.pixel_to_world(x, y)
    assert raw.separation(trimmed).to_value("arcsec").max() < 1e-6


def test_the_processed_twin_of_a_raw_file():
    raw, processed = hdus("1257365o")[15], hdus("1257365p")[15]
    assert given_facts(raw) == {}
    assert given_facts(processed) == {
        "overscan-subtracted": "Elixir (IMRED_OP)",
        "bias-subtracted": "Elixir (IMRED_OP)",
        "flat-fielded": "Elixir (IMRED_OP)",
        "fringe-subtracted": "Elixir (IMCMB_FT)",
    }
    assert mask_set_of(processed) == "2003A.mask.0.36.02"
    assert read_visit(raw) == read_visit(processed)


@pytest.mark.parametrize("name", PROCESSED[1:])
def test_masters_say_what_they_are(name):
    kind = {**TYPES, "FRINGE": "fringes"}[hdus(name)[1]["OBSTYPE"]]
    assert master_kind(hdus(name)[1]) == kind
    # The primary header has the cards of the first CCD too, and must not be taken for it.
    frame = read_calibration(headers.source_of(FOLDER / f"{name}.fits.header.gz"), kind, "ccd00")
    assert frame.detector.name == "ccd00"
    assert frame.shape == CAMERA["ccd00"].raw_shape


def test_the_table_in_the_documentation_is_that_of_these_headers():
    assert headers.page_with(FOLDER) == headers.PAGE.read_text()
