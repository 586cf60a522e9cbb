"""Law: undoing the dark or the flat returns image and variance; mask bits stay, facts go."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, Registry, VisitInfo
from isrcore.testing import strategies
from isrcore.testing.contracts import ulps

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"converted", "levels-known", "assembled"})


def task_of(**settings):
    config = IsrTask(registry=REGISTRY).config.copy()
    for name, value in settings.items():
        config.flat.__setattr__(name, value)
    return IsrTask(config=config, registry=REGISTRY)


def frame_of(image, variance, rng, **values):
    mask = np.where(rng.random(image.shape) < 0.1, rng.integers(0, 512, image.shape), 0).astype(np.int32)
    pixels = MaskedImage(image.astype(np.float32), mask, variance.astype(np.float32))
    return Exposure(pixels, Detector.of_shape(image.shape), facts=FACTS, **values)


def wide(rng, shape, low, high):
    """Numbers of both signs whose sizes spread evenly over decades."""
    return 10 ** rng.uniform(np.log10(low), np.log10(high), shape) * rng.choice([-1.0, 1.0], shape)


@given(rng=strategies.generators(), exposed=st.floats(0.1, 4000), frame_s=st.floats(0.1, 4000))
def test_undoing_the_dark_returns_image_and_variance(rng, exposed, frame_s):
    shape = (97, 113)
    science = frame_of(
        wide(rng, shape, 1e-2, 1e5), np.abs(wide(rng, shape, 1e-2, 1e5)), rng, visit=VisitInfo(dark_s=exposed)
    )
    dark = frame_of(
        wide(rng, shape, 1e-3, 1e3), np.abs(wide(rng, shape, 1e-4, 1e2)), rng, visit=VisitInfo(dark_s=frame_s)
    )
    before, scale = science.clone(), np.float32(exposed / frame_s)
    task = task_of()
    task.darkCorrection(science, dark)
    corrected = science.clone()
    task.darkCorrection(science, dark, invert=True)
    # The largest number on the way limits what float32 can return.
    largest = np.maximum(np.maximum(abs(before.image), abs(corrected.image)), abs(scale * dark.image))
    assert ulps(science.image, before.image, largest).max() <= 2
    assert ulps(science.variance, before.variance, corrected.variance).max() <= 5
    assert_undone(science, corrected, before, "dark-subtracted", dark)


@given(
    rng=strategies.generators(),
    scaling=st.sampled_from(["USER", "MEAN", "MEDIAN"]),
    scale=st.floats(0.01, 1e4),
)
def test_undoing_the_flat_returns_image_and_variance(rng, scaling, scale):
    shape = (97, 113)
    science = frame_of(wide(rng, shape, 1e-2, 1e5), np.abs(wide(rng, shape, 1e-2, 1e5)), rng)
    values = np.abs(wide(rng, shape, 1e-3, 1e3)) if scaling != "USER" else wide(rng, shape, 1e-3, 1e3)
    flat = frame_of(values, np.abs(wide(rng, shape, 1e-6, 1e-2)), rng, unit="")
    before, task = science.clone(), task_of(scalingType=scaling, userScale=scale)
    task.flatCorrection(science, flat)
    corrected = science.clone()
    task.flatCorrection(science, flat, invert=True)
    level = np.float32(corrected.measured["flat"]["unnamed"].level)
    # Each of four roundings costs half a unit in the last place of what it makes: I·S, Q, Q·F, I.
    made = [(before.image, 1.0), (before.image * level, level), (corrected.image, level / flat.image)]
    unit = np.max([np.spacing(abs(image)) / abs(to_image) for image, to_image in made], axis=0)
    assert (abs(science.image.astype(np.float64) - before.image) / unit).max() <= 2
    added = corrected.image.astype(np.float64) ** 2 * flat.variance / float(level) ** 2
    assert ulps(science.variance, before.variance, np.maximum(before.variance, added)).max() <= 5
    assert_undone(science, corrected, before, "flat-fielded", flat)


def assert_undone(undone, corrected, before, fact, frame):
    assert fact in corrected.facts
    assert undone.facts == before.facts
    assert undone.unit == before.unit
    np.testing.assert_array_equal(undone.mask, corrected.mask)
    np.testing.assert_array_equal(corrected.mask, before.mask | frame.mask)


@given(st.data())
def test_what_was_not_done_is_not_undone(data):
    detector = data.draw(strategies.detectors())
    exposure = data.draw(strategies.exposures(detector))
    inputs = data.draw(strategies.calibrations_for(detector))
    before = exposure.clone()
    with pytest.raises(ValueError, match="cannot be undone, the exposure is not 'flat-fielded'"):
        task_of().flatCorrection(exposure, inputs["flat"], invert=True)
    np.testing.assert_array_equal(exposure.image, before.image)


def test_example_a_flat_of_two_and_its_undoing():
    detector = Detector.of_shape((1, 2))
    science = Exposure(MaskedImage.from_image(np.float32([[10, 6]])), detector, facts=FACTS)
    flat = attrs.evolve(science, pixels=MaskedImage.from_image(np.float32([[2, 0.5]])), unit="")
    task = task_of()
    task.flatCorrection(science, flat)
    assert science.image.tolist() == [[5, 12]]
    task.flatCorrection(science, flat, invert=True)
    assert science.image.tolist() == [[10, 6]]
    assert "flat-fielded" not in science.facts
