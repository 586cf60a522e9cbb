"""Medians across frames, pixel by pixel, with networks of minima and maxima.

A sorting network compares fixed pairs whatever the values, so that each comparison is one pass of numpy over
all pixels, in cache and several at a time. Of a network only those comparisons are kept that the middle
depends on. Networks: Batcher, "Sorting networks and their applications" (1968, doi:10.1145/1468075.1468121).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import attrs
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Counts = npt.NDArray[np.integer]


@attrs.frozen
class _Comparison:
    """Puts the smaller of two values first; only one of the two may be needed afterwards."""

    first: int
    second: int
    needs_first: bool
    needs_second: bool


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    """Batcher's odd-even merge sort of ``count`` values, as pairs to compare in turn."""
    size = 1
    while size < count:
        step = size
        while step:
            for start in range(step % size, count - step, 2 * step):
                for first in range(start, min(start + step, count - step)):
                    if first // (2 * size) == (first + step) // (2 * size):
                        yield first, first + step
            step //= 2
        size *= 2


@cache
def _network(count: int) -> tuple[_Comparison, ...]:
    """The comparisons on which the middle of ``count`` values depends."""
    needed, kept = {(count - 1) // 2, count // 2}, []
    for first, second in reversed(list(_pairs(count))):
        if first in needed or second in needed:
            kept.append(_Comparison(first, second, first in needed, second in needed))
            needed |= {first, second}
    return tuple(reversed(kept))


def medians(values: Float32, count: Counts | None, work: Float32) -> Float32:
    """The median of each column of ``values``, shape (n, pixels); NaN where nothing counts.

    ``count`` says how many values of each column are not NaN, None that all are. ``work`` has n + 1 rows of
    at least as many pixels, and is overwritten.
    """
    rows = [row[: values.shape[1]] for row in work[: len(values) + 1]]
    for row, value in zip(rows, values, strict=False):
        row[:] = value
    found = _middle(rows)
    if count is not None:
        short = np.flatnonzero(count < len(values))
        found[short] = _medians_of_some(values[:, short], count[short])
    return found


def _middle(rows: list[Float32]) -> Float32:
    """The median of rows, pixel by pixel; the last row is spare, and all are overwritten."""
    *rows, spare = rows
    for step in _network(len(rows)):
        one, other = rows[step.first], rows[step.second]
        if step.needs_first and step.needs_second:
            np.minimum(one, other, out=spare)
            np.maximum(one, other, out=other)
            rows[step.first], spare = spare, one
        elif step.needs_first:
            np.minimum(one, other, out=one)
        else:
            np.maximum(one, other, out=other)
    return _between(rows[(len(rows) - 1) // 2], rows[len(rows) // 2])


def _medians_of_some(values: Float32, count: Counts) -> Float32:
    """The same where values are missing: sorted, so that NaN come last, and looked up."""
    if not count.size:
        return np.empty(0, np.float32)
    ordered = np.sort(values, axis=0)
    low = np.take_along_axis(ordered, np.maximum(count - 1, 0)[None] // 2, axis=0)[0]
    high = np.take_along_axis(ordered, count[None] // 2, axis=0)[0]
    return _between(low, high)


def _between(low: Float32, high: Float32) -> Float32:
    """Half-way from low to high."""
    return np.asarray(low + (high - low) * np.float32(0.5), np.float32)


# Pixels of a band whose windows stay in cache.
_BAND = 1 << 13


def running_medians(image: Float32, window: int) -> Float32:
    """The median of each pixel with those before and after it in its column, ``window`` (odd) in all.

    Beyond the first and the last row columns go on as in a mirror. Shape (ny, nx); no pixel may be NaN.
    """
    (ny, nx), reach = image.shape, window // 2
    padded = np.pad(image, ((reach, reach), (0, 0)), mode="symmetric")
    result = np.empty_like(image)
    height = max(_BAND // nx, 1)
    work = np.empty((window + 1, height, nx), np.float32)
    for y0 in range(0, ny, height):
        band = slice(y0, min(y0 + height, ny))
        rows = [row[: band.stop - y0] for row in work]
        for step, row in enumerate(rows[:-1]):
            row[:] = padded[y0 + step : band.stop + step]
        result[band] = _middle(rows)
    return result
