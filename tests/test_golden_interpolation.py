"""Interpolation, growth and trails agree with the original, but for its faults.

What is not compared, and how closely the rest agrees, says `original_interpolation`. The original treats the
variance like the image (fault 8), so interpolated variances are compared with the sum of w²V instead.
"""

from __future__ import annotations

from types import SimpleNamespace

import attrs
import numpy as np
import pytest

from isrcore import Detector, Exposure, MaskedImage, MaskPlanes, Runs
from isrcore.statistics import clipped
from tests.golden import golden_cases, plane_bits
from tests.golden_exposures import ASSEMBLED, make_task, pixels
from tests.original_interpolation import tolerances
from tests.plain_interpolation import plain


@attrs.define(eq=False)
class WithLevel(Exposure):
    """An exposure whose good pixels have a given level and no scatter, if one is given."""

    level: float | None = None

    def statistics(self, *ignored, threads=1, flagged=None):
        if self.level is None:
            return super().statistics(*ignored, flagged=flagged)
        return SimpleNamespace(clipped=SimpleNamespace(mean=self.level, sigma=0.0))


def interpolate(image, planes, level=None, **settings):
    """Our product; the original's level counts flagged pixels in (fault 11) unless ``level`` is given."""
    switches = {"saturation": "SAT" in planes, "nan": "UNMASKEDNAN" in planes}
    settings = {"planes": planes, **switches, "fallbackIncludesFlagged": level is None, **settings}
    task = make_task("doInterpolate", **{f"interpolation__{k}": v for k, v in settings.items()})
    exposure = WithLevel(image.copy(), Detector.of_shape(image.shape), facts=ASSEMBLED, level=level)
    return task.run(exposure).exposure.pixels


def assert_agrees(found, before, bad, outputs, level, level_variance):
    """Good pixels equal, bad ones within rounding, masks equal, variances as they should be.

    Returns how many pixels were not compared.
    """
    allowed = tolerances(before, bad, level)
    is_fine = np.abs(found.image.astype(np.float64) - outputs["maskedImage.image"]) <= allowed
    is_left_out = np.isnan(allowed)
    assert (is_fine | is_left_out).all()
    np.testing.assert_array_equal(found.variance[~bad], outputs["maskedImage.variance"][~bad])
    expected = plain(before, bad, (level, level_variance))
    np.testing.assert_allclose(found.image, expected[0], rtol=1e-6)
    np.testing.assert_allclose(found.variance, expected[1], rtol=1e-5)
    known = sum(1 << bit for bit in before.planes.bits.values())
    np.testing.assert_array_equal(found.mask & known, outputs["maskedImage.mask"])
    return int(is_left_out.sum())


def listed(entry, inputs):
    """The image, and a plane of its own for the boxes of a defect list; which pixels that are."""
    image = pixels(entry, inputs, "maskedImage")
    image = image.with_planes(image.planes.with_planes({"LISTED"}))
    bad = np.zeros(image.shape, bool)
    for x, y, width, height in inputs["normalizedDefects"]:
        bad[max(y, 0) : y + height, max(x, 0) : x + width] = True
    image.mask[bad] |= image.planes.value("LISTED")
    return image, bad


def level_of(image, given):
    return given if given is not None else clipped(image).mean


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("interpolateDefectList"))
def test_boxes_of_defects(entry, inputs, outputs):
    image, bad = listed(entry, inputs)
    given = entry["params"]["fallbackValue"]
    found = interpolate(image, ["LISTED"], given)
    spread = 0.0 if given is not None else clipped(image.image).sigma ** 2
    before = attrs.evolve(image, planes=MaskPlanes(entry["maskPlanes"]))
    left_out = assert_agrees(found, before, bad, outputs, level_of(image.image, given), spread)
    assert left_out == LEFT_OUT_OF_LISTS.get(entry["case"].partition("/")[2], 0)


