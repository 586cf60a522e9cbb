"""Where pixels are: on a detector, in the focal plane and in the field of view.

Coordinates are double precision arrays of any one shape. Pixels count from 0 in the trimmed detector, whole
numbers being centres; focal-plane coordinates are in mm; field angles in radian from the optical axis, along
the same directions. Every function maps x and y to x and y.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.polynomial.polynomial import polyval

from isrcore.camera import Camera, CameraError, Detector

Coordinates = npt.NDArray[np.float64]
Pair = tuple[Coordinates, Coordinates]

_ARCSEC = math.degrees(1) * 3600
# Newton's method doubles the number of correct digits, and no optical distortion is far from linear.
_MAX_ITERATIONS = 50


def pixel_to_focal_plane(detector: Detector, x: npt.ArrayLike, y: npt.ArrayLike) -> Pair:
    """Pixels of the trimmed detector to mm: the offset plus the turned distance from the reference pixel.

    Raises `CameraError` when the detector has no pixel size.
    """
    size, (cos, sin) = _pixel_size(detector), _direction(detector)
    dx = (_array(x) - detector.reference_pixel[0]) * size
    dy = (_array(y) - detector.reference_pixel[1]) * size
    return detector.offset_mm[0] + cos * dx - sin * dy, detector.offset_mm[1] + sin * dx + cos * dy


def focal_plane_to_pixel(detector: Detector, x_mm: npt.ArrayLike, y_mm: npt.ArrayLike) -> Pair:
    """The inverse of `pixel_to_focal_plane`, also for places outside the detector."""
    size, (cos, sin) = _pixel_size(detector), _direction(detector)
    dx, dy = _array(x_mm) - detector.offset_mm[0], _array(y_mm) - detector.offset_mm[1]
    return (
        detector.reference_pixel[0] + (cos * dx + sin * dy) / size,
        detector.reference_pixel[1] + (cos * dy - sin * dx) / size,
    )


def focal_plane_to_field(camera: Camera, x_mm: npt.ArrayLike, y_mm: npt.ArrayLike) -> Pair:
    """Focal plane to field angles: the camera's radial polynomial solved for the angle by Newton's method.

    Exact to rounding; the direction from the axis stays. Raises `CameraError` when the camera states no
    polynomial, ValueError for a radius that it does not reach.
    """
    x, y = _array(x_mm), _array(y_mm)
    radius = np.hypot(x, y)
    scale = np.divide(
        _angle_at(camera, radius), radius, out=np.full(radius.shape, 1 / _linear(camera)), where=radius > 0
    )
    return x * scale, y * scale


def field_to_focal_plane(camera: Camera, x_rad: npt.ArrayLike, y_rad: npt.ArrayLike) -> Pair:
    """Field angles to the focal plane: radius = c1·θ + c2·θ² + ... of ``camera.field_to_mm``."""
    x, y = _array(x_rad), _array(y_rad)
    coefficients = _coefficients(camera)
    # One power less than the polynomial's: the factor by which the angle is multiplied, finite on the axis.
    scale = polyval(np.hypot(x, y), coefficients)
    return x * scale, y * scale


def plate_scale(camera: Camera, x_mm: npt.ArrayLike = 0.0, y_mm: npt.ArrayLike = 0.0) -> Coordinates:
    """Arcsec on the sky per mm in the focal plane, along the radius, at a place (default: on the axis)."""
    angle = _angle_at(camera, np.hypot(_array(x_mm), _array(y_mm)))
    return np.asarray(_ARCSEC / polyval(angle, _slope(camera)))


def detector_corners(detector: Detector) -> Coordinates:
    """The outer corners of a detector in the focal plane, shape (4, 2), mm.

    In the order of the pixel corners (0, 0), (nx, 0), (nx, ny), (0, ny).
    """
    ny, nx = detector.shape
    corners = np.array([(0, 0), (nx, 0), (nx, ny), (0, ny)]) - 0.5
    return np.stack(pixel_to_focal_plane(detector, corners[:, 0], corners[:, 1]), axis=1)


def regular_polygon(x_mm: float, y_mm: float, radius_mm: float, corners: int) -> Coordinates:
    """The corners (n, 2) of a regular polygon in a circle, counterclockwise from the angle 0."""
    angles = 2 * np.pi * np.arange(corners) / corners
    return np.stack((x_mm + radius_mm * np.cos(angles), y_mm + radius_mm * np.sin(angles)), axis=1)


def intersect_detector(detector: Detector, polygon_mm: npt.ArrayLike) -> Coordinates | None:
    """The part of a detector inside a polygon (n, 2) of the focal plane, mm: its corners (m, 2) in pixels.

    Counterclockwise as seen with y upwards, each corner once. None when they do not overlap. Raises
    ValueError for a polygon that crosses itself or leaves several parts of the detector, `CameraError` when
    the detector has no pixel size.
    """
    import shapely

    corners = np.asarray(polygon_mm, dtype=np.float64)
    x, y = focal_plane_to_pixel(detector, corners[:, 0], corners[:, 1])
    ny, nx = detector.shape
    given, whole = shapely.Polygon(np.stack((x, y), axis=1)), shapely.box(-0.5, -0.5, nx - 0.5, ny - 0.5)
    if not given.is_valid:
        raise ValueError(f"the polygon is none: {shapely.is_valid_reason(given)}; give corners in order")
    # Where they only touch, what they have in common is a point or a line.
    parts = [part for part in shapely.get_parts(given.intersection(whole)) if part.area > 0]
    if len(parts) > 1:
        raise ValueError(
            f"the polygon leaves {len(parts)} separate parts of detector {detector.name!r}, not one\n"
            "  give a polygon without arms or bays that cross the detector"
        )
    return _ring(parts[0]) if parts else None


def _ring(part: Any) -> Coordinates:
    """The corners of a polygon of shapely's, counterclockwise, without the first one again at the end."""
    corners = np.array(part.exterior.coords)[:-1]
    corners = corners if part.exterior.is_ccw else corners[::-1]
    # From the lowest, leftmost corner on, whichever shapely happens to start with.
    first = np.lexsort((corners[:, 0], corners[:, 1]))[0]
    return np.roll(corners, -first, axis=0)


