"""Defects from flats and darks: all that were put in, hardly any that were not, and the command."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import median_filter

import isrcore_calib
import isrcore_cfht
import isrcore_simulate
import isrcore_simulated
import isrcore_standard
from isrcore import Box, Defects, Detector, Registry, read_exposure
from isrcore_calib.bad_pixels import Bounds, find_in_dark, find_in_flat
from isrcore_calib.selection import running_medians
from tests.test_masters import SIM0, expose, write

PLUGINS = {
    "calib": isrcore_calib,
    "cfht": isrcore_cfht,
    "simulate": isrcore_simulate,
    "simulated": isrcore_simulated,
    "standard": isrcore_standard,
}
REGISTRY = Registry(PLUGINS)
SHAPE = (500, 400)
DETECTOR = Detector.of_shape(SHAPE)


def flat(seed: int = 1) -> np.ndarray:
    """A combined flat: vignetting, 1 % from pixel to pixel, 0.4 % of noise."""
    y, x = np.indices(SHAPE)
    lit = 1 - 0.15 * (((y - 250) / 250) ** 2 + ((x - 200) / 200) ** 2)
    return (lit * np.random.default_rng(seed).normal(1, 0.011, SHAPE)).astype(np.float32)


def good_fraction(found: np.ndarray, bad: np.ndarray) -> float:
    """Fraction of good pixels that were found."""
    return np.count_nonzero(found & ~bad) / np.count_nonzero(~bad)


@pytest.mark.parametrize("seed", range(8))
def test_every_defect_of_a_flat_is_found_and_nothing_else(seed):
    rng, image, bad = np.random.default_rng(seed), flat(seed), np.zeros(SHAPE, bool)
    for _ in range(20):
        y, x = rng.integers(SHAPE)
        image[y, x] *= rng.choice([0.0, 0.5, 0.7, 1.4])
        bad[y, x] = True
    for _ in range(5):
        x, y0, length = rng.integers(400), rng.integers(400), rng.integers(40, 500)
        column = np.zeros(SHAPE, bool)
        column[y0 : y0 + length, x] = True
        image[column & ~bad] *= rng.choice([0.0, 0.8, 0.88])
        bad |= column
    image[3, 4], bad[3, 4] = np.nan, True
    found = find_in_flat(image, DETECTOR, Bounds())
    assert (found & bad).sum() == bad.sum()
    assert good_fraction(found, bad) < 1e-4


@pytest.mark.parametrize("seed", range(8))
def test_every_hot_pixel_of_a_dark_is_found_and_nothing_else(seed):
    rng, bad = np.random.default_rng(seed), np.zeros(SHAPE, bool)
    image = rng.normal(0.5 * 300, 4, SHAPE).astype(np.float32)
    for _ in range(20):
        y, x = rng.integers(SHAPE)
        image[y, x] += 300 * rng.uniform(0.4, 100)
        bad[y, x] = True
    x, y0 = rng.integers(400), rng.integers(300)
    image[y0:, x] += 300 * 0.1
    bad[y0:, x] = True
    found = find_in_dark(image, 300.0, DETECTOR, Bounds())
    assert (found & bad).sum() == bad.sum()
    assert good_fraction(found, bad) < 1e-4


def test_pixels_of_a_low_column_that_look_good_by_chance_belong_to_it():
    image = flat()
    # 6 % low: of pixels with 1.1 % of noise one in 150 is within the 3 sigma that count as good.
    image[:, 200] *= 0.94
    found = find_in_flat(image, DETECTOR, Bounds())
    assert (image[:, 200] / flat()[:, 199:202:2].mean(axis=1) > 0.967).sum() > 0
    assert found[:, 200].all()
    assert found.sum() == 500


def test_a_clean_detector_has_no_defects():
    assert not find_in_flat(flat(), DETECTOR, Bounds()).any()


def test_running_medians_are_those_of_scipy():
    image = np.random.default_rng(1).normal(0, 1, (67, 23)).astype(np.float32)
    for window in (3, 31):
        expected = median_filter(image, size=(window, 1), mode="reflect")
        np.testing.assert_array_equal(running_medians(image, window), expected)


def test_the_command_finds_the_defects_of_a_simulated_camera(isr, tmp_path):
    check_simulated(isr, tmp_path, "simulated", "sim0,sim1")


@pytest.mark.slow
def test_defects_of_megacam(isr, tmp_path):
    check_simulated(isr, tmp_path, "megacam", "0")


def check_simulated(isr, tmp_path, camera, detectors):
    for kind in ("flat", "dark"):
        taken = ("--type", kind, "--number", 3, "--truth", tmp_path / "truth", tmp_path / "raw")
        assert isr("simulate", "--camera", camera, "--detectors", detectors, *taken, "--overwrite")[0] == 0
    status, out, _ = isr("calibrate", "defects", tmp_path / "raw/*.fits.fz", "-o", tmp_path / "masters")
    assert status == 0
    for path in sorted((tmp_path / "truth" / "defects").iterdir()):
        name = path.stem
        assert name in out
        found = Defects.read(tmp_path / "masters" / "defects" / f"{name}.ecsv")
        shape = read_exposure(tmp_path / "truth" / "masters" / f"flat_{name}.fits").shape
        is_bad, is_found = Defects.read(path).to_mask(shape), found.to_mask(shape)
        assert (is_bad & ~is_found).sum() == 0
        assert good_fraction(is_found, is_bad) < 1e-4
        assert found.detector_name == name
        assert found.header["input 1"].endswith(".fits.fz")


def test_a_run_reads_the_defects(isr, tmp_path):
    dead = [Box(10, 70, 20, 21)]
    files = [
        write(
            tmp_path / f"f{n}.fits",
            expose(SIM0, 9000.0, seed=n, dead=[(10, 70, 20, 21)])[0],
            OBSTYPE="flat",
            FILTER="r",
        )
        for n in range(3)
    ]
    assert isr("calibrate", "defects", *files, "-o", tmp_path / "masters")[0] == 0
    folder = tmp_path / "masters" / "defects"
    assert Defects.read(folder / "sim0.ecsv").boxes == tuple(dead)
    off = ["doBias=false", "doDark=false", "doFlat=false", "doDefect=true"]
    status, _, err = isr("run", files[0], "--defects", folder, "-o", tmp_path / "p.fits", "-c", *off)
    assert status == 0, err
    product = read_exposure(tmp_path / "p.fits")
    assert product.pixels.flagged("BAD")[10:70, 20].all()
    assert np.count_nonzero(product.pixels.flagged("BAD")) == 60


def test_a_single_flat_is_refused(isr, tmp_path):
    lone = write(tmp_path / "f.fits", expose(SIM0, 9000.0)[0], OBSTYPE="flat")
    status, _, err = isr("calibrate", "defects", lone, "-o", tmp_path / "masters")
    assert status == 1
    assert "there is one flat: a pixel hit by a particle would pass for a defect" in err
    status, _, err = isr("calibrate", "defects", lone, "-o", tmp_path / "masters", "--hot", "-1")
    assert status == 2
    assert "--hot -1.0: it must be more than 0" in err