# Pixels next to the data in runs of seven at a border (Q3), and in rows with one good pixel at an end (Q4).
LEFT_OUT_OF_LISTS = {"020": 6 * 64, "050": 12}


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("measAlg.interpolateOverDefects"))
def test_boxes_of_defects_at_the_left_border(entry, inputs, outputs):
    image, bad = listed(entry, inputs)
    level = entry["params"]["fallbackValue"]
    found = interpolate(image, ["LISTED"], level)
    before = attrs.evolve(image, planes=MaskPlanes(entry["maskPlanes"]))
    left_out = assert_agrees(found, before, bad, outputs, level, 0.0)
    # A run from x = 1 that does not see the next one (Q2).
    assert left_out == (0 if inputs["normalizedDefects"][0][0] == 0 else 3 * 64)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("interpolateFromMask"))
def test_planes(entry, inputs, outputs):
    params, image = entry["params"], pixels(entry, inputs, "maskedImage")
    planes, radius = params["maskNameList"], params["growSaturatedFootprints"]
    found = interpolate(image, planes, growSaturationFootprintSize=radius)
    bad = found.flagged(*planes)
    frame = clipped(image.image)
    left_out = assert_agrees(found, image, bad, outputs, frame.mean, frame.sigma**2)
    assert left_out == LEFT_OUT_OF_PLANES.get(entry["case"].partition("/")[2], 0)


# Runs from x = 1 that do not see the next one (Q2), and runs of seven at a border (Q3).
LEFT_OUT_OF_PLANES = {"006": 1, "020": 10, "026": 16}


def saturated(entry, inputs):
    """The case's exposure, with our saturation flags."""
    image = pixels(entry, inputs, "maskedImage")
    owner = Detector.of_shape(image.shape, saturation=entry["params"]["saturation"])
    exposure = Exposure(image, owner, facts=ASSEMBLED)
    make_task().saturationDetection(exposure, owner["0"])
    return exposure


def growing(radius):
    return {
        "interpolation__growSaturationFootprintSize": radius,
        "interpolation__fallbackIncludesFlagged": True,
    }


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("saturationCorrection"))
def test_saturation(entry, inputs, outputs):
    params, exposure = entry["params"], saturated(entry, inputs)
    before = exposure.pixels.copy()
    if not params["interpolate"]:
        bits = exposure.planes.value("SAT")
        Runs.of(exposure.mask, bits).flag_near(exposure.mask, bits, params["growFootprints"])
        np.testing.assert_array_equal(exposure.mask, outputs["maskedImage.mask"])
        return
    make_task(**growing(params["growFootprints"])).saturationInterpolation(exposure)
    frame, bad = clipped(before.image), exposure.pixels.flagged("SAT")
    assert assert_agrees(exposure.pixels, before, bad, outputs, frame.mean, frame.sigma**2) == 0


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.maskAndInterpolateNan"))
def test_pixels_that_are_no_number(entry, inputs, outputs):
    image = pixels(entry, inputs, "maskedImage")
    exposure = Exposure(image.copy(), Detector.of_shape(image.shape), facts=ASSEMBLED)
    make_task(**growing(1)).maskAndInterpolateNan(exposure)
    frame, bad = clipped(image.image), ~(np.isfinite(image.image) & np.isfinite(image.variance))
    assert bad.any()
    assert assert_agrees(exposure.pixels, image, bad, outputs, frame.mean, frame.sigma**2) == 0


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("widenSaturationTrails"))
def test_trails(entry, inputs, outputs):
    mask = inputs["mask.mask"]
    image = MaskedImage.from_image(
        np.zeros(mask.shape, np.float32), mask.copy(), planes=MaskPlanes(entry["maskPlanes"])
    )
    exposure = Exposure(image, Detector.of_shape(image.shape), facts=ASSEMBLED)
    product = make_task("doWidenSaturationTrails").run(exposure).exposure
    np.testing.assert_array_equal(product.mask, outputs["mask.mask"])
    assert (product.mask != mask).any()


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("growMasks"))
def test_grown_runs(entry, inputs, outputs):
    params, mask = entry["params"], inputs["mask.mask"]
    if params["radius"]:  # The original sets the plane only when it grows.
        runs = Runs.of(mask, plane_bits(entry, *params["maskNameList"]))
        runs.flag_near(mask, plane_bits(entry, params["maskValue"]), params["radius"])
    np.testing.assert_array_equal(mask, outputs["mask.mask"])
