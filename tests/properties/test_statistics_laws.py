"""Laws of the statistics: exact under offsets, scales, order and masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isrcore import statistics

settings.register_profile("statistics", deadline=None, max_examples=150)
LAW = settings.get_profile("statistics")

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)
COUNTS = hnp.arrays(np.uint16, SHAPES, elements=st.one_of(st.integers(990, 1010), st.integers(0, 65535)))
LEVELS = st.one_of(st.floats(900, 1100, width=32), st.floats(-(2.0**17), 2.0**17, width=32))
FLOATS = hnp.arrays(np.float32, SHAPES, elements=LEVELS)
SCALARS = (statistics.mean, statistics.median, statistics.sigma, statistics.lower_median)
ROWS = (statistics.mean_rows, statistics.median_rows)


def ignores(values):
    return hnp.arrays(np.bool_, values.shape)


def same(first, second):
    return first == second or (math.isnan(first) and math.isnan(second))


def parts(found):
    return (found.mean, found.sigma, found.median, found.count)


def assert_same_clipped(first, second):
    np.testing.assert_array_equal(parts(first), parts(second))


@LAW
@given(COUNTS, st.data())
def test_tie_median_of_rows_is_that_of_each_row(counts, data):
    ignore = data.draw(ignores(counts))
    rows = statistics.tie_median_rows(counts, ignore)
    for row, drop, found in zip(counts, ignore, rows, strict=True):
        assert same(found, statistics.tie_median(row, drop))


@LAW
@given(FLOATS, st.data())
def test_medians_and_means_of_rows_are_those_of_each_row(pixels, data):
    ignore = data.draw(ignores(pixels))
    for row, drop, found in zip(pixels, ignore, statistics.median_rows(pixels, ignore), strict=True):
        # The two middle pixels are averaged from either side.
        assert found == pytest.approx(statistics.median(row, drop), rel=1e-15, nan_ok=True)
    for row, drop, found in zip(pixels, ignore, statistics.mean_rows(pixels, ignore), strict=True):
        # Rows are summed plainly; about the lowest pixel the error is a few ulp of the range.
        assert found == pytest.approx(statistics.mean(row, drop), rel=1e-14, abs=1e-9, nan_ok=True)


@LAW
@given(COUNTS, st.integers(-(10**5), 10**5))
def test_an_integer_offset_moves_integer_statistics_exactly(counts, offset):
    before = counts.astype(np.int32)
    after = before + offset
    assert statistics.tie_median(after) == statistics.tie_median(before) + offset
    assert statistics.mean(after) == statistics.mean(before) + offset
    assert same(statistics.sigma(after), statistics.sigma(before))
    for rows in (*ROWS, statistics.tie_median_rows):
        np.testing.assert_array_equal(rows(after), rows(before) + offset)
    first, second = statistics.clipped(before), statistics.clipped(after)
    np.testing.assert_array_equal(
        parts(second), (first.mean + offset, first.sigma, first.median + offset, first.count)
    )


@LAW
@given(FLOATS, st.integers(-20, 20))
def test_a_power_of_two_scales_float_statistics_exactly(pixels, exponent):
    scale = 2.0**exponent
    scaled = pixels.astype(np.float64) * scale
    pixels = pixels.astype(np.float64)
    for function in SCALARS:
        assert same(function(scaled), function(pixels) * scale)
    for rows in ROWS:
        np.testing.assert_array_equal(rows(scaled), rows(pixels) * scale)
    first, second = statistics.clipped(pixels), statistics.clipped(scaled)
    np.testing.assert_array_equal(
        parts(second), (first.mean * scale, first.sigma * scale, first.median * scale, first.count)
    )


@LAW
@given(st.one_of(COUNTS, FLOATS), st.data())
def test_ignored_pixels_might_as_well_be_deleted(pixels, data):
    ignore = data.draw(ignores(pixels).filter(lambda drop: not drop.all()))
    kept = pixels[~ignore]
    for function in SCALARS:
        assert same(function(pixels, ignore), function(kept))
    assert statistics.quartiles(pixels, ignore) == statistics.quartiles(kept)
    assert_same_clipped(statistics.clipped(pixels, ignore=ignore), statistics.clipped(kept))


@LAW
@given(FLOATS, st.data())
def test_pixels_that_are_not_finite_might_as_well_be_ignored(pixels, data):
    ignore = data.draw(ignores(pixels))
    broken = np.where(ignore, data.draw(st.sampled_from([np.nan, np.inf, -np.inf])), pixels).astype(
        np.float32
    )
    for function in SCALARS:
        assert same(function(broken), function(pixels, ignore))
    for rows in ROWS:
        np.testing.assert_array_equal(rows(broken), rows(pixels, ignore))
    assert_same_clipped(statistics.clipped(broken), statistics.clipped(pixels, ignore=ignore))


@LAW
@given(st.one_of(COUNTS, FLOATS), st.randoms(use_true_random=False))
def test_the_order_of_pixels_does_not_matter(pixels, random):
    order = list(range(pixels.size))
    random.shuffle(order)
    shuffled = pixels.ravel()[order]
    for function in SCALARS:
        assert same(function(shuffled), function(pixels))
    assert_same_clipped(statistics.clipped(shuffled), statistics.clipped(pixels))


def test_the_order_of_pixels_does_not_matter_across_chunks():
    rng = np.random.default_rng(3)
    pixels = rng.normal(1000.0, 30.0, 100_000).astype(np.float32)
    pixels[:100] = rng.uniform(-1e6, 1e6, 100)
    shuffled = rng.permutation(pixels)
    assert statistics.mean(shuffled) == statistics.mean(pixels)
    assert statistics.sigma(shuffled) == statistics.sigma(pixels)
    assert_same_clipped(statistics.clipped(shuffled), statistics.clipped(pixels))


@LAW
@given(FLOATS)
def test_statistics_are_those_of_the_textbook(pixels):
    exact = pixels.astype(np.float64)
    # The oracle's pairwise float64 sums err by a few ulp of the largest pixel.
    tolerance = 1e-12 * max(1.0, float(np.abs(exact).max()))
    assert statistics.mean(pixels) == pytest.approx(exact.mean(), abs=tolerance)
    assert statistics.median(pixels) == pytest.approx(np.median(exact), abs=tolerance)
    found = statistics.quartiles(pixels)
    np.testing.assert_allclose(found, np.quantile(exact, [0.25, 0.5, 0.75]), rtol=0, atol=tolerance)
    if pixels.size > 1:
        assert statistics.sigma(pixels) == pytest.approx(exact.std(ddof=1), rel=1e-9, abs=tolerance)


@LAW
@given(FLOATS, st.floats(0.5, 5.0), st.integers(1, 5))
def test_clipping_follows_its_definition(pixels, num_sigma, num_iterations):
    exact = pixels.astype(np.float64).ravel()
    first, centre, third = np.quantile(exact, [0.25, 0.5, 0.75])
    limit = num_sigma * 0.741301109252802 * (third - first)
    with np.errstate(invalid="ignore"):
        for _ in range(num_iterations):
            kept = exact[np.abs(exact - centre) <= limit]
            near = np.abs(np.abs(exact - centre) - limit) < 1e-6 * (1 + limit)
            if kept.size < 2 or near.any():
                return  # The oracle's rounding would decide.
            centre, limit = kept.mean(), num_sigma * kept.std(ddof=1)
    found = statistics.clipped(pixels, num_sigma, num_iterations)
    assert found.count == kept.size
    assert found.mean == pytest.approx(centre, rel=1e-9, abs=1e-6)
    assert found.sigma * num_sigma == pytest.approx(limit, rel=1e-6, abs=1e-6)
