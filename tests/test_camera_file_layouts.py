"""Camera files of several HDUs, and of geometry and levels that each header gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

import isrcore_simulate
import isrcore_standard
from isrcore import CameraError, RawError, Registry, load_camera_file
from tests.camera_texts import camera_file

REGISTRY = Registry({"standard": isrcore_standard})

PER_AMPLIFIER = """
name = "mosaic"

[raw]
recognise = { INSTRUME = "MOSAIC" }
hdus = { ccd = { left = "im1", right = 2 } }
binning = { card = "CCDSUM" }

[raw.visit]
exposure_s = { card = "EXPTIME" }
date = { card = "MJD", mjd = true, moment = "end" }
filter = { card = ["FILT1", "FILT2"], ignore = ["open", "clear"] }
airmass = { card = "AIRM", optional = true }
ra_deg = { card = "RA" }
dec_deg = { card = "DEC" }

[[detectors]]
name = "ccd"
id = 3
serial = "x1"

[detector.amplifiers.left]
box = { card = "DETSEC" }
raw_data_box = { card = "DATASEC" }
serial_overscan_box = { card = "BIASSEC" }
gain = { card = "GAIN", inverse = true }
read_noise = { card = "RON", scale = 0.001 }
saturation = { card = "SAT", nominal = 60000.0 }

[detector.amplifiers.right]
box = { card = "DETSEC" }
raw_data_box = { card = "DATASEC" }
serial_overscan_box = { card = "BIASSEC" }
gain = { card = "GAIN", inverse = true }
read_noise = { card = "RON", scale = 0.001 }
saturation = { card = "SAT", nominal = 60000.0 }
"""


def mosaic(path: Path, width: int = 20, **cards: Any) -> Path:
    """Two extensions; the second is read from the other side. Binned 2x2, at 2001:... of the focal plane."""
    primary = fits.Header(
        {
            "INSTRUME": "mosaic",
            "EXPTIME": 30.0,
            "MJD": 59000.5,
            "FILT1": "Open",
            "FILT2": "r",
            "CCDSUM": "2 2",
        }
        | {"RA": "12:00:00", "DEC": "-30:30:00"}
    )
    primary.update(cards)
    hdus = fits.HDUList([fits.PrimaryHDU(header=primary)])
    ramp = np.arange(width, dtype=np.uint16)
    for number, (detsec, gain) in enumerate([("2001:2040", 0.5), ("2080:2041", 0.4)], 1):
        image = np.zeros((10, width + 4), np.uint16)
        image[:, :width] = 1000 * number + ramp
        image[:, width:] = 7 * number
        header = fits.Header({"EXTNAME": f"IM{number}", "GAIN": gain, "RON": 4000 + number, "SAT": 50000})
        header.update(
            DATASEC=f"[1:{width},1:10]",
            BIASSEC=f" [{width + 1}: {width + 4},1:10]",
            DETSEC=f"[{detsec},101:120]",
        )
        hdus.append(fits.ImageHDU(image, header))
    hdus.writeto(path)
    return path


def test_an_amplifier_per_extension_becomes_one_detector(tmp_path):
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, PER_AMPLIFIER))
    (raw,) = registry.read_raw(mosaic(tmp_path / "a.fits"))
    left, right = raw.detector.amplifiers
    assert (raw.detector.id, raw.detector.shape, raw.detector.raw_shape) == (3, (10, 40), (10, 48))
    assert (left.box.to_section(), right.box.to_section()) == ("[1:20,1:10]", "[21:40,1:10]")
    assert right.serial_overscan_box.to_section() == "[45:48,1:10]"
    assert (left.flip_x, right.flip_x, right.flip_y) == (False, True, False)
    assert (left.gain, right.gain, left.read_noise, right.saturation) == (2.0, 2.5, 4.001, 50000.0)
    assembled = np.hstack([one.gather().read(raw.image) for one in (left, right)])
    assert np.array_equal(assembled[0, :20], 1000 + np.arange(20))
    assert np.array_equal(assembled[0, 20:], 2000 + np.arange(20)[::-1])
    visit = raw.visit
    # Hours become degrees with the rounding of float64.
    assert (visit.filter, round(visit.ra_deg, 9), visit.dec_deg) == ("r", 180.0, -30.5)
    assert np.isnan(visit.airmass)
    # The end of 30 s at noon.
    assert visit.date.isot == "2020-05-31T11:59:45.000000000"


def test_files_are_listed_whatever_their_frames_look_like(tmp_path):
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, PER_AMPLIFIER))
    listed = registry.list_raw(mosaic(tmp_path / "a.fits"))
    assert (listed.camera, listed.detectors, listed.visit.filter) == ("mosaic", ("ccd",), "r")


def test_a_window_has_a_detector_of_its_own(tmp_path):
    text = PER_AMPLIFIER.replace('box = { card = "DETSEC" }\n', "", 1)
    text = text.partition("[detector.amplifiers.right]")[0]
    text = text.replace('{ ccd = { left = "im1", right = 2 } }', "{ ccd = 1 }")
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, text))
    shapes = [
        next(registry.read_raw(mosaic(tmp_path / f"{width}.fits", width))).detector.shape
        for width in (20, 14)
    ]
    assert shapes == [(10, 20), (10, 14)]


def test_what_only_files_know_is_unknown_without_one(tmp_path, isr):
    path = camera_file(tmp_path, PER_AMPLIFIER)
    detector = load_camera_file(path).camera["ccd"]
    assert detector.shape == (0, 0)
    assert detector["left"].saturation == 60000
    status, out, _ = isr("cameras", "mosaic", "--camera", path, registry=REGISTRY)
    assert status == 0
    assert "by header" in out
    simulating = Registry({"standard": isrcore_standard, "simulate": isrcore_simulate})
    status, _, told = isr("simulate", tmp_path / "sim", "--camera", path, registry=simulating)
    assert status == 2
    assert "only raw files tell sections or levels of ccd[left], ccd[right]" in told


def test_missing_extensions_and_cards_are_named(tmp_path):
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, PER_AMPLIFIER))
    path = mosaic(tmp_path / "a.fits")
    with fits.open(path, "update") as hdus:
        del hdus[1].header["GAIN"], hdus[2].header["BIASSEC"]
        hdus[2].header["RON"] = "unknown"
    with pytest.raises(RawError) as caught:
        registry.read_raw(path)
    told = str(caught.value)
    assert "detector 'ccd': amplifier 'left': gain: the header has no card GAIN" in told
    assert "amplifier 'right': serial_overscan_box: the header has no card BIASSEC" in told
    assert "read_noise: card RON is 'unknown', no number that can be used" in told
    with fits.open(path, "update") as hdus:
        del hdus[2]
    with pytest.raises(RawError, match="there is no image HDU 2"):
        registry.read_raw(path)


def test_raw_sections_that_overlap_are_refused(tmp_path):
    text = """
