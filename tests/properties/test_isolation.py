"""Laws: a NaN in a calibration spoils its own pixel only, and a flag of it lands on its own pixel only."""

from __future__ import annotations

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, Registry
from isrcore.testing import strategies

REGISTRY = Registry({"standard": isrcore_standard})
FLAGS = {
    "bias": "doBias",
    "dark": "doDark",
    "flat": "doFlat",
    "illumMaskedImage": "doIlluminationCorrection",
    "strayLightData": "doStrayLight",
}


@st.composite
def spoiled_runs(draw, spoil):
    """A run in which one calibration is used, its inputs, the same with one pixel spoiled, and the pixel."""
    kind = draw(st.sampled_from(strategies.FRAME_KINDS))
    fixed = {"doAssembleCcd": True, "assembly__doTrim": True, FLAGS[kind]: True}
    # The median of a frame or an amplifier is about all of its pixels.
    fixed |= {"gains__normalize": False, "flat__scalingType": "USER", "doNanMasking": True}
    # So is the level of bad regions; interpolation replaces the pixel and reads it for its neighbours.
    fixed |= {"doSetBadRegions": False, "doInterpolate": False}
    # So is the charge that pushes charge around, which is that of corrected pixels.
    fixed |= {"doBrighterFatter": False}
    # What lagged behind is found from the whole row, what amplifiers differ by from windows.
    fixed |= {"doDeferredCharge": False, "doAmpOffset": False}
    # And amplitudes of fringes.
    fixed |= {"doFringe": False}
    # Hits are told from stars by what is around them.
    fixed |= {"doCosmicRays": False}
    # Crosstalk takes nothing from a source that is no number.
    fixed |= {"doCrosstalk": False}
    # A fit of stray light looks at all pixels.
    fixed |= {"strayLight__scaling": "exposure time"}
    fixed |= {"illumination__filters": ["r"], "strayLight__filters": ["r"]}
    config, exposure, inputs = draw(strategies.runs(REGISTRY, **fixed))
    exposure = attrs.evolve(exposure, visit=attrs.evolve(exposure.visit, filter="r"))
    ny, nx = exposure.detector.shape
    pixel = draw(st.integers(0, ny - 1)), draw(st.integers(0, nx - 1))
    other = inputs[kind].clone()
    spoil(other.pixels, pixel)
    return config, exposure, inputs, {**inputs, kind: other}, pixel


def both(drawn):
    config, exposure, inputs, spoiled, _ = drawn
    task = IsrTask(config=config, registry=REGISTRY)
    return (task.run(exposure, **given_inputs).exposure for given_inputs in (inputs, spoiled))


def spoil_image(pixels, pixel):
    pixels.image[pixel] = np.nan


def spoil_variance(pixels, pixel):
    pixels.variance[pixel] = np.nan


def assert_equal_but_for(pixel, first, second):
    for name in ("image", "variance", "mask"):
        one, other = getattr(first, name).copy(), getattr(second, name).copy()
        one[pixel] = other[pixel] = 0
        np.testing.assert_array_equal(one, other)


@given(spoiled_runs(spoil_image))
def test_a_nan_in_a_calibration_affects_its_pixel_only(drawn):
    first, second = both(drawn)
    pixel = drawn[-1]
    assert_equal_but_for(pixel, first, second)
    assert np.isnan(second.image[pixel])
    assert second.pixels.flagged("UNMASKEDNAN")[pixel]


@given(spoiled_runs(spoil_variance))
def test_a_nan_variance_of_a_calibration_affects_its_pixel_only(drawn):
    first, second = both(drawn)
    assert_equal_but_for(drawn[-1], first, second)
    np.testing.assert_array_equal(first.image, second.image)


@given(st.data(), st.sampled_from(["BAD", "CR", "RARE"]))
def test_a_flag_of_a_calibration_lands_on_its_pixel(data, plane):
    def flag(pixels, pixel):
        pixels.mask[pixel] = pixels.planes.value(plane)

    drawn = data.draw(spoiled_runs(flag))
    first, second = both(drawn)
    pixel = drawn[-1]
    assert_equal_but_for(pixel, first, second)
    assert second.pixels.flagged(plane)[pixel]
    np.testing.assert_array_equal(first.image, second.image)


def test_example_one_bad_flat_pixel():
    facts = frozenset({"converted", "levels-known", "assembled"})
    science = Exposure(
        MaskedImage.from_image(np.float32([[10, 10, 10]])), Detector.of_shape((1, 3)), facts=facts
    )
    flat = attrs.evolve(science, pixels=MaskedImage.from_image(np.float32([[2, np.nan, 0]])), unit="")
    task = IsrTask(registry=REGISTRY)
    task.flatCorrection(science, flat)
    task.maskNan(science)
    np.testing.assert_array_equal(science.image, [[5, np.nan, np.inf]])
    assert science.pixels.flagged("UNMASKEDNAN").tolist() == [[False, True, True]]
