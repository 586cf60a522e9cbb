"""EFOSC2: geometry, reading and header translation on a frame made here; real pixels are in tests/real."""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from astropy.io import fits

import isrcore_eso
from isrcore import Box, RawError, RawSource
from isrcore_eso import CAMERA
from isrcore_eso.visit import translate_visit

DETECTOR = CAMERA["ccd40"]
AMP = DETECTOR["L"]

CARDS = {
    "INSTRUME": "EFOSC",
    "OBJECT": "Q1010-0100",
    "RA": 152.565583,
    "DEC": -1.01059,
    "EXPTIME": 180.0057,
    "DATE-OBS": "2022-01-28T04:54:24.340",
    "HIERARCH ESO DET EXP NO": 19631,
    "HIERARCH ESO DET WIN1 DKTM": 180.088,
    "HIERARCH ESO DPR TYPE": "OBJECT",
    "HIERARCH ESO INS FILT1 NAME": "g#782",
    "HIERARCH ESO TEL AIRM START": 1.226,
    "HIERARCH ESO TEL AIRM END": 1.219,
}
# As EFOSC2 writes it: CDELT is the binning, CD the scale; only CD counts.
SKY_CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 152.565583,
    "CRVAL2": -1.010586,
    "CRPIX1": 517.0,
    "CRPIX2": 488.25,
    "CDELT1": 2.0,
    "CDELT2": 2.0,
    "CD1_1": 6.688889e-05,
    "CD1_2": 0.0,
    "CD2_1": -0.0,
    "CD2_2": 6.688889e-05,
    "RADECSYS": "FK5",
}


def header_with(**changes):
    header = fits.Header()
    header.update({**CARDS, **SKY_CARDS, **changes})
    return header


def write_frame(path, shape=(1030, 1030), **changes):
    header = header_with(**changes)
    pixels = (np.arange(shape[0] * shape[1]) % 65536).astype(np.uint16).reshape(shape)
    fits.PrimaryHDU(pixels, header).writeto(path)
    return RawSource.open(path)


def test_the_plugin_describes_one_detector_read_through_one_amplifier():
    assert isrcore_eso.isr_cameras() == [CAMERA]
    assert [detector.amplifier_names for detector in CAMERA.detectors] == [("L",)]


def test_data_are_the_first_columns_and_rows_and_overscan_the_last_rows():
    assert AMP.raw_data_box == Box(0, 1015, 0, 1021)
    assert AMP.box == Box.of_shape(DETECTOR.shape)
    assert AMP.parallel_overscan_box == Box(1024, 1030, 0, 1021)
    assert AMP.serial_overscan_box.area == 0


def test_a_frame_is_read_with_its_pixels_and_its_visit(tmp_path):
    (exposure,) = isrcore_eso.isr_read_raw(write_frame(tmp_path / "a.fits"), None)
    assert exposure.camera == "EFOSC2"
    assert exposure.detector == DETECTOR
    assert exposure.image.dtype == np.uint16
    assert exposure.image[3, 5] == 3 * 1030 + 5
    assert exposure.visit.object_name == "Q1010-0100"


def test_a_header_is_translated():
    visit = translate_visit(header_with())
    assert visit.exposure_id == 19631
    assert visit.exposure_s == 180.0057
    assert visit.dark_s == 180.088
    assert visit.filter == "g#782"
    assert visit.observation_type == "science"
    assert visit.airmass == pytest.approx(1.2225)
    assert (visit.ra_deg, visit.dec_deg) == (152.565583, -1.01059)


def test_the_date_is_the_middle_of_the_exposure():
    assert translate_visit(header_with()).date.isot.startswith("2022-01-28T04:55:54.342")


def test_what_a_header_lacks_stays_unknown():
    visit = translate_visit(fits.Header())
    assert (visit.exposure_id, visit.filter, visit.observation_type, visit.date) == (0, "", "", None)
    assert np.isnan([visit.exposure_s, visit.dark_s, visit.airmass]).all()


@pytest.mark.parametrize(
    ("dpr_type", "exposure_s", "kind"),
    [
        ("OBJECT", 180.0, "science"),
        ("SKY,FLAT", 3.3, "flat"),
        ("FLAT", 3.3, "flat"),
        ("BIAS", 0.0, "bias"),
        ("DARK", 0.0, "bias"),
        ("DARK", 900.0, "dark"),
        ("DARK", "unknown", "dark"),
        ("FOCUS", 10.0, ""),
    ],
)
def test_frames_labelled_dark_are_biases_when_they_last_zero_seconds(dpr_type, exposure_s, kind):
    header = header_with(EXPTIME=exposure_s, **{"HIERARCH ESO DPR TYPE": dpr_type})
    assert translate_visit(header).observation_type == kind


def test_the_wcs_has_the_scale_of_binned_pixels(tmp_path):
    (exposure,) = isrcore_eso.isr_read_raw(write_frame(tmp_path / "a.fits"), None)
    at_centre = exposure.wcs.pixel_to_world_values(516, 487.25)
    np.testing.assert_allclose(at_centre, (152.565583, -1.010586), atol=1e-9)
    above = exposure.wcs.pixel_to_world_values(516, 587.25)
    np.testing.assert_allclose(above[1] - at_centre[1], 100 * 6.688889e-05, rtol=1e-6)


def test_calibration_frames_have_no_wcs(tmp_path):
    source = write_frame(tmp_path / "a.fits", CTYPE1="PIXEL", CTYPE2="PIXEL")
    (exposure,) = isrcore_eso.isr_read_raw(source, None)
    assert exposure.wcs is None


def test_a_frame_of_another_binning_is_refused(tmp_path):
    source = write_frame(tmp_path / "a.fits", shape=(206, 206))
    with pytest.raises(RawError, match=r"\(206, 206\).*\(1030, 1030\)"):
        list(isrcore_eso.isr_read_raw(source, None))


def test_other_instruments_are_not_ours(tmp_path):
    assert isrcore_eso.isr_read_raw(write_frame(tmp_path / "a.fits", INSTRUME="FORS2"), None) is None


def test_overrides_use_the_overscan_rows_of_this_camera_only():
    config = SimpleNamespace(overscan=SimpleNamespace())
    isrcore_eso.applyOverrides(config, attrs.evolve(CAMERA, name="other"))
    assert vars(config) == {"overscan": SimpleNamespace()}
    isrcore_eso.applyOverrides(config, CAMERA)
    assert vars(config.overscan) == {"region": "parallel", "fitType": "MEDIAN"}
    assert (config.doDark, config.doEmpiricalReadNoise) == (False, True)


def test_curated_defects_lie_in_the_trimmed_frame():
    defects = isrcore_eso.isr_curated_calibrations(CAMERA)["defects"]["ccd40"]
    frame = Box.of_shape(DETECTOR.shape)
    assert all(frame.contains(box) for box in defects)
    mask = defects.to_mask(DETECTOR.shape)
    assert mask[500, 180]
    assert mask[500, 645]
    assert mask[-1, 0]
    assert mask[-1, -1]
    assert mask.mean() < 0.01


def test_other_cameras_get_no_defects():
    assert isrcore_eso.isr_curated_calibrations(attrs.evolve(CAMERA, name="other")) == {}
