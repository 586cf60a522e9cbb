"""Law: with k times the counts per electron everywhere, electrons and their variances stay the same.

k is a power of two, so that no rounding changes. Integer medians and lookup tables are left out: they count
in adu.
"""

from __future__ import annotations

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, LinearityCurve, MaskedImage, Registry
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.linearity import linearizers

REGISTRY = Registry({"standard": isrcore_standard})
CURVES = ["Proportional", "Squared", "Polynomial", "Spline", "DoubleSpline"]


def rescaled_detector(detector, k):
    amplifiers = (
        attrs.evolve(
            amp, gain=amp.gain / k, saturation=amp.saturation * k, suspect_level=amp.suspect_level * k
        )
        for amp in detector.amplifiers
    )
    return attrs.evolve(detector, amplifiers=tuple(amplifiers))


def rescaled(exposure, k):
    pixels, factor = exposure.pixels, np.float32(k)
    image, variance = pixels.image * factor, pixels.variance * factor * factor
    return attrs.evolve(
        exposure.share(),
        pixels=attrs.evolve(pixels, image=image, variance=variance),
        detector=rescaled_detector(exposure.detector, k),
    )


def rescaled_curve(curve, k):
    """The curve whose pixels and corrections are k times as large."""
    if curve.type in ("Squared", "Polynomial"):
        return LinearityCurve(curve.type, [c / k ** (i + 1) for i, c in enumerate(curve.coeffs)], curve.box)
    counts = 2 if curve.type == "DoubleSpline" else 0
    values = [number * k for number in curve.coeffs[counts:]]
    return LinearityCurve(curve.type, [*curve.coeffs[:counts], *values], curve.box)


def rescaled_linearizer(linearizer, k):
    curves = {name: rescaled_curve(curve, k) for name, curve in linearizer.amplifiers.items()}
    return attrs.evolve(linearizer, amplifiers=curves)


def rescaled_config(config, k):
    config = config.copy()
    config.crosstalk.minPixelToMask = config.crosstalk.minPixelToMask * k
    # Kernels are per electron: without gains they would act on counts.
    config.brighterFatter.applyGain = True
    for section in (config.overscan, config.overscan.parallel):
        section.maxDev = section.maxDev * k
    config.overscan.parallel.maskThreshold = config.overscan.parallel.maskThreshold * k
    return config


def rescaled_crosstalk(crosstalk, k):
    quadratic = crosstalk.matrix.quadratic / k
    return attrs.evolve(crosstalk, matrix=attrs.evolve(crosstalk.matrix, quadratic=quadratic))


@given(st.data(), st.integers(-4, 4).map(lambda power: 2.0**power))
def test_electrons_do_not_depend_on_counts_per_electron(data, k):
    as_they_are = {"overscan__isInt": False, "overscan__parallel__isInt": False}
    config, exposure, inputs = data.draw(strategies.runs(REGISTRY, doVariance=True, **as_they_are))
    exposure.pixels = MaskedImage.from_image(exposure.image.astype(np.float32))
    frames = {kind: rescaled(inputs[kind], k) for kind in ("bias", "dark", "strayLightData")}
    frames["crosstalk"] = rescaled_crosstalk(inputs["crosstalk"], k)
    if inputs["bfGains"]:
        frames["bfGains"] = {name: gain / k for name, gain in inputs["bfGains"].items()}
    inputs["linearizer"] = data.draw(linearizers(exposure.detector, ["None", *CURVES]))
    frames["linearizer"] = rescaled_linearizer(inputs["linearizer"], k)
    first = IsrTask(config=rescaled_config(config, 1), registry=REGISTRY).run(exposure, **inputs).exposure
    task = IsrTask(config=rescaled_config(config, k), registry=REGISTRY)
    second = task.run(rescaled(exposure, k), **{**inputs, **frames}).exposure
    if first.unit == "adu":
        second = rescaled(second, 1 / k)
    check_same(first.pixels, second.pixels)


def test_example_twice_the_counts_at_half_the_gain():
    config = IsrTask(registry=REGISTRY).config.copy()
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs"):
        config.set(name, False)
    config.doApplyGains = True
    task = IsrTask(config=config, registry=REGISTRY)
    for counts, gain in ((50, 4.0), (100, 2.0)):
        detector = Detector.of_shape((1, 1), gain=gain, read_noise=5.0)
        result = task.run(Exposure(MaskedImage.from_raw(np.uint16([[counts]])), detector)).exposure
        assert (result.unit, result.image[0, 0], result.variance[0, 0]) == ("electron", 200.0, 225.0)
