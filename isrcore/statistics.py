"""Medians, quartiles and clipped means of pixels, as the corrections define them.

Every function takes an array of any shape and, optionally, ``ignore``: a boolean array of the same
shape, true where a pixel does not count. Non-finite pixels never count. When no pixel is left the answer
is NaN; an array without pixels is a `ValueError`.

Results are exact where the corrections rely on it. Adding an integer to integer pixels adds it to their
location statistics and leaves their widths alone, scaling float pixels by a power of two scales every
result, and the order of the pixels (bands, threads) never matters. Hence sums are taken of differences
from a pixel value, on a grid on which floating-point addition is exact (reproducible summation, Demmel and
Nguyen 2013, doi:10.1109/ARITH.2013.9).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]
Ignore = npt.NDArray[np.bool_] | None
Rows = npt.NDArray[np.float64]

SIGMA_PER_IQR = 0.741301109252802
"""Standard deviation of a normal distribution over its interquartile range."""

_CHUNK = 1 << 15
_GRID = 2.0**32


@attrs.frozen
class ClippedStatistics:
    """Mean and width of the pixels near the centre of their distribution, in the unit of the pixels.

    ``count`` pixels survived the last pass. ``median`` is that of all pixels; ``sigma`` has the unbiased
    divisor ``count - 1``.
    """

    mean: float
    sigma: float
    median: float
    count: int

    @property
    def standard_error(self) -> float:
        """Uncertainty of the mean, ``sigma / sqrt(count)``."""
        return self.sigma / math.sqrt(self.count) if self.count else math.nan


@attrs.frozen(eq=False)
class OrderedRows:
    """Rows of pixels in ascending order, sorted once for all their quantiles.

    ``values`` is (ny, nx); in each row those that count stand from ``start``, ``count`` of them (both of
    shape ``(ny,)``); non-finite and ignored pixels come last.
    """

    values: Pixels
    start: npt.NDArray[np.intp]
    count: npt.NDArray[np.intp]

    @classmethod
    def of(cls, values: Pixels, ignore: Ignore = None) -> OrderedRows:
        """Sort every row."""
        ordered, count = _ordered_rows(values, ignore)
        return cls(ordered, np.zeros_like(count), count)

    def quantile(self, fraction: float) -> Rows:
        """The quantile of every row, interpolated linearly; NaN for a row where nothing counts."""
        place = fraction * np.maximum(self.count - 1, 0)
        rank = place.astype(np.intp)
        lower = _column(self.values, self.start + rank)
        upper = _column(self.values, self.start + np.minimum(rank + 1, self.count - 1))
        return np.where(self.count > 0, lower + (place - rank) * (upper - lower), np.nan)

    def within(self, centre: Rows, limit: Rows) -> OrderedRows:
        """Only the pixels no further than ``limit`` from ``centre``, compared in the pixels' own type."""
        middle, reach = (np.asarray(n, self.values.dtype)[:, None] for n in (centre, limit))
        with np.errstate(invalid="ignore"):
            distance = self.values - middle
            near = np.abs(distance, out=distance) <= reach
        count = _count_rows(near)
        return OrderedRows(self.values, np.where(count > 0, near.argmax(axis=1), 0), count)

    def shifted_to_whole(self, reference: float) -> OrderedRows:
        """The same pixels, which count from a whole ``reference``, truncated towards the zero below it."""
        origin = self.values.dtype.type(reference)
        return attrs.evolve(self, values=np.trunc(self.values + origin) - origin)

    def tie_median(self) -> Rows:
        """`tie_median` of every row of whole numbers."""
        middle = _column(self.values, self.start + (self.count - 1) // 2)
        # Float32 pixels are compared as such; the largest integers have no place in a narrower type.
        level = (middle.astype(np.float32) if self.values.dtype == np.float32 else middle)[:, None]
        below = _count_rows(self.values < level) - self.start
        equal = np.minimum(_count_rows(self.values == level), self.count - below)
        offset = (0.5 * self.count - below) / np.maximum(equal, 1) - 0.5
        return np.where(self.count > 0, _absolute(middle, offset), np.nan)

    def mean(self) -> Rows:
        """The mean of every row, summed as differences from its lowest pixel."""
        lowest = _column(self.values, self.start)
        rank = np.arange(self.values.shape[1]) - self.start[:, None]
        counts = (rank >= 0) & (rank < self.count[:, None])
        offsets = np.where(counts, self.values, lowest[:, None]) - lowest[:, None]
        offset = offsets.sum(axis=1) / np.maximum(self.count, 1)
        if self.values.dtype.kind != "f":
            offset = _rounded(offset)
        return np.where(self.count > 0, lowest + offset, np.nan)


class _Moments(NamedTuple):
    """Number, mean and unbiased variance of pixels, the mean counted from a reference."""

    kept: int
    mean: float
    variance: float


def tie_median(values: Pixels, ignore: Ignore = None) -> float:
    """Median of integer pixels, interpolated among equal ones.

    A frame of few distinct levels has a fractional median, closer to the level before digitisation.
    Raises `ValueError` for float pixels.
    """
    return tie_quantile(values, 0.5, ignore)


def tie_quantile(values: Pixels, fraction: float, ignore: Ignore = None) -> float:
    """The value below which ``fraction`` (0 to 1) of the integer pixels lie, interpolated among equal ones.

    Each level is taken to fill the interval half a count to both sides evenly. Raises `ValueError` for
    float pixels and fractions outside 0 to 1.
    """
    _require_integers(values)
    return _quantile(values, fraction, ignore)


def tie_median_rows(values: Pixels, ignore: Ignore = None) -> Rows:
    """`tie_median` of every row of a two-dimensional array, shape ``(ny,)``."""
    _require_integers(values)
    return OrderedRows.of(values, ignore).tie_median()


def median(values: Pixels, ignore: Ignore = None) -> float:
    """Median with linear interpolation between the two middle pixels, whatever the pixel type."""
    used = _used(values, ignore)
    if not used.size:
        return math.nan
    counted = _counted(used)
    if counted is None:
        return _linear(np.partition(used, _ranks(used.size, 0.5)), 0.5)
    lowest, counts = counted
    places = np.searchsorted(counts.cumsum(), np.array(_ranks(used.size, 0.5)) + 1)
    return lowest + float(places[[0, -1]].mean() if used.size % 2 == 0 else places[0])


def _counted(used: Pixels) -> tuple[float, npt.NDArray[np.intp]] | None:
    """Lowest pixel and number of pixels at each level above it; None unless these are few whole numbers.

    Counting beats sorting: raw levels have many ties.
    """
    lowest, highest = used.min(), used.max()
    if not (used.size > _CHUNK and float(highest) - float(lowest) < _CHUNK):
        return None
    height = used - lowest
    above = height.astype(np.intp)
    return (float(lowest), np.bincount(above)) if (above == height).all() else None


def median_rows(values: Pixels, ignore: Ignore = None) -> Rows:
    """`median` of every row of a two-dimensional array, shape ``(ny,)``."""
    return OrderedRows.of(values, ignore).quantile(0.5)


def lower_median(values: Pixels, ignore: Ignore = None) -> float:
    """The pixel value of rank ``(n - 1) // 2``: an actual value, so a reference free of rounding."""
    used = _used(values, ignore)
    middle = (used.size - 1) // 2
    return float(np.partition(used, middle)[middle]) if used.size else math.nan


def quartiles(values: Pixels, ignore: Ignore = None) -> tuple[float, float, float]:
    """First quartile, median and third quartile; with tie handling when the pixels are integers."""
    used = _used(values, ignore)
    if not used.size:
        return math.nan, math.nan, math.nan
    reference, offsets = _quartile_offsets(_partitioned(used))
    first, middle, third = (_scalar(used.dtype, reference, offset) for offset in offsets)
    return first, middle, third


def interquartile_range(values: Pixels, ignore: Ignore = None) -> float:
    """Third minus first quartile."""
    first, _, third = quartiles(values, ignore)
    return third - first


def mean(values: Pixels, ignore: Ignore = None) -> float:
    """Arithmetic mean, summed in float64."""
    used = _used(values, ignore)
    if not used.size:
        return math.nan
    reference = float(used.min())
    return _scalar(used.dtype, reference, _moments(used, reference).mean)


def mean_rows(values: Pixels, ignore: Ignore = None) -> Rows:
    """`mean` of every row of a two-dimensional array, shape ``(ny,)``."""
    return OrderedRows.of(values, ignore).mean()


def sigma(values: Pixels, ignore: Ignore = None) -> float:
    """Standard deviation with the unbiased divisor ``n - 1``; NaN for a single pixel."""
    used = _used(values, ignore)
    if not used.size:
        return math.nan
    reference = float(used.min())
    return math.sqrt(_moments(used, reference).variance)


def clipped(
    values: Pixels, num_sigma: float = 3.0, num_iterations: int = 3, ignore: Ignore = None
) -> ClippedStatistics:
    """Mean and width of the pixels within ``num_sigma`` of the centre, found in ``num_iterations`` passes.

    The first pass centres on the median and takes its width from the interquartile range; each later pass
    uses the mean and sigma of the one before. Every pass tests all pixels again and keeps those at the
    limit. Raises `ValueError` for less than one pass or a negative ``num_sigma``.
    """
    _check_clipping(num_sigma, num_iterations)
    used = _used(values, ignore)
    if not used.size:
        return ClippedStatistics(math.nan, math.nan, math.nan, 0)
    used = _partitioned(used)
    reference, (first, middle, third) = _quartile_offsets(used)
    centre, width = middle, SIGMA_PER_IQR * (third - first)
    for _ in range(num_iterations):
        found = _moments(used, reference, centre, num_sigma * width)
        centre, width = found.mean, math.sqrt(found.variance)
    centre, middle = (_scalar(used.dtype, reference, offset) for offset in (centre, middle))
    return ClippedStatistics(centre, width, middle, found.kept)


def _check_clipping(num_sigma: float, num_iterations: int) -> None:
    problems = []
    if not num_sigma >= 0:
        problems.append(f"num_sigma is {num_sigma}, it must be zero or more")
    if num_iterations < 1:
        problems.append(f"num_iterations is {num_iterations}, at least one pass is needed")
    if problems:
        raise ValueError("; ".join(problems))


def _require_integers(values: Pixels) -> None:
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"tie handling needs integer pixels, got {values.dtype.name}; use 'median' for these"
        )


