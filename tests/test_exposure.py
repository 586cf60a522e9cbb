"""Exposures: sharing, cloning and CCDData."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Detector, Exposure, MaskedImage
from isrcore.testing import strategies


def exposure_of(values: list[list[float]], **more: object) -> Exposure:
    pixels = MaskedImage.from_image(np.float32(values))
    return Exposure(pixels, Detector.of_shape(pixels.shape), **more)  # type: ignore[arg-type]


def test_sharing_keeps_pixels_and_parts_everything_else() -> None:
    exposure = exposure_of([[1, 2]])
    shared = exposure.share()
    shared.image[0, 0] = 7
    shared.header["NEW"], shared.facts, shared.unit = 1, frozenset({"assembled"}), "electron"
    shared.measured["flat"] = {}  # type: ignore[index]
    assert exposure.image.tolist() == [[7, 2]]
    assert (len(exposure.header), exposure.facts, exposure.unit, exposure.measured) == (
        0,
        frozenset(),
        "adu",
        {},
    )
    assert shared.is_assembled
    assert not exposure.is_assembled


def test_a_clone_has_pixels_of_its_own() -> None:
    exposure = exposure_of([[1, 2]])
    clone = exposure.clone()
    for plane in (clone.image, clone.mask, clone.variance):
        plane[...] = 5
    assert (exposure.image.tolist(), exposure.mask.max(), exposure.variance.max()) == ([[1, 2]], 0, 0)


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="unit"):
        exposure_of([[1]], unit="count")


def test_messages_name_source_and_detector() -> None:
    assert exposure_of([[1]]).label == "exposure in memory (detector 'unnamed')"
    assert exposure_of([[1]], source="night1/a.fits").label == "night1/a.fits (detector 'unnamed')"


@given(st.data())
def test_ccddata_and_back_keeps_pixels_unit_and_bad_pixels(data: st.DataObject) -> None:
    exposure = data.draw(strategies.exposures(data.draw(strategies.detectors())))
    ccd = exposure.to_ccddata()
    assert ccd.unit == exposure.unit
    assert ccd.meta["MP_SAT"] == 1
    assert np.shares_memory(ccd.data, exposure.image)
    back = Exposure.from_ccddata(ccd, exposure.detector)
    np.testing.assert_array_equal(back.image, exposure.image)
    np.testing.assert_array_equal(back.variance, exposure.variance)
    np.testing.assert_array_equal(back.pixels.flagged("BAD"), exposure.pixels.flagged())
    assert (back.unit, back.is_assembled) == (exposure.unit, True)


def test_a_standard_deviation_becomes_a_variance() -> None:
    ccd = CCDData(np.ones((1, 2)), unit="electron", uncertainty=StdDevUncertainty([[2.0, 3.0]]))
    exposure = Exposure.from_ccddata(ccd)
    assert (exposure.variance.tolist(), exposure.image.dtype) == ([[4, 9]], np.float32)
    assert exposure.mask.max() == 0
    assert Exposure.from_ccddata(CCDData(np.ones((1, 2)), unit="adu")).variance.max() == 0


def test_ccddata_that_means_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="CCDData is in 's'; it must be one of 'adu', 'electron'"):
        Exposure.from_ccddata(CCDData(np.ones((1, 2)), unit="s"))
    odd = CCDData(np.ones((1, 2)), unit="adu", uncertainty=InverseVariance([[2.0, 3.0]]))
    with pytest.raises(ValueError, match="uncertainty of type 'ivar'; it must be a variance"):
        Exposure.from_ccddata(odd)