def _array(values: npt.ArrayLike) -> Coordinates:
    return np.asarray(values, dtype=np.float64)


def _pixel_size(detector: Detector) -> float:
    if not detector.pixel_size_mm > 0:
        raise CameraError(
            f"detector {detector.name!r} has no pixel size, so its place in the focal plane is not known\n"
            "  give pixel_size_mm in the camera table"
        )
    return detector.pixel_size_mm


def _direction(detector: Detector) -> tuple[float, float]:
    """Cosine and sine of the detector's turn; exact for right angles, so that such a turn moves no pixel."""
    quarters, rest = divmod(detector.yaw_deg, 90)
    if not rest:
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarters) % 4]
    angle = math.radians(detector.yaw_deg)
    return math.cos(angle), math.sin(angle)


def _coefficients(camera: Camera) -> tuple[float, ...]:
    """The camera's polynomial, from the power 1 on."""
    if not camera.field_to_mm:
        raise CameraError(
            f"camera {camera.name!r} does not say where a field angle falls in its focal plane\n"
            "  give field_to_mm, the coefficients of the radius in mm from the first power of radian on"
        )
    return camera.field_to_mm


def _linear(camera: Camera) -> float:
    """Mm per radian on the axis."""
    return _coefficients(camera)[0]


def _slope(camera: Camera) -> list[float]:
    """Coefficients of the derivative of the polynomial, mm per radian."""
    return [power * c for power, c in enumerate(_coefficients(camera), start=1)]


def _angle_at(camera: Camera, radius: Coordinates) -> Coordinates:
    """The angle in radian that falls at a radius in mm."""
    polynomial = [0.0, *_coefficients(camera)]
    slope = _slope(camera)
    angle = radius / _linear(camera)
    for _ in range(_MAX_ITERATIONS):
        step = (polyval(angle, polynomial) - radius) / polyval(angle, slope)
        angle = angle - step
        if np.all(np.abs(step) <= 16 * np.spacing(np.abs(angle))):
            return angle
    raise ValueError(
        f"the polynomial of camera {camera.name!r} does not reach a radius of {np.max(radius):g} mm\n"
        "  give a place in the focal plane"
    )