def _check(values: Pixels, ignore: Ignore) -> None:
    problems = []
    if values.dtype.kind not in "iuf":
        problems.append(f"pixels are {values.dtype.name}, they must be integers or floats")
    if not values.size:
        problems.append(
            f"there are no pixels in an array of shape {values.shape}; check the box it was cut with"
        )
    if ignore is not None and (ignore.dtype != np.bool_ or ignore.shape != values.shape):
        problems.append(
            f"'ignore' is {ignore.dtype.name} of shape {ignore.shape}, "
            f"it must be bool of shape {values.shape}"
        )
    if problems:
        raise ValueError("no statistic: " + "; ".join(problems))


def _used(values: Pixels, ignore: Ignore) -> Pixels:
    """The pixels that count, in one dimension; a view of the array when all of them do."""
    _check(values, ignore)
    keep = None if ignore is None else ~ignore
    if values.dtype.kind == "f":
        finite = np.isfinite(values)
        keep = finite if keep is None else keep & finite
    return values.reshape(-1) if keep is None or keep.all() else values[keep]


def _ordered_rows(values: Pixels, ignore: Ignore) -> tuple[Pixels, npt.NDArray[np.intp]]:
    """Rows in ascending order with the pixels that do not count at the end, and how many count."""
    _check(values, ignore)
    is_float = values.dtype.kind == "f"
    if (ignore is None or not ignore.any()) and not (is_float and not np.isfinite(values).all()):
        return np.sort(values, axis=1), np.full(values.shape[0], values.shape[1], np.intp)
    drop = ~np.isfinite(values) if is_float else np.zeros(values.shape, dtype=bool)
    if ignore is not None:
        drop |= ignore
    last = np.inf if is_float else np.iinfo(values.dtype).max
    ordered = np.where(drop, values.dtype.type(last), values)
    ordered.sort(axis=1)
    return ordered, values.shape[1] - np.count_nonzero(drop, axis=1)


