"""Laws: the median of windows is that of all their pixels, to the bit, and lies between its bounds."""

from __future__ import annotations

import math
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Box, MaskedImage, median_bounds, median_of_windows, statistics
from isrcore import window_median as module
from isrcore.testing import strategies


@contextmanager
def small(sample, smallest, band):
    """Treat few pixels as many."""
    names = ("_SMALL", "_SAMPLE", "_SMALLEST_SAMPLE", "_BAND")
    before = [getattr(module, name) for name in names]
    for name, value in zip(names, (1, sample, smallest, band), strict=True):
        setattr(module, name, value)
    try:
        yield
    finally:
        for name, value in zip(names, before, strict=True):
            setattr(module, name, value)


@st.composite
def frames(draw):
    """A frame with flags, ties and pixels that are no numbers, and windows that share no pixel."""
    shape = draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    pixels = draw(strategies.masked_images(shape, spoiled=draw(st.booleans())))
    rounded = draw(st.sampled_from([0, 10, 100]))
    if rounded:
        pixels.image[...] = np.rint(pixels.image / rounded) * rounded
    if draw(st.booleans()):
        pixels.mask[...] |= draw(st.sampled_from([0, 1]))
    y, x = draw(st.integers(1, shape[0] - 1)), draw(st.integers(1, shape[1] - 1))
    boxes = [Box(0, y, 0, x), Box(y, shape[0], 0, x), Box(0, shape[0], x, shape[1])]
    turns = draw(st.tuples(st.booleans(), st.booleans()))
    return [pixels.window(box).flip(*turns) for box in boxes[: draw(st.integers(1, 3))]]


def expected(windows, *ignored):
    image = np.concatenate([window.image.ravel() for window in windows])
    known = [name for name in ignored if name in windows[0].planes.bits]
    flags = np.concatenate([(window.mask & window.planes.value(*known)).ravel() for window in windows])
    return statistics.median(image, flags != 0)


@given(
    windows=frames(),
    ignored=st.lists(st.sampled_from(["BAD", "SAT", "UNHEARD"]), unique=True),
    sample=st.integers(2, 300),
    band=st.integers(1, 100),
    threads=st.integers(1, 3),
)
def test_the_median_of_windows_is_that_of_their_pixels(windows, ignored, sample, band, threads):
    with small(sample, 2, band):
        found = median_of_windows(windows, *ignored, threads=threads)
    np.testing.assert_equal(found, expected(windows, *ignored))
    # And where pixels are few.
    np.testing.assert_equal(median_of_windows(windows, *ignored), expected(windows, *ignored))


@given(frames(), st.integers(200, 400))
def test_the_median_lies_between_its_bounds(windows, sample):
    with small(sample, 100, 50):
        low, high = median_bounds(windows, "BAD")
    middle = expected(windows, "BAD")
    assert low <= middle <= high or (math.isnan(low) and math.isnan(middle))


@pytest.mark.parametrize("seed", range(3))
def test_large_frames_of_any_structure_are_within_close_bounds(seed):
    rng = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(400.0), np.arange(500.0) % 16 * 50)
    image = (ramp + rng.normal(0, 3, ramp.shape)).astype(np.float32)
    pixels = MaskedImage.from_image(image)
    pixels.mask[:, ::16] = pixels.planes.value("BAD")
    middle = expected([pixels], "BAD")
    low, high = median_bounds([pixels], "BAD")
    assert low < middle < high
    # A twentieth of the ranks, of values that are spread evenly over some 1100.
    assert high - low < 0.12 * 1100
    assert median_of_windows([pixels], "BAD", threads=2) == middle


def test_a_bad_sample_costs_time_only(monkeypatch):
    image = np.arange(40_000, dtype=np.float32).reshape(200, 200)
    monkeypatch.setattr(module, "_bracket", lambda *_: (np.float32(7), np.float32(8)))
    assert median_of_windows([MaskedImage.from_image(image)]) == 19_999.5


def test_no_pixels_have_no_median():
    assert math.isnan(median_of_windows([]))
    assert all(map(math.isnan, median_bounds([])))
    nothing = MaskedImage.from_image(np.full((2, 2), np.nan, np.float32))
    assert math.isnan(median_of_windows([nothing]))


def test_example_two_windows():
    pixels = MaskedImage.from_image(np.float32([[1, 2, 50], [3, 4, 60]]))
    pixels.mask[0, 0] = pixels.planes.value("BAD")
    windows = [pixels.window(Box(0, 2, 0, 1)), pixels.window(Box(0, 2, 1, 2))]
    assert median_of_windows(windows) == 2.5
    assert median_of_windows(windows, "BAD") == 3
