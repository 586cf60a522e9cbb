"""Fringe frames from dithered science frames: the pattern comes back, the stars do not."""

from __future__ import annotations

import numpy as np
import pytest

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import Detector, Registry, VisitInfo, read_exposure
from isrcore.fits import read_extra, read_provenance
from isrcore_calib import Frame, MasterError, Rule, make_master
from isrcore_calib.master import Input
from isrcore_calib.sky import SkyOptions, background, find_sources, remove_sky
from tests.forward_model import expose
from tests.test_masters import GAIN, SIM0, write

PLUGINS = {"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)
SHAPE = (300, 320)
Y, X = np.indices(SHAPE).astype(np.float32)
FRINGES = 0.04 * np.sin(Y / 4 + 3 * np.sin(X / 40)) * np.cos(X / 60)
OPTIONS = SkyOptions(box=100)


def stars(rng: np.random.Generator, number: int = 40) -> np.ndarray:
    """Gaussian stars of 300 to 30,000 electron at random places, as a dithered field shows them."""
    image = np.zeros(SHAPE, np.float32)
    for y, x, flux in zip(
        *rng.uniform(0, 300, (2, number)), 10 ** rng.uniform(2.5, 4.5, number), strict=True
    ):
        image += flux / (2 * np.pi * 4) * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / 8)
    return image


