"""Small detectors laid out like large ones, so that laws about pixels take no time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import attrs

from isrcore.camera import Amplifier, Detector
from isrcore.geometry import Box, GeometryError

# Sections longer than this are shortened: more rows or columns show nothing new.
_LONGEST = 24

_PARTS = ("raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")
# From a place in pixels to the place in the small frame.
Scale = Callable[[int], int]


def small_twin(detector: Detector) -> Detector:
    """The detector with every stretch between two edges of boxes at most some twenty pixels long.

    Which box lies where, which touch, and what is flipped stay as they are, and so do names and levels; the
    places of the focal plane shrink with the boxes. The detector itself where its boxes do not allow that.
    """
    boxes = [getattr(amp, name) for amp in detector.amplifiers for name in _PARTS]
    raw = _scales([*boxes, Box.of_shape(detector.raw_shape)])
    trimmed = _scales([*(amp.box for amp in detector.amplifiers), Box.of_shape(detector.shape)])
    try:
        return attrs.evolve(
            detector,
            shape=(trimmed[0](detector.shape[0]), trimmed[1](detector.shape[1])),
            raw_shape=(raw[0](detector.raw_shape[0]), raw[1](detector.raw_shape[1])),
            amplifiers=tuple(_shrunk(amp, raw, trimmed) for amp in detector.amplifiers),
        )
    except GeometryError:
        # Amplifiers whose data another one's edges cut differently before and after assembly.
        return detector


def _scales(boxes: Iterable[Box]) -> tuple[Scale, Scale]:
    """How rows and columns become fewer."""
    found = [box for box in boxes if box.area]
    return (
        _scale(edge for box in found for edge in (box.y0, box.y1)),
        _scale(edge for box in found for edge in (box.x0, box.x1)),
    )


def _scale(edges: Iterable[int]) -> Scale:
    """Edges to new ones; stretches of one length keep one length, unequal ones mostly differ."""
    ordered = sorted({0, *edges})
    places = {ordered[0]: ordered[0]}
    for low, high in pairwise(ordered):
        places[high] = places[low] + _shortened(high - low)
    return places.__getitem__


def _shortened(length: int) -> int:
    return length if length <= _LONGEST else _LONGEST - 7 + length % 8


def _shrunk(amp: Amplifier, raw: tuple[Scale, Scale], trimmed: tuple[Scale, Scale]) -> Amplifier:
    """The amplifier with smaller boxes."""
    parts: dict[str, Any] = {name: _box(getattr(amp, name), raw) for name in _PARTS}
    return attrs.evolve(amp, box=_box(amp.box, trimmed), **parts)


def _box(box: Box, scales: tuple[Scale, Scale]) -> Box:
    """The box in the small frame; one without pixels as it is."""
    if not box.area:
        return box
    y, x = scales
    return Box(y(box.y0), y(box.y1), x(box.x0), x(box.x1))
