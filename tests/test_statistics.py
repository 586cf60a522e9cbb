"""Plain examples of the statistics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from isrcore import statistics


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 2, 2, 2, 3], 1.5 + 1 / 3),
        ([7, 7, 8, 9, 9], 8.0),
        ([5, 5, 5, 5], 5.0),
        ([1, 2, 3, 4], 2.5),
        ([7], 7.0),
    ],
)
def test_median_of_integers_is_interpolated_among_ties(values, expected):
    # Rounded to 2**-32 so that integer offsets move it exactly.
    assert statistics.tie_median(np.array(values, np.uint16)) == pytest.approx(expected, abs=2e-10)


def test_an_integer_offset_moves_the_median_without_rounding():
    counts = np.array([990] * 10 + [31073] * 67)
    assert statistics.tie_median(counts + 100_000) == statistics.tie_median(counts) + 100_000


def test_quartiles_of_a_single_integer_are_that_integer():
    assert statistics.quartiles(np.array([7])) == (7.0, 7.0, 7.0)


def test_quantile_of_integers_at_a_fraction():
    assert statistics.tie_quantile(np.array([1, 2, 3, 4]), 0.25) == 1.5


def test_median_of_floats_lies_between_the_middle_pixels():
    assert statistics.median(np.array([1.0, 2.0, 4.0, 8.0], np.float32)) == 3.0
    assert statistics.lower_median(np.array([8.0, 1.0, 4.0, 2.0], np.float32)) == 2.0


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_clipped_mean_drops_the_outlier(dtype):
    found = statistics.clipped(np.array([10, 11, 9, 10, 12, 8, 10, 11, 9, 100], dtype))
    assert (found.mean, found.count) == (10.0, 9)
    assert found.sigma == pytest.approx(1.224745, abs=1e-6)
    assert found.standard_error == pytest.approx(found.sigma / 3)


def test_each_pass_tests_all_pixels_again():
    # The quartiles reject 10; the mean and sigma of the other five admit it again.
    pixels = np.array([3, 6, 6, 6, 9, 10], np.float32)
    assert [statistics.clipped(pixels, 2.0, passes).count for passes in (1, 2)] == [5, 6]


def test_a_pixel_at_the_limit_is_kept():
    pixels = np.array([-3.0, -1.0, -1.0, 1.0, 1.0, 3.0], np.float32)
    limit = 3.0 / (statistics.SIGMA_PER_IQR * 2.0)
    assert statistics.clipped(pixels, limit, 1).count == 6
    assert statistics.clipped(pixels, math.nextafter(limit, 0), 1).count == 4


def test_a_level_far_from_the_median_gets_no_width_from_rounding():
    # The second pass keeps only the three pixels of 1, 450 below its centre.
    pixels = np.array([975, 933, 975, 900, -73, 1, 1, 1], np.float32)
    assert statistics.clipped(pixels, 0.75, 2).sigma == 0.0


def test_a_constant_frame_has_no_width():
    found = statistics.clipped(np.full((5, 7), 3.25, np.float32))
    assert (found.mean, found.sigma, found.median, found.count) == (3.25, 0.0, 3.25, 35)


@pytest.mark.parametrize(
    "function", [statistics.mean, statistics.median, statistics.sigma, statistics.lower_median]
)
def test_nothing_left_is_nan(function):
    assert math.isnan(function(np.array([1.0, 2.0]), np.array([True, True])))
    assert math.isnan(function(np.array([np.nan, np.inf], np.float32)))


def test_nothing_left_is_nan_for_quartiles_and_clipping():
    nothing = np.array([np.nan], np.float32)
    assert all(map(math.isnan, statistics.quartiles(nothing)))
    found = statistics.clipped(nothing)
    assert math.isnan(found.mean)
    assert math.isnan(found.standard_error)
    assert found.count == 0


def test_rows_without_pixels_are_nan():
    ignore = np.array([[True, True], [False, True]])
    for function in (statistics.tie_median_rows, statistics.median_rows, statistics.mean_rows):
        np.testing.assert_array_equal(function(np.array([[1, 2], [3, 4]]), ignore), [np.nan, 3.0])


def test_the_spread_of_a_single_pixel_is_nan():
    assert math.isnan(statistics.sigma(np.array([4.0])))
    assert math.isnan(statistics.clipped(np.array([4.0])).mean)


def test_the_width_survives_one_dead_pixel():
    pixels = np.tile(np.array([50000.0, 50001.0], np.float32), 1 << 15)
    dead = np.append(pixels, np.float32(0))
    mean = dead.mean(dtype=np.longdouble)
    expected = np.sqrt(((dead.astype(np.longdouble) - mean) ** 2).sum() / (dead.size - 1))
    assert statistics.sigma(dead) == pytest.approx(float(expected), rel=1e-15)


def test_no_pixels_at_all_is_an_error():
    with pytest.raises(ValueError, match=r"no pixels in an array of shape \(0, 5\)"):
        statistics.mean(np.zeros((0, 5), np.float32))


def test_problems_of_the_input_are_told_together():
    with pytest.raises(ValueError, match=r"(?s)pixels are bool.*'ignore' is int64 of shape"):
        statistics.median(np.array([True, False]), np.array([0, 1]))
    with pytest.raises(ValueError, match=r"(?s)num_sigma is nan.*num_iterations is 0"):
        statistics.clipped(np.array([1.0]), math.nan, 0)


def test_tie_handling_refuses_floats_and_odd_fractions():
    with pytest.raises(ValueError, match="got float32; use 'median'"):
        statistics.tie_median(np.array([1.0], np.float32))
    with pytest.raises(ValueError, match=r"fraction is 1\.5"):
        statistics.tie_quantile(np.array([1]), 1.5)
