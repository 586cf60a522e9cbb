"""Bad regions, background, binning and counts agree with the original; differences are documented."""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import FrameStatistics, IsrQaConfig, bin_image
from tests.golden import golden_cases, plane_bits
from tests.golden_exposures import exposure, make_task, pixels

# Both sides sum in float64, in another order.
REL = 1e-13


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("setBadRegions"))
def test_bad_regions(entry, inputs, outputs):
    task = make_task("doSetBadRegions", badRegions__statistic=entry["params"]["badStatistic"])
    before = exposure(entry, inputs, "maskedImage")
    after = task.run(before).exposure
    found = after.measured["badRegions"][before.detector.name]
    assert found.count == outputs["badPixelCount"] > 0
    assert found.value == pytest.approx(float(outputs["badPixelValue"]), rel=REL)
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(after, plane), outputs[f"maskedImage.{plane}"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.measureBackground"))
def test_background(entry, inputs, outputs):
    qa = IsrQaConfig()
    for name in ("meshX", "meshY", "doClip", "clipSigma", "nIter"):
        setattr(qa.flatness, name, entry["params"][name])
    found = exposure(entry, inputs, "maskedImage")
    make_task().measureBackground(found, qa)
    for name, expected in outputs.items():
        if expected.dtype.kind == "U":
            assert found.header[name] == str(expected)
        else:
            assert found.header[name] == pytest.approx(float(expected), rel=REL)
    assert found.header["SKYLEVEL"] == outputs["SKYLEVEL"]
    assert (found.header["FLATNESS_MESHX"], found.header["FLATNESS_MESHY"]) == (
        entry["params"]["meshX"],
        entry["params"]["meshY"],
    )


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("binImage"))
def test_binning(entry, inputs, outputs):
    found = bin_image(pixels(entry, inputs, "maskedImage"), entry["params"]["bin"])
    np.testing.assert_array_equal(found.mask, outputs["maskedImage.mask"])
    np.testing.assert_array_equal(found.image, outputs["maskedImage.image"])
    # The original divides by the number of pixels squared at once, ours twice.
    np.testing.assert_allclose(found.variance, outputs["maskedImage.variance"], rtol=1.2e-7)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("countMaskedPixels"))
def test_flagged_pixels_are_counted(entry, inputs, outputs):
    flagged = inputs["mask.mask"] & plane_bits(entry, *entry["params"]["maskPlane"]) != 0
    assert np.count_nonzero(flagged) == outputs["count"]


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("crosstalk.calculateBackground"))
def test_level_without_bad_pixels(entry, inputs, outputs):
    found = FrameStatistics(pixels(entry, inputs, "maskedImage"), *entry["params"]["badPixels"])
    assert found.median == outputs["value"]
