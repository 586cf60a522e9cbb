"""Law: the variance plane predicts the scatter of repeated exposures made by an independent model.

Calibrations are drawn anew for every exposure, from the variance planes they carry, so their part of the
noise is predicted as well. Seeds are fixed: the law holds or does not.
"""

from __future__ import annotations

import numpy as np
import pytest

import isrcore_standard
from isrcore import Amplifier, Box, Detector, Exposure, IsrTask, MaskedImage, Registry, VisitInfo
from tests.forward_model import expose

REGISTRY = Registry({"standard": isrcore_standard})
COUNT = 600
TIME_S = 20.0
# Eight columns of overscan beside six rows of data; the second amplifier is stored right to left. Read noise
# is large and the sky faint, so that the noise of level, bias and dark is a good part of the whole.
_A = {"raw": (0, 6, 0, 13), "data": (0, 6, 0, 5), "box": (0, 6, 0, 5), "gain": 1.5, "level": 900.0}
_B = {"raw": (0, 6, 13, 25), "data": (0, 6, 21, 25), "box": (0, 6, 5, 9), "gain": 2.2, "level": 1200.0}
LAYOUT = {
    "shape": (6, 9),
    "raw_shape": (6, 25),
    "amplifiers": {"A": {**_A, "read_noise": 30.0}, "B": {**_B, "read_noise": 40.0, "flip_x": True}},
}
OVERSCANS = {"A": Box(0, 6, 5, 13), "B": Box(0, 6, 13, 21)}
BIAS, DARK, FLAT = np.linspace(-5, 5, 54).reshape(6, 9), 3.0, np.linspace(0.6, 1.4, 54).reshape(6, 9)


def detector():
    amplifiers = tuple(
        Amplifier(
            name,
            Box(*amp["box"]),
            Box(*amp["raw"]),
            Box(*amp["data"]),
            OVERSCANS[name],
            gain=amp["gain"],
            read_noise=amp["read_noise"],
            flip_x=amp.get("flip_x", False),
        )
        for name, amp in LAYOUT["amplifiers"].items()
    )
    return Detector("ccd0", 0, LAYOUT["shape"], LAYOUT["raw_shape"], amplifiers)


def drawn(mean, sigma, rng, **values):
    """A calibration: its mean with noise, and the variance of that noise."""
    image = (np.ones((6, 9)) * mean + sigma * rng.standard_normal((6, 9))).astype(np.float32)
    variance = np.full((6, 9), sigma**2, np.float32)
    pixels = MaskedImage.from_image(image, variance=variance)
    return Exposure(pixels, detector(), facts=frozenset({"assembled"}), **values)


def calibrations(rng, noise):
    # The dark current of the model is in electron/s; a dark frame of 10 s holds it in adu.
    gain = np.where(np.arange(9) < 5, 1.5, 2.2)
    return {
        "bias": drawn(BIAS, 12.0 * noise, rng),
        "dark": drawn(DARK * 10 / gain, 6.0 * noise, rng, visit=VisitInfo(dark_s=10.0)),
        "flat": drawn(FLAT, 0.02 * noise, rng, unit=""),
    }


def runs(task, kinds, noise, sky):
    """Images and variances of many exposures of one sky."""
    images, variances = [], []
    for seed in range(COUNT):
        inputs = calibrations(np.random.default_rng(10_000 + seed), noise)
        light = {"flat": FLAT} if "flat" in kinds else {}
        light |= {"dark": DARK} if "dark" in kinds else {}
        light |= {"bias": BIAS} if "bias" in kinds else {}
        raw, _ = expose(LAYOUT, sky, TIME_S, seed=seed, **light)
        exposure = Exposure(MaskedImage.from_raw(raw), detector(), visit=VisitInfo(dark_s=TIME_S))
        result = task.run(exposure, **{kind: inputs[kind] for kind in kinds}).exposure
        images.append(result.image)
        variances.append(result.variance)
    return np.array(images, np.float64), np.array(variances, np.float64)


def task_for(fit_type, kinds, applies_gains):
    config = IsrTask(registry=REGISTRY).config.copy()
    config.overscan.fitType, _, order = fit_type.partition(" ")
    config.overscan.order = int(order or 1)
    switches = {"doBias": "bias", "doDark": "dark", "doFlat": "flat"}
    for name, kind in switches.items():
        config.set(name, kind in kinds)
    config.doDefect = config.expectWcs = False
    config.doApplyGains = applies_gains
    return IsrTask(config=config, registry=REGISTRY)


CASES = [
    pytest.param("MEAN", (), 0, 200, False, id="overscan"),
    pytest.param("MEAN_PER_ROW", (), 0, 200, False, id="mean of each row"),
    pytest.param("MEDIAN_PER_ROW", (), 0, 200, True, id="median of each row, in electron"),
    pytest.param("POLY 2", (), 0, 200, False, id="parabola along the rows"),
    pytest.param("CUBIC_SPLINE 3", (), 0, 200, True, id="spline along the rows, in electron"),
    pytest.param("MEDIAN", ("bias", "dark"), 1, 200, True, id="noisy bias and dark, in electron"),
    pytest.param("MEAN_PER_ROW", ("bias", "dark", "flat"), 1, 20000, False, id="noisy bias, dark and flat"),
]


@pytest.mark.parametrize(("fit_type", "kinds", "noise", "sky", "applies_gains"), CASES)
def test_the_variance_plane_predicts_the_scatter(fit_type, kinds, noise, sky, applies_gains):
    images, variances = runs(task_for(fit_type, kinds, applies_gains), kinds, noise, sky)
    ratio = images.var(axis=0, ddof=1) / variances.mean(axis=0)
    # The scatter of a sample variance of normal deviates, five times.
    tolerance = 5 * np.sqrt(2 / (COUNT - 1))
    np.testing.assert_allclose(ratio, 1, atol=tolerance)
    # All pixels together: those of a row share the noise of its level, so there are twelve samples at least.
    np.testing.assert_allclose(ratio.mean(), 1, atol=tolerance / np.sqrt(12))


def test_example_the_noise_of_one_pixel_by_hand():
    config = task_for("MEAN", (), False).config.copy()
    config.doOverscan = False
    task = IsrTask(config=config, registry=REGISTRY)
    # 1000 adu at 2 electron/adu: 2000 electron, so 500 adu² of photon noise, and (10/2)² of read noise.
    quiet = Detector.of_shape((1, 1), gain=2.0, read_noise=10.0)
    raw = Exposure(MaskedImage.from_raw(np.uint16([[1000]])), quiet)
    assert task.run(raw).exposure.variance.tolist() == [[525.0]]
