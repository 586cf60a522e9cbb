"""Kernels of the brighter-fatter effect as values and files, and how the step uses what it is given."""

from __future__ import annotations

import logging

import attrs
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Box,
    BrighterFatterError,
    BrighterFatterKernel,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    Registry,
    VisitInfo,
    isr_config,
    read_exposure,
)
from isrcore.testing import brighter_fatter, strategies
from isrcore_standard import BrighterFatter
from isrcore_standard.brighter_fatter import read_gains
from tests.test_cli import write_raw

REGISTRY = Registry({"standard": isrcore_standard})
ASSEMBLED = frozenset({"assembled", "converted", "levels-known"})
KERNEL = -1e-7 * np.array([[1, 2, 1], [2, 8, 2], [1, 2, 1]])


def task(*flags, **settings):
    config = isr_config(REGISTRY)()
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.flag in ("doBrighterFatter", *flags))
    config.expectWcs = False
    for name, value in settings.items():
        config.set(name.replace("__", "."), value)
    return IsrTask(config, registry=REGISTRY)


def star(shape=(20, 18), detector=None):
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 500 + 30000 * np.exp(-((y - 9) ** 2 + (x - 8) ** 2) / 8)
    pixels = MaskedImage.from_image(image.astype(np.float32))
    owner = detector or Detector.of_shape(shape)
    return Exposure(pixels, owner, facts=ASSEMBLED, visit=VisitInfo(dark_s=10.0))


def frame(image, unit="adu"):
    pixels = MaskedImage.from_image(np.array(image, np.float32))
    facts = frozenset({"assembled"})
    return Exposure(
        pixels, Detector.of_shape(pixels.shape), facts=facts, visit=VisitInfo(dark_s=10.0), unit=unit
    )


def test_every_fault_of_a_kernel_is_told():
    with pytest.raises(BrighterFatterError) as caught:
        BrighterFatterKernel(
            np.full((3, 4), np.nan), {"A": np.zeros(3), "B": np.zeros((5, 5))}, {"A": 0.0, "B": np.nan}
        )
    for told in (
        "the kernel has shape (3, 4); both sides must be odd",
        "the kernel has 12 values that are not finite",
        "the kernel of amplifier 'A' has shape (3,); it needs two axes",
        "kernels have shapes (3,), (3, 4), (5, 5)",
        "the gain of amplifier 'A' is 0.0 electron/adu; it must be positive",
        "the gain of amplifier 'B' is nan",
    ):
        assert told in str(caught.value)


@pytest.mark.parametrize("nothing", [{}, {"kernel": None, "amplifiers": {}}])
def test_no_kernel_is_none(nothing):
    with pytest.raises(BrighterFatterError, match="there is no kernel"):
        BrighterFatterKernel(**nothing)


def test_what_is_no_array_of_numbers_is_refused():
    with pytest.raises(BrighterFatterError, match="is an array of numbers"):
        BrighterFatterKernel("kernel.fits")


def test_a_kernel_cannot_be_changed():
    given_array = KERNEL.copy()
    kernel = BrighterFatterKernel(given_array)
    given_array[1, 1] = 5
    assert kernel.kernel.tolist() == KERNEL.tolist()
    with pytest.raises(ValueError, match="read-only"):
        kernel.kernel[1, 1] = 5


def test_without_one_of_its_own_the_detector_has_the_mean_kernel():
    kernel = BrighterFatterKernel(amplifiers={"A": KERNEL, "B": 3 * KERNEL})
    np.testing.assert_allclose(kernel.of_detector, 2 * KERNEL)
    assert kernel.shape == (3, 3)


@st.composite
def kernels(draw):
    detector = draw(strategies.detectors())
    made = draw(brighter_fatter.kernels(detector))
    gains = draw(brighter_fatter.gains(detector)) or {}
    left_out = draw(st.sampled_from([{}, {"amplifiers": {}}, {"kernel": None}]))
    name = draw(st.sampled_from(["", "ccd0", "détecteur 7 "]))
    return attrs.evolve(made, gains=gains, detector_name=name, **left_out)


@given(kernel=kernels())
def test_a_kernel_returns_from_its_file(kernel, tmp_path_factory):
    path = tmp_path_factory.mktemp("kernels") / "ccd0.fits"
    kernel.write(path)
    found = BrighterFatterKernel.read(path, kernel.detector_name)
    for name in ("kernel", "amplifiers"):
        np.testing.assert_equal(getattr(found, name), getattr(kernel, name))
    assert (found.gains, found.detector_name) == (kernel.gains, kernel.detector_name)
    assert found.source == str(path)
    assert found.digest == kernel.digest


