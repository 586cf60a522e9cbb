"""Laws: the statistics of a frame, forecast from a sample, are those of all its good pixels."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore import MaskedImage, Runs, statistics
from isrcore import frame_statistics as module
from isrcore.frame_statistics import FrameStatistics
from isrcore.testing import strategies

settings.register_profile("frame_statistics", deadline=None, max_examples=60)
LAW = settings.get_profile("frame_statistics")

# Sums of at most 2**16 pixels in another order: each dot product of 2**13 errs by less than 256 ulp of the
# mean absolute difference, which is less than ten sigmas, or the sums are not used.
REL = 1e-12

LEVELS = {
    "sky": lambda rng, shape: rng.normal(1000, 30, shape),
    "negative": lambda rng, shape: rng.normal(-200, 5, shape),
    "around zero": lambda rng, shape: rng.normal(0, 1, shape),
    "stars": lambda rng, shape: rng.normal(1000, 30, shape) + 60000 * (rng.random(shape) < 0.03),
    "far tails": lambda rng, shape: rng.standard_cauchy(shape),
    "skewed": lambda rng, shape: rng.exponential(50.0, shape),
    "whole numbers": lambda rng, shape: rng.poisson(9.0, shape),
    "two levels": lambda rng, shape: rng.integers(0, 2, shape) * 1000.0,
    "mostly one level": lambda rng, shape: np.where(rng.random(shape) < 0.8, 7.0, rng.normal(7, 1, shape)),
    "constant": lambda rng, shape: np.full(shape, np.float32(0.1)),
    "last place": lambda rng, shape: 1000 + rng.integers(-3, 4, shape) * 2.0**-14,
    "gradient": lambda rng, shape: np.add.outer(np.arange(shape[0]) * 3.0, np.arange(shape[1])),
    "every magnitude": lambda rng, shape: rng.choice([-1, 1], shape) * 10.0 ** rng.uniform(-38, 38, shape),
    "denormal": lambda rng, shape: rng.normal(0, 1, shape) * 1e-42,
    "huge": lambda rng, shape: rng.uniform(-3e38, 3e38, shape),
    "columns differ": lambda rng, shape: rng.normal(0, 1, shape) + 100.0 * (np.arange(shape[1]) % 16 == 0),
}


@pytest.fixture(autouse=True)
def tiny_frames_are_large(monkeypatch):
    """Let frames of a few thousand pixels go the way of large ones, in several bands."""
    monkeypatch.setattr(module, "_SMALL", 1)
    monkeypatch.setattr(module, "_SMALLEST_SAMPLE", 16)
    monkeypatch.setattr(module, "_BAND", 1000)


@st.composite
def frames(draw):
    rng = draw(strategies.generators())
    shape = draw(st.sampled_from([(64, 48), (97, 31), (1, 5000), (3000, 1)]))
    image = LEVELS[draw(st.sampled_from(sorted(LEVELS)))](rng, shape).astype(np.float32)
    image[rng.random(shape) < draw(st.sampled_from([0, 0.05]))] = draw(
        st.sampled_from([np.nan, np.inf, -np.inf])
    )
    mask = np.where(rng.random(shape) < draw(st.sampled_from([0, 0.01, 0.6, 1.0])), 3, 0) & rng.integers(
        0, 8, shape
    )
    return MaskedImage.from_image(image, mask.astype(np.int32))


def assert_same(found, expected):
    assert (found.count, found.median) == pytest.approx((expected.count, expected.median), rel=0, nan_ok=True)
    tolerance = REL * max(expected.sigma, 0.0) if math.isfinite(expected.sigma) else 0.0
    assert found.mean == pytest.approx(expected.mean, rel=1e-15, abs=tolerance, nan_ok=True)
    assert found.sigma == pytest.approx(expected.sigma, rel=0, abs=tolerance, nan_ok=True)


@LAW
@given(frames(), st.sampled_from([(3.0, 3), (2.0, 5), (1.0, 1), (0.0, 2), (8.0, 2)]))
def test_statistics_of_a_frame_are_those_of_its_good_pixels(pixels, control):
    found = FrameStatistics(pixels, "BAD", "SAT").clip(*control)
    assert_same(found, statistics.clipped(pixels.image, *control, pixels.flagged("BAD", "SAT")))


@LAW
@given(frames(), st.sampled_from([1, 3]))
def test_runs_that_are_known_change_no_result(pixels, bits):
    names = ("BAD", "SAT")[: bits.bit_count()]
    found = FrameStatistics(pixels, *names).clipped
    known = FrameStatistics(pixels, *names, flagged=Runs.of(pixels.mask, bits)).clipped
    np.testing.assert_array_equal(attrs.astuple(known), attrs.astuple(found))


@LAW
@given(frames())
def test_median_of_a_frame_is_that_of_its_good_pixels(pixels):
    expected = statistics.median(pixels.image, pixels.flagged("BAD"))
    np.testing.assert_array_equal(FrameStatistics(pixels, "BAD").median, expected)


@LAW
@given(frames(), st.sampled_from([np.nan, np.inf, -1e30, 0.0, 1e30]))
def test_pixels_that_do_not_count_might_have_any_value(pixels, value):
    other = pixels.copy()
    other.image[other.flagged("BAD")] = value
    first, second = (FrameStatistics(one, "BAD").clipped for one in (pixels, other))
    np.testing.assert_array_equal(
        [first.mean, first.sigma, first.median, first.count],
        [second.mean, second.sigma, second.median, second.count],
    )


@LAW
@given(frames())
def test_a_plane_that_the_mask_does_not_have_flags_no_pixel(pixels):
    assert "UNMASKEDNAN" not in pixels.planes
    first, second = FrameStatistics(pixels, "BAD", "UNMASKEDNAN"), FrameStatistics(pixels, "BAD")
    np.testing.assert_array_equal(first.median, second.median)


@LAW
@given(frames())
def test_a_window_is_a_frame_of_its_own(pixels):
    part = MaskedImage(*(plane[::2, ::-1] for plane in (pixels.image, pixels.mask, pixels.variance)))
    whole = FrameStatistics(part.copy(), "BAD").clipped
    assert_same(FrameStatistics(part, "BAD").clipped, whole)


@pytest.mark.parametrize("kind", sorted(set(LEVELS) - {"columns differ"}))
def test_the_forecast_is_right_as_a_rule(kind, monkeypatch):
    monkeypatch.setattr(module, "clipped", None)
    rng = np.random.default_rng(5)
    image = LEVELS[kind](rng, (300, 500)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] = np.nan
    mask = (rng.random(image.shape) < 0.02).astype(np.int32)
    found = FrameStatistics(MaskedImage.from_image(image, mask), "BAD").clipped
    assert_same(found, statistics.clipped(image, ignore=mask != 0))


def test_a_forecast_that_is_wrong_does_no_harm(monkeypatch):
    rng = np.random.default_rng(6)
    image = rng.normal(100, 3, (60, 50)).astype(np.float32)
    honest = module._sample
    for error in (-5, 5, 200):
        monkeypatch.setattr(module, "_sample", lambda *given, error=error: honest(*given) + np.float32(error))
        found = FrameStatistics(MaskedImage.from_image(image)).clipped
        assert_same(found, statistics.clipped(image))


def test_a_forecast_that_is_wrong_is_tried_again_with_wider_margins(monkeypatch):
    monkeypatch.setattr(module, "clipped", None)
    monkeypatch.setattr(module, "_MARGINS", (-1.0, 1.0))
    image = np.random.default_rng(8).normal(100, 3, (300, 500)).astype(np.float32)
    assert_same(FrameStatistics(MaskedImage.from_image(image)).clipped, statistics.clipped(image))


@pytest.mark.parametrize("name", ["_RANK_SIGMAS", "_LIMIT_SIGMAS"])
def test_margins_that_are_too_narrow_do_no_harm(name, monkeypatch):
    monkeypatch.setattr(module, name, -6.0)
    image = np.random.default_rng(7).normal(100, 3, (60, 50)).astype(np.float32)
    assert_same(FrameStatistics(MaskedImage.from_image(image)).clipped, statistics.clipped(image))


def test_pixels_at_the_limit_are_kept(monkeypatch):
    image = np.tile(np.float32([-1, -1, 0, 1, 1, 1, -1, 0]), (40, 10))
    width = statistics.SIGMA_PER_IQR * statistics.interquartile_range(image)
    far = next(value for value in range(4, 40) if value / width * width == value)
    image[::7, ::9] = far
    expected = statistics.clipped(image, far / width, 1)
    assert expected.count == image.size
    monkeypatch.setattr(module, "clipped", None)
    assert_same(FrameStatistics(MaskedImage.from_image(image)).clip(far / width, 1), expected)


def test_statistics_are_found_once(monkeypatch):
    pixels = MaskedImage.from_image(np.float32([[1, 2, 4]]))
    found = FrameStatistics(pixels)
    assert found.median == 2
    pixels.image[...] = 0
    assert found.median == 2
    assert found.clip(3.0, 3) is found.clipped
    assert found.clip(3.0, 1).median == 0


@pytest.mark.parametrize("control", [(3.0, 0), (-1.0, 3), (math.nan, 3)])
def test_clipping_that_makes_no_sense_is_refused(control):
    with pytest.raises(ValueError, match=r"must be|is needed"):
        FrameStatistics(MaskedImage.from_image(np.zeros((50, 50), np.float32))).clip(*control)


def test_raw_frames_have_the_statistics_of_whole_numbers():
    raw = np.uint16([[1000, 1001, 1001, 1001]])
    assert FrameStatistics(MaskedImage.from_raw(raw)).clipped == statistics.clipped(raw)


def test_nothing_good_has_no_statistics():
    pixels = MaskedImage.from_image(np.full((40, 40), np.nan, np.float32))
    assert math.isnan(FrameStatistics(pixels).median)


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_threads_change_no_result(seed, threads):
    rng = np.random.default_rng(seed)
    pixels = MaskedImage.from_image(rng.normal(5, 3, (400, 300)).astype(np.float32))
    pixels.mask[rng.random(pixels.shape) < 0.05] = pixels.planes.value("BAD")
    alone, together = FrameStatistics(pixels, "BAD"), FrameStatistics(pixels, "BAD", threads=threads)
    assert alone.clipped == together.clipped
    bits = pixels.planes.value("BAD")
    runs, same = Runs.of(pixels.mask, bits), Runs.of(pixels.mask, bits, threads)
    np.testing.assert_array_equal([runs.start, runs.stop], [same.start, same.stop])
