"""Whole runs of a camera with four amplifiers, raw to product, agree with the original.

The differences on purpose are those of `test_golden_cfht`, and in the run with crosstalk on the raw frame
those of `test_golden_crosstalk`.
"""

from __future__ import annotations

import numpy as np
import pytest

from isrcore import Exposure, MaskedImage, MaskPlanes, VisitInfo
from tests.golden import golden_cases
from tests.golden_exposures import amplifier, as_if_unturned, assert_close, detector, exposure, make_task
from tests.original_interpolation import assert_interpolated

SWITCHES = (
    "doBias", "doBrighterFatter", "doCrosstalk", "doDark", "doFlat", "doDefect", "doApplyGains",
    "doSetBadRegions", "doInterpolate", "doNanMasking", "doOverscan", "doSaturation", "doVariance",
    "doWidenSaturationTrails",
)  # fmt: skip
ALWAYS = ("doConvertIntToFloat", "doAssembleCcd")


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
        crosstalk__beforeAssembly=theirs["doCrosstalkBeforeAssemble"],
        interpolation__growSaturationFootprintSize=theirs["growSaturationFootprintSize"],
        brighterFatter__maxIter=theirs["brighterFatterMaxIter"],
        brighterFatter__threshold=theirs["brighterFatterThreshold"],
        brighterFatter__applyGain=theirs["brighterFatterApplyGain"],
        brighterFatter__maskGrowSize=theirs["brighterFatterMaskGrowSize"],
        doSaveInterpPixels=True,
    )
    amps = [amplifier(amp, saturation=amp["sat"]) for amp in params["amps"]]
    # The original turns raw data as if they lay the assembled way round.
    owner = detector([*map(as_if_unturned, amps)] if theirs["doCrosstalkBeforeAssemble"] else amps)
    frames = {}
    for kind in ("bias", "dark", "flat"):
        visit = VisitInfo(dark_s=params["darkDarkTime"])
        unit = "" if kind == "flat" else "adu"
        frames[kind] = exposure(entry, inputs, kind, detector=owner, visit=visit, unit=unit)
    # The original loses the variance of the bias.
    frames["bias"].variance[...] = 0
    image = MaskedImage.from_raw(inputs["raw.image"].astype(np.uint16), MaskPlanes(entry["maskPlanes"]))
    raw = Exposure(image, owner, visit=VisitInfo(dark_s=params["expDarkTime"]))
    if theirs["doCrosstalk"]:
        # Row = source in these cases.
        frames["crosstalk"] = inputs["crosstalkCoeffs"].T.copy()
    return task.run(raw, **frames, defects=inputs["defectBoxesGiven"], bfKernel=inputs.get("bfKernel"))


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


def frame(shape, y, x):
    """Pixels of so many rows and columns along the edges."""
    found = np.ones(shape, bool)
    found[y : shape[0] - y, x : shape[1] - x] = False
    return found


def line_left_out(inputs, shape):
    """The last row and column that the brighter-fatter correction can reach: the original forgets them."""
    if "bfKernel" not in inputs:
        return np.zeros(shape, bool)
    y, x = (side // 2 for side in inputs["bfKernel"].shape)
    line = np.zeros(shape, bool)
    line[shape[0] - y - 2] = line[:, shape[1] - x - 2] = True
    return line & ~frame(shape, y + 1, x + 1)


def assert_masks_agree(product, inputs, outputs):
    """Every plane is the same, but for what zero pixels of the flat make infinite: only we look after it.

    And but for EDGE, which we set on all pixels that a kernel cannot correct (fault 6); theirs is half a
    kernel wide.
    """
    infinite = ~np.isfinite(outputs["exposure.image"])
    assert infinite.sum() <= 1
    assert product.pixels.flagged("UNMASKEDNAN")[infinite].all()
    theirs = outputs["exposure.mask"].copy()
    if "bfKernel" in inputs:
        y, x = (side // 2 + 1 for side in inputs["bfKernel"].shape)
        theirs[frame(theirs.shape, y, x)] |= np.int32(product.planes.value("EDGE"))
    np.testing.assert_array_equal(product.mask[~infinite], theirs[~infinite])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("IsrTask.run"))
def test_product(entry, inputs, outputs):
    result = result_of(entry, inputs)
    before, product = result.preInterpolatedExposure, result.exposure
    assert_masks_agree(product, inputs, outputs)
    bad = product.pixels.flagged("SAT", "BAD", "UNMASKEDNAN")
    if not entry["params"]["config"]["doInterpolate"]:
        bad = np.zeros_like(bad)
    theirs = outputs["exposure.image"]
    infinite = ~np.isfinite(theirs)
    left_out = infinite | line_left_out(inputs, theirs.shape)
    compared = assert_interpolated(product.image, theirs, before.pixels, bad, left_out)
    assert (compared > 100) == bad.any()
    expected = outputs["exposure.variance"] + level_variance(entry, inputs, product)
    assert_close(product.variance[~bad & ~infinite], expected[~bad & ~infinite])
