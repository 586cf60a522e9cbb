"""The brighter-fatter correction agrees with the original, but for its faults.

The original's loop cannot end before its third iteration (fault 5); compared is what both have after the
same number of iterations. It forgets the last row and column that the kernel can reach. In its
flux-conserving form it forgets the first half kernel of rows and columns, and moves only charge above the
mean of the frame. A pixel that is no number is empty for it, at the mean in the flux-conserving form; we
interpolate over it.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve2d

from isrcore import Detector, Exposure, MaskedImage
from isrcore_standard.brighter_fatter import rescale
from tests.golden import golden_cases
from tests.golden_exposures import ASSEMBLED, amplifier, assert_close, detector, make_task, pixels

PLAIN = golden_cases("brighterFatterCorrection")
CONSERVING = golden_cases("fluxConservingBrighterFatterCorrection")


def corrected(image, kernel, params, **settings):
    """The exposure after the correction, alone."""
    named = {"applyGain": params["applyGain"], **settings}
    task = make_task(
        "doBrighterFatter", **{f"brighterFatter__{name}": value for name, value in named.items()}
    )
    raw = Exposure(MaskedImage.from_image(image.copy()), Detector.of_shape(image.shape), facts=ASSEMBLED)
    return task.run(raw, bfKernel=kernel).exposure


def as_often(outputs):
    """Settings for as many iterations as the original made."""
    return {"maxIter": int(outputs["iteration"]) + 1, "threshold": 0.0}


def filled(image, value):
    """The image with a value where there is no number, and where that is."""
    spoiled = ~np.isfinite(image)
    return np.where(spoiled, np.float32(value), image), spoiled


@pytest.mark.parametrize(("entry", "inputs", "outputs"), PLAIN)
def test_the_correction_agrees_but_for_the_line_that_is_forgotten(entry, inputs, outputs):
    kernel, theirs = inputs["kernel"], outputs["image.image"]
    image, spoiled = filled(inputs["image.image"], 0.0)
    ours = corrected(image, kernel, entry["params"], **as_often(outputs)).image
    assert spoiled.sum() <= 1
    y, x = (side // 2 + 2 for side in kernel.shape)
    forgotten = np.zeros(image.shape, bool)
    forgotten[-y, x - 1 : 1 - x] = forgotten[y - 1 : 1 - y, -x] = True
    assert_close(ours[~forgotten & ~spoiled], theirs[~forgotten & ~spoiled])
    np.testing.assert_array_equal(theirs[forgotten], image[forgotten])
    assert (ours[forgotten] != image[forgotten]).mean() > 0.5


@pytest.mark.parametrize(("entry", "inputs", "outputs"), [*PLAIN, *CONSERVING])
def test_their_threshold_ends_the_loop_as_early_as_it_says(entry, inputs, outputs):
    params, theirs = entry["params"], outputs["image.image"].astype(np.float64)
    is_conserving = entry["function"].startswith("flux")
    image = inputs["image.image"]
    level = np.float32(np.nanmean(image, dtype=np.float64)) if is_conserving else np.float32(0)
    image, spoiled = filled(image - level, 0.0)
    settings = {
        "maxIter": params["maxIter"],
        "threshold": params["threshold"],
        "fluxConserving": is_conserving,
    }
    ours = corrected(image, inputs["kernel"], params, **settings)
    found = ours.measured["brighterFatter"]["unnamed"]
    assert found.is_converged == (outputs["diff"] < params["threshold"])
    assert found.is_converged == (found.difference < params["threshold"])
    assert found.iterations <= int(outputs["iteration"]) + 1
    # Later iterations change less than the one that ended it; rounding of float32 comes on top.
    common = ~spoiled
    y, x = (side // 2 + 2 for side in inputs["kernel"].shape)
    common[:y] = common[-y:] = common[:, :x] = common[:, -x:] = False
    change = np.abs(ours.image[common] + level.astype(np.float64) - theirs[common])
    assert change.sum() < max(params["threshold"], found.difference) + 2e-7 * np.abs(theirs[common]).sum()


@pytest.mark.parametrize(("entry", "inputs", "outputs"), CONSERVING)
def test_the_flux_conserving_form_agrees_on_charge_above_the_mean(entry, inputs, outputs):
    kernel = inputs["kernel"]
    level = np.float32(np.nanmean(inputs["image.image"], dtype=np.float64))
    image, spoiled = filled(inputs["image.image"] - level, 0.0)
    ours = corrected(image, kernel, entry["params"], fluxConserving=True, **as_often(outputs)).image
    theirs, (y, x) = outputs["image.image"], (side // 2 for side in kernel.shape)
    # Nothing passes into the rows and columns they forget, which their neighbours feel.
    agrees = np.zeros(image.shape, bool)
    agrees[y + 1 :, x + 1 :] = True
    agrees &= ~spoiled
    assert_close(ours[agrees] + level, theirs[agrees])
    np.testing.assert_array_equal(theirs[:y], inputs["image.image"][:y])
    np.testing.assert_array_equal(theirs[:, :x], inputs["image.image"][:, :x])
    assert (ours[:y] != image[:y]).mean() > 0.5


@pytest.mark.parametrize(("entry", "inputs", "outputs"), CONSERVING[:1] if CONSERVING else [])
def test_we_move_the_charge_of_the_level_too(entry, inputs, outputs):
    """In one iteration it adds the level times half the curvature of the potential."""
    kernel, settings = inputs["kernel"], {"fluxConserving": True, "maxIter": 1, "threshold": 0.0}
    image, _ = filled(inputs["image.image"], 0.0)
    level = np.float32(np.mean(image, dtype=np.float64))
    whole = corrected(image, kernel, entry["params"], **settings).image
    above = corrected(image - level, kernel, entry["params"], **settings).image
    potential = np.pad(convolve2d(image.astype(np.float64) - level, kernel[::-1, ::-1], "same"), 1, "edge")
    curvature = np.diff(potential, 2, 0)[:, 1:-1] + np.diff(potential, 2, 1)[1:-1]
    assert_close(whole - above - level, 0.5 * level * curvature, rel=1e-4)
    assert np.abs(curvature).max() * level > 100


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("gainContext"))
def test_gains_are_applied_and_taken_back(entry, inputs, outputs):
    params = entry["params"]
    owner = detector([amplifier(amp) for amp in params["amps"]])
    gains = {amp.name: amp.gain for amp in owner.amplifiers}
    there, back = (np.divide, np.multiply) if params["invert"] else (np.multiply, np.divide)
    image = pixels(entry, inputs, "maskedImage").image
    rescale(image, owner, gains, there)
    assert_close(image, outputs["inside.image"])
    rescale(image, owner, gains, back)
    assert_close(image, outputs["after.image"])


def test_the_documented_example():
    """Behaviour §8, there in double precision and without the line that is forgotten, four pixels away."""
    y, x = np.mgrid[:13, :13]
    image = (1000 + 20000 * np.exp(-((x - 6) ** 2 + (y - 6) ** 2) / 4.5)).astype(np.float32)
    kernel = 1e-7 * np.array([[-1, -2, -1], [-2, -8, -2], [-1, -2, -1]])
    found = corrected(image, kernel, {"applyGain": True}, threshold=1e-6)
    change = found.image.astype(np.float64) - image
    # That line changes pixel (6, 8) by 0.0041; images of 21000 in float32 have steps of 0.002.
    expected = {(6, 6): 254.029504, (6, 7): 110.853209, (6, 8): -23.645033, (5, 5): 36.671676}
    for place, value in expected.items():
        assert change[place] == pytest.approx(value, abs=0.006)
    assert change[2:10, 2:10].sum() == pytest.approx(181.596325, abs=0.03)
    measured = found.measured["brighterFatter"]["unnamed"]
    # What changes at the end are roundings of shifts of 250; in double precision 9.2e-8 are reached.
    assert measured.difference < 64 * np.spacing(np.float32(250))
