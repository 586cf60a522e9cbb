"""Laws of the vignette: mask and polygon say the same, and what no light reaches is what geometry says."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import CameraError, Detector, PlanError, focal_plane
from isrcore.testing import strategies
from isrcore.testing.mirror import Mirror
from tests.assembled import assembled
from tests.golden_exposures import make_task

#: Pixels: the geometry is in double precision, mm and back.
ROUNDING = 1e-6


def lit(detector, x=0.0, y=0.0, radius=0.1, corners=12, **settings):
    """The product of an exposure of which a circle is lit."""
    circle = {"vignette__xCenter": x, "vignette__yCenter": y, "vignette__radius": radius}
    task = make_task("doVignette", vignette__numPolygonPoints=corners, **circle, **settings)
    return task.run(assembled(detector, 1.0)).exposure


def polygon_in_pixels(detector, x, y, radius, corners):
    """Straight from the definition, without the functions that are tested."""
    turn, size = math.radians(detector.yaw_deg), detector.pixel_size_mm
    place = np.array([
        (x + radius * math.cos(2 * math.pi * k / corners), y + radius * math.sin(2 * math.pi * k / corners))
        for k in range(corners)
    ])  # fmt: skip
    away = (place - detector.offset_mm) / size
    back = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return away @ back.T + detector.reference_pixel


def depth(polygon, x, y):
    """How far inside a convex polygon, counterclockwise, points are; negative outside."""
    distances = []
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        dx, dy = x1 - x0, y1 - y0
        distances.append((dx * (y - y0) - dy * (x - x0)) / math.hypot(dx, dy))
    return np.min(distances, axis=0)


def clipped(polygon, shape):
    """The part of a convex polygon on the detector (Sutherland and Hodgman 1974, Commun. ACM 17, 32)."""
    ny, nx = shape
    for axis, bound, sign in ((0, -0.5, 1), (0, nx - 0.5, -1), (1, -0.5, 1), (1, ny - 0.5, -1)):
        kept = []
        for start, stop in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
            a, b = sign * (start[axis] - bound), sign * (stop[axis] - bound)
            kept += [start] if a >= 0 else []
            kept += [start + a / (a - b) * (stop - start)] if (a >= 0) != (b >= 0) else []
        polygon = np.array(kept)
        if not len(kept):
            return polygon
    return polygon


def area(polygon):
    if len(polygon) == 0:
        return 0.0
    x, y = np.transpose(polygon)
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


circles = st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.01, 0.3), st.integers(3, 24))


@given(detector=strategies.detectors(), circle=circles)
def test_pixels_are_flagged_where_their_centre_is_outside(detector, circle):
    found = lit(detector, *circle).pixels.flagged("NO_DATA")
    y, x = np.mgrid[: detector.shape[0], : detector.shape[1]]
    inside = depth(polygon_in_pixels(detector, *circle), x, y)
    sure = abs(inside) > ROUNDING
    np.testing.assert_array_equal(found[sure], inside[sure] < 0)


@given(detector=strategies.detectors(), circle=circles)
def test_the_valid_polygon_is_the_lit_part_of_the_detector(detector, circle):
    found = lit(detector, *circle, vignette__doWriteVignettePolygon=True).valid_polygon
    expected = clipped(polygon_in_pixels(detector, *circle), detector.shape)
    if found is None:
        assert area(expected) < ROUNDING
        return
    (ny, nx), (x, y) = detector.shape, found.T
    assert (x >= -0.5).all()
    assert (y >= -0.5).all()
    assert (x <= nx - 0.5).all()
    assert (y <= ny - 0.5).all()
    # Counterclockwise, so positive; the sides are at most some tens of pixels.
    assert area(found) == pytest.approx(area(expected), abs=100 * ROUNDING)
    assert not found.flags.writeable


@given(detector=strategies.detectors(), circle=circles)
def test_the_valid_polygon_holds_the_pixels_without_flag(detector, circle):
    product = lit(detector, *circle, vignette__doWriteVignettePolygon=True)
    flagged = product.pixels.flagged("NO_DATA")
    if product.valid_polygon is None:
        assert flagged.all()
        return
    y, x = np.mgrid[: detector.shape[0], : detector.shape[1]]
    inside = depth(product.valid_polygon, x, y)
    sure = abs(inside) > ROUNDING
    np.testing.assert_array_equal(flagged[sure], inside[sure] < 0)


@given(
    detector=strategies.detectors(),
    circle=circles,
    mirror=st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()),
)
def test_a_mirrored_focal_plane_gives_the_mirrored_mask(detector, circle, mirror):
    x, y, radius, corners = circle
    # With corners at all four ends of the axes the polygon is its own mirror image.
    corners = 4 * corners
    plain = lit(detector, x, y, radius, corners).mask
    mirrored = lit(mirror.detector(detector), *mirror.point(x, y), radius, corners).mask
    np.testing.assert_array_equal(mirror.array(plain), mirrored)


@given(detector=strategies.detectors(), circle=circles)
def test_image_and_variance_stay(detector, circle):
    product = lit(detector, *circle, vignette__doWriteVignettePolygon=True)
    assert (product.image == 1).all()
    assert not product.variance.any()
    assert "vignetting-known" in product.facts


def test_many_corners_are_a_circle():
    detector = attrs.evolve(Detector.of_shape((300, 400)), pixel_size_mm=0.01, offset_mm=(-2.0, -1.5))
    found = lit(detector, radius=1.4, corners=10000).pixels.flagged("NO_DATA")
    y, x = np.mgrid[:300, :400] * 0.01
    distance = np.hypot(x - 2.0, y - 1.5)
    # A chord of one ten-thousandth of the circle is nowhere further from it than 7e-8 of the radius.
    sure = abs(distance - 1.4) > 1e-6
    np.testing.assert_array_equal(found[sure], distance[sure] > 1.4)


@pytest.mark.parametrize("circle", [(5.0, 5.0, 0.1), (0.0, 0.0, 0.0)])
def test_without_light_all_is_flagged_and_no_polygon_set(circle, caplog):
    detector = attrs.evolve(Detector.of_shape((5, 7)), pixel_size_mm=0.01, offset_mm=(0.003, 0.002))
    product = lit(detector, *circle, vignette__doWriteVignettePolygon=True)
    assert product.pixels.flagged("NO_DATA").all()
    assert product.valid_polygon is None
    assert "no light reaches the detector" in caplog.text


def test_example_a_square_on_its_corner():
    detector = attrs.evolve(
        Detector.of_shape((5, 6)), pixel_size_mm=0.01, offset_mm=(0.02, 0.03), reference_pixel=(2.0, 3.0)
    )
    product = lit(detector, 0.02, 0.02, 0.02, 4, vignette__doWriteVignettePolygon=True)
    # Corners at (4, 2), (2, 4), (0, 2), (2, 0): centres on the edges count as inside.
    assert (~product.pixels.flagged("NO_DATA")).astype(int).tolist() == [
        [0, 0, 1, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
    ]
    np.testing.assert_allclose(product.valid_polygon, [(2, 0), (4, 2), (2, 4), (0, 2)], atol=1e-12)


def test_flags_and_polygon_have_switches_of_their_own():
    detector = attrs.evolve(Detector.of_shape((5, 6)), pixel_size_mm=0.01)
    other = lit(detector, radius=0.02, vignette__doMask=False, vignette__doWriteVignettePolygon=True)
    assert not other.mask.any()
    assert other.valid_polygon is not None
    assert lit(detector, radius=0.02).valid_polygon is None
    named = lit(detector, radius=0.02, vignette__plane="DARKNESS")
    assert named.pixels.flagged("DARKNESS").any()
    assert not named.pixels.flagged("NO_DATA").any()
    task = make_task("doVignette", vignette__doMask=False)
    skipped = {p.spec.name: p.reason for p in task.plan(assembled(detector, 1.0)).skipped}
    assert skipped["vignette"] == "vignette.doMask and .doWriteVignettePolygon are both false"


def test_a_detector_without_a_place_is_refused_before_any_pixel_is_touched():
    with pytest.raises(PlanError, match="'vignette': detector 'unnamed' has no pixel size"):
        lit(Detector.of_shape((2, 2)))


# A detector of 10 by 20 pixels of 0.1 mm, its middle on the axis, turned by a right angle.
TURNED = attrs.evolve(
    Detector.of_shape((20, 10)), pixel_size_mm=0.1, reference_pixel=(4.5, 9.5), yaw_deg=90.0
)


def test_set_valid_polygon_intersect_cuts_with_the_detector():
    exposure = assembled(TURNED, 1.0, mask=4)
    make_task().setValidPolygonIntersect(exposure, [(-9, -9), (0.25, -9), (0.25, 9), (-9, 9)])
    # Turned: mm x = -(y - 9.5)/10, so that x <= 0.25 is y >= 7.
    expected = [(-0.5, 7), (9.5, 7), (9.5, 19.5), (-0.5, 19.5)]
    np.testing.assert_allclose(exposure.valid_polygon, expected, atol=1e-12)
    assert (exposure.image == 1).all()
    assert (exposure.mask == 4).all()


def test_set_valid_polygon_intersect_keeps_the_whole_detector_inside_a_large_polygon():
    exposure = assembled(TURNED, 1.0)
    make_task().setValidPolygonIntersect(exposure, np.array([(-9, -9), (9, -9), (9, 9), (-9, 9)]))
    np.testing.assert_allclose(
        exposure.valid_polygon, [(-0.5, -0.5), (9.5, -0.5), (9.5, 19.5), (-0.5, 19.5)], atol=1e-12
    )


@pytest.mark.parametrize(
    "polygon",
    [
        [(5, 5), (6, 5), (6, 6)],
        # Touching along the edge at x = 1 mm.
        [(1.0, -0.5), (2.0, -0.5), (2.0, 0.5), (1.0, 0.5)],
    ],
)
def test_set_valid_polygon_intersect_without_overlap_is_a_message_and_nothing_set(polygon, caplog):
    before = np.array([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
    exposure = assembled(TURNED, 1.0, valid_polygon=before)
    make_task().setValidPolygonIntersect(exposure, polygon)
    np.testing.assert_array_equal(exposure.valid_polygon, before)
    assert "the polygon does not reach the detector" in caplog.text


def test_set_valid_polygon_intersect_needs_one_part():
    fork = [(-2, -0.4), (2, -0.4), (2, -0.2), (-1.5, -0.2), (-1.5, 0.2), (2, 0.2), (2, 0.4), (-2, 0.4)]
    with pytest.raises(ValueError, match="leaves 2 separate parts of detector 'unnamed', not one"):
        make_task().setValidPolygonIntersect(assembled(TURNED, 1.0), fork)
    with pytest.raises(ValueError, match="the polygon is none: Self-intersection"):
        make_task().setValidPolygonIntersect(assembled(TURNED, 1.0), [(0, 0), (1, 1), (1, 0), (0, 1)])
    with pytest.raises(CameraError, match="has no pixel size"):
        make_task().setValidPolygonIntersect(
            assembled(Detector.of_shape((2, 2)), 1.0), [(0, 0), (1, 1), (1, 0)]
        )


def test_a_polygon_is_three_finite_corners_or_more():
    for wrong in ([(0, 0), (1, 1)], [(0, 0, 0)] * 3, [(0, 0), (1, np.nan), (1, 1)]):
        with pytest.raises(ValueError, match="three or more finite vertices"):
            assembled(TURNED, 1.0, valid_polygon=wrong)


def test_a_polygon_follows_clones_and_is_nobodys_to_change():
    exposure = assembled(TURNED, 1.0, valid_polygon=[(0, 0), (1, 0), (0, 1)])
    for other in (exposure.share(), exposure.clone()):
        other.valid_polygon = None
        assert exposure.valid_polygon.tolist() == [[0, 0], [1, 0], [0, 1]]
    with pytest.raises(ValueError, match="read-only"):
        exposure.valid_polygon[0] = 5


def test_polygons_in_the_focal_plane_are_regular():
    corners = focal_plane.regular_polygon(1.0, 2.0, 3.0, 5)
    np.testing.assert_allclose(np.hypot(*(corners - (1, 2)).T), 3.0)
    assert area(corners) == pytest.approx(5 / 2 * 9 * math.sin(2 * math.pi / 5))
