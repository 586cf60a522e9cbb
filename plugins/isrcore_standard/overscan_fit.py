"""Models of the overscan level: a number, a number per line, a polynomial or a spline (behaviour §2.5)."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from numpy.polynomial import legendre

from isrcore import statistics

NUMBERS = ("MEAN", "MEANCLIP", "MEDIAN")
PER_LINE = ("MEDIAN_PER_ROW", "MEAN_PER_ROW")
POLYNOMIALS = ("POLY", "CHEB", "LEG")
SPLINES = ("NATURAL_SPLINE", "CUBIC_SPLINE", "AKIMA_SPLINE")
FIT_TYPES = (*NUMBERS, *PER_LINE, *POLYNOMIALS, *SPLINES)

#: Bins that a spline needs to be one.
LEAST_BINS = 3

# A spline through a few bins of many says nothing about the lines beyond: then one level is safer.
_FEW_BINS = 5

# Variance of a median over that of a mean of the same number of normal deviates, for large numbers.
_MEDIAN_FACTOR = math.pi / 2
# Half the interquartile range of a normal distribution is 0.6745 sigma; behaviour §2.5 rounds 1/1.349.
_SIGMA_PER_IQR = 0.74

Lines = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@attrs.frozen(eq=False)
class Fit:
    """``model`` is the level (a number, or one per line) from the reference, adu.

    ``variance_factor`` times the variance of one pixel is the variance of the level. ``extrapolated`` counts
    the lines before the first and behind the last one that has a pixel. ``remark`` says where too few lines
    made the model a simpler one than was asked for.
    """

    model: float | Lines
    variance_factor: Any
    extrapolated: tuple[int, int] = (0, 0)
    remark: str = ""

    def reversed(self) -> Fit:
        """The same for lines in reverse order."""
        if isinstance(self.model, float):
            return self
        first, last = self.extrapolated
        return Fit(self.model[::-1], self.variance_factor[::-1], (last, first), self.remark)


@attrs.frozen(eq=False)
class _Levels:
    """What is known of every line: its level (NaN where nothing counts), and that level's variance factor."""

    values: Lines
    variance: Lines

    @property
    def known(self) -> Bools:
        """Which lines have a level."""
        return np.isfinite(self.values)

    @property
    def unseen_ends(self) -> tuple[int, int]:
        """How many lines before the first and behind the last level there are."""
        known = self.known
        return int(known.argmax()), int(known[::-1].argmax())


def fit_level(config: Any, values: npt.NDArray[np.float32], ignore: Bools, reference: float) -> Fit:
    """Fit lines of overscan pixels, shape (lines, pixels of a line), counted from ``reference`` (adu).

    ``config`` has ``fitType``, ``order``, ``isInt`` and ``numSigmaClip``; whole counts need an integer
    reference. The model is NaN when no pixel is left. Pixels that are no number must be ignored.
    """
    if config.fitType in NUMBERS:
        return _fit_number(config, values, ignore, reference)
    levels = _levels(config, values, ignore, reference)
    if not levels.known.any():
        return Fit(levels.values, levels.variance)
    if config.fitType in POLYNOMIALS:
        return _polynomial(levels, config.order)
    if config.fitType in SPLINES:
        return _spline(levels, config.order, config.fitType == "AKIMA_SPLINE")
    return Fit(_filled(levels.values), levels.variance, levels.unseen_ends)


def _fit_number(config: Any, values: npt.NDArray[np.float32], ignore: Bools, reference: float) -> Fit:
    """One level for all lines."""
    count = max(int(np.count_nonzero(~ignore)), 1)
    if config.fitType == "MEAN":
        return Fit(statistics.mean(values, ignore), 1 / count)
    if config.fitType == "MEANCLIP":
        found = statistics.clipped(values, config.numSigmaClip, ignore=ignore)
        return Fit(found.mean, 1 / max(found.count, 1))
    if config.isInt:
        whole = _truncated(values, ignore, reference)
        return Fit(statistics.tie_median(whole, ignore), _MEDIAN_FACTOR / count)
    return Fit(statistics.median(values, ignore), _MEDIAN_FACTOR / count)


