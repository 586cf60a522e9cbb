"""Focal-plane coordinates: there and back is where one was, and the axes point where they should."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore import Camera, CameraError, Detector, focal_plane
from isrcore_cfht import CAMERA

# Coordinates of up to 150 mm or 10^4 pixels in double precision, and a few operations on each.
MM, PIXEL = 1e-12, 1e-9


def detector_of(yaw_deg=0.0, pixel_size_mm=0.01):
    one = Detector.of_shape((20, 10))
    changes = {"offset_mm": (3.0, -2.0), "reference_pixel": (4.5, 9.5), "pixel_size_mm": pixel_size_mm}
    return attrs.evolve(one, yaw_deg=yaw_deg, **changes)


pixels = st.lists(st.tuples(st.floats(-100, 9000), st.floats(-100, 9000)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=100)
@given(st.floats(-720, 720) | st.sampled_from([0.0, 90.0, 180.0, 270.0, -90.0]), pixels)
def test_pixels_to_the_focal_plane_and_back(yaw_deg, places):
    x, y = np.array(places).T
    detector = detector_of(yaw_deg)
    back = focal_plane.focal_plane_to_pixel(detector, *focal_plane.pixel_to_focal_plane(detector, x, y))
    np.testing.assert_allclose(back, (x, y), rtol=0, atol=PIXEL)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.floats(-160, 160), st.floats(-160, 160)), min_size=1, max_size=5))
def test_the_focal_plane_to_the_field_and_back(places):
    x, y = np.array(places).T
    field = focal_plane.focal_plane_to_field(CAMERA, x, y)
    np.testing.assert_allclose(focal_plane.field_to_focal_plane(CAMERA, *field), (x, y), rtol=0, atol=MM)
    # The direction from the axis stays.
    np.testing.assert_allclose(field[0] * y, field[1] * x, rtol=1e-12, atol=1e-15)


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 0.012))
def test_the_radius_is_the_stated_polynomial(angle):
    radius = 14805.4 * angle + 13619.3 * angle**2 + 426637 * angle**3
    x, y = focal_plane.field_to_focal_plane(CAMERA, 0.0, angle)
    assert (float(x), float(y)) == (0.0, pytest.approx(radius, rel=1e-14))


@pytest.mark.parametrize("detector", CAMERA.detectors, ids=lambda detector: detector.name)
def test_every_ccd_of_a_real_camera_comes_back(detector):
    y, x = np.mgrid[0:4612:500, 0:2048:300].astype(float)
    field = focal_plane.focal_plane_to_field(CAMERA, *focal_plane.pixel_to_focal_plane(detector, x, y))
    back = focal_plane.focal_plane_to_pixel(detector, *focal_plane.field_to_focal_plane(CAMERA, *field))
    np.testing.assert_allclose(back, (x, y), rtol=0, atol=PIXEL)
    assert np.hypot(*field).max() < math.radians(0.75)


def test_a_turned_detector_in_words():
    assert focal_plane.pixel_to_focal_plane(detector_of(), 4.5, 9.5) == (3.0, -2.0)
    for yaw_deg, place in ((0, (3.1, -2.0)), (90, (3.0, -1.9)), (180, (2.9, -2.0)), (270, (3.0, -2.1))):
        found = focal_plane.pixel_to_focal_plane(detector_of(yaw_deg), 14.5, 9.5)
        assert [float(value) for value in found] == pytest.approx(place, abs=MM)


def test_corners_are_those_of_the_outer_pixels():
    corners = focal_plane.detector_corners(detector_of(180.0))
    np.testing.assert_allclose(corners, [(3.05, -1.9), (2.95, -1.9), (2.95, -2.1), (3.05, -2.1)], atol=MM)


def test_the_plate_scale_is_the_slope():
    assert focal_plane.plate_scale(CAMERA) == pytest.approx(math.degrees(1) * 3600 / 14805.4, rel=1e-15)
    near, far = focal_plane.focal_plane_to_field(CAMERA, np.array([99.999, 100.001]), 0.0)[0]
    slope = math.degrees(far - near) * 3600 / 0.002
    assert focal_plane.plate_scale(CAMERA, 100.0) == pytest.approx(slope, rel=1e-7)


def test_the_axis_is_the_axis():
    assert focal_plane.focal_plane_to_field(CAMERA, 0.0, 0.0) == (0.0, 0.0)


def test_what_the_camera_does_not_say_is_not_guessed():
    with pytest.raises(CameraError, match="'unnamed' has no pixel size"):
        focal_plane.detector_corners(Detector.of_shape((2, 2)))
    with pytest.raises(CameraError, match="'bare' does not say where a field angle falls"):
        focal_plane.plate_scale(Camera("bare", ()))
    # Rises to 0.25 mm at half a radian and falls again.
    hill = Camera("hill", (), field_to_mm=(1.0, -1.0))
    with pytest.raises(ValueError, match=r"polynomial of camera 'hill' does not reach a radius of 3 mm"):
        focal_plane.focal_plane_to_field(hill, 3.0, 0.0)
