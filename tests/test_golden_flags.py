"""Negative variances, what is no number, edges of amplifiers, variances added to, and the PSF nobody uses."""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Box, Detector, Exposure, FlagNonFinite, FlagNonPositiveVariance
from isrcore.kernels.reference import Placed, Work, execute
from tests.assembled import FACTS, assembled
from tests.golden import golden_cases
from tests.golden_exposures import assert_close, exposure, make_task, pixels


def cases_where(function, name, value):
    """The cases of which a parameter has a value."""
    return [c for c in golden_cases(function) if not c.values[0] or c.values[0]["params"][name] == value]


def flag(op, entry, inputs):
    """The pixels of a case after one operation, and how many it flagged."""
    found = pixels(entry, inputs, "maskedImage")
    (count,) = execute(Work(found, (Placed(op, Box.of_shape(found.shape)),)))
    return found, count


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.maskNegativeVariance"))
def test_variances_of_zero_and_less_are_flagged(entry, inputs, outputs):
    """The original's method; here the variance step does it with this operation, when it has set them."""
    bit = 1 << entry["maskPlanes"][entry["params"]["maskPlane"]]
    found, _ = flag(FlagNonPositiveVariance(bit), entry, inputs)
    np.testing.assert_array_equal(found.mask, outputs["maskedImage.mask"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("maskNans"))
def test_what_is_no_number_is_flagged_and_counted(entry, inputs, outputs):
    """The original may spare pixels with given flags; ours flags them all, and in no case that differs."""
    params = entry["params"]
    found, count = flag(FlagNonFinite(params["maskVal"]), entry, inputs)
    spared = (inputs["maskedImage.mask"] & params["allow"] != 0) & (found.mask != outputs["maskedImage.mask"])
    assert not spared.any()
    np.testing.assert_array_equal(found.mask, outputs["maskedImage.mask"])
    assert count == outputs["count"]


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("updateVariance", "replace", False))
def test_a_variance_that_is_added_to(entry, inputs, outputs):
    """Asked not to replace, the original counts the old variance like more counts: (V + I)/g + (R/g)².

    Ours, like the original's task, replaces. The difference is V/g in every pixel, whatever it meant.
    """
    params, science = entry["params"], exposure(entry, inputs, "maskedImage")
    owner = Detector.of_shape(science.shape, gain=params["gain"], read_noise=params["readNoise"])
    make_task().updateVariance(science, owner["0"])
    old = inputs["maskedImage.variance"].astype(np.float64) / params["gain"]
    assert_close(science.variance + old, outputs["maskedImage.variance"].astype(np.float64))


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("IsrTask.maskEdges", "level", "AMP"))
def test_edges_of_amplifiers(entry, inputs, outputs):
    """The newest original may flag the edges of every amplifier; ours knows those of detectors.

    Each amplifier by itself agrees.
    """
    params, science = entry["params"], exposure(entry, inputs, "maskedImage")
    for corner in params["ampBBoxes"]:
        part = science.pixels.window(Box.from_corner(*corner))
        one = Exposure(part, Detector.of_shape(part.shape), facts=FACTS)
        make_task().maskEdges(one, params["numEdgePixels"], params["maskPlane"])
    np.testing.assert_array_equal(science.mask, outputs["maskedImage.mask"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("createPsf"))
def test_the_psf_of_an_fwhm_decides_our_weights(entry, inputs, outputs):
    """The original makes this PSF for the interpolation and never uses it (fault 10).

    We make none: the weights are those of a scene behind just this PSF, whose image has the covariance of the
    PSF with itself, exp(-d²/4s²) with s = fwhm/2.3548.
    """
    fwhm, kernel = entry["params"]["fwhm"], outputs["kernel.image"]
    s = fwhm / 2.3548200450309493
    grid = np.arange(len(kernel)) - len(kernel) // 2
    gaussian = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * s**2))
    np.testing.assert_allclose(kernel, gaussian / gaussian.sum(), rtol=1e-12)
    theirs = weights_beside_a_bad_pixel(np.exp(-(np.subtract.outer(range(5), range(5)) ** 2) / (4 * s**2)))
    unit = np.eye(5)
    found = [interpolated(row, fwhm) for row in unit]
    np.testing.assert_allclose(np.delete(found, 2), theirs, atol=1e-6)
    # The setting has an effect: one pixel of s, the original's weights, is another.
    assert abs(interpolated(unit[1], 2.3548200450309493) - found[1]) > 0.005


def weights_beside_a_bad_pixel(covariance):
    """Ordinary kriging of the middle one of five pixels from the others."""
    good = [0, 1, 3, 4]
    system = np.ones((5, 5))
    system[:4, :4], system[4, 4] = covariance[np.ix_(good, good)], 0
    return np.linalg.solve(system, [*covariance[good, 2], 1.0])[:4]


def interpolated(row, fwhm):
    """What the interpolation puts into the middle one of five pixels."""
    exposed = assembled(Detector.of_shape((1, 5)), row, variance=1.0, mask=[[0, 0, 1, 0, 0]])
    task = make_task("doInterpolate", interpolation__fwhm=fwhm)
    return float(task.run(exposed).exposure.image[0, 2])
