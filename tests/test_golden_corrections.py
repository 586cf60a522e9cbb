"""Bias, dark, flat, variance, gains, conversion, NaN and edge flags agree with the original."""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Detector, Exposure, MaskedImage, VisitInfo
from tests.golden import golden_cases, plane_bits
from tests.golden_exposures import (
    ASSEMBLED,
    amplifier,
    assert_agrees,
    assert_close,
    detector,
    exposure,
    make_task,
)


def cases_where(function, **wanted):
    """The cases whose parameters have these values."""
    cases = golden_cases(function)
    return [c for c in cases if not c.values[0] or wanted.items() <= c.values[0]["params"].items()]


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("biasCorrection"))
def test_bias(entry, inputs, outputs):
    task = make_task("doBias", doTrimToMatchCalib=entry["params"].get("trimToFit", False))
    raw, bias = exposure(entry, inputs, "maskedImage"), exposure(entry, inputs, "bias")
    assert_agrees(task.run(raw, bias=bias).exposure, outputs)


def dark_pair(entry, inputs, **values):
    params = entry["params"]
    science = exposure(entry, inputs, "maskedImage", visit=VisitInfo(dark_s=params["expScale"]), **values)
    dark = exposure(entry, inputs, "dark", visit=VisitInfo(dark_s=params["darkScale"]))
    return science, dark


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("darkCorrection", invert=False))
def test_dark(entry, inputs, outputs):
    science, dark = dark_pair(entry, inputs)
    make_task().darkCorrection(science, dark)
    assert_agrees(science, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("darkCorrection", invert=True))
def test_dark_put_back(entry, inputs, outputs):
    """Undo means undo (fault 21): the original adds the dark's variance again and ORs its mask in."""
    science, dark = dark_pair(entry, inputs, facts=ASSEMBLED | {"dark-subtracted"})
    make_task().darkCorrection(science, dark, invert=True)
    scale = entry["params"]["expScale"] / entry["params"]["darkScale"]
    assert_close(science.image, outputs["maskedImage.image"])
    theirs = outputs["maskedImage.variance"].astype(np.float64)
    assert_close(science.variance + 2 * scale**2 * dark.variance.astype(np.float64), theirs)
    np.testing.assert_array_equal(science.mask | dark.mask, outputs["maskedImage.mask"])


def flat_task(entry):
    params = entry["params"]
    return make_task(flat__scalingType=params["scalingType"], flat__userScale=params["userScale"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("flatCorrection", invert=False))
def test_flat(entry, inputs, outputs):
    science = exposure(entry, inputs, "maskedImage")
    flat_task(entry).flatCorrection(science, exposure(entry, inputs, "flat", unit=""))
    assert_agrees(science, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("flatCorrection", invert=True))
def test_flat_multiplied_back(entry, inputs, outputs):
    """Undo means undo (fault 21): the original adds the flat's part of the variance, and ORs its mask in."""
    science = exposure(entry, inputs, "maskedImage", facts=ASSEMBLED | {"flat-fielded"})
    flat = exposure(entry, inputs, "flat", unit="")
    quotient, kind = science.image.astype(np.float64), entry["params"]["scalingType"]
    scale = np.nanmedian(flat.image.astype(np.float64)) if kind == "MEDIAN" else entry["params"]["userScale"]
    flat_task(entry).flatCorrection(science, flat, invert=True)
    assert_close(science.image, outputs["maskedImage.image"])
    twice = 2 * quotient**2 * flat.variance / scale**2
    assert_close(science.variance + twice, outputs["maskedImage.variance"].astype(np.float64))
    np.testing.assert_array_equal(science.mask | flat.mask, outputs["maskedImage.mask"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("updateVariance", replace=True))
def test_variance(entry, inputs, outputs):
    """Cases that add to a variance are left out: the original's task, like ours, replaces it."""
    params = entry["params"]
    science = exposure(entry, inputs, "maskedImage")
    owner = Detector.of_shape(science.shape, gain=params["gain"], read_noise=params["readNoise"])
    make_task().updateVariance(science, owner["0"])
    assert_agrees(science, outputs)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("applyGains"))
def test_gains(entry, inputs, outputs):
    params = entry["params"]
    owner = detector([amplifier(amp) for amp in params["amps"]])
    task = make_task("doApplyGains", gains__normalize=params["normalizeGains"])
    product = task.run(exposure(entry, inputs, "maskedImage", detector=owner)).exposure
    assert_agrees(product, outputs)
    assert product.unit == "electron"


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("gainContext", apply=True, invert=False))
def test_gains_inside_a_context(entry, inputs, outputs):
    owner = detector([amplifier(amp) for amp in entry["params"]["amps"]])
    task = make_task("doApplyGains")
    product = task.run(exposure(entry, inputs, "maskedImage", detector=owner)).exposure
    assert_close(product.image, outputs["inside.image"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.convertIntToFloat"))
def test_conversion(entry, inputs, outputs):
    image = inputs["image.image"]
    converted = make_task().convertIntToFloat(
        Exposure(MaskedImage.from_raw(image), Detector.of_shape(image.shape))
    )
    for plane in ("image", "mask", "variance"):
        found, theirs = getattr(converted, plane), outputs[f"maskedImage.{plane}"]
        np.testing.assert_array_equal(found, theirs)
        assert found.dtype == theirs.dtype


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.maskNan"))
def test_nan_flags(entry, inputs, outputs):
    science, task = exposure(entry, inputs, "maskedImage"), make_task()
    task.maskNan(science)
    np.testing.assert_array_equal(science.mask, outputs["maskedImage.mask"])
    assert task.metadata.scalar("NUMNANS") == np.count_nonzero(
        outputs["maskedImage.mask"] & plane_bits(entry, "UNMASKEDNAN")
    )


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases_where("IsrTask.maskEdges", level="DETECTOR"))
def test_edge_flags(entry, inputs, outputs):
    params, science = entry["params"], exposure(entry, inputs, "maskedImage")
    make_task().maskEdges(science, params["numEdgePixels"], params["maskPlane"])
    np.testing.assert_array_equal(science.mask, outputs["maskedImage.mask"])
