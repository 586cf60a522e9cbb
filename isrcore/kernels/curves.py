"""Arithmetic of curves on bands of pixels: polynomials, lookup tables, lines; and their inverses.

Forwards everything is float32. Backwards, which only simulating and undoing need, it is float64 rounded once.
Coefficients and places are numbers or float32 arrays that fit the band.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from isrcore.image import Float32
from isrcore.kernels.tables import LineTable, LookupTable

Float64 = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# Newton's method doubles the correct digits each time: four times do for curves that bend by ten percent.
_NEWTON_STEPS = 8

# Beyond its highest point a polynomial leads nowhere: a slope kept positive takes pixels up, not astray.
_LEAST_SLOPE = 0.05


def horner(coefficients: Sequence[Any], x: Any, out: Any) -> Any:
    """c_0·x + c_1·x² + ... in ``out``."""
    np.multiply(x, coefficients[-1], out=out)
    for coefficient in coefficients[-2::-1]:
        np.add(out, coefficient, out=out)
        np.multiply(out, x, out=out)
    return out


def invert_polynomial(coefficients: Sequence[Any], slopes: Sequence[Any], image: Float32) -> None:
    """Replace x + c_0·x² + c_1·x³ + ... by x, in place."""
    goal = image.astype(np.float64)
    x, value, slope = goal.copy(), np.empty_like(goal), np.empty_like(goal)
    for _ in range(_NEWTON_STEPS):
        value = horner(coefficients, x, value)
        value += 1
        value *= x
        slope = horner(slopes, x, slope)
        slope += 1
        x -= (value - goal) / np.maximum(slope, _LEAST_SLOPE)
    image[...] = x


def in_chunks(shape: tuple[int, int], scratch: Float32) -> Iterator[tuple[slice, Float32, Float32, Places]]:
    """Rows to work on at a time, and memory for them: two planes of float32 and one of places."""
    height, width = shape
    memory = scratch if scratch.size >= 4 * width else np.empty(4 * width, np.float32)
    rows = min(memory.size // (4 * width), height)
    for start in range(0, height, rows):
        part = slice(start, min(start + rows, height))
        size, own = (part.stop - start) * width, (part.stop - start, width)
        one, other, rest = memory[:size], memory[size : 2 * size], memory[2 * size : 4 * size]
        yield part, one.reshape(own), other.reshape(own), rest.view(np.int64).reshape(own)


def to_places(numbers: Float32, first: Any, spare: Float32, places: Places) -> None:
    """Numbers, cut off, as places in a table from ``first`` on; what becomes of NaN is before the table."""
    # By way of 32 bits, which processors convert to many at a time.
    short = spare.view(np.int32)
    np.copyto(short, numbers, casting="unsafe")
    if first.ndim or first:
        np.add(short, first, out=short)
    np.copyto(places, short)


def count_outside(numbers: Float32, length: int, owner: Any, owners: int) -> npt.NDArray[np.int64]:
    """How many numbers, cut off, are not 0 to ``length`` - 1, for each owner."""
    is_outside = ~((numbers > -1) & (numbers < length))
    return np.bincount(np.broadcast_to(owner, numbers.shape)[is_outside], minlength=owners)


def invert_lookup(table: LookupTable, first: Any, offset: Any, image: Float32) -> None:
    """Replace I + T[I + offset] by I, or by the nearest I that leads past it, in place."""
    for start, shift, where in _groups(image.shape, first, offset):
        row = table.values[start : start + table.length].astype(np.float64)
        goal = image[where].astype(np.float64)
        edges = np.arange(1, table.length) - shift
        reached = np.maximum.accumulate(edges + row[1:])
        entry = np.searchsorted(reached, goal, side="right")
        ends = np.append(np.nextafter(edges.astype(np.float32), np.float32(-np.inf)), np.float32(np.inf))
        image[where] = np.minimum(goal - row[entry], ends[entry])


def invert_lines(table: LineTable, first: Any, image: Float32) -> None:
    """Replace m·I + a by I, in place."""
    points = (table.start + np.arange(table.length + 1)) / table.scale
    for zero, _, where in _groups(image.shape, first, 0.0):
        row = slice(zero + table.start - 1, zero + table.start + table.length + 1)
        slopes, intercepts = (part[row].astype(np.float64) for part in (table.slopes, table.intercepts))
        reached = np.maximum.accumulate(slopes[1:] * points + intercepts[1:])
        goal = image[where].astype(np.float64)
        line = np.searchsorted(reached, goal, side="right")
        image[where] = (goal - intercepts[line]) / slopes[line]


def _groups(
    shape: tuple[int, int], first: Any, offset: Any
) -> Iterator[tuple[int, float, npt.NDArray[np.bool_]]]:
    """The pixels of every row of a table: its first place, their offset, and which they are."""
    firsts, offsets = (np.broadcast_to(np.asarray(operand), shape) for operand in (first, offset))
    for start, shift in np.unique(np.stack((firsts.ravel(), offsets.ravel())), axis=1).T:
        yield int(start), float(shift), (firsts == start) & (offsets == shift)
