"""Charge that no longer fits into its pixel and spills along the column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from isrcore.image import Float32

# Columns worked on at a time: float64 planes of a whole CCD would take most of the memory of a simulation.
_COLUMNS = 128

Counts = npt.NDArray[np.float64]


def spill(charge: Float32, full_well: float) -> npt.NDArray[np.bool_]:
    """Let what exceeds the full well run along the columns, in place; True where a pixel is full or got some.

    ``charge`` (ny, nx) and ``full_well`` in electron. Half of the excess of a pixel runs towards higher rows
    and half towards lower ones, each into the first pixels with room; what arrives at an end of the column
    turns back. Charge is kept, unless a whole column is full: then the rest is lost.
    """
    touched = charge >= full_well
    columns = np.flatnonzero(touched.any(axis=0))
    for first in range(0, columns.size, _COLUMNS):
        some = columns[first : first + _COLUMNS]
        before = charge[:, some].astype(np.float64)
        after = _levelled(before, full_well)
        touched[:, some] |= after > before
        charge[:, some] = after
    return touched


def _levelled(columns: Counts, full_well: float) -> Counts:
    """The columns (ny, n) after all excess found room."""
    level = np.minimum(columns, full_well)
    excess = columns - level
    upwards = np.floor(excess / 2)
    none = np.zeros_like(excess)
    turned = _pour(level, upwards, full_well, none[0])
    turned = _pour(level[::-1], (excess - upwards)[::-1], full_well, turned)
    _pour(level, none, full_well, turned)
    return level


def _pour(level: Counts, sources: Counts, full_well: float, arriving: Counts) -> Counts:
    """Let charge flow towards the last row and fill what has room, in place; returns what leaves there.

    ``sources`` is what enters the stream at each pixel, ``arriving`` what enters before the first one.
    """
    gained = sources - (full_well - level)
    gained[0] += arriving
    total = np.cumsum(gained, axis=0)
    # A stream that dries up starts anew from nothing: Lindley's recursion s' = max(s + gained, 0), unrolled.
    stream = total - np.minimum(np.minimum.accumulate(total, axis=0), 0)
    level += sources - stream
    level[0] += arriving
    level[1:] += stream[:-1]
    return np.asarray(stream[-1])
