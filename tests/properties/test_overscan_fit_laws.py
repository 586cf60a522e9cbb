"""Laws: models of the overscan level are what they are called; masked pixels have no say; noise is told."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.polynomial import Chebyshev, Legendre, Polynomial
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from isrcore.testing import strategies
from isrcore_standard.overscan_fit import FIT_TYPES, NUMBERS, PER_LINE, POLYNOMIALS, SPLINES, fit_level


def fit_settings(fit_type: str, order: int = 1, **values: Any) -> SimpleNamespace:
    defaults = {"numSigmaClip": 3.0, "isInt": False}
    return SimpleNamespace(fitType=fit_type, order=order, **{**defaults, **values})


@st.composite
def overscans(draw: st.DrawFn) -> tuple[Any, Any]:
    """Lines of overscan pixels, some masked, some lines throughout, on a drift; at least one line is not."""
    rng = draw(strategies.generators())
    count, width = draw(st.integers(3, 60)), draw(st.integers(4, 20))
    values = rng.normal(0, 4, (count, width)) + 30 * np.cos(np.arange(count) / 20)[:, None]
    ignore = rng.random(values.shape) < draw(st.sampled_from([0.0, 0.1]))
    ignore[rng.random(count) < draw(st.sampled_from([0.0, 0.2, 0.6]))] = True
    ignore[rng.integers(count)] = False
    return values.astype(np.float32), ignore


def plain_levels(values: Any, ignore: Any, num_sigma: float) -> Any:
    """The mean of every line without pixels far from its median; NaN without one, in plain numpy."""
    masked = np.where(ignore, np.nan, values.astype(np.float64))
    known = ~ignore.all(axis=1)
    low, middle, high = np.nanpercentile(masked[known], (25, 50, 75), axis=1)
    sigma = 0.74 * (high - low)
    usual = np.median(sigma)
    limit = num_sigma * np.where(sigma > 2 * usual, usual, sigma)
    near = np.abs(masked[known] - middle[:, None]) <= limit[:, None]
    levels = np.full(len(values), np.nan)
    counts = near.sum(axis=1)
    levels[known] = np.where(
        counts, np.where(near, masked[known], 0).sum(axis=1) / np.maximum(counts, 1), np.nan
    )
    return levels


@given(overscans(), st.integers(1, 6), st.sampled_from([1e9, 3.0]))
def test_polynomials_of_all_names_are_those_of_numpy(drawn, order, num_sigma):
    values, ignore = drawn
    levels = plain_levels(values, ignore, num_sigma)
    known = np.flatnonzero(np.isfinite(levels))
    # A curve through all points it has to obey is ill determined between them.
    assume(known.size > order + 1)
    models = [
        fit_level(fit_settings(name, order, numSigmaClip=num_sigma), values, ignore, 0.0).model
        for name in POLYNOMIALS
    ]
    np.testing.assert_array_equal(models[0], models[1])
    np.testing.assert_array_equal(models[0], models[2])
    every = np.arange(len(values))
    for basis in (Polynomial, Chebyshev, Legendre):
        theirs = basis.fit(known, levels[known], order)(every)
        # Float64 throughout; far outside the known lines values, and errors with them, grow.
        np.testing.assert_allclose(models[0], theirs, rtol=1e-8, atol=1e-8 * np.abs(theirs).max())


@given(overscans(), st.sampled_from(SPLINES), st.integers(3, 12))
def test_splines_are_those_of_scipy_through_the_means_of_bins(drawn, fit_type, order):
    values, ignore = drawn
    levels = plain_levels(values, ignore, 1e9)
    known, count = np.isfinite(levels), len(levels)
    bins = [part for part in np.split(np.arange(count), edges(count, order)) if known[part].any()]
    places = np.array([part[known[part]].mean() for part in bins])
    means = np.array([levels[part[known[part]]].mean() for part in bins])
    fit = fit_level(fit_settings(fit_type, order, numSigmaClip=1e9), values, ignore, 0.0)
    if len(bins) < min(5, order):
        np.testing.assert_allclose(fit.model, levels[known].mean(), rtol=1e-12)
        assert f"{len(bins)} of {order} bins" in fit.remark
        return
    spline = CubicSpline(places, means, bc_type="natural")
    if fit_type == "AKIMA_SPLINE":
        spline = Akima1DInterpolator(places, means)
    inside = slice(math.ceil(places[0]), math.floor(places[-1]) + 1)
    np.testing.assert_allclose(fit.model[inside], spline(np.arange(count)[inside]), rtol=1e-9, atol=1e-9)
    assert fit.remark == ""


def edges(count: int, order: int) -> list[int]:
    """Where bins of equal width start, but for the first: a line on an edge belongs to the bin behind it."""
    return [math.ceil(number * (count - 1) / order) for number in range(1, order)]


@given(overscans(), st.sampled_from(SPLINES), st.integers(3, 12))
def test_splines_continue_with_the_curvature_of_their_end(drawn, fit_type, order):
    values, ignore = drawn
    values, ignore = np.tile(values, (4, 1)), np.zeros((4 * len(values), values.shape[1]), bool)
    fit = fit_level(fit_settings(fit_type, order), values, ignore, 0.0)
    first = max((len(values) - 1) // (2 * order) - 1, 0)
    # A parabola: its third differences vanish; those of a natural spline's, a line, the second ones too.
    rank = 3 if fit_type == "AKIMA_SPLINE" else 2
    for end in (fit.model[:first], fit.model[::-1][:first]):
        if end.size > rank:
            assert np.abs(np.diff(end, rank)).max() < 1e-9 * max(np.abs(end).max(), 1)


@pytest.mark.parametrize("fit_type", SPLINES)
def test_a_smooth_pedestal_is_removed_within_its_noise(fit_type):
    rng, lines = np.random.default_rng(3), np.arange(600)
    truth = 50 * np.cos(np.pi * lines / 600)
    pulls = []
    for _ in range(20):
        values = (truth[:, None] + rng.normal(0, 3, (600, 16))).astype(np.float32)
        fit = fit_level(fit_settings(fit_type, 20), values, np.zeros(values.shape, bool), 0.0)
        pulls.append((fit.model - truth) / np.sqrt(9 * fit.variance_factor))
    # Twenty bins and twenty tries are 400 independent numbers; a tenth more for Akima's, whose noise is
    # taken for another's, and for what 30 rows of a bin hide of the drift: 0.05 of a noise of 0.14.
    assert abs(np.mean(pulls)) < 5 / np.sqrt(400)
    assert np.std(pulls) == pytest.approx(1, rel=5 / np.sqrt(2 * 400) + 0.1)


@given(overscans(), st.sampled_from(FIT_TYPES), st.integers(3, 8), strategies.generators())
def test_what_is_masked_has_no_say(drawn, fit_type, order, rng):
    values, ignore = drawn
    other = values.copy()
    # Pixels that are no number must be ignored too, and are.
    other[ignore] = rng.choice([np.nan, np.inf, -1e30, 0.0, 65535.0], int(ignore.sum()))
    chosen = fit_settings(fit_type, order)
    one, two = (fit_level(chosen, v, ignore, 0.0) for v in (values, other))
    np.testing.assert_array_equal(one.model, two.model)
    np.testing.assert_array_equal(one.variance_factor, two.variance_factor)


COUNT = 400


@pytest.mark.parametrize("fit_type", FIT_TYPES)
def test_the_variance_of_the_level_is_predicted(fit_type):
    rng = np.random.default_rng(11)
    ignore = np.zeros((45, 12), bool)
    # Lines that lost many pixels, in the middle and at an end.
    ignore[:4] = ignore[20:23] = ignore[30, :9] = ignore[40:, ::2] = True
    drift = 20 * np.cos(np.arange(45) / 15)[:, None] * (fit_type not in NUMBERS)
    order = 6 if fit_type in SPLINES else 4
    models, factors = [], []
    for _ in range(COUNT):
        values = (drift + rng.normal(0, 5, ignore.shape)).astype(np.float32)
        fit = fit_level(fit_settings(fit_type, order), values, ignore, 0.0)
        models.append(np.broadcast_to(fit.model, 45))
        factors.append(np.broadcast_to(fit.variance_factor, 45))
    known = ~ignore.all(axis=1) if fit_type in PER_LINE else slice(None)
    ratio = (np.var(models, axis=0, ddof=1) / (25 * np.mean(factors, axis=0)))[known]
    # Five standard errors of a sample variance. A tenth more since medians of few pixels scatter less than
    # those of many, and means of clipped ones more.
    tolerance = 5 * np.sqrt(2 / (COUNT - 1)) + 0.1
    if fit_type == "AKIMA_SPLINE":
        # A natural spline's variance stands in: right on average, half too small or too large in one line.
        assert ratio.mean() == pytest.approx(1, abs=0.2)
        assert ratio.max() < 1.5 + tolerance
        assert ratio.min() > 0.5 - tolerance
    else:
        np.testing.assert_allclose(ratio, 1, atol=tolerance)
        assert ratio.mean() == pytest.approx(1, abs=0.15)


def test_example_a_straight_line_through_three_rows():
    values = np.float32([[10, 10, 10], [13, 14, 12], [0, 0, 0], [16, 16, 16]])
    ignore = np.zeros(values.shape, bool)
    ignore[2] = True
    fit = fit_level(fit_settings("POLY", 1), values, ignore, 0.0)
    # Through 10, 13 and 16 in rows 0, 1 and 3: their mean is 13, their slope 9/7 · 3/2 of a row.
    np.testing.assert_allclose(fit.model, np.polyval(np.polyfit([0, 1, 3], [10, 13, 16], 1), range(4)))
    assert fit.extrapolated == (0, 0)
    # Var(a + bx) = v (1/3 + (x - 4/3)²/Σ(x - 4/3)²), with v = 1/3 the variance of a row's mean of pixels.
    np.testing.assert_allclose(fit.variance_factor, (1 / 3 + (np.arange(4) - 4 / 3) ** 2 / (14 / 3)) / 3)
