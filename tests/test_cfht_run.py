"""MegaCam frames through the whole task: defaults, levels and overscan work together."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, Registry, default_config
from isrcore_cfht import CAMERA

CARDS = {"GAINA": 1.5, "GAINB": 1.6, "RDNOISEA": 3, "RDNOISEB": 65535, "RDNOISE": 5, "SATURATE": 65535}


@pytest.fixture(scope="module")
def task():
    registry = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
    config = default_config(registry, "MegaCam")
    config.doBias = config.doFlat = config.doDefect = False
    # What is saturated grows before it is interpolated.
    config.doInterpolate = False
    return IsrTask(config, registry=registry, camera="MegaCam")


@pytest.fixture
def raw():
    """Data 100 (A) and 200 adu (B) above an overscan of 1200 adu that rises by 1 adu a row up to row 100."""
    detector = CAMERA["ccd07"]
    image = np.full(detector.raw_shape, 1200, np.uint16)
    for amp, signal in zip(detector.amplifiers, (100, 200), strict=True):
        image[amp.raw_data_box.slices] += np.uint16(signal)
    image[:100] += np.arange(100, dtype=np.uint16)[:, None]
    return Exposure(MaskedImage.from_raw(image), detector, "MegaCam", header=Header(list(CARDS.items())))


def test_defaults_of_the_camera_are_those_of_raw_frames(task):
    assert task.config.overscan.fitType == "MEDIAN_PER_ROW"
    assert not task.config.doDark


def test_overscan_is_subtracted_row_by_row(task, raw):
    product = task.run(raw).exposure
    assert product.shape == (4612, 2048)
    assert (product.image[:, :1024] == 100).all()
    assert (product.image[:, 1024:] == 200).all()


def test_product_knows_the_levels_of_its_header(task, raw):
    a, b = task.run(raw).exposure.detector.amplifiers
    assert (a.gain, a.read_noise, a.saturation) == (1.5, 3.0, 65535.0)
    assert (b.gain, b.read_noise, b.saturation) == (1.6, 5.0, 65535.0)


def test_pixels_near_the_pile_up_are_flagged(task, raw):
    # Column 500 of the raw frame is column 468 of the product; the pile-up gives a level of 62206.
    raw.image[2000, 500:506] = 65535, 65535, 65535, 62206, 62205, 60000
    product = task.run(raw).exposure
    flags = product.pixels.flagged("SAT")[2000, 466:475]
    assert flags.tolist() == [False, False, True, True, True, True, False, False, False]
