"""Boxes on a pixel grid, FITS section strings and flips.

Boxes are half-open and name rows before columns, as arrays do: ``array[box.slices]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

_SECTION = re.compile(r"\[\s*(-?\d+)\s*:\s*(-?\d+)\s*,\s*(-?\d+)\s*:\s*(-?\d+)\s*\]")


class GeometryError(ValueError):
    """A box, section or layout that cannot be."""


@attrs.frozen(order=True)
class Box:
    """The pixels ``y0 <= y < y1``, ``x0 <= x < x1``; empty when either range is.

    Zero-based pixel indices. Raises `GeometryError` when an end lies before its start.
    """

    y0: int
    y1: int
    x0: int
    x1: int

    def __attrs_post_init__(self) -> None:
        """Refuse a box that ends before it starts."""
        if self.y1 < self.y0 or self.x1 < self.x0:
            raise GeometryError(f"box {self.y0}:{self.y1}, {self.x0}:{self.x1} ends before it starts")

    @classmethod
    def of_shape(cls, shape: tuple[int, ...]) -> Box:
        """The box that covers an array of ``shape`` (ny, nx)."""
        return cls(0, shape[0], 0, shape[1])

    @classmethod
    def from_corner(cls, x0: int, y0: int, width: int, height: int) -> Box:
        """A box from its lowest pixel and its size, as geometry tables write it."""
        return cls(y0, y0 + height, x0, x0 + width)

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x1 - self.x0

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape (rows, columns)."""
        return self.height, self.width

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.height * self.width

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index that cuts this box out of an array."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def contains(self, other: Box) -> bool:
        """Whether every pixel of ``other`` is in this box."""
        return (
            self.y0 <= other.y0 and other.y1 <= self.y1 and self.x0 <= other.x0 and other.x1 <= self.x1
        ) or other.area == 0

    def intersect(self, other: Box) -> Box:
        """The common pixels; an empty box when there are none."""
        y0, x0 = max(self.y0, other.y0), max(self.x0, other.x0)
        return Box(y0, max(y0, min(self.y1, other.y1)), x0, max(x0, min(self.x1, other.x1)))

    def shift(self, dy: int, dx: int) -> Box:
        """The same box ``dy`` rows higher and ``dx`` columns to the right."""
        return Box(self.y0 + dy, self.y1 + dy, self.x0 + dx, self.x1 + dx)

    def relative_to(self, origin: Box) -> Box:
        """The same pixels counted from the first pixel of ``origin``."""
        return self.shift(-origin.y0, -origin.x0)

    def flip(self, shape: tuple[int, int], flip_y: bool, flip_x: bool) -> Box:
        """Where the box lies after an array of ``shape`` is flipped."""
        y0, y1 = (shape[0] - self.y1, shape[0] - self.y0) if flip_y else (self.y0, self.y1)
        x0, x1 = (shape[1] - self.x1, shape[1] - self.x0) if flip_x else (self.x0, self.x1)
        return Box(y0, y1, x0, x1)

    def transpose(self) -> Box:
        """The box with rows and columns exchanged."""
        return Box(self.x0, self.x1, self.y0, self.y1)

    def to_section(self) -> str:
        """FITS section string: one-based, inclusive, columns first, e.g. ``[33:1056,1:4612]``."""
        return f"[{self.x0 + 1}:{self.x1},{self.y0 + 1}:{self.y1}]"


@attrs.frozen
class Section:
    """A FITS section: its box, and which axes it runs through backwards."""

    box: Box
    flip_y: bool = False
    flip_x: bool = False

    @classmethod
    def parse(cls, text: str) -> Section:
        """Read ``[x1:x2,y1:y2]`` (one-based, inclusive; a reversed range means a flip).

        Raises `GeometryError` when the text is no section or starts below pixel 1.
        """
        found = _SECTION.fullmatch(text.strip())
        if found is None:
            raise GeometryError(f"{text!r} is not a FITS section; it should look like '[1:2048,1:4612]'")
        x1, x2, y1, y2 = (int(number) for number in found.groups())
        if min(x1, x2, y1, y2) < 1:
            raise GeometryError(f"FITS section {text!r} starts below pixel 1")
        box = Box(min(y1, y2) - 1, max(y1, y2), min(x1, x2) - 1, max(x1, x2))
        return cls(box, flip_y=y2 < y1, flip_x=x2 < x1)

    def __str__(self) -> str:
        """The section as FITS writes it."""
        x = (self.box.x0 + 1, self.box.x1)
        y = (self.box.y0 + 1, self.box.y1)
        (x1, x2), (y1, y2) = x[:: -1 if self.flip_x else 1], y[:: -1 if self.flip_y else 1]
        return f"[{x1}:{x2},{y1}:{y2}]"


def flip(array: npt.NDArray[Any], flip_y: bool, flip_x: bool) -> npt.NDArray[Any]:
    """A view of the array with rows and/or columns in reverse order."""
    return array[:: -1 if flip_y else 1, :: -1 if flip_x else 1]


def are_disjoint(boxes: Iterable[Box]) -> bool:
    """Whether no two boxes share a pixel."""
    kept: list[Box] = []
    for box in boxes:
        if any(box.intersect(other).area for other in kept):
            return False
        kept.append(box)
    return True


def do_tile(boxes: Iterable[Box], whole: Box) -> bool:
    """Whether the boxes cover ``whole`` exactly once."""
    parts = list(boxes)
    inside = all(whole.contains(part) for part in parts)
    return inside and are_disjoint(parts) and sum(part.area for part in parts) == whole.area


def covers(boxes: npt.NDArray[np.integer[Any]], whole: Box) -> bool:
    """Whether the union of ``boxes`` (rows of y0, y1, x0, x1) covers ``whole``.

    Works on the grid of the boxes' edges, so its cost does not depend on the number of pixels.
    """
    edges_y = np.unique(np.clip(np.append(boxes[:, :2].ravel(), (whole.y0, whole.y1)), whole.y0, whole.y1))
    edges_x = np.unique(np.clip(np.append(boxes[:, 2:].ravel(), (whole.x0, whole.x1)), whole.x0, whole.x1))
    covered = np.zeros((len(edges_y) - 1, len(edges_x) - 1), dtype=bool)
    for y0, y1, x0, x1 in boxes:
        rows = (edges_y[:-1] >= y0) & (edges_y[1:] <= y1)
        columns = (edges_x[:-1] >= x0) & (edges_x[1:] <= x1)
        covered |= rows[:, None] & columns[None, :]
    return bool(covered.all())


@attrs.frozen
class Gather:
    """One rectangle moved from a raw frame to its place in the assembled one.

    ``box`` of the target receives ``raw_box`` of the source, flipped as told; both have one shape.
    """

    raw_box: Box
    box: Box
    flip_y: bool = False
    flip_x: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse a move that would change the shape."""
        if self.raw_box.shape != self.box.shape:
            raise GeometryError(f"cannot move raw box {self.raw_box} into {self.box}: their shapes differ")

    def read(self, source: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """View of the source pixels in the order of the target."""
        return flip(source[self.raw_box.slices], self.flip_y, self.flip_x)

    def is_identity(self) -> bool:
        """Whether the rectangle stays where it is."""
        return self.raw_box == self.box and not (self.flip_x or self.flip_y)

    def inverse(self) -> Gather:
        """The move back (scatter)."""
        return Gather(self.box, self.raw_box, self.flip_y, self.flip_x)