name = "x"
raw = { recognise = { A = 1 } }
[[detectors]]
name = "x"
[detectors.amplifiers.a]
box = "[1:4,1:4]"
raw_box = "[1:8,1:4]"
raw_data_box = "[1:4,1:4]"
[detectors.amplifiers.b]
box = "[5:8,1:4]"
raw_box = "[5:12,1:4]"
raw_data_box = "[9:12,1:4]"
"""
    with pytest.raises(CameraError, match="raw sections of amplifiers overlap"):
        load_camera_file(camera_file(tmp_path, text))


def test_amplifiers_whose_overscans_lie_behind_others_are_laid_apart(tmp_path):
    text = """
name = "x"
raw = { recognise = { A = 1 } }
[[detectors]]
name = "x"
raw_shape = [4, 12]
[detectors.amplifiers.a]
box = "[1:4,1:4]"
raw_data_box = "[1:4,1:4]"
serial_overscan_box = "[9:10,1:4]"
[detectors.amplifiers.b]
box = "[5:8,1:4]"
raw_data_box = "[5:8,1:4]"
serial_overscan_box = "[11:12,1:4]"
"""
    registry = REGISTRY.with_camera_file(camera_file(tmp_path, text))
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.tile(np.arange(12, dtype=np.uint16), (4, 1)), fits.Header({"A": 1})).writeto(path)
    (raw,) = registry.read_raw(path)
    assert list(raw.image[0]) == [0, 1, 2, 3, 8, 9, 4, 5, 6, 7, 10, 11]
    assert raw.detector["b"].raw_box.to_section() == "[7:12,1:4]"
    assert raw.detector["b"].serial_overscan_box.to_section() == "[11:12,1:4]"
    registry.write_raw(tmp_path / "b.fits", registry.cameras["x"], [raw])
    assert np.array_equal(fits.getdata(tmp_path / "b.fits"), fits.getdata(path))