def test_another_kernel_has_another_digest():
    digests = {
        kernel.digest
        for kernel in (
            BrighterFatterKernel(KERNEL),
            BrighterFatterKernel(2 * KERNEL),
            BrighterFatterKernel(KERNEL.reshape(1, 9)),
            BrighterFatterKernel(amplifiers={"A": KERNEL}),
            BrighterFatterKernel(KERNEL, gains={"A": 2.0}),
        )
    }
    assert len(digests) == 5


def test_a_file_of_one_image_is_a_kernel(tmp_path):
    fits.writeto(tmp_path / "kernel.fits", KERNEL)
    np.testing.assert_array_equal(BrighterFatterKernel.read(tmp_path / "kernel.fits").kernel, KERNEL)


def test_what_is_wrong_with_a_file_is_told(tmp_path):
    path = tmp_path / "kernel.fits"
    BrighterFatterKernel(KERNEL, detector_name="ccd7").write(path)
    with pytest.raises(
        BrighterFatterError, match=r"kernel.fits' gives no .*is of detector 'ccd7', not of 'ccd8'"
    ):
        BrighterFatterKernel.read(path, "ccd8")
    damaged = bytearray(path.read_bytes())
    damaged[2 * 2880 + 9] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(BrighterFatterError, match="the file is damaged"):
        BrighterFatterKernel.read(path)
    images = [fits.PrimaryHDU(), fits.ImageHDU(KERNEL), fits.ImageHDU(KERNEL)]
    fits.HDUList(images).writeto(path, overwrite=True)
    with pytest.raises(BrighterFatterError, match="several kernels of ''"):
        BrighterFatterKernel.read(path)
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(BrighterFatterError, match="there is no kernel"):
        BrighterFatterKernel.read(path)


def test_gains_are_read_from_a_table(tmp_path):
    Table({"amplifier": ["A", "B"], "gain": [1.5, 2.0]}).write(tmp_path / "gains.ecsv")
    assert read_gains(tmp_path / "gains.ecsv", "ccd0") == {"A": 1.5, "B": 2.0}
    Table({"amplifier": ["A"], "factor": [1.5]}).write(tmp_path / "other.ecsv")
    with pytest.raises(ValueError, match="has no column 'gain'"):
        read_gains(tmp_path / "other.ecsv", "ccd0")


def test_variance_stays_and_the_edge_is_flagged():
    before = star()
    after = task().run(before, bfKernel=np.ones((3, 7)) * -1e-8).exposure
    np.testing.assert_array_equal(after.variance, before.variance)
    edge = after.pixels.flagged("EDGE")
    assert not edge[2:-2, 4:-4].any()
    assert edge[:2].all()
    assert edge[-2:].all()
    assert edge[:, :4].all()
    assert edge[:, -4:].all()
    unchanged = after.image == before.image
    assert unchanged[edge].all()
    assert not unchanged[~edge].all()


def test_a_kernel_larger_than_the_detector_corrects_nothing():
    before = star((4, 18))
    after = task().run(before, bfKernel=np.ones((9, 3)) * -1e-8).exposure
    np.testing.assert_array_equal(after.image, before.image)
    assert after.pixels.flagged("EDGE").all()


@pytest.mark.parametrize(
    ("settings", "is_converged", "iterations"),
    [({"maxIter": 1, "threshold": 0.1}, False, 1), ({"maxIter": 10, "threshold": 0.1}, True, 5)],
)
def test_how_the_iteration_ended_is_recorded(settings, is_converged, iterations, caplog):
    chain = task(**{f"brighterFatter__{name}": value for name, value in settings.items()})
    with caplog.at_level(logging.WARNING):
        found = chain.run(star(), bfKernel=KERNEL).exposure.measured["brighterFatter"]["unnamed"]
    assert (found.is_converged, found.iterations) == (is_converged, iterations)
    assert (found.difference < 0.1) == is_converged
    metadata = chain.getFullMetadata()["isr:brighterFatter"]
    assert [metadata[name] for name in ("is_converged", "iterations", "difference")] == list(
        attrs.astuple(found)
    )
    assert ("still changed by" in caplog.text) != is_converged


