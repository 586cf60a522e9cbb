"""Whole runs of small MegaCam frames agree with the original, up to bad regions and interpolation.

Differences on purpose: MEDIAN is compared without truncation (see test_golden_overscan); the bias's variance
is given as zero, for the original loses it; it loses that of the overscan level too, which is added to its
variance here; it has widened the trails of saturated pixels already; it looks for pixels that are no number
before the flat, ours after it; its edges need doDefect (fault 40).
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, MaskPlanes, Registry, VisitInfo, default_config
from tests.golden import Arrays, golden_cases
from tests.golden_exposures import amplifier, assert_close, detector, exposure

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
SWITCHES = ("doBias", "doDark", "doFlat", "doDefect", "doSuspect", "doEmpiricalReadNoise")


def cases():
    """The runs whose corrections are all here."""
    found = golden_cases("CfhtIsrTask.run")
    return [c for c in found if not c.values[0] or fit_type(c.values[0]) in ("MEDIAN", "MEDIAN_PER_ROW")]


def fit_type(entry):
    return entry["params"]["config"]["overscan"]["fitType"]


def task_of(entry):
    theirs, ours = entry["params"]["config"], default_config(REGISTRY, "MegaCam")
    for name in SWITCHES:
        setattr(ours, name, theirs[name])
    ours.overscan.fitType = fit_type(entry)
    ours.overscan.isInt = fit_type(entry) != "MEDIAN"
    ours.flat.scalingType = theirs["flatScalingType"]
    ours.edges.numPixels = theirs["numEdgeSuspect"] if theirs["doDefect"] else 0
    ours.expectWcs = False
    return IsrTask(ours, registry=REGISTRY, camera="MegaCam")


def product_of(entry, inputs):
    params = entry["params"]
    suspect = {amp["name"]: float(amp["susp"]) for amp in params["amps"]}
    owner = detector([amplifier(amp, suspect_level=suspect[amp["name"]]) for amp in params["amps"]])
    frames = {}
    for kind in ("bias", "dark", "flat"):
        visit = VisitInfo(dark_s=params["darkDarkTime"])
        unit = "" if kind == "flat" else "adu"
        frames[kind] = exposure(entry, inputs, kind, detector=owner, visit=visit, unit=unit)
    frames["bias"].variance[...] = 0
    raw = Exposure(
        MaskedImage.from_raw(inputs["raw"], MaskPlanes(entry["maskPlanes"])),
        owner,
        "MegaCam",
        VisitInfo(dark_s=params["expDarkTime"]),
        Header(list(params["header"].items())),
    )
    boxes = inputs["defectBoxesGiven"] if params["defectsGiven"] else None
    return task_of(entry).run(raw, **frames, defects=boxes).exposure


def level_variance(entry, inputs, product):
    """What the noise of the overscan level adds to our variance, after the flat."""
    extra = np.zeros(product.shape)
    for amp in product.detector.amplifiers:
        found = product.measured["overscan"].get(amp.name)
        if found is not None:
            is_empirical = entry["params"]["config"]["doEmpiricalReadNoise"]
            noise = found.residual_sigma if is_empirical else amp.read_noise / amp.gain
            factor = np.broadcast_to(found.fit.variance_factor, amp.box.height)
            extra[amp.box.slices] = factor[:, None] * noise**2
    return extra * flat_scale(entry, inputs) ** 2


def flat_scale(entry, inputs):
    """What the flat multiplied every pixel by; 1 where it is zero, for those pixels are infinite."""
    config, flat = entry["params"]["config"], inputs["flat.image"].astype(np.float64)
    if not config["doFlat"]:
        return np.ones_like(flat)
    scale = flat.mean() if config["flatScalingType"] == "MEAN" else config["flatUserScale"]
    return scale / np.where(flat == 0, scale, flat)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_state_before_bad_regions_and_interpolation(entry, inputs, outputs):
    theirs, product = Arrays(entry, "aux.preInterp."), product_of(entry, inputs)
    assert_close(product.image, theirs["image"])
    if "variance" in theirs:
        extra = level_variance(entry, inputs, product)
        assert_close(product.variance, theirs["variance"] + extra)
        assert_masks_agree(product, theirs["mask"])


def assert_masks_agree(product, theirs):
    """Every plane is the same, but for trails the original widened and pixels it does not look at."""
    widened, no_number = (product.planes.value(plane) for plane in ("SAT", "UNMASKEDNAN"))
    assert not (product.mask & ~theirs & widened).any()
    is_finite = np.isfinite(product.image) & np.isfinite(product.variance)
    np.testing.assert_array_equal(product.mask & no_number == 0, is_finite)
    others = ~(widened | no_number)
    np.testing.assert_array_equal(product.mask & others, theirs & others)


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_levels_of_the_frame(entry, inputs, outputs):
    for amp in product_of(entry, inputs).detector.amplifiers:
        theirs = entry["params"]["effectiveAmps"][amp.name]
        for value, key in ((amp.gain, "gain"), (amp.read_noise, "readNoise"), (amp.saturation, "saturation")):
            assert value == theirs[key]
