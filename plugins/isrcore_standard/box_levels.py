"""Levels of the pixels in many boxes of one frame: medians, means and clipped means.

Every box is copied out of a band of rows and looked at by itself, whatever it shares with other boxes. In
numpy that is quicker than sharing: selecting medians bit by bit, or narrowing them down by running counts of
the pixels below some levels, costs more in passes over the pixels than it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import map_bands, row_bands, statistics

Float64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Keys = npt.NDArray[np.int32]

# The levels of boxes with these first columns and rows, and of this side.
_Measure = Callable[[Integers, Integers, int], Float64]

_LOWEST, _HIGHEST = np.iinfo(np.int32).min, np.iinfo(np.int32).max

# The key of infinity; that of minus infinity is one less than its negative.
_INFINITY = 0x7F800000

# Rows of a band: the rows that its boxes reach beyond it are prepared twice.
_ROWS = 256

# Rows that are prepared at a time: with what is computed of them they stay in cache.
_CACHED_ROWS = 32

# Boxes within so many rows are taken from left to right, so that what they share is still in cache.
_NEAR = 16

# Pixels of boxes that are looked at at a time: they fit a cache of half a megabyte.
_BLOCK = 1 << 17


@attrs.frozen(eq=False)
class Sieve:
    """A float32 frame of which some pixels count: finite ones with none of ``bits`` in any of the masks."""

    image: npt.NDArray[np.float32]
    masks: tuple[npt.NDArray[np.int32], ...]
    bits: int

    def bad(self, rows: slice) -> npt.NDArray[np.bool_]:
        """Which pixels of some rows do not count."""
        bad = np.isfinite(self.image[rows])
        np.logical_not(bad, out=bad)
        for mask in self.masks:
            bad |= (mask[rows] & np.int32(self.bits)) != 0
        return bad

    def keys(self, rows: slice) -> tuple[Keys, bool]:
        """Integers in the order of the pixels of some rows, bad ones highest; and whether any is bad."""
        keys = np.empty((rows.stop - rows.start, self.image.shape[1]), np.int32)
        parts = row_bands(len(keys), _CACHED_ROWS)
        has_bad = [
            self._fill(keys[part], slice(rows.start + part.start, rows.start + part.stop)) for part in parts
        ]
        return keys, any(has_bad)

    def _fill(self, keys: Keys, rows: slice) -> bool:
        """Write the keys of some rows; returns whether any pixel is bad."""
        _turn(self.image[rows].view(np.int32), keys)
        if self._are_good(keys, rows):
            return False
        np.copyto(keys, _HIGHEST, where=self.bad(rows))
        return True

    def _are_good(self, keys: Keys, rows: slice) -> bool:
        """Whether all pixels of some rows count, which is quicker to tell than which do not."""
        if keys.max() >= _INFINITY or keys.min() < -_INFINITY:
            return False
        used = (int(np.bitwise_or.reduce(mask[rows], axis=None)) for mask in self.masks)
        return not any(bits & self.bits for bits in used)


def box_medians(
    sieve: Sieve, x: Integers, y: Integers, halves: Sequence[int], threads: int = 1
) -> tuple[Float64, ...]:
    """The medians of the pixels that count in boxes around (x, y), for each size; NaN where none does.

    They are those of `statistics.median`, to the bit. A box of half size h has the columns x - h to x + h - 1
    and the rows y - h to y + h - 1, all of them in the frame. ``threads`` share the boxes, which changes no
    result.
    """

    def prepare(rows: slice) -> _Measure:
        keys, has_bad = sieve.keys(rows)
        return lambda x, y, side: _medians(keys, x, y, side, has_bad)

    return _in_bands(prepare, x, y, halves, threads)


def box_means(
    sieve: Sieve,
    x: Integers,
    y: Integers,
    halves: Sequence[int],
    clip: float,
    iterations: int,
    threads: int = 1,
) -> tuple[Float64, ...]:
    """As `box_medians`, the means of the pixels within ``clip`` sigmas, in so many passes (behaviour §0.5).

    No pass: of all that count. They agree with `statistics.clipped` but for the order of sums.
    """

    def prepare(rows: slice) -> _Measure:
        plane = np.where(sieve.bad(rows), np.float32(np.nan), sieve.image[rows])

        def measure(x: Integers, y: Integers, side: int) -> Float64:
            blocks = _blocks(plane, x, y, side)
            return np.concatenate([_clipped_means(boxes, clip, iterations) for _, boxes in blocks])

        return measure

    return _in_bands(prepare, x, y, halves, threads)


def _in_bands(
    prepare: Callable[[slice], _Measure], x: Integers, y: Integers, halves: Sequence[int], threads: int
) -> tuple[Float64, ...]:
    """Measure boxes band by band; ``prepare`` makes rows ready for it."""
    # One number to sort by is sorted many times as fast as three.
    order, reach = np.argsort((y // _NEAR) * (int(x.max()) + 1) + x, kind="stable"), max(halves)
    ends = np.flatnonzero(np.diff(y[order] // _ROWS)) + 1

    def look(band: slice) -> list[Float64]:
        columns, rows = x[order[band]], y[order[band]]
        first = int(rows.min()) - reach
        measure = prepare(slice(first, int(rows.max()) + reach))
        return [measure(columns - half, rows - half - first, 2 * half) for half in halves]

    bands = [slice(*pair) for pair in pairwise((0, *ends.tolist(), len(order)))]
    levels = np.empty((len(halves), len(order)))
    levels[:, order] = np.concatenate(map_bands(bands, lambda: look, threads), axis=1)
    return tuple(levels)


def _blocks(
    plane: npt.NDArray[Any], x: Integers, y: Integers, side: int
) -> Iterator[tuple[slice, npt.NDArray[Any]]]:
    """Boxes as rows of a new array, some at a time, and which of all they are."""
    (ny, nx), (row, column) = plane.shape, plane.strides
    # A row of a box is one item, which is copied at once: pixel by pixel takes a third longer.
    item = np.dtype((np.void, side * plane.itemsize))
    shape = ny - side + 1, nx - side + 1, side
    windows = np.ndarray(shape, item, plane, strides=(row, column, row))
    for part in row_bands(len(x), max(_BLOCK // side**2, 1)):
        yield part, windows[y[part], x[part]].view(plane.dtype).reshape(-1, side**2)


def _medians(keys: Keys, x: Integers, y: Integers, side: int, has_bad: bool) -> Float64:
    """The medians of boxes."""
    lower, upper = np.empty((2, len(x)), np.int32)
    bad, shift = np.zeros((2, len(x)), np.int64)
    for part, boxes in _blocks(keys, x, y, side):
        if has_bad:
            bad[part], shift[part] = _halve_bad(boxes)
        _select_middle(boxes, lower[part], upper[part])
    # Of an odd number of good pixels one is in the middle.
    low = _values(np.where(shift > 0, upper, lower))
    high = _values(np.where(shift < 0, lower, upper))
    return np.where(bad < side**2, low + 0.5 * (high - low), np.nan)


def _select_middle(boxes: Keys, lower: Keys, upper: Keys) -> None:
    """Find the two middle keys of every row, of which it has an even number, and reorder the row."""
    middle = boxes.shape[1] // 2
    boxes.partition(middle, axis=1)
    np.max(boxes[:, :middle], axis=1, out=lower)
    upper[:] = boxes[:, middle]


def _halve_bad(boxes: Keys) -> tuple[Integers, Integers]:
    """Make every second bad pixel the lowest instead of the highest; returns how many each row has.

    And how many more of them are now lowest than highest: with as many of both, the middle of the good pixels
    stays in the middle.
    """
    flat, count = boxes.reshape(-1), boxes.shape[1]
    places = np.flatnonzero(flat == _HIGHEST)
    flat[places[1::2]] = _LOWEST
    ends = np.searchsorted(places, np.arange(len(boxes) + 1) * count)
    bad, are_lowest = np.diff(ends), np.diff(ends // 2)
    return bad, 2 * are_lowest - bad


def _values(keys: Keys) -> Float64:
    """The pixels that have these keys."""
    return _turn(keys, np.empty_like(keys)).view(np.float32).astype(np.float64)


def _turn(numbers: Keys, turned: Keys) -> Keys:
    """Bits of float32 numbers as integers of the same order, or back, written into ``turned``.

    Integers are partitioned 1.4 times as fast as floats, which could be NaN.
    """
    np.right_shift(numbers, 31, out=turned)
    turned &= _HIGHEST
    turned ^= numbers
    return turned


def _clipped_means(boxes: npt.NDArray[np.float32], clip: float, iterations: int) -> Float64:
    """The clipped means of rows, in which NaN does not count; without a pass, their means."""
    if not iterations:
        return _moments(boxes.astype(np.float64), np.isfinite(boxes))[0]
    ordered = statistics.OrderedRows.of(boxes)
    first, median, third = (ordered.quantile(fraction) for fraction in (0.25, 0.5, 0.75))
    # Sums of differences from the median lose no places.
    offsets = boxes - median[:, None]
    centre, width = np.zeros(len(boxes)), statistics.SIGMA_PER_IQR * (third - first)
    for _ in range(iterations):
        kept = np.abs(offsets - centre[:, None]) <= (clip * width)[:, None]
        centre, width = _moments(offsets, kept)
    return median + centre


def _moments(offsets: Float64, kept: npt.NDArray[np.bool_]) -> tuple[Float64, Float64]:
    """Mean and unbiased standard deviation of what is kept of rows; NaN without enough."""
    count = kept.sum(axis=1)
    used = np.where(kept, offsets, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = used.sum(axis=1) / count
        squares = np.vecdot(used, used) - count * mean**2
        return mean, np.sqrt(np.maximum(squares, 0.0) / (count - 1))