def test_flags_that_are_interpolated_over_grow_afterwards():
    before = star()
    before.mask[9, 9] = before.planes.value("SAT")
    before.mask[3, 3] = before.planes.value("CR")
    product = task(brighterFatter__maskGrowSize=1).run(before, bfKernel=KERNEL).exposure
    y, x = np.nonzero(product.pixels.flagged("SAT"))
    assert sorted(zip(y.tolist(), x.tolist(), strict=True)) == [(8, 9), (9, 8), (9, 9), (9, 10), (10, 9)]
    assert product.pixels.flagged("CR").sum() == 1
    assert task().run(before, bfKernel=KERNEL).exposure.pixels.flagged("SAT").sum() == 1


def test_flagged_pixels_are_replaced_where_dark_and_flat_are_corrected():
    """A bad pixel under dust is filled with what its neighbours would show under that dust."""
    clean, flat = star(), np.ones((20, 18))
    flat[9, 9], dark = 0.5, np.zeros((20, 18))
    dark[9, 9] = 700.0
    clean.image[9, 9] = 0.5 * clean.image[9, 9] + 700
    spoiled = clean.clone()
    spoiled.image[9, 9], spoiled.mask[9, 9] = 60000, 1
    frames = {"dark": frame(dark), "flat": frame(flat, "")}
    chain = task("doDark", "doFlat")
    expected, found = (chain.run(e, bfKernel=KERNEL, **frames).exposure.image for e in (clean, spoiled))
    careless = task().run(spoiled, bfKernel=KERNEL).exposure
    # Interpolation along the row of a star is good to some hundredths; the star's pixels change by up to 130.
    assert difference_away_from((9, 9), expected, found) < 3
    plain = task().run(clean, bfKernel=KERNEL).exposure.image
    assert difference_away_from((9, 9), plain, careless.image) > 30


def difference_away_from(places, first, second):
    """The largest difference of two images but for some pixels."""
    off = np.abs(first.astype(np.float64) - second)
    off[places] = 0
    return off.max()


def test_a_pixel_that_is_no_number_pushes_like_its_neighbours():
    clean, spoiled = star(), star()
    spoiled.image[9, 11] = np.nan
    expected, found = (task().run(e, bfKernel=KERNEL).exposure.image for e in (clean, spoiled))
    # Interpolation along the row of a star is good to some hundredths; the star's pixels change by up to 130.
    assert difference_away_from((9, 11), expected, found) < 2


def test_charge_that_spilled_from_a_saturated_run_pushes_nothing():
    clean, spoiled = star((20, 50)), star((20, 50))
    spoiled.mask[9, 26:36] = spoiled.planes.value("SAT")
    spoiled.image[9, 22:40] = 60000
    places = (9, slice(22, 40))
    expected = task().run(clean, bfKernel=KERNEL).exposure.image
    widened, plain = (
        task(*flags).run(spoiled, bfKernel=KERNEL).exposure.image
        for flags in (("doWidenSaturationTrails",), ())
    )
    assert difference_away_from(places, expected, widened) < 0.01
    assert difference_away_from(places, expected, plain) > 30


def test_the_plan_shows_that_dark_and_flat_are_read():
    inputs = {"bfKernel": KERNEL, "dark": frame(np.zeros((20, 18))), "flat": frame(np.ones((20, 18)), "")}
    for flags, kinds in (((), {"bfKernel"}), (("doDark", "doFlat"), {"bfKernel", "dark", "flat"})):
        plan = task(*flags).plan(star(), **inputs)
        spec = next(planned.spec for planned in plan.steps if planned.spec.name == "brighterFatter")
        assert spec.kinds - {"bfGains"} == kinds


def test_the_step_runs_on_its_own():
    exposure, calibrations = star(), task()._checked(star(), {"bfKernel": KERNEL}, [])
    BrighterFatter().run(exposure, calibrations)
    expected = task().run(star(), bfKernel=KERNEL).exposure
    np.testing.assert_array_equal(exposure.image, expected.image)


TWO = Detector(
    "ccd0",
    0,
    (20, 18),
    (20, 18),
    tuple(
        attrs.evolve(
            Detector.of_shape((20, 18)).amplifiers[0], name=name, box=box, raw_box=box, raw_data_box=box
        )
        for name, box in (("A", Box(0, 20, 0, 9)), ("B", Box(0, 20, 9, 18)))
    ),
)


