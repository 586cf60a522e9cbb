"""Linearizers agree with the original: images and numbers of pixels out of range.

The original has only an image here; it leaves the variance as it is. It divides frames in electron by the
gain before a spline and multiplies them afterwards: nodes and values times the gain do the same.
"""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Box, Detector, Exposure, LinearityCurve, Linearizer, MaskedImage
from tests.golden import golden_cases
from tests.golden_exposures import ASSEMBLED, assert_close, make_task


def linearized(inputs, kind, coeffs, table=None, **settings):
    """The task that ran and its product; flags and variances are not blank."""
    image = inputs["image.image"]
    pixels = MaskedImage.from_image(image.copy(), variance=np.full(image.shape, 4, np.float32))
    pixels.mask[::3, ::5] = pixels.planes.value("SAT")
    exposure = Exposure(pixels, Detector.of_shape(image.shape), facts=ASSEMBLED)
    box = Box.of_shape(image.shape)
    linearizer = Linearizer({"0": LinearityCurve(kind, coeffs, box)}, table)
    task = make_task("doLinearize", **settings)
    return task, task.run(exposure, linearizer=linearizer).exposure


def assert_as_golden(inputs, outputs, kind, coeffs, table=None):
    task, product = linearized(inputs, kind, coeffs, table, linearity__scaleVariance=False)
    assert_close(product.image, outputs["image.image"])
    np.testing.assert_array_equal(product.variance, np.float32(4))
    np.testing.assert_array_equal(product.mask[::3, ::5], product.planes.value("SAT"))
    assert np.count_nonzero(product.mask) == product.mask[::3, ::5].size
    metadata = task.linearity.metadata
    assert metadata["ISR LINEARITY 0 OUTSIDE"] == outputs["outOfRange"]
    assert metadata["ISR LINEARITY 0 TYPE"] == kind
    assert product.measured["linearity"]["0"].is_applied == outputs["success"]
    return product


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizeSquared"))
def test_squares(entry, inputs, outputs):
    assert_as_golden(inputs, outputs, "Squared", entry["params"]["coeffs"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizePolynomial"))
def test_polynomials(entry, inputs, outputs):
    assert_as_golden(inputs, outputs, "Polynomial", entry["params"]["coeffs"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizeLookupTable"))
def test_lookup_tables(entry, inputs, outputs):
    product = assert_as_golden(inputs, outputs, "LookupTable", entry["params"]["coeffs"], inputs["table"])
    np.testing.assert_array_equal(product.image, outputs["image.image"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizeSpline"))
def test_splines(entry, inputs, outputs):
    coeffs = np.multiply(entry["params"]["coeffs"], entry["params"]["gain"])
    assert_as_golden(inputs, outputs, "Spline", coeffs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizeDoubleSpline"))
def test_double_splines(entry, inputs, outputs):
    counts, rest = entry["params"]["coeffs"][:2], entry["params"]["coeffs"][2:]
    coeffs = [*counts, *np.multiply(rest, entry["params"]["gain"])]
    assert_as_golden(inputs, outputs, "DoubleSpline", coeffs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("LinearizeSpline"))
def test_splines_are_as_good_as_float32(entry, inputs, outputs):
    """Lines instead of cubics: within two roundings, its own and ours, and the tolerance of the lines."""
    coeffs = np.multiply(entry["params"]["coeffs"], entry["params"]["gain"])
    _, product = linearized(inputs, "Spline", coeffs)
    allowed = 2 * np.spacing(np.abs(outputs["image.image"])) + 2.0**-26 * np.max(coeffs)
    assert (abs(product.image.astype(float) - outputs["image.image"]) <= allowed).all()


def test_vectors_of_the_specification():
    """Squared 1000 -> 1001; -3.2 with offset 0.5 has index -2, which is the table's first, and is counted."""
    squared = {"image.image": np.float32([[1000.0]])}
    _, product = linearized(squared, "Squared", (1e-6,))
    assert product.image[0, 0] == np.float32(1001)
    task, product = linearized(
        {"image.image": np.float32([[-3.2, 4.0]])}, "LookupTable", (0, 0.5), [[10, 20, 30, 40, 50]]
    )
    assert product.image.tolist() == [[np.float32(-3.2) + np.float32(10), 54.0]]
    assert task.linearity.metadata["ISR LINEARITY 0 OUTSIDE"] == 1
