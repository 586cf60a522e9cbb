"""Whole runs of a camera with four amplifiers, raw to product, agree with the original.

Left out are the runs with corrections that are not here. The differences on purpose are those of
`test_golden_cfht`.
"""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Exposure, MaskedImage, MaskPlanes, VisitInfo
from tests.golden import golden_cases
from tests.golden_exposures import amplifier, assert_close, detector, exposure, make_task
from tests.original_interpolation import assert_interpolated

SWITCHES = (
    "doBias", "doDark", "doFlat", "doDefect", "doApplyGains", "doSetBadRegions", "doInterpolate",
    "doNanMasking", "doOverscan", "doSaturation", "doVariance", "doWidenSaturationTrails",
)  # fmt: skip
ALWAYS = ("doConvertIntToFloat", "doAssembleCcd")
MISSING = ("doCrosstalk", "doBrighterFatter", "doLinearize")


def is_possible(entry):
    """Whether every correction of the run is here."""
    return not any(entry["params"]["config"][flag] for flag in MISSING)


def cases():
    """The runs whose corrections are all here."""
    return [c for c in golden_cases("IsrTask.run") if not c.values[0] or is_possible(c.values[0])]


def test_three_runs_are_left_out():
    """Two with crosstalk, one with the brighter-fatter effect."""
    found = golden_cases("IsrTask.run")
    assert (len(found), len(cases())) == (7, 4) or not found[0].values[0]


def result_of(entry, inputs):
    params, theirs = entry["params"], entry["params"]["config"]
    fit_type = theirs["overscan"]["fitType"]
    task = make_task(
        *ALWAYS,
        *(flag for flag in SWITCHES if theirs[flag]),
        overscan__fitType=fit_type,
        overscan__isInt=fit_type != "MEDIAN",
        flat__scalingType=theirs["flatScalingType"],
        flat__userScale=theirs["flatUserScale"],
        variance__maskNegative=theirs["maskNegativeVariance"],
        interpolation__growSaturationFootprintSize=theirs["growSaturationFootprintSize"],
        doSaveInterpPixels=True,
    )
    owner = detector([amplifier(amp, saturation=amp["sat"]) for amp in params["amps"]])
    frames = {}
    for kind in ("bias", "dark", "flat"):
        visit = VisitInfo(dark_s=params["darkDarkTime"])
        unit = "" if kind == "flat" else "adu"
        frames[kind] = exposure(entry, inputs, kind, detector=owner, visit=visit, unit=unit)
    # The original loses the variance of the bias.
    frames["bias"].variance[...] = 0
    image = MaskedImage.from_raw(inputs["raw.image"].astype(np.uint16), MaskPlanes(entry["maskPlanes"]))
    raw = Exposure(image, owner, visit=VisitInfo(dark_s=params["expDarkTime"]))
    return task.run(raw, **frames, defects=inputs["defectBoxesGiven"])


def level_variance(entry, inputs, product):
    """What the noise of the overscan level adds to our variance, in the product's unit."""
    extra, config = np.zeros(product.shape), entry["params"]["config"]
    for amp in product.detector.amplifiers:
        found = product.measured["overscan"][amp.name]
        factor = np.broadcast_to(found.first.variance_factor, amp.box.height)
        extra[amp.box.slices] = factor[:, None] * (amp.read_noise / amp.gain) ** 2
        if config["doApplyGains"]:
            extra[amp.box.slices] *= amp.gain**2
    if config["doFlat"]:
        flat = inputs["flat.image"].astype(np.float64)
        scale = flat.mean() if config["flatScalingType"] == "MEAN" else 1.0
        extra *= (scale / np.where(flat == 0, scale, flat)) ** 2
    return extra


def assert_masks_agree(product, outputs):
    """Every plane is the same, but for what zero pixels of the flat make infinite: only we look after it."""
    infinite = ~np.isfinite(outputs["exposure.image"])
    assert infinite.sum() <= 1
    assert product.pixels.flagged("UNMASKEDNAN")[infinite].all()
    np.testing.assert_array_equal(product.mask[~infinite], outputs["exposure.mask"][~infinite])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_product(entry, inputs, outputs):
    result = result_of(entry, inputs)
    before, product = result.preInterpolatedExposure, result.exposure
    assert_masks_agree(product, outputs)
    bad = product.pixels.flagged("SAT", "BAD", "UNMASKEDNAN")
    if not entry["params"]["config"]["doInterpolate"]:
        bad = np.zeros_like(bad)
    theirs = outputs["exposure.image"]
    infinite = ~np.isfinite(theirs)
    compared = assert_interpolated(product.image, theirs, before.pixels, bad, infinite)
    assert (compared > 100) == bad.any()
    expected = outputs["exposure.variance"] + level_variance(entry, inputs, product)
    assert_close(product.variance[~bad & ~infinite], expected[~bad & ~infinite])
