"""Checks of where a camera's detectors are in the focal plane, and of the way from there to the sky."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from isrcore import focal_plane
from isrcore.camera import Camera, Detector
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, Refuted, checks
from isrcore.testing.search import search

# Rounding of doubles, some thousand times over: what is lost beyond that is lost by the camera's numbers.
_PIXELS = 1e-6
_RELATIVE = 1e-9


@checks("every pixel comes back from the focal plane")
def check_focal_plane(case: CameraCase) -> Iterator[Fault]:
    """Pixels to mm and back, for every detector with a pixel size: the corners of all, then any place."""
    placed, found = _placed(case), []
    for detector in placed:
        try:
            _comes_back(detector, (detector.shape[1] - 0.5, detector.shape[0] - 0.5))
        except Refuted as refuted:
            found.append(refuted.fault)
    yield from found
    if not found:
        search(_places(placed))(lambda place: _comes_back(*place))()


def _placed(case: CameraCase) -> list[Detector]:
    """Detectors whose place is known. Raises NotApplicable when there are none."""
    placed = [detector for detector in case.camera.detectors if detector.pixel_size_mm > 0]
    if not placed:
        raise NotApplicable("no detector has pixel_size_mm, so places in the focal plane are not known")
    return placed


def _places(placed: list[Detector]) -> st.SearchStrategy[tuple[Detector, tuple[float, float]]]:
    """Detectors, and places x, y on them."""
    return st.sampled_from(placed).flatmap(
        lambda detector: st.tuples(
            st.just(detector),
            st.tuples(*(st.integers(0, 2 * size - 1).map(lambda n: n / 2) for size in detector.shape[::-1])),
        )
    )


def _comes_back(detector: Detector, place: tuple[float, float]) -> None:
    """The law: a place x, y of a detector is found again."""
    x_mm, y_mm = focal_plane.pixel_to_focal_plane(detector, *place)
    back = focal_plane.focal_plane_to_pixel(detector, x_mm, y_mm)
    found = tuple(float(value) for value in back)
    if not max(abs(one - other) for one, other in zip(found, place, strict=True)) <= _PIXELS:
        raise Refuted(
            Fault(
                f"detector {detector.name!r}: a pixel does not come back from the focal plane",
                f"pixel {place} is at ({float(x_mm):g}, {float(y_mm):g}) mm, and that is pixel {found}",
                f"correct offset_mm {detector.offset_mm}, reference_pixel {detector.reference_pixel}, "
                f"yaw_deg {detector.yaw_deg!r} or pixel_size_mm {detector.pixel_size_mm!r}",
            )
        )


@checks("no two detectors lie in the same place of the focal plane")
def check_mosaic(case: CameraCase) -> Iterator[Fault]:
    """Detectors do not overlap by more than half a pixel."""
    import shapely

    placed = _placed(case)
    corners = {detector.name: focal_plane.detector_corners(detector) for detector in placed}
    if unknown := [name for name, found in corners.items() if not np.isfinite(found).all()]:
        yield Fault(
            f"detectors {', '.join(unknown)} lie nowhere: their place is not finite",
            f"corners of {unknown[0]!r}: {corners[unknown[0]].tolist()}",
            "give finite offset_mm, reference_pixel and yaw_deg",
        )
        return
    for one, other in combinations(placed, 2):
        common = shapely.Polygon(corners[one.name]).intersection(shapely.Polygon(corners[other.name]))
        width = min(one.pixel_size_mm, other.pixel_size_mm)
        # Neighbours may touch: what they share by rounding is thinner than half a pixel.
        if common.buffer(-width / 4).area > 0:
            yield Fault(
                f"detectors {one.name!r} and {other.name!r} lie on top of each other",
                f"offset_mm {one.offset_mm} and {other.offset_mm} share {common.area:.4g} mm^2",
                "correct offset_mm, reference_pixel or yaw_deg of one",
            )


@checks("every place in the focal plane comes back from the field of view")
def check_field(case: CameraCase) -> Iterator[Fault]:
    """Focal plane to field angles and back, over all detectors."""
    camera = case.camera
    if not camera.field_to_mm:
        raise NotApplicable("the camera states no field_to_mm, so field angles are not known")
    reach = _reach(camera)
    search(st.floats(0.0, 1.0).map(lambda part: part * reach))(_angle_comes_back(camera))()
    yield from ()


def _reach(camera: Camera) -> float:
    """The distance of the farthest corner from the axis, mm; 1 where no detector has a place."""
    placed = [detector for detector in camera.detectors if detector.pixel_size_mm > 0]
    corners = [focal_plane.detector_corners(detector) for detector in placed]
    reach = float(np.max(np.hypot(*np.concatenate(corners).T))) if corners else 1.0
    return reach if math.isfinite(reach) else 1.0


def _angle_comes_back(camera: Camera) -> Callable[[float], None]:
    """The law, for a distance from the axis in mm."""

    def law(radius: float) -> None:
        with np.errstate(all="ignore"):
            found = _there_and_back(camera, radius)
        if isinstance(found, str) or not abs(found - radius) <= _RELATIVE * max(radius, 1e-3):
            raise Refuted(
                Fault(
                    "the transform from the focal plane to the field cannot be inverted",
                    f"{radius:g} mm from the axis: " + (found if isinstance(found, str) else f"{found:g} mm"),
                    f"correct field_to_mm {list(camera.field_to_mm)}: its polynomial must rise from the axis "
                    "to the farthest corner, first coefficient in mm per radian",
                )
            )

    return law


def _there_and_back(camera: Camera, radius: float) -> float | str:
    """The radius by way of the field angle; what went wrong otherwise."""
    try:
        angle, _ = focal_plane.focal_plane_to_field(camera, radius, 0.0)
        back: npt.NDArray[np.float64] = focal_plane.field_to_focal_plane(camera, angle, 0.0)[0]
    except (ArithmeticError, ValueError) as fault:
        return str(fault)
    if not (math.isfinite(float(angle)) and float(angle) >= 0):
        return f"the field angle is {float(angle):g} radian"
    return float(back)
