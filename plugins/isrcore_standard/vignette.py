"""Say which part of the detector the optics reach (behaviour §2.22 and 2.23; §9 fault 27)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    AmpView,
    Calibrations,
    CameraError,
    Config,
    Exposure,
    FlagBoxes,
    Measurement,
    Op,
    PixelStep,
    Skip,
    StepSpec,
    field,
    focal_plane,
    stepspecs,
)

# A pixel whose centre is on the edge counts as inside, whatever rounding does to the edge.
_ON_EDGE = 1e-7


class VignetteConfig(Config):
    """Where light comes through, and what is made of it."""

    xCenter: float = field(0.0, "Centre of the lit circle in the focal plane, mm.")
    yCenter: float = field(0.0, "Centre of the lit circle in the focal plane, mm.")
    radius: float = field(100.0, "Radius of the lit circle, mm.", minimum=0.0)
    numPolygonPoints: int = field(100, "Corners of the polygon that stands for the circle.", minimum=3)
    doMask: bool = field(True, "Flag the pixels outside.")
    plane: str = field("NO_DATA", "Mask plane to set.")
    doWriteVignettePolygon: bool = field(False, "Attach the lit part of the detector as valid polygon.")


@attrs.frozen(eq=False)
class VignetteMeasurement(Measurement):
    """Corners x, y (n, 2), in pixels, of the lit polygon and of its part on the detector (None: nothing)."""

    polygon: focal_plane.Coordinates
    valid: focal_plane.Coordinates | None


class Vignette(PixelStep):
    """Flag pixels whose centre is outside a regular polygon in the lit circle, and attach that polygon."""

    spec, per = stepspecs.VIGNETTE, "detector"
    ConfigClass = VignetteConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Nothing to do when the polygon is not used."""
        if not (self.config.doMask or self.config.doWriteVignettePolygon):
            return Skip("vignette.doMask and .doWriteVignettePolygon are both false")
        return attrs.evolve(self.spec, planes={self.config.plane} if self.config.doMask else ())

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The detector must have a place in the focal plane."""
        try:
            focal_plane.detector_corners(exposure.detector)
        except CameraError as fault:
            yield str(fault)

    def measure(self, view: AmpView) -> VignetteMeasurement:
        """The polygon in pixels, and its part on the detector."""
        c = self.config
        corners = focal_plane.regular_polygon(c.xCenter, c.yCenter, c.radius, c.numPolygonPoints)
        # A circle without area is no polygon, and no light comes through it.
        valid = focal_plane.intersect_detector(view.detector, corners) if c.radius else None
        x, y = focal_plane.focal_plane_to_pixel(view.detector, corners[:, 0], corners[:, 1])
        return VignetteMeasurement(np.stack((x, y), axis=1), valid)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Row by row what is left and right of the polygon, equal rows together."""
        if self.config.doMask:
            boxes = _outside(view.measurement.polygon, view.box.shape)
            yield FlagBoxes(boxes, view.bits(self.config.plane))

    def finish(self, exposure: Exposure) -> None:
        """Attach the polygon."""
        valid = exposure.measured[self.spec.name][exposure.detector.name].valid
        if valid is None:
            self.log.warning("%s: no light reaches the detector", exposure.label)
        elif self.config.doWriteVignettePolygon:
            exposure.valid_polygon = valid


def _outside(polygon: focal_plane.Coordinates, shape: tuple[int, int]) -> npt.NDArray[np.int64]:
    """The pixels (ny, nx) outside a convex polygon, as boxes y0, y1, x0, x1 that do not overlap."""
    ny, nx = shape
    left, right = _spans(polygon, ny)
    first = np.clip(np.ceil(left - _ON_EDGE), 0, nx).astype(np.int64)
    end = np.clip(np.floor(right + _ON_EDGE) + 1, 0, nx).astype(np.int64)
    # A row without any pixel inside is one box, from the first column on.
    first[first >= end], end[first >= end] = nx, nx
    whole = np.full(ny, nx, np.int64)
    return np.vstack((_columns(np.zeros_like(first), first), _columns(end, whole)))


def _spans(polygon: focal_plane.Coordinates, ny: int) -> tuple[focal_plane.Coordinates, ...]:
    """Where every row enters and leaves the polygon; +inf and -inf where it misses it."""
    left, right = np.full(ny, np.inf), np.full(ny, -np.inf)
    for start, stop in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        (x0, y0), (x1, y1) = sorted((start, stop), key=lambda corner: float(corner[1]))
        rows = slice(max(int(np.ceil(y0 - _ON_EDGE)), 0), max(int(np.floor(y1 + _ON_EDGE)) + 1, 0))
        y = np.clip(np.arange(ny, dtype=float)[rows], y0, y1)
        # Along a row the edge covers all from one end to the other.
        x, other = (x0 + (y - y0) * (x1 - x0) / (y1 - y0),) * 2 if y1 > y0 else (x0, x1)
        left[rows] = np.minimum(left[rows], np.minimum(x, other))
        right[rows] = np.maximum(right[rows], np.maximum(x, other))
    return left, right


def _columns(x0: npt.NDArray[np.int64], x1: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Boxes of the columns from x0 to x1 of every row, equal ones below each other made one."""
    is_new = np.ones(len(x0), bool)
    is_new[1:] = (np.diff(x0) != 0) | (np.diff(x1) != 0)
    starts = np.flatnonzero(is_new)
    stops = np.append(starts[1:], len(x0))
    boxes = np.stack((starts, stops, x0[starts], x1[starts]), axis=1)
    return boxes[boxes[:, 2] < boxes[:, 3]]