@pytest.mark.parametrize(
    ("inputs", "settings", "told"),
    [
        ({}, {}, "needs calibration 'bfKernel', none was given"),
        ({"bfKernel": np.ones((2, 3))}, {}, "both sides must be odd"),
        ({"bfKernel": "text"}, {}, "is an array of numbers"),
        (
            {"bfKernel": BrighterFatterKernel(KERNEL, detector_name="ccd9")},
            {},
            "bfKernel is of detector 'ccd9', the exposure of 'ccd0'",
        ),
        (
            {"bfKernel": BrighterFatterKernel(KERNEL, {"A": KERNEL})},
            {"brighterFatter__level": "AMP"},
            "bfKernel has no kernel of amplifier 'B'; it has those of 'A'",
        ),
        (
            {"bfKernel": KERNEL, "bfGains": {"A": 1.0}},
            {},
            "bfGains has no gain of amplifier 'B'; it has those of 'A'",
        ),
        (
            {"bfKernel": KERNEL, "bfGains": {}},
            {},
            "bfGains has no gain of amplifier 'A', 'B'; it has those of none",
        ),
        (
            {"bfKernel": BrighterFatterKernel(KERNEL, gains={"B": 1.0})},
            {},
            "bfKernel has no gain of amplifier 'A'; it has those of 'B'",
        ),
        (
            {"bfKernel": KERNEL, "bfGains": {"A": -1.0, "B": "x"}},
            {},
            "bfGains: the gain of amplifier 'A' is -1.0; it must be positive",
        ),
        ({"bfKernel": KERNEL, "bfGains": 1.5}, {}, "bfGains is a 'float'; give gains"),
    ],
)
def test_what_does_not_fit_is_told_before_any_pixel_is_touched(inputs, settings, told):
    before = star(detector=TWO)
    with pytest.raises(PlanError) as caught:
        task(**settings).run(before, **inputs)
    assert told in str(caught.value)


def test_given_gains_come_before_those_of_the_kernel_and_these_before_those_of_the_detector():
    def corrected(gain, **inputs):
        detector = TWO.with_amplifiers(A={"gain": gain}, B={"gain": gain})
        return task().run(star(detector=detector), **inputs).exposure.image

    kernel = BrighterFatterKernel(KERNEL, gains={"A": 3.0, "B": 3.0})
    by_detector = [corrected(gain, bfKernel=KERNEL) for gain in (2.0, 3.0, 4.0)]
    assert np.abs(np.diff(by_detector, axis=0)).max(axis=(1, 2)).min() > 1
    np.testing.assert_array_equal(corrected(2.0, bfKernel=kernel), by_detector[1])
    given_gains = corrected(2.0, bfKernel=kernel, bfGains={"A": 4.0, "B": 4.0})
    np.testing.assert_array_equal(given_gains, by_detector[2])


def test_gains_that_are_not_used_need_not_be_there():
    exposure = star(detector=TWO)
    product = (
        task(brighterFatter__applyGain=False).run(exposure, bfKernel=KERNEL, bfGains={"A": 1.0}).exposure
    )
    assert "brighter-fatter-corrected" in product.facts
    assert product.history[-1].step == "brighterFatter"


def test_kernels_and_gains_come_from_files_of_the_detectors(isr, tmp_path):
    registry = Registry({"simulated": isrcore_simulated, "standard": isrcore_standard})
    kernels, gains = tmp_path / "kernels", tmp_path / "gains"
    kernels.mkdir()
    gains.mkdir()
    for detector in isrcore_simulated.CAMERA.detectors:
        BrighterFatterKernel(KERNEL, detector_name=detector.name).write(kernels / f"{detector.name}.fits")
        table = Table({"amplifier": detector.amplifier_names, "gain": [2.0] * len(detector.amplifiers)})
        table.write(gains / f"{detector.name}.ecsv")
    words = ["run", write_raw(tmp_path / "raw.fits"), "-o", tmp_path, "-c", "doBrighterFatter=true"]
    words += ["doBias=false", "doDark=false", "doFlat=false"]
    status, _, told = isr(*words, "--bf-kernel", kernels, "--bf-gains", gains, registry=registry)
    assert status == 0, told
    entry = next(e for e in read_exposure(tmp_path / "raw_sim1.fits").history if e.step == "brighterFatter")
    assert entry.calibration == f"in memory, {kernels / 'sim1.fits'}"
    assert entry.digest == BrighterFatterKernel(KERNEL).digest
    wrong = kernels / "sim0.fits"
    status, _, told = isr(*words, "--bf-kernel", wrong, "--overwrite", registry=registry)
    assert status != 0
    assert "is of detector 'sim0', not of 'sim1'" in told
