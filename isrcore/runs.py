"""Horizontal runs of flagged pixels: what steps that touch few pixels work on, instead of whole planes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
_FEW_RUNS, _MANY_PIXELS = 1 << 15, 1 << 18

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
        return cls.of_each(mask, (bits,), threads)[0]

    @classmethod
    def of_each(cls, mask: Mask, bits: Sequence[int], threads: int = 1) -> list[Runs]:
        """As `of` for each of several values of bits, in the same pass."""
        ny, nx = mask.shape
        rows = max(1, _BAND // nx)
        wanted = np.bitwise_or.reduce(np.array(bits, np.int32))

        def make_look() -> Callable[[slice], tuple[_Numbers, Mask]]:
            changes = _Changes(rows * nx, wanted)
            return lambda band: changes.find(mask[band].reshape(-1), band.start * nx)

        found = map_bands(row_bands(ny, rows), make_look, threads)
        places, flags = (np.concatenate(part) for part in zip(*found, strict=True))
        return [cls(*_flagged(places, flags & one != 0, nx), (ny, nx)) for one in bits]

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
        pixels = reading_order(mask)
        for places in self._widened(extra)._places():
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
        self.near(radius).flag(mask, bits)

    def near(self, radius: int) -> Runs:
        """The runs of all pixels of the image within Manhattan distance ``radius``."""
        moved = [self._moved(rows)._widened(radius - abs(rows)) for rows in range(-radius, radius + 1)]
        return moved[0].union(*moved[1:])

    def union(self, *others: Runs) -> Runs:
        """The runs of all pixels of these and of others in the same image."""
        # Those that overlap or touch are one from the first start to the last stop, wherever all that have
        # started have stopped too; which belongs to which does not matter.
        start, stop = (
            np.sort(np.concatenate([getattr(runs, end) for runs in (self, *others)]), kind="stable")
            for end in ("start", "stop")
        )
        is_apart = start[1:] > stop[:-1]
        touching = np.flatnonzero(start[1:] == stop[:-1])
        is_apart[touching] = start[1:][touching] % self.shape[1] == 0
        apart = np.flatnonzero(is_apart)
        return Runs(
            start[np.append(0, apart + 1)[: start.size]], stop[np.append(apart, -1)[: start.size]], self.shape
        )

    def _widened(self, extra: npt.ArrayLike) -> Runs:
        """The runs with ``extra`` more pixels at both ends, within their row; they may overlap."""
        row = self._row_start()
        start = np.maximum(self.start - np.asarray(extra), row)
        stop = np.minimum(self.stop + np.asarray(extra), row + self.shape[1])
        return Runs(start, stop, self.shape)

    def _moved(self, rows: int) -> Runs:
        """The runs a number of rows further up, without those that leave the image."""
        by = rows * self.shape[1]
        stays = (self.start + by >= 0) & (self.start + by < self.shape[0] * self.shape[1])
        return Runs(self.start[stays] + by, self.stop[stays] + by, self.shape)


class _Changes:
    """Finds where flags change in a few rows."""

    def __init__(self, largest: int, bits: np.int32) -> None:
        # With an unflagged pixel before the first and after the last.
        self._flags = np.zeros(largest + 2, np.int32)
        self._is_new = np.empty(largest + 1, np.bool_)
        self._bits = bits

    def find(self, mask: Mask, first: int) -> tuple[_Numbers, Mask]:
        """Where flags differ from the pixel before, counting from ``first``, and what they are from there on.

        The mask is given flat. After its last pixel there are none.
        """
        flags, is_new = self._flags[: mask.size + 2], self._is_new[: mask.size + 1]
        np.bitwise_and(mask, self._bits, out=flags[1:-1])
        flags[-1] = 0
        # Finding the set ones among booleans is several times as fast as among integers.
        places = np.flatnonzero(np.not_equal(flags[1:], flags[:-1], out=is_new))
        return places + first, flags[1:][places]


def _flagged(places: _Numbers, is_flagged: npt.NDArray[np.bool_], nx: int) -> tuple[_Numbers, _Numbers]:
    """Start and stop of runs that are flagged from some places to the next ones, in rows of ``nx`` pixels."""
    ends = places[np.flatnonzero(is_flagged != np.append(False, is_flagged[:-1]))]
    start, stop = ends[::2], ends[1::2]
    first, last = start // nx, (stop - 1) // nx
    if (first == last).all():
        return start, stop
    cuts = nx * _indices(first + 1, last + 1)
    start, stop = (np.sort(np.append(ends, cuts), kind="stable") for ends in (start, stop))
    return start, stop


def _indices(start: _Numbers, stop: _Numbers) -> _Numbers:
    """All numbers from each start to its stop, one after the other."""
    width = stop - start
    count = np.cumsum(width)
    before = start - (count - width)
    return np.repeat(before, width) + np.arange(count[-1] if count.size else 0)


def reading_order(plane: npt.NDArray[Any]) -> Any:
    """The pixels of a plane in reading order, to be read and written by place whatever its memory layout."""
    return plane.reshape(-1) if plane.flags.c_contiguous else plane.flat
