"""What every documented method about pixels does, by its name: ``test_maskNan`` is about maskNan.

Numbers are those of the specification where it has some.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from isrcore import Box, Detector, Exposure, IsrQaConfig, MaskedImage
from tests.small_megacam import (
    AMP_A,
    AMP_B,
    CAMERA,
    CARDS,
    CCD,
    VISIT,
    frame,
    places,
    raw,
    raw_floats,
    task_of,
)


def test_convertIntToFloat() -> None:
    task, floats, counts = task_of(), raw_floats(), raw()
    assert task.convertIntToFloat(floats) is floats
    converted = task.convertIntToFloat(counts)
    assert converted is not counts
    assert (converted.image.dtype, converted.image[0, 3]) == (np.float32, 1200)
    assert (converted.variance == 1).all()
    assert not converted.mask.any()
    assert (converted.header["GAINA"], converted.visit) == (CARDS["GAINA"], VISIT)
    assert counts.pixels.is_raw
    with pytest.raises(RuntimeError, match="cannot convert a 'ndarray'"):
        task.convertIntToFloat(counts.image)


def test_darkCorrection() -> None:
    # 100 - 2·3 = 94 adu, and the variance 10 + 2²·0.5 = 12 adu².
    task, exposure, dark = task_of(), frame(100, 10, dark_s=20), frame(3, 0.5, dark_s=10)
    task.darkCorrection(exposure, dark)
    assert (exposure.image[0, 0], exposure.variance[0, 0]) == (94, 12)
    with pytest.raises(RuntimeError, match="'dark' must not run twice"):
        task.darkCorrection(exposure, dark)
    task.darkCorrection(exposure, dark, invert=True)
    assert (exposure.image == 100).all()
    assert (exposure.variance == 10).all()
    for ours, its in ((frame(1), dark), (exposure, frame(3))):
        with pytest.raises(RuntimeError, match="dark time"):
            task.darkCorrection(ours, its)


def test_flatCorrection() -> None:
    # Scales 1 and 2: 100/2 = 50 with variance (10 + 50²·0.1)/4 = 65, and 100 with (40 + 100²·0.1)/4 = 260.
    flat = frame(2, 0.1, unit="")
    for scale, image, variance in ((1.0, 50, 65), (2.0, 100, 260)):
        task, exposure = task_of(flat__userScale=scale), frame(100, 10)
        task.flatCorrection(exposure, flat)
        assert exposure.image[0, 0] == image
        assert exposure.variance[0, 0] == pytest.approx(variance, rel=1e-6)
        task.flatCorrection(exposure, flat, invert=True)
        np.testing.assert_array_equal(exposure.image, 100)
        # Five float32 roundings of the larger term of the variance.
        np.testing.assert_allclose(exposure.variance, 10, rtol=3e-6)
        assert "flat-fielded" not in exposure.facts


def test_flatContext() -> None:
    exposure, flat, dark = frame(100, 10, dark_s=20), frame(2, unit=""), frame(3, dark_s=10)
    task = task_of(doDark=True)

    def look_and_fail() -> None:
        with task.flatContext(exposure, flat, dark) as inside:
            assert inside is exposure
            assert (inside.image == 47).all()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        look_and_fail()
    assert (exposure.image == 100).all()
    assert not {"dark-subtracted", "flat-fielded"} & exposure.facts
    with task_of(doDark=False).flatContext(exposure, flat, dark) as inside:
        assert (inside.image == 50).all()
    with task_of(doDark=True, doFlat=False).flatContext(exposure, flat, dark) as inside:
        assert (inside.image == 94).all()


def test_debugView(tmp_path: Path) -> None:
    task = task_of(debug__steps=["doBias", "postISRCCD"], debug__folder=str(tmp_path / "views"))
    exposure = frame(100)
    task.debugView(exposure, "flat")
    assert not (tmp_path / "views").exists()
    task.debugView(exposure, "bias")
    task.debugView(exposure, "postISRCCD")
    names = sorted(path.name for path in (tmp_path / "views").iterdir())
    assert names == ["exposure_small_bias.png", "exposure_small_postISRCCD.png"]
    assert (exposure.image == 100).all()


def test_doLinearize() -> None:
    bent = CCD.with_amplifiers(A={"linearity_type": "Squared", "linearity_coeffs": (1e-6,)})
    second = CCD.with_amplifiers(B={"linearity_type": "Squared", "linearity_coeffs": (1e-6,)})
    assert [task_of().doLinearize(detector) for detector in (bent, second, CCD)] == [True, True, False]
    assert task_of(doLinearize=False).doLinearize(bent) is False


def test_ensureExposure() -> None:
    task, known = task_of(), raw()
    assert task.ensureExposure(known, CAMERA, 3) is known
    bare = Exposure(raw().pixels, Detector.of_shape(CCD.raw_shape))
    assert task.ensureExposure(bare, CAMERA, 3) is bare
    assert (bare.detector, bare.camera) == (CCD, "MegaCam")
    made = task.ensureExposure(np.full(CCD.shape, 5, np.float32), CAMERA, 3)
    assert made is not None
    assert (made.detector, made.camera, made.is_assembled) == (CCD, "MegaCam", True)
    assert (made.image == 5).all()
    assert not made.mask.any()
    assert not made.variance.any()
    counts = task.ensureExposure(raw().image, CAMERA, 3)
    assert counts is not None
    assert (counts.is_assembled, counts.pixels.is_raw) == (False, True)
    with pytest.raises(TypeError, match="cannot make an exposure of a str"):
        task.ensureExposure("pixels", CAMERA, 3)  # type: ignore[arg-type]


def test_maskAmplifier() -> None:
    task, exposure = task_of(doSuspect=True), raw_floats()
    exposure.image[1, 4], exposure.image[1, 5] = 5000, 4000
    assert task.maskAmplifier(exposure, AMP_A, None) is False
    assert places(exposure, "SAT") == [[1, 4]]
    assert places(exposure, "SUSPECT") == [[1, 4], [1, 5]]
    halves = [Box(0, 4, 0, 6), Box(4, 8, 0, 6)]
    assert task.maskAmplifier(exposure, AMP_A, halves[:1]) is False
    assert not places(exposure, "BAD")
    assert task.maskAmplifier(exposure, AMP_A, halves) is True
    np.testing.assert_array_equal(exposure.pixels.flagged("BAD")[:, :9], True)
    assert not exposure.pixels.flagged("BAD")[:, 9:].any()
    full = raw_floats(signal=5000)
    assert task.maskAmplifier(full, AMP_B, None) is True
    assert full.pixels.flagged("BAD").sum() == AMP_B.raw_data_box.area
    off = raw_floats(signal=4000)
    task_of(doSaturation=False).maskAmplifier(off, AMP_B, None)
    assert not places(off, "SAT")


def test_saturationDetection() -> None:
    exposure = raw_floats()
    # At the level and above, the overscan too; of another amplifier nothing.
    exposure.image[1, 4], exposure.image[2, 0], exposure.image[3, 4], exposure.image[4, 10] = (
        5000,
        6000,
        4999,
        6000,
    )
    task_of(doSaturation=False).saturationDetection(exposure, AMP_A)
    assert places(exposure, "SAT") == [[1, 4], [2, 0]]
    named = raw_floats(signal=4000)
    task_of(saturatedMaskName="HIGH").saturationDetection(named, AMP_A)
    assert named.pixels.flagged("HIGH").sum() == AMP_A.raw_data_box.area


def test_suspectDetection() -> None:
    exposure = raw_floats()
    exposure.image[1, 4], exposure.image[2, 0], exposure.image[3, 4] = 4000, 6000, 3999
    task = task_of()
    task.suspectDetection(exposure, AMP_A)
    assert places(exposure, "SUSPECT") == [[1, 4], [2, 0]]
    assert not places(exposure, "SAT")
    no_level = attrs.evolve(AMP_A, suspect_level=np.nan)
    bright = raw_floats(signal=60000)
    bright.detector = attrs.evolve(CCD, amplifiers=(no_level, AMP_B))
    task.suspectDetection(bright, no_level)
    assert not bright.mask.any()


def test_overscanCorrection() -> None:
    # The median that knows of ties: 1, 1, 2, 2, 2, 3 has 1.8333 (here four rows of each, above 1000).
    exposure = raw_floats()
    exposure.image[AMP_A.serial_overscan_box.slices] = 1000 + np.resize([1, 1, 2, 2, 2, 3], (8, 3))
    result = task_of(overscan__fitType="MEDIAN").overscanCorrection(exposure, AMP_A)
    assert result is not None
    level = 1000 + 1.5 + (0.5 * 24 - 8) / 12
    assert level == pytest.approx(1001.8333, abs=1e-4)
    # Half a unit in the last place of float32 at 1000.
    assert result.imageFit == pytest.approx(level, abs=6e-5)
    assert result.overscanFit == result.imageFit
    assert result.overscanImage.shape == (8, 3)
    np.testing.assert_allclose(exposure.image[AMP_A.raw_data_box.slices], 1200 - level, atol=1e-4)
    np.testing.assert_array_equal(
        exposure.image[AMP_A.serial_overscan_box.slices], result.overscanImage.image
    )
    assert (exposure.image[AMP_B.raw_box.slices][:8, :6] == 1200).all()
    bare = Exposure(MaskedImage.from_image(np.ones((4, 6), np.float32)), Detector.of_shape((4, 6)))
    assert task_of().overscanCorrection(bare, bare.detector["0"]) is None


def test_updateVariance() -> None:
    # 1000/1.6 + (4/1.6)² = 631.25 adu².
    exposure = frame(1000)
    task_of().updateVariance(exposure, AMP_A)
    assert (exposure.variance[:, :6] == 631.25).all()
    assert not exposure.variance[:, 6:].any()
    residual = np.float32([[3, -3], [3, -3]])
    overscan = MaskedImage.from_image(np.tile(residual, (4, 4)))
    overscan.image[0, 0], overscan.mask[0, 0] = 1000, overscan.planes.value("SAT")
    # A scatter of 3 adu is 4.8 electron, whatever the table says: 625 + 9 but for Bessel's correction.
    task_of(doEmpiricalReadNoise=True).updateVariance(exposure, AMP_A, overscan)
    assert exposure.variance[0, 0] == pytest.approx(625 + 9, abs=0.5)
    task_of(doEmpiricalReadNoise=False).updateVariance(exposure, AMP_A, overscan)
    assert exposure.variance[0, 0] == 631.25
    cutout = Exposure(MaskedImage.from_image(np.full((8, 6), 1000, np.float32)), CCD)
    task_of().updateVariance(cutout, AMP_B)
    assert (cutout.variance == 631.25).all()


def test_maskDefect() -> None:
    exposure = frame(100)
    # Boxes are cut at the edges of the CCD, and may cross amplifiers.
    task_of().maskDefect(exposure, [Box(2, 3, 5, 7), Box(7, 20, 11, 20)])
    assert places(exposure, "BAD") == [[2, 5], [2, 6], [7, 11]]
    assert (exposure.image == 100).all()


def test_maskEdges() -> None:
    task, exposure = task_of(), frame(100)
    task.maskEdges(exposure)
    assert not exposure.mask.any()
    task.maskEdges(exposure, 2)
    free = ~exposure.pixels.flagged("SUSPECT")
    assert free[2:-2, 2:-2].all()
    assert free.sum() == 4 * 8
    task.maskEdges(exposure, 1, "EDGE")
    task.maskEdges(exposure, 1, "BORDER")
    assert places(exposure, "BORDER") == places(exposure, "EDGE")
    assert exposure.pixels.flagged("EDGE").sum() == 8 * 12 - 6 * 10


def test_maskNan(caplog: pytest.LogCaptureFixture) -> None:
    task, exposure = task_of(), frame(100, 1)
    exposure.image[0, 1], exposure.image[1, 1], exposure.variance[2, 3] = np.nan, np.inf, np.nan
    exposure.mask[0, 1] = exposure.planes.value("SAT")
    task.maskNan(exposure)
    assert places(exposure, "UNMASKEDNAN") == [[0, 1], [1, 1], [2, 3]]
    assert places(exposure, "SAT") == [[0, 1]]
    assert task.metadata["NUMNANS"] == 3
    assert "has 3 pixels that are not finite" in caplog.text
    caplog.clear()
    task.maskNan(frame(100, 1))
    assert task.metadata["NUMNANS"] == 0
    assert not caplog.text


def interpolated(*values: float) -> Exposure:
    """A frame whose rows begin with these values, and are 7 beyond."""
    exposure = frame(7, 1)
    exposure.image[:, : len(values)] = values
    return exposure


def test_maskAndInterpolateDefects() -> None:
    # Two good pixels on each side: -0.2737·10 + 0.7737·20 + 0.7737·40 - 0.2737·50 = 30.
    exposure = interpolated(10, 20, 999, 40, 50)
    exposure.image[1, 8], exposure.mask[1, 8] = 555, exposure.planes.value("SAT")
    task_of(edges__numPixels=1).maskAndInterpolateDefects(exposure, [Box(2, 4, 2, 3)])
    assert places(exposure, "BAD") == places(exposure, "INTRP") == [[2, 2], [3, 2]]
    np.testing.assert_allclose(exposure.image[2:4, 2], 30, rtol=1e-6)
    assert (exposure.image[4, 2], exposure.image[1, 8]) == (999, 555)
    assert exposure.pixels.flagged("SUSPECT")[0].all()
    start = interpolated(999, 20, 10)
    # At the start of a row: 1.4288·20 - 0.4288·10 = 24.288.
    task_of().maskAndInterpolateDefects(start, [Box(2, 3, 0, 1)])
    assert start.image[2, 0] == pytest.approx(24.288, abs=1e-3)


def test_maskAndInterpolateNan() -> None:
    exposure = interpolated(10, 20, 999, 40, 50)
    exposure.image[2, 2] = np.nan
    exposure.image[3, 2], exposure.mask[3, 2] = 888, exposure.planes.value("BAD")
    # Also when a run would not interpolate over these.
    task_of(interpolation__nan=False, interpolation__planes=["SAT"]).maskAndInterpolateNan(exposure)
    assert exposure.image[2, 2] == pytest.approx(30, rel=1e-6)
    assert exposure.image[3, 2] == 888
    assert places(exposure, "UNMASKEDNAN") == places(exposure, "INTRP") == [[2, 2]]


def test_saturationInterpolation() -> None:
    exposure = interpolated(10, 20, 999, 40, 50)
    exposure.mask[2, 2], exposure.mask[4, 2] = exposure.planes.value("SAT"), exposure.planes.value("BAD")
    settings = {"interpolation__saturation": False, "interpolation__planes": ["BAD"]}
    task_of(interpolation__growSaturationFootprintSize=0, **settings).saturationInterpolation(exposure)
    assert exposure.image[2, 2] == pytest.approx(30, rel=1e-6)
    assert exposure.image[4, 2] == 999
    assert places(exposure, "INTRP") == [[2, 2]]
    grown = frame(7)
    grown.image[2, 5], grown.mask[2, 5] = 999, grown.planes.value("SAT")
    task_of(interpolation__growSaturationFootprintSize=1, **settings).saturationInterpolation(grown)
    assert places(grown, "INTRP") == [[1, 5], [2, 4], [2, 5], [2, 6], [3, 5]]
    np.testing.assert_allclose(grown.image, 7, rtol=1e-6)


def test_setValidPolygonIntersect(caplog: pytest.LogCaptureFixture) -> None:
    # 0.01 mm per pixel, pixel (0, 0) at the origin: x up to 0.055 mm is the left half of 12 columns.
    task, exposure = task_of(), frame(100)
    task.setValidPolygonIntersect(exposure, [(-1, -1), (0.055, -1), (0.055, 1), (-1, 1)])
    assert exposure.valid_polygon is not None
    np.testing.assert_allclose(np.min(exposure.valid_polygon, axis=0), (-0.5, -0.5))
    np.testing.assert_allclose(np.max(exposure.valid_polygon, axis=0), (5.5, 7.5))
    assert not caplog.text
    other = frame(100)
    task.setValidPolygonIntersect(other, [(5, 5), (6, 5), (6, 6)])
    assert other.valid_polygon is None
    assert "does not reach the detector" in caplog.text
    with pytest.raises(ValueError, match="give corners in order"):
        task.setValidPolygonIntersect(other, [(0, 0), (1, 1), (1, 0), (0, 1)])


def test_roughZeroPoint(caplog: pytest.LogCaptureFixture) -> None:
    # 2.5·log10(10^11.2 · 100 s) = 33.
    task, exposure = task_of(), frame(100)
    task.roughZeroPoint(exposure)
    assert exposure.zero_point is not None
    assert exposure.zero_point.magnitude == pytest.approx(33.0, abs=1e-9)
    known = task_of(zeroPoint__fluxMag0T1={"r.MP9601": 10.0**10})
    known.roughZeroPoint(exposure)
    assert exposure.zero_point.magnitude == pytest.approx(30.0, abs=1e-9)
    short = frame(100)
    short.visit = attrs.evolve(VISIT, exposure_s=0.0)
    task.roughZeroPoint(short)
    assert short.zero_point is None
    assert "gets no zero point" in caplog.text


def test_measureBackground() -> None:
    task, exposure = task_of(), frame(100)
    exposure.image[:, 6:] = 120
    task.measureBackground(exposure)
    assert "SKYLEVEL" not in exposure.header
    qa = IsrQaConfig()
    qa.flatness.meshX = qa.flatness.meshY = 6
    task.measureBackground(exposure, qa)
    assert exposure.header["SKYLEVEL"] == pytest.approx(110)
    flatness = {key: value for key, value in exposure.header.items() if key.startswith("FLATNESS")}
    # Cells of 100 and 120 over the level 110, minus one; their mesh is that of the argument.
    assert flatness["FLATNESS_MESHX"] == 6
    assert flatness["FLATNESS_PP"] == pytest.approx(20 / 110, rel=1e-6)
    assert set(np.unique(exposure.image)) == {100, 120}


def test_run() -> None:
    config: dict[str, Any] = {"doDefect": False, "doDark": True, "doInterpolate": False}
    # 1200 - 1000 (overscan) - 8 (bias) = 192, minus twice 1 for the dark; over the flat of 2.
    frames = {"bias": frame(8), "dark": frame(1, dark_s=10), "flat": frame(2, unit="")}
    given = raw()
    result = task_of(**config).run(given, **frames)
    product = result.exposure
    assert result.outputExposure is product
    assert product.shape == CCD.shape
    np.testing.assert_array_equal(product.image, 95)
    a, b = product.detector.amplifiers
    # The header's; RDNOISE where RDNOISEB is a placeholder.
    assert (a.gain, b.gain, a.read_noise, b.read_noise) == (1.5, 2.0, 3.0, 5.0)
    assert a.saturation == b.saturation == 59000
    # Photon noise 192/g, read noise (RN/g)², and that of the median of three overscan pixels: π/2·(RN/g)²/3.
    wanted = [(192 / g + (noise / g) ** 2 * (1 + np.pi / 6)) / 2**2 for g, noise in ((1.5, 3), (2, 5))]
    np.testing.assert_allclose(product.variance[0, [0, 6]], wanted, rtol=1e-6)
    assert given.pixels.is_raw
    assert product.zero_point is not None
    with pytest.raises(RuntimeError) as caught:
        task_of(**config).run(given, dark=frames["dark"])
    assert all(f"needs calibration '{kind}'" in str(caught.value) for kind in ("bias", "flat"))
    with pytest.raises(ValueError, match="brighter-fatter"):
        task_of(**config).run(given, **frames, bfKernel=np.ones((3, 3)))
    piled_up = raw()
    piled_up.image[2:4, 5:9] = 65535
    levels = task_of(**config).run(piled_up, **frames).exposure
    assert levels.detector["A"].saturation == 62206
    assert levels.pixels.flagged("SAT")[2:4, 2:6].all()
