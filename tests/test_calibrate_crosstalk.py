"""Crosstalk coefficients from bright sources: those put in come back within their errors, and correct."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

import isrcore_calib
import isrcore_simulated
import isrcore_standard
from isrcore import Crosstalk, Detector, Registry, read_exposure
from isrcore_calib import MasterError
from isrcore_calib.crosstalk import _check
from isrcore_calib.crosstalk_fit import Regression
from isrcore_calib.inputs import Stack
from tests.forward_model import read_out
from tests.test_masters import SIM0, write

PLUGINS = {"calib": isrcore_calib, "simulated": isrcore_simulated, "standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)
SHAPE = (150, 160)


def star_field(rng: np.random.Generator, shape: tuple[int, int], number: int) -> np.ndarray:
    """Sky of 100 adu and stars with peaks of 1000 to 40,000 adu."""
    y, x = np.indices(shape).astype(np.float32)
    image = np.full(shape, 100.0)
    for _ in range(number):
        y0, x0 = rng.uniform(0, shape)
        image += 10 ** rng.uniform(3, 4.6) * np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / 18)
    return image


def frame(rng: np.random.Generator, coefficients: np.ndarray) -> list[np.ndarray]:
    """What amplifiers show whose true pixels are I = O - C O, with O what they show."""
    truth = np.array([star_field(rng, SHAPE, 5) for _ in coefficients])
    truth += rng.normal(0, 1, truth.shape) * np.sqrt(truth / 1.5 + 16)
    shown = np.einsum("ij,jyx->iyx", np.linalg.inv(np.eye(len(coefficients)) - coefficients), truth)
    return list(shown.astype(np.float32))


def draw_coefficients(rng: np.random.Generator, number: int = 4) -> np.ndarray:
    """Between -0.2 % and 0.5 %; none to itself."""
    found = rng.uniform(-2e-3, 5e-3, (number, number))
    np.fill_diagonal(found, 0)
    return found


def test_coefficients_come_back_within_their_errors():
    pulls = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        truth, regression = draw_coefficients(rng), Regression(4)
        for _ in range(2):
            regression.add(frame(rng, truth))
        found, errors, known = regression.solve()
        known &= errors > 0
        pulls += list((found - truth)[known] / errors[known])
    # Nearly 300 pulls: their mean is known to 0.06, their width to 0.04; three times that.
    assert len(pulls) > 280
    assert abs(np.mean(pulls)) < 0.18
    assert 0.88 < np.std(pulls) < 1.15


def test_errors_shrink_with_the_number_of_frames():
    rng = np.random.default_rng(1)
    truth, regression, errors = draw_coefficients(rng), Regression(4), []
    for number in range(8):
        regression.add(frame(rng, truth))
        if number in (1, 7):
            errors.append(regression.solve()[1])
    used = errors[0] > 0
    assert np.median(errors[0][used] / errors[1][used]) == pytest.approx(2, rel=0.2)


def test_a_ghost_brighter_than_the_noise_is_not_taken_for_a_star():
    rng = np.random.default_rng(2)
    truth = np.array([[0, 0.02], [0.0, 0]])
    regression = Regression(2)
    for _ in range(2):
        regression.add(frame(rng, truth))
    found, errors, _ = regression.solve()
    assert abs(found[0, 1] - 0.02) < 4 * errors[0, 1]
    assert abs(found[1, 0]) < 4 * errors[1, 0]


def test_without_bright_sources_nothing_is_known():
    regression = Regression(2)
    regression.add([np.random.default_rng(n).normal(100, 5, SHAPE).astype(np.float32) for n in range(2)])
    found, _, known = regression.solve()
    assert not found.any()
    assert known.tolist() == [[True, False], [False, True]]


def test_saturated_pixels_tell_nothing():
    rng = np.random.default_rng(3)
    truth = draw_coefficients(rng, 2)
    parts = frame(rng, truth)
    parts[1][parts[1] > 20_000] = np.nan
    regression = Regression(2)
    regression.add(parts)
    found, errors, _ = regression.solve()
    assert abs(found[0, 1] - truth[0, 1]) < 4 * errors[0, 1]


@pytest.fixture
def night(tmp_path) -> list[str]:
    """Raw frames of sim0 whose amplifiers disturb each other: A gets 0.4 % of B, B 0.2 % of A."""
    files = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        light = star_field(rng, SIM0["shape"], 12)
        charge = rng.poisson(light * 1.5).astype(np.float32)
        raw, _ = read_out(SIM0, charge, rng)
        # Both are read from their outer corner: file order is reading order, B's data mirrored already.
        data = {name: raw[0:80, x : x + 48].astype(float) for name, x in (("A", 4), ("B", 68))}
        signals = {name: data[name] - SIM0["amplifiers"][name]["level"] for name in data}
        for name, other, x, coefficient in (("A", "B", 4, 4e-3), ("B", "A", 68, 2e-3)):
            raw[0:80, x : x + 48] = np.rint(data[name] + coefficient * signals[other])
        path = tmp_path / f"s{seed}.fits"
        files.append(write(path, raw, OBSTYPE="science", FILTER="r", EXPTIME=60.0))
    return files


def test_the_command_finds_coefficients_that_a_run_corrects_with(isr, tmp_path, night):
    status, out, err = isr("calibrate", "crosstalk", *night, "-o", tmp_path / "m")
    assert status == 0, err
    folder = tmp_path / "m" / "crosstalk"
    found = Crosstalk.read(folder / "sim0.ecsv", "sim0")
    table = Table.read(folder / "sim0_errors.ecsv", format="ascii.ecsv")
    errors = {(row["affected"], row["source"]): row["error"] for row in table}
    assert found.matrix.affected == ("A", "B")
    for (i, j), truth in (((0, 1), 4e-3), ((1, 0), 2e-3)):
        error = errors["AB"[i], "AB"[j]]
        assert abs(found.matrix.linear[i, j] - truth) < 4 * error
        assert error < 5e-4
    assert table.meta["input 1"] == night[0]
    assert "sim0       A" in out
    settings = ("-c", "doBias=false", "doDark=false", "doFlat=false")
    for name, extra in (("with", ("--crosstalk", folder)), ("without", ())):
        done, _, err = isr("run", night[0], *extra, *settings, "-o", tmp_path / f"{name}.fits")
        assert done == 0, err
    cleaned, dirty = (read_exposure(tmp_path / f"{name}.fits") for name in ("with", "without"))
    assert "crosstalk-corrected" in cleaned.facts
    difference = (dirty.image - cleaned.image)[:, :48]
    np.testing.assert_allclose(
        difference, found.matrix.linear[0, 1] * dirty.image[:, :47:-1], rtol=1e-3, atol=0.02
    )


def test_pairs_without_bright_sources_are_told(isr, tmp_path):
    rng = np.random.default_rng(1)
    raw, _ = read_out(SIM0, rng.poisson(np.full((80, 96), 500.0)).astype(np.float32), rng)
    path = write(tmp_path / "s.fits", raw, OBSTYPE="science", FILTER="r", EXPTIME=60.0)
    status, _, err = isr("calibrate", "crosstalk", path, "-o", tmp_path / "x.toml")
    assert status == 0
    assert "fewer than 20 bright pixels tell of A from B, B from A" in err
    assert not Crosstalk.read(tmp_path / "x.toml").matrix.is_valid[0, 1]


def test_detectors_without_counterparts_are_refused():
    with pytest.raises(MasterError, match="among two or more of one shape"):
        _check(Stack(Detector.of_shape((10, 10)), "small"))