def _truncated(values: npt.NDArray[np.float32], ignore: Bools, reference: float) -> npt.NDArray[np.int32]:
    """Pixels truncated towards zero adu, again counted from the reference; ignored ones are zero."""
    origin = np.float32(reference)
    return np.where(ignore, np.float32(0), np.trunc(values + origin) - origin).astype(np.int32)


def _levels(config: Any, values: npt.NDArray[np.float32], ignore: Bools, reference: float) -> _Levels:
    """One level per line, from pixels near the line's median: that of smooth models is their mean."""
    lines = statistics.OrderedRows.of(values, ignore)
    # Rejecting a good pixel now and then does not widen a level's distribution: count before rejecting.
    variance = 1 / np.maximum(lines.count, 1)
    kept = lines.within(*_limits(lines, values, config.numSigmaClip))
    if config.fitType != "MEDIAN_PER_ROW":
        return _Levels(kept.mean(), variance)
    if config.isInt:
        return _Levels(kept.shifted_to_whole(reference).tie_median(), _MEDIAN_FACTOR * variance)
    return _Levels(kept.quantile(0.5), _MEDIAN_FACTOR * variance)


def _limits(
    lines: statistics.OrderedRows, values: npt.NDArray[np.float32], num_sigma: float
) -> tuple[Lines, Lines]:
    """The median of every line, and how far from it a pixel may be: sigmas from its interquartile range.

    A line whose sigma is more than twice the usual one is judged by the usual one (behaviour §2.5, NEW).
    """
    low, middle, high = _quartiles(lines, values)
    sigma = _SIGMA_PER_IQR * (high - low)
    usual = statistics.median(sigma)
    return middle, num_sigma * np.where(sigma > 2 * usual, usual, sigma)


def _quartiles(lines: statistics.OrderedRows, values: npt.NDArray[np.float32]) -> tuple[Lines, Lines, Lines]:
    """The quartiles of every line, of pixels that count (§9 fault 13)."""
    return lines.quantile(0.25), lines.quantile(0.5), lines.quantile(0.75)


def _filled(model: Lines, reach: int = 5) -> Lines:
    """Each run of lines without a level gets the median of the levels within ``reach`` lines of it.

    NaN when no line has one.
    """
    known = np.isfinite(model)
    result = model.copy()
    unknown = np.flatnonzero(~known)
    for run in np.split(unknown, np.flatnonzero(np.diff(unknown) > 1) + 1):
        if run.size and known.any():
            near = slice(max(run[0] - reach, 0), run[-1] + reach + 1)
            result[run] = np.median(model[near][known[near]])
    return result


def _polynomial(levels: _Levels, order: int) -> Fit:
    """The polynomial of degree ``order`` that fits known lines best, all alike, in the least squares' sense.

    Which basis it has makes no difference but for rounding, which is least with Legendre's. With A the basis
    in known lines, v their variances and N = (A'A)^-1, the variance in a line x is x N A' diag(v) A N x'.
    """
    known = levels.known
    degree = min(order, int(np.count_nonzero(known)) - 1)
    basis = legendre.legvander(_abscissa(known), degree)
    used, values, variances = basis[known], levels.values[known], levels.variance[known]
    # Products without BLAS, whose threads wait for each other longer than these take.
    inverse = np.linalg.pinv(np.einsum("ki,kj->ij", used, used), hermitian=True)
    covariance = inverse @ np.einsum("ki,k,kj->ij", used, variances, used) @ inverse
    model = np.einsum("ki,i->k", basis, inverse @ np.einsum("ki,k->i", used, values))
    remark = f"{degree + 1} overscan lines with pixels: a polynomial of degree {degree}, not {order}"
    variance = np.einsum("ki,ij,kj->k", basis, covariance, basis)
    return Fit(model, variance, levels.unseen_ends, remark if degree < order else "")