def science(seed: int, *, has_stars: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Image and variance of a flat-fielded frame at gain 1, and its stars."""
    rng = np.random.default_rng(seed)
    sky = rng.uniform(600, 1500) * (1 + 0.05 * Y / 300 - 0.03 * X / 300)
    light = stars(rng) * has_stars
    image = rng.poisson(sky * (1 + FRINGES) + light) + rng.normal(0, 5, SHAPE)
    return np.stack([image, np.maximum(image, 1) + 25]).astype(np.float32), light


@pytest.fixture(scope="module")
def made() -> tuple[object, np.ndarray]:
    """A master of ten frames, and the brightest star light that each pixel saw."""
    inputs, brightest = [], np.zeros(SHAPE, np.float32)
    for number in range(10):
        planes, light = science(number)
        level = remove_sky(planes, OPTIONS, str(number))
        inputs.append(Input(str(number), str(number), VisitInfo(), Frame.of(planes), level, "science"))
        brightest = np.maximum(brightest, light)
    return make_master("fringe", inputs, "simulated", Detector.of_shape(SHAPE)), brightest


def test_the_pattern_comes_back(made):
    master, _ = made
    image, good = master.exposure.image, master.number > 0
    slope = np.sum(image[good] * FRINGES[good]) / np.sum(FRINGES[good] ** 2)
    # Boxes of 100 pixels hold 4 crests of the pattern: what their medians take of it is below 3 %.
    assert slope == pytest.approx(1, abs=0.03)
    residual = (image - FRINGES)[good]
    expected = np.sqrt(master.exposure.variance[good])
    # Nothing is left but noise: the 3 % of an rms of 2 % that boxes take are nothing beside 1 % of noise.
    assert 0.95 < np.std(residual / expected) < 1.08
    rms = FRINGES.std()
    # Pattern and noise alone would correlate with the pattern like this.
    ideal = rms / np.hypot(rms, np.sqrt(np.mean(expected**2)))
    assert np.corrcoef(image[good], FRINGES[good])[0, 1] > ideal - 0.01
    assert master.exposure.unit == ""


def test_stars_leave_no_imprint(made):
    master, brightest = made
    good = master.number > 0
    # Pixels that saw a star of 3 sigma of the sky or more, and far less, in one of the frames.
    for low, high in ((100, np.inf), (10, 100)):
        lit = good & (brightest > low) & (brightest <= high)
        pulls = ((master.exposure.image - FRINGES) / np.sqrt(master.exposure.variance))[lit]
        assert lit.sum() > 500
        # A mean of a tenth of the noise is 0.1 % of the sky; unmasked stars leave 10 % and more.
        assert abs(pulls.mean()) < 0.15


def test_without_masks_they_would():
    inputs = []
    for number in range(10):
        planes, _ = science(number)
        planes[0] -= background(planes[0], np.ones(SHAPE, bool), 100)
        inputs.append(Input(str(number), str(number), VisitInfo(), Frame.of(planes), 1000.0, "science"))
    master = make_master("fringe", inputs, "simulated", Detector.of_shape(SHAPE), Rule("mean"))
    lit = np.max([science(number)[1] for number in range(10)], axis=0) > 100
    assert (master.exposure.image - FRINGES)[lit].mean() > 0.01


def test_a_sky_is_a_surface_through_medians():
    slope = 100 + 0.1 * Y + 0.2 * X
    found = background(slope, np.ones(SHAPE, bool), 100)
    np.testing.assert_allclose(found, slope, rtol=1e-3)
    spoilt = slope.copy()
    spoilt[:100, :107] = 1e6
    usable = np.ones(SHAPE, bool)
    usable[:100, :107] = False
    away = np.abs(background(spoilt, usable, 100) - slope)
    # The next box below differs by 10, the one beside by 21.
    assert away.max() < 30
    assert away[150:].max() < 0.1


def test_fringes_are_no_sources():
    planes, _ = science(3, has_stars=False)
    flat = planes[0] - background(planes[0], np.ones(SHAPE, bool), 100)
    assert find_sources(flat, np.ones(SHAPE, bool), 5.0).mean() < 1e-3


def test_frames_without_sky_are_refused():
    with pytest.raises(MasterError, match=r"'a.fits' has a sky of .* leave it out"):
        remove_sky(np.zeros((2, 20, 20), np.float32), OPTIONS, "a.fits")


def test_the_command_makes_fringe_frames_that_a_run_subtracts(isr, tmp_path):
    y, x = np.indices((80, 96))
    pattern = 0.1 * np.sin(y / 2 + np.sin(x / 15))
    files, names = [], {}
    for seed in range(6):
        sky = 2000.0 * (1 + pattern)
        sky[10 + 8 * seed : 14 + 8 * seed, 20 + 9 * seed : 24 + 9 * seed] += 30_000
        raw = expose(SIM0, sky, seed=seed)[0]
        files.append(write(tmp_path / f"s{seed}.fits", raw, OBSTYPE="science", FILTER="z", EXPTIME=60.0))
    for kind, light in (("bias", 0.0), ("flat", 20_000.0)):
        names[kind] = [
            write(tmp_path / f"{kind}{n}.fits", expose(SIM0, light, seed=70 + n)[0], OBSTYPE=kind, FILTER="z")
            for n in range(4)
        ]
        off = () if kind == "bias" else ("--bias", tmp_path / "m")
        assert isr("calibrate", kind, *names[kind], *off, "-o", tmp_path / "m")[0] == 0
    given = ("--bias", tmp_path / "m", "--flat", tmp_path / "m")
    status, _, err = isr("calibrate", "fringe", *files, *given, "-o", tmp_path / "m", "--box", 40)
    assert status == 0, err
    path = tmp_path / "m" / "fringe_sim0.fits"
    master = read_exposure(path)
    good = read_extra(path, "NINPUTS") > 2
    # Light of 2000 electron in 6 frames: 1 % of noise; a pattern of 7 %.
    assert np.corrcoef(master.image[good], pattern[good])[0, 1] > 0.97
    assert np.std(master.image[good] - pattern[good]) < 0.02
    assert read_provenance(path)["box"] == "40"
    assert master.visit.observation_type == "fringe"
    settings = ("-c", "doDark=false", "fringe.filters=['z']", "doInterpolate=false")
    for name, extra in (("with", ("--fringes", tmp_path / "m")), ("without", ("-c", "doFringe=false"))):
        status, _, err = isr("run", files[0], *given, *extra, *settings[:3], "-o", tmp_path / f"{name}.fits")
        assert status == 0, err
    images = [read_exposure(tmp_path / f"{name}.fits").image[:, :20] for name in ("with", "without")]
    left, before = (np.cov(image.ravel(), pattern[:, :20].ravel())[0, 1] for image in images)
    assert abs(left) < 0.1 * before
    assert GAIN.shape == (96,)


def test_fringes_need_flat_fielded_frames(isr, tmp_path):
    raw = write(tmp_path / "s.fits", expose(SIM0, 2000.0)[0], OBSTYPE="science", FILTER="z")
    status, _, err = isr("calibrate", "fringe", raw, "-o", tmp_path / "f.fits", "-c", "doBias=false")
    assert status == 2
    assert "needs calibration 'flat'" in err
