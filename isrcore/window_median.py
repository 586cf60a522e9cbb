"""The median of the pixels in some windows of a frame, without putting them together or sorting them.

A sample tells between which two values the median lies, almost surely (Floyd and Rivest 1975,
doi:10.1145/360680.360691). One pass over the pixels, in bands that stay in cache, counts those below and
keeps the few in between; among these is the median, or else the sample was wrong and all pixels are sorted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.image import Float32, Mask, MaskedImage
from isrcore.kernels.bands import map_bands, row_bands
from isrcore.statistics import median

# Fewer pixels are quicker to sort.
_SMALL = 1 << 15

# So many pixels are drawn, and so many of them must be good.
_SAMPLE, _SMALLEST_SAMPLE = 1 << 14, 1 << 10

# So far from the middle of the sample, in standard deviations of a rank, the median is once in 10,000 frames.
_RANK_SIGMAS = 4.0

# So far it never is: once in 10^21 frames, whatever is in them (Hoeffding 1963, doi:10.2307/2282952).
_CERTAIN_SIGMAS = 10.0

# Pixels of a band: with what is computed of them they fit a cache of 1 MB.
_BAND = 1 << 16


def median_of_windows(windows: Sequence[MaskedImage], *ignored: str, threads: int = 1) -> float:
    """The median of the pixels of all windows together, to the bit that of `statistics.median`.

    Pixels that are not finite, or have one of the planes ``ignored``, do not count; a plane that the mask
    does not have flags no pixel. NaN when no pixel counts. ``threads`` look at large windows.
    """
    looks = [_Window.of(window, ignored) for window in windows]
    sample = _sample(looks)
    if sample is None:
        return _sorted_median(looks)
    low, high = _bracket(sample, _RANK_SIGMAS)
    bands = [band for look in looks for band in look.counted(low, high, threads)]
    found = _between(bands)
    return _sorted_median(looks) if found is None else found


def median_bounds(windows: Sequence[MaskedImage], *ignored: str) -> tuple[float, float]:
    """Two numbers between which `median_of_windows` lies; for small windows, or none, that number twice.

    They are a small part of the pixels' scatter apart, and wrong for one frame in 10^21: a random sample of
    the pixels tells them, in a fraction of the time that it takes to read the frame.
    """
    looks = [_Window.of(window, ignored) for window in windows]
    sample = _sample(looks)
    if sample is None:
        found = _sorted_median(looks)
        return found, found
    low, high = _bracket(sample, _CERTAIN_SIGMAS)
    return float(low), float(high)


@attrs.frozen(eq=False)
class _Band:
    """How many good pixels of a band are below the bracket, those inside it, and how many are good."""

    below: int
    inside: Float32
    count: int


@attrs.frozen(eq=False)
class _Window:
    """One window and the bits of pixels that do not count."""

    image: Float32
    mask: Mask
    bits: np.int32

    @classmethod
    def of(cls, pixels: MaskedImage, ignored: Sequence[str]) -> _Window:
        """A window, whatever planes its mask has."""
        known = [name for name in ignored if name in pixels.planes.bits]
        return cls(pixels.image, pixels.mask, np.int32(pixels.planes.value(*known)))

    def good(self) -> Float32:
        """The pixels that count, in one dimension."""
        image: Float32 = self.image[self.mask & self.bits == 0]
        return _finite(image)

    def at(self, places: npt.NDArray[np.int64]) -> Float32:
        """The pixels at these places, in reading order, that count."""
        rows, columns = np.divmod(places, self.image.shape[1])
        return _finite(self.image[rows, columns][self.mask[rows, columns] & self.bits == 0])

    def counted(self, low: np.float32, high: np.float32, threads: int) -> list[_Band]:
        """What every band holds, when the bracket is from ``low`` to ``high``, both included."""
        height, width = self.image.shape
        rows = max(_BAND // width, 1)

        def make_look() -> Callable[[slice], _Band]:
            scratch = _Scratch(rows, width)
            return lambda band: scratch.count(self.image[band], self.mask[band], self.bits, low, high)

        return map_bands(row_bands(height, rows), make_look, threads)


def _finite(values: Float32) -> Float32:
    found: Float32 = values[np.isfinite(values)]
    return found


class _Scratch:
    """Memory for what is found out about the pixels of one band after the other."""

    def __init__(self, rows: int, width: int) -> None:
        self._flagged = np.empty((rows, width), np.int32)
        self._flags = np.empty((2, rows, width), np.bool_)

    def count(self, image: Float32, mask: Mask, bits: np.int32, low: np.float32, high: np.float32) -> _Band:
        """Count and keep the pixels of a band."""
        excluded = self._excluded(image, mask, bits)
        below, above = self._flags[:, : len(image)]
        number = int(np.count_nonzero(np.less(image, low, out=below)))
        number -= int(np.count_nonzero(below.reshape(-1)[excluded]))
        np.greater(image, high, out=above)
        # Neither: inside, or no number.
        inside = np.equal(below, above, out=above).reshape(-1)
        inside[excluded] = False
        places = np.divmod(np.flatnonzero(inside), image.shape[1])
        return _Band(number, image[places], image.size - excluded.size)

    def _excluded(self, image: Float32, mask: Mask, bits: np.int32) -> npt.NDArray[np.intp]:
        """The places of pixels that do not count."""
        flagged = np.bitwise_and(mask, bits, out=self._flagged[: len(image)])
        with np.errstate(over="ignore", invalid="ignore"):
            # Pixels near the largest float add up to infinity too; the exact test follows.
            is_finite = bool(np.isfinite(image.sum()))
        if is_finite and not flagged.max():
            return np.empty(0, np.intp)
        bad = np.not_equal(flagged, 0, out=self._flags[0, : len(image)])
        if not is_finite:
            bad |= ~np.isfinite(image)
        return np.flatnonzero(bad)


def _sample(looks: Sequence[_Window]) -> Float32 | None:
    """Good pixels of all windows, drawn at random, in ascending order; None when there are too few."""
    ends = np.cumsum([look.image.size for look in looks])
    if not looks or ends[-1] < _SMALL:
        return None
    # The same ones every time: the median does not depend on them.
    places = np.sort(np.random.default_rng(0).integers(0, ends[-1], _SAMPLE))
    first = np.searchsorted(places, [0, *ends])
    parts = (
        look.at(places[first[i] : first[i + 1]] - (end - look.image.size))
        for i, (look, end) in enumerate(zip(looks, ends, strict=True))
    )
    sample = np.sort(np.concatenate(list(parts)))
    return sample if sample.size >= _SMALLEST_SAMPLE else None


def _bracket(sample: Float32, sigmas: float) -> tuple[np.float32, np.float32]:
    """Pixels of a sample at a distance of so many standard deviations of a rank from the middle one."""
    error, middle = sigmas * 0.5 * math.sqrt(sample.size) + 1, (sample.size - 1) / 2
    return sample[max(int(middle - error), 0)], sample[min(int(middle + error) + 1, sample.size - 1)]


def _between(bands: Sequence[_Band]) -> float | None:
    """The median, when it is inside the bracket."""
    count, below = sum(band.count for band in bands), sum(band.below for band in bands)
    inside = np.concatenate([band.inside for band in bands])
    lower, upper = (count - 1) // 2 - below, count // 2 - below
    if not (count and lower >= 0 and upper < inside.size):
        return None
    ordered = np.partition(inside, [lower, upper])
    first, last = float(ordered[lower]), float(ordered[upper])
    return first + 0.5 * (last - first) if upper > lower else first


def _sorted_median(looks: Sequence[_Window]) -> float:
    """The median of all good pixels."""
    good = np.concatenate([look.good() for look in looks]) if looks else np.empty(0, np.float32)
    return median(good) if good.size else math.nan
