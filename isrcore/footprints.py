"""Footprints: connected sets of flagged pixels, how they grow and how boxes tile them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from isrcore.geometry import Box

Flags = npt.NDArray[np.bool_]
_Edges = npt.NDArray[np.intp]

_EIGHT_CONNECTED = np.ones((3, 3), dtype=int)


def grow(flags: Flags, radius: int) -> Flags:
    """Flags of every pixel within Manhattan distance ``radius`` of a flagged one, as a new array.

    ``flags`` is two-dimensional. Raises `ValueError` for a negative radius.
    """
    if radius < 0:
        raise ValueError(f"flags cannot grow by {radius} pixels; the radius must be zero or more")
    grown = flags.copy()
    for _ in range(radius):
        source = grown.copy()
        grown[1:] |= source[:-1]
        grown[:-1] |= source[1:]
        grown[:, 1:] |= source[:, :-1]
        grown[:, :-1] |= source[:, 1:]
    return grown


def boxes_of(flags: Flags) -> list[Box]:
    """Boxes that cover the flagged pixels exactly once.

    The first remaining run of the lowest row is extended upwards while all its pixels are flagged, and so
    on. Boxes of one 8-connected footprint stand together, footprints in the order of their first pixel.
    """
    rows, columns = np.flatnonzero(flags.any(axis=1)), np.flatnonzero(flags.any(axis=0))
    if not rows.size:
        return []
    y, x = int(rows[0]), int(columns[0])
    part = flags[y : rows[-1] + 1, x : columns[-1] + 1]
    boxes = sorted(_tiles(part), key=lambda box: (box.y0, box.x0))
    return [box.shift(y, x) for box in _by_footprint(part, boxes)]


def _tiles(flags: Flags) -> list[Box]:
    """The boxes of `boxes_of`, each listed when it ends."""
    # Between two equal rows no box starts or ends.
    changes = np.flatnonzero((flags[1:] != flags[:-1]).any(axis=1)) + 1
    done: list[Box] = []
    open_ = np.empty((3, 0), dtype=np.intp)
    for y in (0, *changes.tolist()):
        row = flags[y]
        ends = _is_broken(row, open_)
        done += _closed(open_[:, ends], y)
        open_ = open_[:, ~ends]
        starts, stops = _runs(_uncovered(row, open_))
        new = np.array([np.full_like(starts, y), starts, stops])
        open_ = np.concatenate([open_, new], axis=1)
    return done + _closed(open_, flags.shape[0])


def _is_broken(row: Flags, open_: _Edges) -> Flags:
    """Which of the runs (rows y0, x0, x1) meet an unflagged pixel in this row."""
    flagged = np.concatenate(([0], np.cumsum(row)))
    broken: Flags = flagged[open_[2]] - flagged[open_[1]] < open_[2] - open_[1]
    return broken


def _uncovered(row: Flags, open_: _Edges) -> Flags:
    """The flagged pixels of the row outside the open runs, which never share a pixel."""
    steps = np.zeros(row.size + 1, dtype=np.int8)
    steps[open_[1]] += 1
    steps[open_[2]] -= 1
    uncovered: Flags = row & (np.cumsum(steps[:-1]) == 0)
    return uncovered


def _runs(row: Flags) -> tuple[_Edges, _Edges]:
    """Where runs of flagged pixels start and stop."""
    edges = np.flatnonzero(np.diff(row.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]


def _closed(runs: npt.NDArray[Any], y1: int) -> list[Box]:
    return [Box(y0, y1, x0, x1) for y0, x0, x1 in runs.T.tolist()]


def _by_footprint(flags: Flags, boxes: list[Box]) -> list[Box]:
    """The boxes, sorted by footprint; footprints in the order of their first box."""
    # Here, not above: it takes a fifth of a second, and most commands need no footprints.
    from scipy import ndimage

    labels, count = ndimage.label(flags, structure=_EIGHT_CONNECTED)
    if count == 1:
        return boxes
    groups: dict[int, list[Box]] = {}
    for box in boxes:
        groups.setdefault(int(labels[box.y0, box.x0]), []).append(box)
    return [box for group in groups.values() for box in group]