def _column(ordered: Pixels, rank: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The pixel of the given rank in each row; zero in rows where the answer will be NaN anyway."""
    rank = np.minimum(np.maximum(rank, 0), ordered.shape[1] - 1)
    if rank.size and (rank == rank[0]).all():
        found = ordered[:, rank[0]].astype(np.float64)
    else:
        found = np.take_along_axis(ordered, rank[:, None], axis=1)[:, 0].astype(np.float64)
    return np.where(np.isfinite(found), found, 0.0)


def _count_rows(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """How many are set in every row. A product of float32 is exact up to 2**24 and three times as fast."""
    return (flags.astype(np.float32) @ np.ones(flags.shape[1], np.float32)).astype(np.intp)


def _quantile(values: Pixels, fraction: float, ignore: Ignore) -> float:
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}, it must lie between 0 and 1")
    used = _used(values, ignore)
    if not used.size:
        return math.nan
    ranks = _ranks(used.size, fraction)
    ordered = np.partition(used, ranks)
    reference = float(ordered[ranks[0]])
    return _scalar(used.dtype, reference, _offset(ordered, fraction, reference))


def _ranks(count: int, fraction: float) -> list[int]:
    lower = math.floor(fraction * (count - 1))
    return sorted({lower, min(lower + 1, count - 1)})


def _partitioned(used: Pixels) -> Pixels:
    ranks = {rank for fraction in (0.25, 0.5, 0.75) for rank in _ranks(used.size, fraction)}
    return np.partition(used, sorted(ranks))


def _quartile_offsets(ordered: Pixels) -> tuple[float, tuple[float, float, float]]:
    """The lower median of partitioned pixels, and the quartiles counted from it."""
    reference = float(ordered[(ordered.size - 1) // 2])
    first, middle, third = (_offset(ordered, fraction, reference) for fraction in (0.25, 0.5, 0.75))
    return reference, (first, middle, third)


def _offset(ordered: Pixels, fraction: float, reference: float) -> float:
    """A quantile of partitioned pixels, counted from ``reference``."""
    value = ordered[_ranks(ordered.size, fraction)[0]]
    if ordered.dtype.kind == "f":
        return _linear(ordered, fraction, reference)
    if ordered.size == 1:
        return float(value) - reference
    below = np.count_nonzero(ordered < value)
    equal = np.count_nonzero(ordered == value)
    return float(value) - reference + ((fraction * ordered.size - below) / equal - 0.5)


def _linear(ordered: Pixels, fraction: float, reference: float = 0.0) -> float:
    ranks = _ranks(ordered.size, fraction)
    lower, upper = float(ordered[ranks[0]]) - reference, float(ordered[ranks[-1]]) - reference
    return lower + (fraction * (ordered.size - 1) - ranks[0]) * (upper - lower)


def _rounded(offset: Rows) -> Rows:
    return np.rint(offset * _GRID) / _GRID


def _absolute(reference: Rows, offset: Rows) -> Rows:
    return reference + _rounded(offset)


def _scalar(dtype: np.dtype[Any], reference: float, offset: float) -> float:
    """The sum, rounded for integer pixels to 2**-32 so that shifting them shifts it without rounding."""
    if dtype.kind != "f" and math.isfinite(offset):
        offset = round(offset * _GRID) / _GRID
    return reference + offset


def _moments(used: Pixels, reference: float, centre: float = 0.0, limit: float = math.inf) -> _Moments:
    """Moments of the pixels within ``limit`` of ``centre``, which like the mean counts from ``reference``."""
    found = _moments_about(used, reference, centre, limit, centre)
    # Far from the mean the sums cancel, and rounding would give a width to pixels that are all equal.
    if found.variance < 1e-2 * (found.mean - centre) ** 2:
        return _moments_about(used, reference, centre, limit, found.mean)
    return found


def _moments_about(used: Pixels, reference: float, centre: float, limit: float, origin: float) -> _Moments:
    """`_moments`, summed about ``origin``, in chunks that stay in cache: no second plane, none in float64."""
    span = max(abs(float(edge) - reference - origin) for edge in (used.min(), used.max()))
    reach = min(span, limit + abs(origin - centre))
    first, second = _Sum(reach, used.size), _Sum(reach * reach, used.size)
    kept = 0
    for start in range(0, used.size, _CHUNK):
        chunk = used[start : start + _CHUNK].astype(np.float64)
        chunk -= reference
        if limit != math.inf:
            chunk = chunk[np.abs(chunk - centre) <= limit]
        chunk -= origin
        kept += chunk.size
        first.add(chunk)
        second.add(chunk * chunk)
    return _from_sums(kept, origin, first.total, second.total)


def _from_sums(kept: int, origin: float, first: float, second: float) -> _Moments:
    if not kept:
        return _Moments(0, math.nan, math.nan)
    variance = max(second - first * first / kept, 0.0) / (kept - 1) if kept > 1 else math.nan
    return _Moments(kept, origin + first / kept, variance)


class _Sum:
    """A sum that does not depend on the order of its terms.

    Terms are split in two parts, each rounded to a grid so coarse that adding ``count`` of them up to
    ``largest`` is exact. What lies below the second grid is dropped: for 2**24 pixels less than 2**-56 of
    the largest term.
    """

    def __init__(self, largest: float, count: int) -> None:
        """Prepare for up to ``count`` terms no larger than ``largest``."""
        bits = count.bit_length()
        exponent = math.frexp(largest)[1] if math.isfinite(largest) else 0
        self._upper = math.ldexp(1.5, exponent + bits)
        self._lower = math.ldexp(self._upper, bits - 53)
        self._parts = [0.0, 0.0]

    def add(self, terms: Rows) -> None:
        """Add all terms."""
        coarse = terms + self._upper
        coarse -= self._upper
        rest = terms - coarse
        rest += self._lower
        rest -= self._lower
        self._parts[0] += float(coarse.sum())
        self._parts[1] += float(rest.sum())

    @property
    def total(self) -> float:
        """The sum so far."""
        return self._parts[0] + self._parts[1]
