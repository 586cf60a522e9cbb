"""Tables that operations read their corrections from: entries of a lookup table, lines of a curve.

A table has one row per curve; operations of neighbouring amplifiers share it and differ in the place of their
row's first entry. Every row has one entry more on both sides, for pixels below and above it.
"""

from __future__ import annotations

from typing import Any, Self

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.image import Float32

# Places of a row's first entry are operands, thus float32, which holds integers up to this.
_LARGEST = 2**24

# The slope of a lookup table about an entry is that between entries so far away on both sides: noise takes a
# pixel past many entries, whose rounding or jitter says nothing about how much it is stretched.
_SPAN = 32


def _checked(table: npt.NDArray[Any]) -> Float32:
    """The entries of all rows, one after the other. Raises ValueError for more than float32 can count."""
    if table.size > _LARGEST:
        raise ValueError(f"a table of shape {table.shape} has more than {_LARGEST} entries: use fewer rows")
    return np.ascontiguousarray(table, np.float32).reshape(-1)


@attrs.frozen(eq=False)
class LookupTable:
    """What is added to pixels, ``values``, and what variances are multiplied by, ``growths``; flattened rows.

    ``length`` is the number of entries of a row without the two at its ends.
    """

    values: Float32
    growths: Float32
    length: int

    @classmethod
    def of(cls, rows: npt.NDArray[Any]) -> Self:
        """The table of a 2-D array of one row per curve, none empty. Raises ValueError if too large."""
        values = np.asarray(rows, np.float64)
        last = values.shape[1] - 1
        left, right = (np.clip(np.arange(last + 1) + by, 0, last) for by in (-_SPAN, _SPAN))
        slopes = (values[:, right] - values[:, left]) / np.maximum(right - left, 1)
        return cls(
            _checked(np.pad(values, ((0, 0), (1, 1)), mode="edge")),
            _checked(np.pad((1 + slopes) ** 2, ((0, 0), (1, 1)), constant_values=1.0)),
            last + 1,
        )

    def first(self, row: int) -> int:
        """The place of a row's entry 0; the one before it is for pixels below."""
        return row * (self.length + 2) + 1


@attrs.frozen(eq=False)
class LineTable:
    """Lines ``slopes``·I + ``intercepts``, rows flattened, above equal steps of I.

    Pixel I falls on line number I·``scale``, rounded down: ``start`` to ``start + length - 1``; the lines
    before and behind, for pixels below and above, have the slope 1.
    """

    slopes: Float32
    intercepts: Float32
    start: int
    length: int
    scale: float

    @classmethod
    def through(cls, start: int, step: float, values: npt.NDArray[np.float64]) -> Self:
        """The lines between points I = ``start``·``step``, (``start`` + 1)·``step``, ...

        ``values`` are what becomes of those points, one row per curve. Raises ValueError if too large.
        """
        points = step * (start + np.arange(values.shape[1]))
        slopes = (np.diff(values) / step).astype(np.float32)
        # With the slope that float32 holds, a line has the right value in its middle.
        middles = (values[:, 1:] + values[:, :-1]) / 2 - slopes * (points[1:] + points[:-1]) / 2
        intercepts = np.hstack((values[:, :1] - points[0], middles, values[:, -1:] - points[-1]))
        padded = np.pad(slopes, ((0, 0), (1, 1)), constant_values=1.0)
        return cls(_checked(padded), _checked(intercepts), start, len(points) - 1, 1 / step)

    def first(self, row: int) -> int:
        """Where a row's line would be that has the number 0."""
        return row * (self.length + 2) + 1 - self.start
