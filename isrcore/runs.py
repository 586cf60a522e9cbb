"""Horizontal runs of flagged pixels: what steps that touch few pixels work on, instead of whole planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.image import Mask
from isrcore.kernels.bands import map_bands, row_bands

_Numbers = npt.NDArray[np.int64]

# The flags of so many pixels stay in cache while they are looked through.
_BAND = 1 << 17

# So many runs stay in cache with a few numbers for each; together they must not have too many pixels.
_FEW_RUNS, _MANY_PIXELS = 1 << 13, 1 << 17

# Runs of more pixels are quicker written one by one than pixel by pixel.
_WIDE = 64


@attrs.frozen(eq=False)
class Runs:
    """Runs of pixels in the rows of an image of ``shape`` (ny, nx), in reading order, sharing no pixel.

    ``start`` and ``stop`` (half-open) count pixels in reading order, y·nx + x; no run spans two rows. Two
    runs side by side in a row have at least one pixel between them.
    """

    start: _Numbers
    stop: _Numbers
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask: Mask, bits: int, threads: int = 1) -> Runs:
        """The runs of pixels with any of ``bits`` set: one pass over the mask, in bands, by ``threads``."""
        ny, nx = mask.shape
        rows = max(1, _BAND // nx)

        def make_look() -> Callable[[slice], _Numbers]:
            flags = _Band(rows, nx)
            return lambda band: flags.edges(mask[band], bits) + band.start * (nx + 1)

        places = np.concatenate(map_bands(row_bands(ny, rows), make_look, threads))
        # Rows were looked through with one unflagged pixel after each, so no run spans two.
        places -= places // (nx + 1)
        return cls(places[::2], places[1::2], (ny, nx))

    def __len__(self) -> int:
        """Number of runs."""
        return self.start.size

    def __getitem__(self, chosen: Any) -> Runs:
        """Some of the runs: a slice or an array of booleans."""
        return Runs(self.start[chosen], self.stop[chosen], self.shape)

    @property
    def width(self) -> _Numbers:
        """Pixels of every run."""
        return self.stop - self.start

    @property
    def pixel_count(self) -> int:
        """Pixels of all runs together."""
        return int(self.width.sum())

    def room(self) -> tuple[_Numbers, _Numbers]:
        """How many pixels lie between a run and the next one, or the border, to its left and to its right."""
        row = self._row_start()
        before, after = row, row + self.shape[1]
        after[:-1] = np.minimum(after[:-1], self.start[1:])
        before[1:] = np.maximum(before[1:], self.stop[:-1])
        return self.start - before, after - self.stop

    def _row_start(self) -> _Numbers:
        """Where the row of every run starts, in reading order."""
        return self.start - self.start % self.shape[1]

    def indices(self) -> _Numbers:
        """The places of all pixels, in reading order."""
        return _indices(self.start, self.stop)

    def portions(self, pixels: int = _MANY_PIXELS) -> Iterator[slice]:
        """Slices of the runs, of at most ``pixels`` pixels or one run each, to work on one by one."""
        ends = np.cumsum(self.width)
        first = 0
        while first < len(self):
            done = ends[first - 1] if first else 0
            last = int(np.searchsorted(ends[: first + _FEW_RUNS], done + pixels, "right"))
            yield slice(first, max(last, first + 1))
            first = max(last, first + 1)

    def flag(self, mask: Mask, bits: int, extra: npt.ArrayLike = 0) -> None:
        """Set ``bits`` in every pixel, in place, and in ``extra`` more at both ends of a run, within its row.

        ``extra`` is one number, or one per run.
        """
        pixels, row = reading_order(mask), self._row_start()
        start = np.maximum(self.start - np.asarray(extra), row)
        stop = np.minimum(self.stop + np.asarray(extra), row + self.shape[1])
        for places in Runs(start, stop, self.shape)._places():
            pixels[places] = pixels[places] | np.int32(bits)

    def fill(self, plane: npt.NDArray[Any], value: float) -> None:
        """Give every pixel a value, in place."""
        pixels = reading_order(plane)
        for places in self._places():
            pixels[places] = value

    def _places(self) -> Iterator[slice | _Numbers]:
        """All pixels, as slices and arrays of places."""
        is_wide = self.width > _WIDE
        yield from map(slice, self.start[is_wide].tolist(), self.stop[is_wide].tolist())
        narrow = self[~is_wide]
        for part in narrow.portions():
            yield narrow[part].indices()

    def flag_near(self, mask: Mask, bits: int, radius: int) -> None:
        """Set ``bits`` within Manhattan distance ``radius``, in place: `footprints.grow` for few pixels."""
        for rows in range(-radius, radius + 1):
            moved = self._moved(rows)
            if rows and len(moved):
                # Along a column one run is above the other: each is flagged, and more, in its own row.
                moved = moved[~self._has(moved)]
            moved.flag(mask, bits, radius - abs(rows))

    def _has(self, others: Runs) -> npt.NDArray[np.bool_]:
        """Which of other runs are among these."""
        places = np.minimum(np.searchsorted(self.start, others.start), len(self) - 1)
        found: npt.NDArray[np.bool_] = self.start[places] == others.start
        found &= self.stop[places] == others.stop
        return found

    def _moved(self, rows: int) -> Runs:
        """The runs a number of rows further up, without those that leave the image."""
        by = rows * self.shape[1]
        stays = (self.start + by >= 0) & (self.start + by < self.shape[0] * self.shape[1])
        return Runs(self.start[stays] + by, self.stop[stays] + by, self.shape)


class _Band:
    """Flags of a few rows, with an unflagged pixel before the first and after every row."""

    def __init__(self, rows: int, nx: int) -> None:
        self._some = np.empty((rows, nx), np.int32)
        self._flags = np.zeros(1 + rows * (nx + 1), np.bool_)
        self._changes = np.empty(rows * (nx + 1), np.bool_)

    def edges(self, mask: Mask, bits: int) -> _Numbers:
        """Where runs start and stop, alternately, counting the pixels between rows."""
        ny, nx = mask.shape
        some, size = self._some[:ny], ny * (nx + 1)
        np.bitwise_and(mask, np.int32(bits), out=some)
        np.not_equal(some, 0, out=self._flags[1 : size + 1].reshape(ny, nx + 1)[:, :nx])
        np.not_equal(self._flags[1 : size + 1], self._flags[:size], out=self._changes[:size])
        # Finding the set ones among booleans is several times as fast as among integers.
        return np.flatnonzero(self._changes[:size])


def _indices(start: _Numbers, stop: _Numbers) -> _Numbers:
    """All numbers from each start to its stop, one after the other."""
    width = stop - start
    count = np.cumsum(width)
    before = start - (count - width)
    return np.repeat(before, width) + np.arange(count[-1] if count.size else 0)


def reading_order(plane: npt.NDArray[Any]) -> Any:
    """The pixels of a plane in reading order, to be read and written by place whatever its memory layout."""
    return plane.reshape(-1) if plane.flags.c_contiguous else plane.flat
