"""MegaCam's bad pixels: which exposure has which set, and Elixir's files as calibrations."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Box,
    CalibrationError,
    Defects,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    RawError,
    RawSource,
    Registry,
    Skip,
    VisitInfo,
    default_config,
    read_exposure,
)
from isrcore.cli.main import main
from isrcore_cfht import (
    CAMERA,
    MaskSets,
    defects_from_mask,
    enlarge,
    isr_curated_calibrations,
    isr_read_calibration,
    mask_set_of,
    mask_sets,
)
from tests.golden import DATA
from tests.test_cfht_reading import PRIMARY

SET = "2004B.mask.0.36.01"
REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
LEVELS = {"GAINA": 1.5, "GAINB": 1.6, "RDNOISEA": 3, "RDNOISEB": 4, "SATURATE": 65535}
SUMMARY = DATA / "spec/data/megacam_defects_summary.json"


def exposure_of(ccd="ccd07", filter_name="r.MP9601", **cards):
    """A raw frame that takes no memory."""
    detector = CAMERA[ccd]
    pixels = MaskedImage.from_raw(np.broadcast_to(np.uint16(1200), detector.raw_shape))
    header = Header(list((LEVELS | cards).items()))
    return Exposure(pixels, detector, "MegaCam", VisitInfo(filter=filter_name), header)


def boxes(ccd="ccd07", name=SET):
    return {Box.from_corner(*box) for box in mask_sets()[name][ccd]["boxes"]}


def config_of(**defects):
    config = default_config(REGISTRY, "MegaCam")
    config.doBias = config.doFlat = False
    for name, value in defects.items():
        config.set(f"defects.{name}", value)
    return config


def choose(exposure, config=None):
    return MaskSets(exposure.detector.name).choose_for(exposure, config)


def test_the_header_names_the_set():
    found = choose(exposure_of(IMRED_MK=f"{SET}.fits[ccd07]"))
    assert set(found.boxes) == boxes()
    assert (found.header["MASKSET"], found.detector_name) == (SET, "ccd07")
    assert found.source == f"{SET}[ccd07]"
    assert mask_set_of(Header({"IMRED_MK": "2003A.mask.0.36.02.fits"})) == "2003A.mask.0.36.02"


def test_a_raw_frame_names_none():
    assert choose(exposure_of()) == Skip("the header names no mask of bad pixels (IMRED_MK)")


def test_a_set_that_does_not_ship_is_skipped_unless_asked_for():
    exposure = exposure_of(IMRED_MK="2003A.mask.0.36.02.fits[ccd07]")
    assert "--defects 2003A.mask.0.36.02.fits" in choose(exposure).reason
    with pytest.raises(CalibrationError, match=f"'other' does not ship.*one of {SET}, test"):
        choose(exposure, config_of(maskSet="other"))


def test_the_config_wins_over_the_header():
    exposure = exposure_of(IMRED_MK="2003A.mask.0.36.02.fits[ccd07]")
    assert set(choose(exposure, config_of(maskSet=SET)).boxes) == boxes()


def test_a_set_of_another_chip_is_refused():
    with pytest.raises(CalibrationError, match=r"is of chip '835163', 'ccd07' is chip '99999' here"):
        choose(exposure_of(IMRED_MK=SET, CCDNAME="999-9-9"))
    with pytest.raises(CalibrationError, match="has no boxes of 'ccd36'"):
        choose(exposure_of("ccd36", IMRED_MK=SET))


@pytest.mark.parametrize(
    ("filter_name", "is_enlarged"), [("i.MP9702", True), ("z.MP9801", True), ("r.MP9601", False)]
)
def test_boxes_are_enlarged_where_fringes_are(filter_name, is_enlarged):
    found = choose(exposure_of(filter_name=filter_name, IMRED_MK=SET))
    expected = {enlarge(box, (4612, 2048)) for box in boxes()} if is_enlarged else boxes()
    assert set(found.boxes) == expected


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 40), st.integers(0, 30), st.integers(1, 9), st.integers(1, 9))
def test_enlarged_boxes_are_even_and_lose_nothing(x0, y0, width, height):
    shape = (40, 50)
    box = Box.from_corner(x0, y0, width, height).intersect(Box.of_shape(shape))
    grown = enlarge(box, shape)
    assert grown.contains(box)
    assert Box.of_shape(shape).contains(grown)
    assert all(edge % 2 == 0 for edge in (grown.y0, grown.y1, grown.x0, grown.x1))
    assert grown.height <= box.height + 2
    assert grown.width <= box.width + 2


@pytest.mark.skipif(not SUMMARY.exists(), reason=f"no {SUMMARY}; set ISRCORE_TEST_DATA")
def test_sets_and_enlarged_sets_have_the_known_numbers():
    known = json.loads(SUMMARY.read_text())["sets"]
    for name, ccds in mask_sets().items():
        assert ccds.keys() == known[f"{name}.nn"]["per_ccd"].keys()
        for ccd, fact in known[f"{name}.nn"]["per_ccd"].items():
            found = [box.area for box in boxes(ccd, name)]
            assert (len(found), sum(found)) == (fact["n_boxes"], fact["area_pixels"])
            assert ccds[ccd]["serial"] == fact["serial"] == CAMERA[ccd].serial
    # The other set was enlarged by the original from boxes that are not those it ships.
    name = "test.mask.0.40.00"
    for ccd, fact in known[f"{name}_enlarged.nn"]["per_ccd"].items():
        areas = [enlarge(box, (4612, 2048)).area for box in boxes(ccd, name)]
        assert sum(areas) == fact["area_pixels"]


def test_by_default_the_set_of_the_header_is_used_without_being_given():
    task = IsrTask(config_of(), camera="MegaCam", registry=REGISTRY)
    plan = task.plan(exposure_of(IMRED_MK=f"{SET}.fits[ccd07]"))
    labels = {planned.spec.name: planned.calibrations for planned in plan.steps}
    assert labels["defects"] == (f"{SET}[ccd07]",)
    plan = task.plan(exposure_of())
    reasons = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert reasons["defects"] == "the header names no mask of bad pixels (IMRED_MK)"


def test_who_asks_for_defects_is_told_that_there_are_none():
    config = config_of()
    config.doDefect = True
    task = IsrTask(config, camera="MegaCam", registry=REGISTRY)
    with pytest.raises(PlanError, match=r"needs calibration 'defects': the header names no mask"):
        task.plan(exposure_of())
    assert task.plan(exposure_of(), defects=[Box(0, 1, 0, 1)])


def test_a_named_set_flags_raw_frames():
    task = IsrTask(config_of(maskSet=SET), camera="MegaCam", registry=REGISTRY)
    exposure = exposure_of("ccd01")
    exposure.pixels = MaskedImage.from_raw(np.full(CAMERA["ccd01"].raw_shape, 1200, np.uint16))
    flagged = task.run(exposure).exposure.pixels.flagged("BAD")
    known = Defects(tuple(boxes("ccd01"))).to_mask((4612, 2048))
    assert (flagged == known).all()


def test_no_set_is_offered_to_other_cameras():
    assert isr_curated_calibrations(type("Other", (), {"name": "EFOSC2"})) == {}


def write_mask(path, ccds=("ccd00", "ccd39")):
    """A mask as Elixir writes it: 1 is good, 0 is bad; one pixel of the data is, at x = CCD number."""
    hdus = [fits.PrimaryHDU(header=Header(list((PRIMARY | {"OBSTYPE": "MASK"}).items())))]
    for name in ccds:
        mask = np.ones(CAMERA[name].raw_shape, np.int16)
        mask[:, :32] = mask[4612:] = 0
        mask[100, 32 + CAMERA[name].id] = 0
        hdus.append(fits.ImageHDU(mask, Header({"EXTNAME": name, "FILENAME": "2004B.mask.0"})))
    fits.HDUList(hdus).writeto(path)
    return path


def test_zero_is_bad_and_overscan_does_not_count():
    mask = np.ones(CAMERA["ccd00"].raw_shape, np.float32)
    mask[:, :32] = mask[:, 2080:] = mask[4612:] = 0
    mask[0, 32], mask[4611, 2079], mask[7, 40], mask[8, 40] = 0, 0.8, 0.81, 0.5
    found = defects_from_mask(mask, CAMERA["ccd00"])
    assert set(found.boxes) == {Box(0, 1, 0, 1), Box(4611, 4612, 2047, 2048), Box(8, 9, 8, 9)}


@pytest.mark.parametrize("name", ["mask.fits", "mask.fits.gz"])
def test_a_mask_file_serves_all_its_ccds(tmp_path, name):
    source = RawSource.open(write_mask(tmp_path / name))
    for ccd in ("ccd00", "ccd39"):
        found = isr_read_calibration(source, "defects", ccd)
        assert set(found.boxes) == {Box(100, 101, CAMERA[ccd].id, CAMERA[ccd].id + 1)}
        assert (found.detector_name, found.header["FILENAME"]) == (ccd, "2004B.mask.0")
        assert found.source == f"{tmp_path / name}[{ccd}]"
    with pytest.raises(RawError, match="no detector 'ccd01'; it has 'ccd00', 'ccd39'"):
        isr_read_calibration(source, "defects", "ccd01")
    with pytest.raises(RawError, match=r"is a mask of bad pixels .* cannot be used as bias"):
        isr_read_calibration(source, "bias", "ccd00")


def write_master(path, word, value):
    """A master of two CCDs, raw-sized, stretched into integers as Elixir does: ``value`` everywhere."""
    hdus = [fits.PrimaryHDU(header=Header([*PRIMARY.items(), ("IMCMB_FT", f"MASTER_DETREND_{word}")]))]
    for name in ("ccd00", "ccd39"):
        image = fits.ImageHDU(np.full(CAMERA[name].raw_shape, 100, np.int16), Header({"EXTNAME": name}))
        image.header["BSCALE"], image.header["BZERO"] = value / 200, value / 2
        hdus.append(image)
    fits.HDUList(hdus).writeto(path)
    return path


@pytest.mark.parametrize(("word", "kind", "unit"), [("BIAS", "bias", "adu"), ("SKYFLAT", "flat", "")])
def test_a_master_is_a_frame_without_variance(tmp_path, word, kind, unit):
    source = RawSource.open(write_master(tmp_path / "m.fits", word, 8.0))
    frame = isr_read_calibration(source, kind, "ccd39")
    assert (frame.detector.name, frame.unit, frame.image.dtype) == ("ccd39", unit, np.float32)
    assert (frame.image == 8).all()
    assert not frame.variance.any()


def test_a_raw_file_is_no_calibration(tmp_path):
    header = fits.PrimaryHDU(header=Header(list(PRIMARY.items())))
    fits.HDUList([header, fits.ImageHDU(np.ones((2, 3), np.int16), name="ccd00")]).writeto(
        tmp_path / "o.fits"
    )
    assert isr_read_calibration(RawSource.open(tmp_path / "o.fits"), "bias", "ccd00") is None


def test_files_of_elixir_on_the_command_line(tmp_path):
    """Raw frames of 1700 adu with an overscan of 1200 adu; bias 8, flat 2, and a mask, each for all CCDs."""
    hdus = [fits.PrimaryHDU(header=Header([*PRIMARY.items()]))]
    for name in ("ccd00", "ccd39"):
        image = np.full(CAMERA[name].raw_shape, 1200, np.uint16)
        image[:4612, 32:2080] = 1700
        hdus.append(fits.ImageHDU(image, Header([*LEVELS.items(), ("EXTNAME", name)])))
    fits.HDUList(hdus).writeto(tmp_path / "1o.fits")
    bias, flat = (write_master(tmp_path / f"{w}.fits", w, v) for w, v in (("BIAS", 8.0), ("SKYFLAT", 2.0)))
    mask = write_mask(tmp_path / "mask.fits.gz")
    arguments = ["run", str(tmp_path / "1o.fits"), "-o", str(tmp_path / "out"), "-c", "doInterpolate=false"]
    given = ["--bias", str(bias), "--flat", str(flat), "--defects", str(mask)]
    assert main([*arguments, *given], REGISTRY) == 0
    for name in ("ccd00", "ccd39"):
        product = read_exposure(tmp_path / "out" / f"1o_{name}.fits")
        assert (product.image == (500 - 8) / 2).all()
        bad = Defects.from_mask(product.pixels.flagged("BAD"))
        assert set(bad.boxes) == {Box(100, 101, CAMERA[name].id, CAMERA[name].id + 1)}
