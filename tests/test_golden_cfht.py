"""Whole runs of small MegaCam frames agree with the original, to the last step.

Differences on purpose: MEDIAN is compared without truncation (see test_golden_overscan); the bias's variance
is given as zero, for the original loses it; it loses that of the overscan level too, which is added to its
variance here; it looks for pixels that are no number before the flat, ours after it, so that infinities do
not spread to their neighbours; its edges need doDefect (fault 40) and in one run are those of amplifiers,
ours those of the detector. Interpolated pixels differ as `original_interpolation` says; our level of the
frame leaves bad and saturated pixels out (fault 11), and our variance is the propagated one (fault 8).
"""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, MaskPlanes, Registry, VisitInfo, default_config
from isrcore.statistics import clipped, median
from tests.golden import Arrays, golden_cases
from tests.golden_exposures import ASSEMBLED, amplifier, assert_close, detector, exposure, make_task
from tests.original_interpolation import assert_interpolated, tolerances, touches
from tests.plain_interpolation import plain

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})
SWITCHES = (
    "doBias",
    "doDark",
    "doFlat",
    "doDefect",
    "doSuspect",
    "doEmpiricalReadNoise",
    "doWidenSaturationTrails",
    "doSetBadRegions",
    "doInterpolate",
)


def cases():
    """All of them."""
    return golden_cases("CfhtIsrTask.run")


def fit_type(entry):
    return entry["params"]["config"]["overscan"]["fitType"]


def task_of(entry):
    theirs, ours = entry["params"]["config"], default_config(REGISTRY, "MegaCam")
    for name in SWITCHES:
        setattr(ours, name, theirs[name])
    ours.overscan.fitType = fit_type(entry)
    ours.overscan.order = theirs["overscan"]["order"]
    ours.overscan.isInt = fit_type(entry) != "MEDIAN"
    ours.flat.scalingType = theirs["flatScalingType"]
    ours.edges.numPixels = theirs["numEdgeSuspect"] if theirs["doDefect"] else 0
    ours.interpolation.growSaturationFootprintSize = theirs["growSaturationFootprintSize"]
    ours.doSaveInterpPixels = True
    ours.expectWcs = False
    return IsrTask(ours, registry=REGISTRY, camera="MegaCam")


def result_of(entry, inputs):
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
    return task_of(entry).run(raw, **frames, defects=boxes)


def level_variance(entry, inputs, product):
    """What the noise of the overscan level adds to our variance, after the flat."""
    extra = np.zeros(product.shape)
    for amp in product.detector.amplifiers:
        found = product.measured["overscan"].get(amp.name)
        if found is not None:
            is_empirical = entry["params"]["config"]["doEmpiricalReadNoise"]
            noise = found.residual_sigma if is_empirical else amp.read_noise / amp.gain
            factor = np.broadcast_to(found.first.variance_factor, amp.box.height)
            extra[amp.box.slices] = factor[:, None] * noise**2
    return extra * flat_scale(entry, inputs) ** 2


def flat_scale(entry, inputs):
    """What the flat multiplied every pixel by; 1 where it is zero, for those pixels are infinite."""
    config, flat = entry["params"]["config"], inputs["flat.image"].astype(np.float64)
    if not config["doFlat"]:
        return np.ones_like(flat)
    scale = flat.mean() if config["flatScalingType"] == "MEAN" else config["flatUserScale"]
    return scale / np.where(flat == 0, scale, flat)


def their_mask(entry, mask):
    """The original's flags without those of the edges between amplifiers, columns 46 to 49."""
    config, mask = entry["params"]["config"], mask.copy()
    if config.get("edgeMaskLevel") == "AMP":
        width = config["numEdgeSuspect"]
        seam = mask[width:-width, 48 - width : 48 + width]
        suspect = np.int32(1 << entry["maskPlanes"]["SUSPECT"])
        assert (seam & suspect).all()
        seam &= ~suspect
    return mask


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_state_before_bad_regions_and_interpolation(entry, inputs, outputs):
    theirs, before = Arrays(entry, "aux.preInterp."), result_of(entry, inputs).preInterpolatedExposure
    assert_close(before.image, theirs["image"])
    assert_close(before.variance, theirs["variance"] + level_variance(entry, inputs, before))
    assert_masks_agree(before, their_mask(entry, theirs["mask"]))


