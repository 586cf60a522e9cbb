"""Raw frames put together from the images of a file: a place of its own for every amplifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import attrs

from isrcore.camera import CameraError, Detector
from isrcore.geometry import Box, Section, are_disjoint

#: Sections of an amplifier in the raw frame besides the whole.
PARTS = ("raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")

Sections = dict[str, dict[str, Any]]
Shape = tuple[int, int]
_Run = tuple[int, int]


@attrs.frozen
class Move:
    """A rectangle of an amplifier's image in the file and its place in the raw frame."""

    amplifier: str
    source: Box
    target: Box


@attrs.frozen
class Layout:
    """A detector, the moves that make its raw frame, and the shapes of the images in the file by amplifier.

    Without moves the image in the file is the raw frame.
    """

    detector: Detector
    moves: tuple[Move, ...] = ()
    shapes: Mapping[str, Shape] = attrs.field(factory=dict)


def lay_side_by_side(found: Sections) -> tuple[Shape, tuple[Move, ...], dict[str, Shape]]:
    """Images of their own, one per amplifier, beside each other; sections are moved with them.

    Shape of the raw frame, moves, and shapes of the images. Raises `CameraError`.
    """
    x0, moves, shapes = 0, [], {}
    for name, values in found.items():
        whole = values["raw_box"].box
        if whole.y0 or whole.x0:
            raise CameraError(f"amplifier {name!r}: raw_box of an HDU of its own begins at [1,1]")
        target = whole.shift(0, x0)
        moves.append(Move(name, whole, target))
        shapes[name] = whole.shape
        for key in ("raw_box", *PARTS):
            if key in values:
                values[key] = attrs.evolve(values[key], box=values[key].box.shift(0, x0))
        x0 += whole.width
    return (max(shape[0] for shape in shapes.values()), x0), tuple(moves), shapes


def lay_apart(found: Sections, shape: Shape) -> tuple[Shape, tuple[Move, ...], dict[str, Shape]]:
    """Amplifiers of one image, apart from each other where the parts of one lie round those of another.

    The rows and columns of an amplifier's parts are moved together; nothing moves when no two are entangled.
    """
    wholes = [values["raw_box"].box for values in found.values()]
    if are_disjoint(wholes) or len(found) == 1:
        return shape, (), {}
    x0, moves, height = 0, list[Move](), 0
    for name, values in found.items():
        boxes = [values[key].box for key in PARTS if key in values]
        rows, columns = _runs((b.y0, b.y1) for b in boxes), _runs((b.x0, b.x1) for b in boxes)
        for row, column in product(rows, columns):
            y, x = _moved(row[0], rows), x0 + _moved(column[0], columns)
            source = Box(*row, *column)
            moves.append(Move(name, source, Box(y, y + source.height, x, x + source.width)))
        for key in PARTS:
            if key in values:
                box = values[key].box
                place = box.shift(_moved(box.y0, rows) - box.y0, x0 + _moved(box.x0, columns) - box.x0)
                values[key] = attrs.evolve(values[key], box=place)
        size = sum(b - a for a, b in rows), sum(b - a for a, b in columns)
        values["raw_box"] = Section(Box.of_shape(size).shift(0, x0))
        height, x0 = max(height, size[0]), x0 + size[1]
    return (height, x0), tuple(moves), dict.fromkeys(found, shape)


def _runs(ranges: Iterable[_Run]) -> list[_Run]:
    """Ranges that touch or overlap as one."""
    runs: list[_Run] = []
    for start, stop in sorted(ranges):
        if runs and start <= runs[-1][1]:
            runs[-1] = runs[-1][0], max(stop, runs[-1][1])
        else:
            runs.append((start, stop))
    return runs


def _moved(place: int, runs: list[_Run]) -> int:
    """How many pixels of the runs lie before a place in one of them."""
    return sum(min(stop, place) - start for start, stop in runs if start < place)