def _abscissa(known: Bools) -> Lines:
    """Places of all lines, from -1 in the first known one to 1 in the last."""
    first, last = np.flatnonzero(known)[[0, -1]]
    places: Lines = 2.0 * (np.arange(known.size) - first) / max(last - first, 1) - 1.0
    return places


def _spline(levels: _Levels, order: int, is_akima: bool) -> Fit:
    """A curve through the mean levels of ``order`` bins of equal width, at the mean places of known lines.

    With few bins filled, one level: the mean.
    """
    known, count = levels.known, levels.values.size
    # Lines on an edge belong to the bin behind it; the last line to the last bin.
    bins = np.minimum(np.arange(count) * order // max(count - 1, 1), order - 1)
    found = _Bins.of(bins[known], order)
    if found.number < min(_FEW_BINS, order):
        variance = levels.variance[known].mean() / np.count_nonzero(known)
        model = np.full(count, levels.values[known].mean())
        remark = f"{found.number} of {order} bins of overscan lines have pixels: one level, no spline"
        return Fit(model, np.full(count, variance), levels.unseen_ends, remark)
    places, values = found.mean(np.flatnonzero(known)), found.mean(levels.values[known])
    variances = found.mean(levels.variance[known]) / found.sizes[found.filled]
    model, weights = _curve(places, values, count, is_akima)
    return Fit(model, np.einsum("ki,ki,i->k", weights, weights, variances), levels.unseen_ends)


@attrs.frozen(eq=False)
class _Bins:
    """Which bin every known line belongs to, and how many lines every bin has."""

    of_line: npt.NDArray[np.intp]
    sizes: npt.NDArray[np.intp]

    @classmethod
    def of(cls, of_line: npt.NDArray[np.intp], order: int) -> _Bins:
        """Count the lines."""
        return cls(of_line, np.bincount(of_line, minlength=order))

    @property
    def filled(self) -> Bools:
        """Which bins have lines."""
        return self.sizes > 0

    @property
    def number(self) -> int:
        """How many bins have lines."""
        return int(np.count_nonzero(self.sizes))

    def mean(self, numbers: npt.NDArray[Any]) -> Lines:
        """The mean of a number per line, in every filled bin."""
        sums = np.bincount(self.of_line, numbers, minlength=self.sizes.size)
        return np.asarray(sums[self.filled] / self.sizes[self.filled])


def _curve(places: Lines, values: Lines, count: int, is_akima: bool) -> tuple[Lines, Lines]:
    """The spline through values at places in ``count`` lines, and the weight of every value there.

    A natural spline is a weighted sum of the values. The weights of Akima's depend on the values; those of
    the natural spline stand in for them.
    """
    # Importing it takes longer than correcting a frame, and few fits need it.
    from scipy.interpolate import Akima1DInterpolator, CubicSpline

    lines, ends = np.arange(count, dtype=np.float64), (places[0], places[-1])
    weights = _continued(CubicSpline(places, np.eye(places.size), bc_type="natural"), ends, lines)
    if is_akima:
        return _continued(Akima1DInterpolator(places, values), ends, lines), weights
    return np.einsum("ki,i->k", weights, values), weights


def _continued(spline: Any, ends: tuple[float, float], lines: Lines) -> Lines:
    """A spline in every line; beyond its ends with value, slope and curvature of the end (behaviour §2.5)."""
    found: Lines = spline(lines)
    for end, beyond in zip(ends, (lines < ends[0], lines > ends[1]), strict=True):
        far = (lines[beyond] - end).reshape(-1, *[1] * (found.ndim - 1))
        found[beyond] = spline(end) + far * (spline(end, 1) + far / 2 * spline(end, 2))
    return found
