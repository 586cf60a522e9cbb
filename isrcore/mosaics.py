"""Pictures of several detectors of one exposure, each at its place in the focal plane."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs
import numpy as np

from isrcore.camera import Detector
from isrcore.exposure import Exposure
from isrcore.image import MaskPlanes
from isrcore.pictures import (
    GAP,
    Name,
    Picture,
    PictureStyle,
    Tile,
    describe,
    make_picture,
    reduce_exposure,
)

# Between detectors of a camera that says nothing of their places, as a part of their width.
_GAP_SHARE = 0.06


@attrs.frozen
class Place:
    """Where a detector lies: ``y0``, ``x0`` of its lowest corner and its turned ``shape``, in its pixels.

    ``turns`` are quarter turns counter-clockwise, as one sees the picture.
    """

    detector: Detector
    y0: float
    x0: float
    shape: tuple[int, int]
    turns: int = 0


def lay_out(detectors: Sequence[Detector]) -> tuple[Place, ...]:
    """The detectors as in the focal plane (x to the right, y up), the lowest and leftmost pixel at 0.

    From ``offset_mm``, ``reference_pixel`` and ``yaw_deg``, the latter to the nearest quarter turn. Side by
    side in the order given when the camera's description has no pixel size, or has several.
    """
    pitch, *others = {detector.pixel_size_mm for detector in detectors}
    places = _side_by_side(detectors) if others or pitch <= 0 else [_place(d, pitch) for d in detectors]
    low_y, low_x = min(place.y0 for place in places), min(place.x0 for place in places)
    return tuple(attrs.evolve(place, y0=place.y0 - low_y, x0=place.x0 - low_x) for place in places)


def _place(detector: Detector, pitch: float) -> Place:
    """A detector at its offset; coordinates in pixels from the middle of the focal plane."""
    turns = round(detector.yaw_deg / 90.0) % 4
    (ny, nx), (ref_x, ref_y) = detector.shape, detector.reference_pixel
    corners = [(x - ref_x, y - ref_y) for x in (-0.5, nx - 0.5) for y in (-0.5, ny - 0.5)]
    for _ in range(turns):
        corners = [(-y, x) for x, y in corners]
    off_x, off_y = (offset / pitch for offset in detector.offset_mm)
    shape = (nx, ny) if turns % 2 else (ny, nx)
    x0, y0 = min(x for x, _ in corners) + off_x, min(y for _, y in corners) + off_y
    return Place(detector, y0, x0, shape, turns)


def _side_by_side(detectors: Sequence[Detector]) -> list[Place]:
    """The detectors in a row."""
    places, x = [], 0.0
    for detector in detectors:
        places.append(Place(detector, 0.0, x, detector.shape))
        x += math.ceil(detector.shape[1] * (1 + _GAP_SHARE))
    return places


def draw_focal_plane(
    detectors: Sequence[Detector],
    exposures: Iterable[Exposure],
    style: PictureStyle | None = None,
    title: str = "",
) -> Picture:
    """A picture of all ``detectors`` on one scale, assembled; raw ones as `PictureStyle.is_trimmed` says.

    ``exposures`` are taken one at a time and let go of at once, so that an iterator needs the memory of one
    detector. A detector without exposure stays dark. Raises `MaskPlaneError` for planes an exposure lacks,
    and LookupError for an exposure of another detector.
    """
    canvas = _Canvas(lay_out(detectors), attrs.evolve(style or PictureStyle(), is_trimmed=True))
    unit = ""
    for exposure in exposures:
        title, unit = title or describe(exposure, f"{len(detectors)} detectors"), exposure.unit
        canvas.add(exposure)
    picture = make_picture(canvas.tile(), canvas.style, unit, title, canvas.factor, canvas.names())
    pixels = picture.pixels.copy()
    pixels[~canvas.is_covered] = GAP
    return attrs.evolve(picture, pixels=pixels)


class _Canvas:
    """The focal plane, in squares of ``factor`` x ``factor`` pixels."""

    def __init__(self, places: Sequence[Place], style: PictureStyle) -> None:
        self.places = {place.detector.name: place for place in places}
        self.style = style
        height = max(place.y0 + place.shape[0] for place in places)
        width = max(place.x0 + place.shape[1] for place in places)
        # One square more than that many are needed where detectors do not begin at a whole square.
        self.factor = math.ceil(max(height, width) / (style.size - 1))
        ends = [self._corner(place) + self._size(place) for place in places]
        shape = max(y + ny for y, _, ny, _ in ends), max(x + nx for _, x, _, nx in ends)
        self.values = np.full(shape, np.nan, np.float32)
        self.flags = np.zeros(shape, np.int32)
        self.is_covered = np.zeros(shape, bool)
        self.planes = MaskPlanes()
        self.counts: dict[str, int] = {}
        self.not_finite = self.total = 0

    def _corner(self, place: Place) -> tuple[int, int]:
        """The lowest square of a detector."""
        return round(place.y0 / self.factor), round(place.x0 / self.factor)

    def _size(self, place: Place) -> tuple[int, int]:
        """How many squares a detector takes."""
        return -(-place.shape[0] // self.factor), -(-place.shape[1] // self.factor)

    def add(self, exposure: Exposure) -> None:
        """Put an exposure at its place. Raises LookupError when it has none."""
        name = exposure.detector.name
        if name not in self.places:
            raise LookupError(f"{exposure.label} is not among detectors {', '.join(self.places)}; add it")
        self.planes = self.planes.with_planes(exposure.planes)
        tile = reduce_exposure(exposure, self.style, self.factor)
        place = self.places[name]
        (y, x), turns = self._corner(place), -place.turns
        values = np.rot90(tile.values, turns)
        part = slice(y, y + values.shape[0]), slice(x, x + values.shape[1])
        self.values[part] = values
        self.flags[part] = np.rot90(self.planes.remap(tile.flags, tile.planes), turns)
        self.is_covered[part] = True
        for plane, count in tile.counts.items():
            self.counts[plane] = self.counts.get(plane, 0) + count
        self.not_finite += tile.not_finite
        self.total += tile.total

    def tile(self) -> Tile:
        """All there is, as one."""
        return Tile(self.values, self.flags, self.planes, self.counts, self.not_finite, self.total)

    def names(self) -> tuple[Name, ...]:
        """The detectors' names at their places."""
        return tuple(
            Name(name, self._corner(place), self._size(place)) for name, place in self.places.items()
        )
