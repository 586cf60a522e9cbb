"""Real Elixir masks against the sets that ship: the same pixels, CCD by CCD."""

from __future__ import annotations

import gzip
from collections import Counter

import numpy as np
import pytest
from astropy.io.fits import Header

from isrcore import Box, Defects, RawSource, Registry
from isrcore_cfht import CAMERA, defects_from_mask, isr_read_calibration, mask_sets
from tests.golden import DATA

FOLDER = DATA / "data/megacam/masks"
SETS = {"2004B.mask.0.36.01": 36, "test.mask.0.40.00": 40}
BLOCK = 2880

pytestmark = pytest.mark.skipif(
    not FOLDER.exists(), reason=f"no real masks at {FOLDER}; set ISRCORE_TEST_DATA to the folder above data"
)


def masks(name):
    """Every CCD's name and mask, in one pass over the compressed file: going back means starting anew."""
    with gzip.open(FOLDER / f"{name}.fits.gz") as stream:
        while block := stream.read(BLOCK):
            while not any(block[at : at + 80].rstrip() == b"END" for at in range(0, len(block), 80)):
                block += stream.read(BLOCK)
            header = Header.fromstring(block.decode("ascii"))
            if header["NAXIS"]:
                shape = header["NAXIS2"], header["NAXIS1"]
                size = 2 * shape[0] * shape[1]
                pixels = stream.read(-(-size // BLOCK) * BLOCK)[:size]
                yield header["EXTNAME"].strip(), np.frombuffer(pixels, ">i2").reshape(shape)


def shipped(name, ccd):
    return Defects.from_iterable([tuple(box) for box in mask_sets()[name][ccd]["boxes"]])


@pytest.mark.parametrize("name", SETS)
def test_a_shipped_set_is_its_mask(name):
    seen = []
    for ccd, mask in masks(name):
        detector = CAMERA[ccd]
        found, known = defects_from_mask(mask, detector), shipped(name, ccd)
        assert (found.to_mask(detector.shape) == known.to_mask(detector.shape)).all()
        # The same boxes too; the original lists them in another order where footprints touch.
        assert Counter(found.boxes) == Counter(known.boxes)
        seen.append(ccd)
    assert seen == [detector.name for detector in CAMERA.detectors][: SETS[name]] == sorted(mask_sets()[name])


def test_a_mask_file_is_read_for_one_ccd():
    source = RawSource.open(FOLDER / "2004B.mask.0.36.01.fits.gz")
    defects = isr_read_calibration(source, "defects", "ccd07")
    # Amplifier A of this CCD was dead: its bottom row is part of a box of the whole row.
    assert defects.covers(Box(0, 4612, 0, 1024))
    assert Counter(defects.boxes) == Counter(shipped("2004B.mask.0.36.01", "ccd07").boxes)
    assert (defects.detector_name, defects.header["FILENAME"]) == ("ccd07", "2004B.mask.0.07.01")
    assert isr_read_calibration(source.without_pixels(), "defects", "ccd00") is not None


def test_masks_are_found_by_the_registry():
    import isrcore_cfht

    source = RawSource.open(FOLDER / "2004B.mask.0.36.01.fits.gz")
    registry = Registry({"cfht": isrcore_cfht})
    assert registry.read_calibration(source, "defects", "ccd03").detector_name == "ccd03"
