"""Robust statistics of a whole frame, found once and shared by the steps that need them.

A large frame is read once, in bands that stay in cache. A sample of its pixels forecasts where quartiles and
clipping limits lie (Floyd and Rivest 1975, doi:10.1145/360680.360691, select ranks that way); pixels near
them are set aside and looked at one by one, all others are only counted and summed. When a forecast proves
wrong the plain functions of `isrcore.statistics` answer, so no result depends on the sample.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import partial

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.image import Float32, Mask, MaskedImage
from isrcore.kernels.bands import map_bands, row_bands
from isrcore.runs import Runs, reading_order
from isrcore.statistics import SIGMA_PER_IQR, ClippedStatistics, clipped, mean

Float64 = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

_FRACTIONS = (0.25, 0.5, 0.75)

# Smaller frames are quicker to do directly.
_SMALL = 1 << 15

# Every sixteenth pixel is sampled, up to a number whose sorting costs less than reading the frame.
_SPACING, _LARGEST_SAMPLE = 16, 1 << 17
_SMALLEST_SAMPLE = 256

# Large enough that the time goes into pixels, not into calls; a band still fits a cache.
_BAND = 1 << 17

# Short enough that no BLAS spreads one product over threads.
_BLOCK = 1 << 13

_RANGE = np.finfo(np.float32).min, np.finfo(np.float32).max

# A forecast is wrong for one frame in a hundred; then one with twice the margins is tried.
_RANK_SIGMAS, _LIMIT_SIGMAS = 3.0, 6.0
_MARGINS = 1.0, 2.0


class FrameStatistics:
    """Level and noise of the good pixels of a frame, found when first asked for and kept.

    Good are finite pixels with none of the planes ``ignored``; a plane the mask does not have flags no pixel.
    Steps that change only pixels that are not good leave the statistics as they are.

    Large frames are looked at by ``threads`` threads, which changes no result.

    Medians and counts are those of `isrcore.statistics`, to the bit. Means and sigmas agree within 1e-12 of
    the sigma: large frames are summed in another order.
    """

    def __init__(
        self, pixels: MaskedImage, *ignored: str, threads: int = 1, flagged: Runs | None = None
    ) -> None:
        """Remember the pixels; ``flagged`` are the runs of those with the planes, where they are known."""
        self._pixels, self._ignored, self._threads, self._flagged = pixels, ignored, threads, flagged
        self._found: dict[tuple[float, int], ClippedStatistics] = {}

    @property
    def clipped(self) -> ClippedStatistics:
        """Median, and mean and sigma within three sigma in three passes (behaviour §0.5)."""
        return self.clip()

    @property
    def median(self) -> float:
        """The median of the good pixels; NaN when there is none."""
        return self.clipped.median

    @property
    def mean(self) -> float:
        """The mean of the good pixels, none clipped; found anew every time."""
        return mean(self._pixels.image, self._pixels.mask & self._bits() != 0)

    def clip(self, num_sigma: float = 3.0, num_iterations: int = 3) -> ClippedStatistics:
        """`statistics.clipped` of the good pixels, kept for whoever asks again.

        Raises ValueError for less than one pass or a negative ``num_sigma``.
        """
        key = num_sigma, num_iterations
        if key not in self._found:
            found = self._clipped_in_bands(*key)
            ignore = None if found else self._pixels.mask & self._bits() != 0
            self._found[key] = found or clipped(self._pixels.image, *key, ignore=ignore)
        return self._found[key]

    def _bits(self) -> np.int32:
        """The mask value of the ignored planes."""
        planes = self._pixels.planes
        return np.int32(planes.value(*(name for name in self._ignored if name in planes.bits)))

    def _clipped_in_bands(self, num_sigma: float, num_iterations: int) -> ClippedStatistics | None:
        """`clipped` of a large float32 frame; None where that is better done directly."""
        image, mask, bits = self._pixels.image, self._pixels.mask, self._bits()
        if image.dtype != np.float32 or image.size < _SMALL or not num_sigma >= 0:
            return None
        sample = _sample(image, mask, bits)
        for margin in _MARGINS:
            forecast = _Forecast.of(sample, num_sigma, num_iterations, margin)
            found = forecast and self._tally(forecast).clipped(num_sigma, num_iterations)
            if found:
                return found
        return None

    def _tally(self, forecast: _Forecast) -> _Zones:
        """Look at all pixels."""
        image = self._pixels.image
        rows = max(_BAND // image.shape[1], 1)

        def make_look() -> Callable[[slice], _Band]:
            counter, flagged = _Counter(forecast, rows * image.shape[1]), self._make_search(rows)
            return lambda band: counter.count(image[band].reshape(-1), flagged(band))

        return _Zones.of(forecast, map_bands(row_bands(image.shape[0], rows), make_look, self._threads))

    def _make_search(self, rows: int) -> Callable[[slice], Places]:
        """What finds the flagged pixels in bands of at most so many rows, counted from their first one."""
        if self._flagged is not None:
            return partial(_places_of, self._flagged)
        return _Flags(self._pixels.mask, self._bits(), rows).find


def _sample(image: Float32, mask: Mask, bits: np.int32) -> Float32:
    """Good pixels at equal distances along the rows, in ascending order."""
    step = max(image.size // _LARGEST_SAMPLE, _SPACING)
    # Otherwise a sample would see some columns only.
    while math.gcd(step, image.shape[1]) > 1:
        step += 1
    values, flags = (np.asarray(reading_order(plane)[::step]) for plane in (image, mask))
    return np.sort(values[np.isfinite(values) & (flags & bits == 0)])


@attrs.frozen(eq=False)
class _Forecast:
    """Nine zones of pixel values; zone k has the values from ``edges[k]`` on and below ``edges[k + 1]``.

    Zones 0 and 8 hold what a clipping pass may reject, 2, 4 and 6 one quartile each. Pixels there are set
    aside, but for quartiles whose zone has one value only. Pixels in zones 1 to 7 are summed, as differences
    from ``origin``.
    """

    origin: float
    edges: Float32
    is_aside: tuple[bool, ...]

    @classmethod
    def of(cls, sample: Float32, num_sigma: float, num_iterations: int, margin: float) -> _Forecast | None:
        """What a sample in ascending order says; None when it is too small or in doubt."""
        if sample.size < _SMALLEST_SAMPLE:
            return None
        origin = float(sample[sample.size // 2])
        low, high = _always_kept(sample.astype(np.float64) - origin, num_sigma, num_iterations, margin)
        if not -math.inf < low <= high < math.inf:
            return None
        limits = np.clip([origin + low, origin + high], *_RANGE).astype(np.float32)
        ends = np.nextafter(limits, np.float32(origin))
        edges = np.array(
            [ends[0], *(mark for f in _FRACTIONS for mark in _bracket(sample, f, margin)), ends[1]]
        )
        edges[2::2], edges[-1] = _beyond(edges[2::2]), _beyond(edges[-1])
        edges = np.maximum.accumulate(np.clip(edges, edges[0], edges[-1]))
        edges = np.array([-np.inf, *edges, np.inf], np.float32)
        is_aside = [zone % 2 == 0 and not one for zone, one in enumerate(_beyond(edges[:-1]) == edges[1:])]
        return cls(origin, edges, (True, *is_aside[1:-1], True))


def _always_kept(
    sample: Float64, num_sigma: float, num_iterations: int, margin: float
) -> tuple[float, float]:
    """The range that all passes will keep, going by a sample in ascending order; NaN when in doubt."""
    first, centre, third = (sample[int(fraction * sample.size)] for fraction in _FRACTIONS)
    width, low, high = SIGMA_PER_IQR * (third - first), -math.inf, math.inf
    error = margin * _LIMIT_SIGMAS * (1 + num_sigma) / math.sqrt(sample.size)
    for _ in range(num_iterations):
        reach = (num_sigma - error) * width
        low, high = max(low, centre - reach), min(high, centre + reach)
        start = np.searchsorted(sample, centre - num_sigma * width)
        kept = sample[start : np.searchsorted(sample, centre + num_sigma * width, "right")]
        if kept.size < 2:
            return math.nan, math.nan
        centre, width = kept.mean(), kept.std(ddof=1)
    return float(low), float(high)


def _bracket(sample: Float32, fraction: float, margin: float) -> tuple[np.float32, np.float32]:
    """Pixels of a sample in ascending order between which a quantile of all pixels lies, almost surely."""
    last = sample.size - 1
    error = margin * _RANK_SIGMAS * math.sqrt(fraction * (1 - fraction) * sample.size) + 1
    return sample[max(int(fraction * last - error), 0)], sample[min(int(fraction * last + error) + 1, last)]


def _beyond(values: npt.NDArray[np.float32]) -> Float32:
    """The next larger float32 numbers."""
    with np.errstate(over="ignore"):
        return np.nextafter(values, np.float32(np.inf))


@attrs.frozen(eq=False)
class _Band:
    """Counts and sums of the good pixels of some rows by zones, and the pixels that are set aside.

    ``size`` is how many are numbers, infinite ones included, and ``beyond`` how many of them lie above each
    zone below the seventh whose pixels are only counted.
    """

    size: int
    beyond: npt.NDArray[np.int64]
    aside: Float32
    sums: float
    squares: float


def _places_of(runs: Runs, band: slice) -> Places:
    """The pixels of those runs that are in a band, counted from its first one."""
    origin, end = band.start * runs.shape[1], band.stop * runs.shape[1]
    inside = runs[slice(*np.searchsorted(runs.start, [origin, end]))]
    places: Places = inside.indices() - origin
    return places


class _Flags:
    """Finds flagged pixels."""

    def __init__(self, mask: Mask, bits: np.int32, rows: int) -> None:
        """Prepare for bands of at most ``rows`` rows."""
        self._mask, self._bits = mask, bits
        self._masked = np.empty((rows, mask.shape[1]), np.int32)
        self._is_flagged = np.empty(self._masked.shape, np.bool_)

    def find(self, band: slice) -> Places:
        """The pixels of a band with any of the bits set, counted from its first one."""
        mask = self._mask[band]
        masked = np.bitwise_and(mask, self._bits, out=self._masked[: mask.shape[0]])
        return np.flatnonzero(np.not_equal(masked, 0, out=self._is_flagged[: mask.shape[0]]))


class _Counter:
    """Looks at bands, one after the other."""

    def __init__(self, forecast: _Forecast, largest: int) -> None:
        """Prepare for bands of at most ``largest`` pixels."""
        self.forecast = forecast
        self._flags = np.empty((2, largest), np.bool_)
        self._good = np.empty(largest, np.float32)
        self._offsets = np.zeros(-(-largest // _BLOCK) * _BLOCK)
        self._ones = np.ones(_BLOCK)

    def count(self, values: Float32, bad: Places) -> _Band:
        """Count, set aside and sum the pixels of a band, given flat, but for those at ``bad`` places."""
        good = self._good[: values.size]
        np.copyto(good, values)
        good[bad] = np.nan
        beyond, places = self._look(good)
        aside = good[places]
        first, last = self.forecast.edges[[1, -2]]
        # The origin adds nothing to a sum of differences from it.
        good[bad] = good[places[(aside < first) | (aside >= last)]] = self.forecast.origin
        sums, squares = self._sums(good)
        size = values.size - bad.size
        if math.isnan(squares):
            unknown = np.isnan(good)
            size -= int(np.count_nonzero(unknown))
            good[unknown] = self.forecast.origin
            sums, squares = self._sums(good)
        return _Band(size, beyond, aside, sums, squares)

    def _look(self, values: Float32) -> tuple[npt.NDArray[np.int64], Places]:
        """How many pixels are beyond the zones, and where those are that are set aside; NaN is neither."""
        counts = np.zeros(len(self.forecast.is_aside), np.int64)
        chosen, beyond = self._flags[:, : values.size]
        first, *others, last = self.forecast.edges[1:-1]
        is_aside = self.forecast.is_aside
        np.less(values, first, out=chosen)
        for zone, edge in enumerate(others, 1):
            np.greater_equal(values, edge, out=beyond)
            if not is_aside[zone]:
                counts[zone] = np.count_nonzero(beyond)
            if is_aside[zone] != is_aside[zone + 1]:
                np.logical_xor(chosen, beyond, out=chosen)
        np.logical_xor(chosen, np.greater_equal(values, last, out=beyond), out=chosen)
        # Few and far between: places are quicker than flags.
        return counts, np.flatnonzero(chosen)

    def _sums(self, values: Float32) -> tuple[float, float]:
        """Add up differences from the origin and their squares."""
        offsets = self._offsets[: values.size]
        np.copyto(offsets, values)
        offsets -= self.forecast.origin
        self._offsets[values.size :] = 0
        blocks = self._offsets.reshape(-1, _BLOCK)
        return float(np.vecdot(blocks, self._ones).sum()), float(np.vecdot(blocks, blocks).sum())


@attrs.frozen(eq=False)
class _Zones:
    """All that is known of a frame once it is tallied.

    ``aside`` are the pixels that were set aside, in ascending order, ``places`` where those of each zone
    begin among them, and the last ones end; ``starts`` is how many pixels lie below each zone, the last how
    many there are. Infinite pixels do not count.
    """

    forecast: _Forecast
    aside: Float32
    places: list[int]
    starts: list[int]
    sums: float
    squares: float

    @classmethod
    def of(cls, forecast: _Forecast, bands: list[_Band]) -> _Zones:
        """What the bands of all pixels say."""
        aside = np.sort(np.concatenate([band.aside for band in bands]))
        beyond = np.sum([band.beyond for band in bands], axis=0).tolist()
        places = np.searchsorted(aside, np.clip(forecast.edges, _RANGE[0], None)).tolist()
        starts, total = [0], sum(band.size for band in bands) - places[0]
        # Above the last zone that is counted all pixels are aside.
        beyond[7] = aside.size - places[8]
        for zone, is_aside in enumerate(forecast.is_aside):
            size = places[zone + 1] - places[zone]
            starts.append(starts[zone] + size if is_aside else total - beyond[zone])
        sums, squares = (math.fsum(getattr(band, name) for band in bands) for name in ("sums", "squares"))
        return cls(forecast, aside, places, starts, sums, squares)

    def clipped(self, num_sigma: float, num_iterations: int) -> ClippedStatistics | None:
        """The statistics; None when the forecast was wrong."""
        places = np.multiply(_FRACTIONS, self.starts[-1] - 1)
        ranks = places.astype(np.int64)
        wanted = [(self.starts[-1] - 1) // 2, *ranks.tolist(), *(ranks + 1).tolist()]
        found = np.array([self._value_at(rank) for rank in wanted])
        if np.isnan(found).any():
            return None
        reference, lower, upper = float(found[0]), found[1:4] - found[0], found[4:] - found[0]
        first, middle, third = (lower + (places - ranks) * (upper - lower)).tolist()
        centre, width, kept = middle, SIGMA_PER_IQR * (third - first), 0
        outer = np.concatenate([self._members(0), self._members(8)]).astype(np.float64) - reference
        for _ in range(num_iterations):
            moments = self._moments(outer, reference, centre, num_sigma * width)
            if moments is None:
                return None
            kept, centre, width = moments
        return ClippedStatistics(reference + centre, width, reference + middle, kept)

    def _members(self, zone: int) -> Float32:
        """The pixels of a zone that were set aside, in ascending order."""
        return self.aside[self.places[zone] : self.places[zone + 1]]

    def _value_at(self, rank: int) -> float:
        """The pixel of this rank; NaN when it was counted only."""
        zone = bisect_right(self.starts, rank) - 1
        if self.forecast.is_aside[zone]:
            return float(self._members(zone)[rank - self.starts[zone]])
        low, high = self.forecast.edges[zone : zone + 2]
        return float(low) if _beyond(low) == high else math.nan

    def _moments(
        self, outer: Float64, reference: float, centre: float, limit: float
    ) -> tuple[int, float, float] | None:
        """Number, mean and sigma of the pixels within ``limit`` of ``centre``, counting from ``reference``.

        So do ``outer``, the pixels of the outermost zones. None when the limit is among pixels that were only
        counted, or when sums cancel.
        """
        edges, inner = self.forecast.edges, self.starts[8] - self.starts[1]
        ends = np.array([edges[1], np.nextafter(edges[8], np.float32(-np.inf))], np.float64) - reference
        if inner < 2 or not (np.abs(ends - centre) <= limit).all():
            return None
        near = outer[np.abs(outer - centre) <= limit]
        shift, count = self.forecast.origin - reference, inner + near.size
        sums = self.sums + inner * shift + float(near.sum())
        squares = self.squares + shift * (2 * self.sums + inner * shift) + float(np.square(near).sum())
        mean = sums / count
        variance = max(squares - sums * mean, 0.0) / (count - 1)
        return None if variance < 1e-2 * mean * mean else (count, mean, math.sqrt(variance))
