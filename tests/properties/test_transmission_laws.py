"""Laws of the transmission: between nodes it lies between them, parts commute, places are the optics'."""

from __future__ import annotations

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Detector, SystemTransmission, TransmissionCurve, focal_plane
from isrcore.testing import strategies
from isrcore.testing.optics import transmission_curves, transmissions
from isrcore.transmission import PARTS
from tests.assembled import assembled
from tests.golden_exposures import make_task

places = st.lists(st.tuples(st.floats(-50, 4000), st.floats(-50, 4000)), min_size=1, max_size=4)
wavelengths = st.lists(st.floats(1000, 13000), min_size=1, max_size=5)


def same(first, second):
    """Whether two curves give the same everywhere."""
    names = ("wavelengths", "throughput", "radii")
    arrays = all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)
    rest = ("center", "below", "above", "filter")
    return arrays and all(getattr(first, name) == getattr(second, name) for name in rest)


@given(transmission_curves(varies=False), st.data())
def test_between_two_wavelengths_a_curve_is_monotone_and_between_their_values(curve, data):
    left = data.draw(st.integers(0, curve.wavelengths.size - 2))
    ends, values = curve.wavelengths[left : left + 2], curve.throughput[left : left + 2]
    asked = np.sort(data.draw(st.lists(st.floats(*ends), min_size=2, max_size=6)))
    found = curve.at(0, 0, asked)
    steps = np.diff(found) * np.sign(values[1] - values[0])
    # One rounding of a number up to one.
    assert (steps >= -2.3e-16).all()
    assert found.min() >= values.min() - 2.3e-16
    assert found.max() <= values.max() + 2.3e-16


@given(transmission_curves(), places)
def test_at_its_own_wavelengths_and_radii_a_curve_is_what_the_table_says(curve, places):
    if not curve.varies:
        x, y = np.transpose(places)
        np.testing.assert_array_equal(curve.at(x, y, curve.wavelengths), [curve.throughput] * len(places))
        return
    x = curve.center[0] + curve.radii
    found = curve.at(x, np.full_like(x, curve.center[1]), curve.wavelengths)
    # Radii lose some digits when the center is added and taken away.
    np.testing.assert_allclose(found, curve.throughput, atol=1e-9 / min([1, *np.diff(curve.radii)]))


@given(transmission_curves(), places)
def test_outside_its_wavelengths_a_curve_takes_its_end_values(curve, places):
    x, y = np.transpose(places)
    low, high = np.nextafter(curve.wavelengths[0], 0), np.nextafter(curve.wavelengths[-1], np.inf)
    expected = np.broadcast_to([curve.below, curve.above], (len(places), 2))
    np.testing.assert_array_equal(curve.at(x, y, [low, high]), expected)


@given(transmission_curves(varies=True), st.floats(0, 2 * np.pi), st.floats(0, 500), wavelengths)
def test_only_the_distance_from_the_center_counts(curve, angle, radius, wavelengths):
    x, y = curve.center[0] + radius * np.cos(angle), curve.center[1] + radius * np.sin(angle)
    along_x = curve.at(curve.center[0] + radius, curve.center[1], wavelengths)
    gap = min([1, *np.diff(curve.radii)])
    np.testing.assert_allclose(curve.at(x, y, wavelengths), along_x, atol=1e-10 / gap)


@given(st.data(), places, wavelengths)
def test_parts_commute_and_their_product_is_what_each_lets_through(data, places, wavelengths):
    detector = data.draw(strategies.detectors())
    system = data.draw(transmissions(detector))
    x, y = np.transpose(places)
    found = system.throughput(x, y, wavelengths)
    order = data.draw(st.permutations(list(system.curves)))
    other = SystemTransmission(detector, {part: system.curves[part] for part in order})
    np.testing.assert_array_equal(other.throughput(x, y, wavelengths), found)
    product = np.ones_like(found)
    for part in order:
        alone = SystemTransmission(detector, {part: system.curves[part]})
        product = product * alone.throughput(x, y, wavelengths)
    np.testing.assert_allclose(found, product, rtol=1e-14)
    assert found.shape == (len(places), len(wavelengths))
    assert ((found >= 0) & (found <= 1)).all()


@given(st.data(), transmission_curves(varies=True), places, wavelengths)
def test_parts_are_known_in_the_focal_plane_and_the_sensor_in_pixels(data, curve, places, wavelengths):
    detector = data.draw(strategies.detectors())
    x, y = np.transpose(places)
    x_mm, y_mm = focal_plane.pixel_to_focal_plane(detector, x, y)
    for part in PARTS:
        where = (x, y) if part == "sensor" else (x_mm, y_mm)
        found = SystemTransmission(detector, {part: curve}).throughput(x, y, wavelengths)
        np.testing.assert_array_equal(found, curve.at(*where, wavelengths))


@given(st.data(), st.lists(st.sampled_from(PARTS), unique=True, min_size=1), st.data())
def test_a_run_attaches_the_curves_that_are_given_and_used(data, given_parts, more):
    detector = data.draw(strategies.detectors())
    used = more.draw(st.lists(st.sampled_from(PARTS), unique=True, min_size=1))
    curves = {part: data.draw(transmission_curves()) for part in given_parts}
    switches = {f"transmission__use{part.capitalize()}": part in used for part in PARTS}
    exposure = data.draw(strategies.exposures(detector))
    task = make_task("doAttachTransmissionCurve", **switches)
    if not set(used) & set(given_parts):
        return
    inputs = {f"{part}Transmission": curve for part, curve in curves.items()}
    product = task.run(exposure, **inputs).exposure
    expected = {part: curve for part, curve in curves.items() if part in used}
    assert product.transmission.parts == tuple(part for part in PARTS if part in expected)
    assert all(product.transmission.curves[part] is curve for part, curve in expected.items())
    assert product.transmission.detector == product.detector
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(product, plane), getattr(exposure, plane))


@given(transmission_curves(), st.permutations(range(18)), st.text(max_size=5))
def test_a_table_gives_the_curve_back_whatever_the_order_of_its_rows(curve, order, name):
    curve = attrs.evolve(curve, filter=name)
    table = curve.to_table()
    shuffled = table[[row for row in order if row < len(table)]]
    assert same(TransmissionCurve.from_table(shuffled), curve)
    assert same(TransmissionCurve.from_table(table), curve)


def test_example_a_filter_before_a_sensor():
    detector = attrs.evolve(Detector.of_shape((4, 6)), pixel_size_mm=0.5, offset_mm=(1.0, 0.0))
    optics = TransmissionCurve([4000, 6000], [[0.8, 0.8], [0.4, 0.4]], radii=[0, 2])
    sensor = TransmissionCurve([4000, 5000, 6000], [0.5, 0.9, 0.5])
    task = make_task("doAttachTransmissionCurve")
    exposure = assembled(detector, 1.0)
    product = task.run(exposure, opticsTransmission=optics, sensorTransmission=sensor).exposure
    # Pixel 0 lies 1 mm from the axis, where the optics let 0.6 pass, and pixel 4 lies 3 mm off: 0.4.
    found = product.transmission.throughput([0, 4], [0, 0], [4500, 5000, 6500])
    np.testing.assert_allclose(found, [[0.6 * 0.7, 0.6 * 0.9, 0], [0.4 * 0.7, 0.4 * 0.9, 0]])
    assert product.transmission.parts == ("optics", "sensor")
    assert product.transmission.wavelengths.tolist() == [4000, 5000, 6000]
    assert "transmission-attached" in product.facts
