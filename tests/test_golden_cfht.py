"""Whole runs of small MegaCam frames agree with the original, up to bad regions and interpolation.

Differences on purpose: MEDIAN is compared without truncation (see test_golden_overscan); the bias's variance
is given as zero, for the original loses it, as it loses that of the overscan level, which is taken off here;
bright trails are not widened; UNMASKEDNAN is set after the flat; edges do not need doDefect (fault 40);
flags of calibrations are those of the steps that ran.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from astropy.io.fits import Header

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, MaskPlanes, Registry, VisitInfo, default_config
from tests.golden import golden_cases
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


@pytest.mark.parametrize(("entry", "inputs", "outputs"), cases())
def test_state_before_interpolation(entry, inputs, outputs):
    with np.load(__import__("tests.golden").golden.ROOT / entry["file"]) as stored:
        aux = {n: stored[n] for n in stored.files if n.startswith("aux")}
    product = product_of(entry, inputs)
    for amp in product.detector.amplifiers:
        levels = entry["params"]["effectiveAmps"][amp.name]
        assert (amp.gain, amp.read_noise, amp.saturation) == (levels["gain"], levels["readNoise"], levels["saturation"])
    d = product.image.astype(float) - aux["aux.preInterp.image"]
    f=np.isfinite(d)
    print(entry["case"], "img", np.abs(d[f]).max(), (~f).sum(), np.abs(aux["aux.preInterp.image"][f]).max())
    if "aux.preInterp.variance" in aux:
        v = product.variance.astype(float) - aux["aux.preInterp.variance"]; f=np.isfinite(v)
        r=v[f]/aux["aux.preInterp.variance"][f]
        print("   var", np.abs(v[f]).max(), np.abs(aux["aux.preInterp.variance"][f]).max(), np.median(v[f]), r.min(), r.max())
        x = product.mask ^ aux["aux.preInterp.mask"]
        for n,b in product.planes.bits.items():
            if ((x>>b)&1).any(): print("   mask", n, ((x>>b)&1).sum(), "ours", ((product.mask>>b)&1).sum(), np.argwhere((x>>b)&1)[:4].tolist())