def assert_masks_agree(before, theirs):
    """Every plane is the same, but for pixels that are no number, which the original does not see."""
    no_number = before.planes.value("UNMASKEDNAN")
    is_finite = np.isfinite(before.image) & np.isfinite(before.variance)
    np.testing.assert_array_equal(before.mask & no_number == 0, is_finite)
    np.testing.assert_array_equal(before.mask & ~no_number, theirs & ~no_number)


def theirs_before(entry):
    """The original's masked image before interpolation: bad regions are set, to the median of the rest."""
    stored = Arrays(entry, "aux.preInterp.")
    planes = (stored[name].copy() for name in ("image", "mask", "variance"))
    pixels = MaskedImage(*planes, MaskPlanes(entry["maskPlanes"]))
    if entry["params"]["config"]["doSetBadRegions"]:
        bad = pixels.flagged("BAD")
        pixels.image[bad & ~pixels.flagged("INTRP")] = median(pixels.image, ignore=bad)
    return pixels


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_product(entry, inputs, outputs):
    result, pixels = result_of(entry, inputs), theirs_before(entry)
    product, theirs = result.exposure, outputs["exposure.image"]
    if not entry["params"]["config"]["doInterpolate"]:
        assert_close(product.image, theirs)
        np.testing.assert_array_equal(product.mask, result.preInterpolatedExposure.mask)
        return
    spoiled = ~(np.isfinite(pixels.image) & np.isfinite(pixels.variance))
    bad = product.pixels.flagged("SAT", "BAD", "UNMASKEDNAN")
    left_out = spoiled | touches(bad, spoiled)
    assert left_out.sum() == LEFT_OUT.get(entry["case"].partition("/")[2], 0)
    assert assert_interpolated(product.image, theirs, pixels, bad, left_out) > 100
    mask = their_mask(entry, outputs["exposure.mask"])
    np.testing.assert_array_equal(product.mask[~left_out], mask[~left_out])
    assert product.pixels.flagged("INTRP")[bad].all()
    assert_filled_by_the_rules(result, bad)


# In, and in runs beside, what zero pixels of the flat make infinite.
LEFT_OUT = {"005": 14, "016": 3}


def assert_filled_by_the_rules(result, bad):
    """Bad pixels are what the definition makes of our frame and its level without bad pixels."""
    before, product = result.preInterpolatedExposure, result.exposure
    frame = clipped(before.image, ignore=bad)
    image, variance = plain(before.pixels, bad, (frame.mean, frame.sigma**2))
    assert_close(product.image, image)
    assert_close(product.variance, variance)


def interpolated_cases():
    """Those in which the original interpolated."""
    return [c for c in cases() if not c.values[0] or c.values[0]["params"]["config"]["doInterpolate"]]


@pytest.mark.parametrize(("entry", "inputs", "outputs"), interpolated_cases())
def test_interpolation_of_their_frame(entry, inputs, outputs):
    """With their level and their frame, filled pixels agree too; not those whose neighbours are infinite."""
    pixels = theirs_before(entry)
    exposure = Exposure(pixels.copy(), Detector.of_shape(pixels.shape), facts=ASSEMBLED)
    radius = entry["params"]["config"]["growSaturationFootprintSize"]
    settings = {"growSaturationFootprintSize": radius, "fallbackIncludesFlagged": True}
    task = make_task("doInterpolate", **{f"interpolation__{name}": value for name, value in settings.items()})
    product = task.run(exposure).exposure
    spoiled = ~(np.isfinite(pixels.image) & np.isfinite(pixels.variance))
    bad = product.pixels.flagged("SAT", "BAD")
    allowed = tolerances(pixels, bad, clipped(pixels.image).mean)
    allowed[spoiled | touches(bad, spoiled)] = np.nan
    compared = ~np.isnan(allowed)
    difference = product.image[compared].astype(np.float64) - outputs["exposure.image"][compared]
    assert (np.abs(difference) <= allowed[compared]).all()
    np.testing.assert_array_equal(product.mask, outputs["exposure.mask"])


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_levels_of_the_frame(entry, inputs, outputs):
    for amp in result_of(entry, inputs).exposure.detector.amplifiers:
        theirs = entry["params"]["effectiveAmps"][amp.name]
        for value, key in ((amp.gain, "gain"), (amp.read_noise, "readNoise"), (amp.saturation, "saturation")):
            assert value == theirs[key]
