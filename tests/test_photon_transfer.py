"""Gain and read noise from pairs: truth by simulation, real biases, the command."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import isrcore_calib
import isrcore_eso
import isrcore_simulated
import isrcore_standard
from isrcore import Registry, VisitInfo
from isrcore_calib import Frame
from isrcore_calib.gain import pairs_of
from isrcore_calib.master import Input
from isrcore_calib.photon_transfer import Pair, Transfer, measure_transfer
from tests.test_masters import SIM0, expose, write

PLUGINS = {
    "calib": isrcore_calib,
    "eso": isrcore_eso,
    "simulated": isrcore_simulated,
    "standard": isrcore_standard,
}
REGISTRY = Registry(PLUGINS)
DATA = Path(os.environ.get("ISRCORE_TEST_DATA", "none")) / "data" / "efosc2"
SHAPE = (40, 48)
RESPONSE = 1 + 0.05 * np.random.default_rng(3).standard_normal(SHAPE)


def read_out(rng: np.random.Generator, electrons: float, gain: float, noise: float) -> np.ndarray:
    """A frame in whole adu: light, response, Poisson noise, gain, read noise, bias structure."""
    charge = rng.poisson(electrons * RESPONSE) + rng.normal(0, noise, SHAPE)
    pattern = 3 * np.sin(np.arange(SHAPE[1]) / 5)
    return np.rint(charge / gain + pattern + 100).astype(np.float32) - np.float32(100)


def trial(seed: int, levels: tuple[float, ...] = (5000, 5000, 20000, 19000)) -> tuple[Transfer, float, float]:
    """Measured and true gain and read noise of one amplifier: two pairs of flats, two of biases."""
    rng = np.random.default_rng(seed)
    gain, noise = rng.uniform(0.8, 3.0), rng.uniform(3, 12)
    flats = [read_out(rng, level, gain, noise) for level in levels]
    biases = [read_out(rng, 0, gain, noise) for _ in range(4)]
    lit = [Pair.of(*flats[i : i + 2], is_lit=True) for i in range(0, len(flats), 2)]
    dark = [Pair.of(*biases[i : i + 2], is_lit=False) for i in (0, 2)]
    return measure_transfer(lit, dark), gain, noise


def test_gain_and_read_noise_are_unbiased_with_the_errors_they_state():
    trials = [trial(seed) for seed in range(500)]
    for pulls in (
        np.array([(found.gain - gain) / found.gain_error for found, gain, _ in trials]),
        np.array([(found.noise - noise) / found.noise_error for found, _, noise in trials]),
        np.array([(found.noise_adu - noise / gain) / found.noise_adu_error for found, gain, noise in trials]),
    ):
        # Of 500 pulls the mean is known to 0.045 and the width to 0.032: three times that.
        assert abs(pulls.mean()) < 0.135
        assert 0.9 < pulls.std() < 1.1


def test_hits_and_bad_pixels_change_little():
    rng = np.random.default_rng(1)
    frames = [read_out(rng, 10_000, 1.5, 5) for _ in range(2)]
    clean = Pair.of(*frames, is_lit=True)
    frames[0][10, 10:14] += 20_000
    frames[1][20] = np.nan
    found = Pair.of(*frames, is_lit=True)
    # The row is gone, with the mean that was taken off it.
    assert found.number == clean.number - 4 - 48 + 1
    # 52 of 1920 pixels less: the variance scatters by its error, 3 %, times the root of what is gone.
    assert found.variance == pytest.approx(clean.variance, rel=0.03 * math.sqrt(52 / 1920) * 3)


def test_a_drift_of_the_pedestal_is_no_read_noise():
    rng = np.random.default_rng(5)
    frames = [rng.normal(0, 4, (200, 48)).astype(np.float32) for _ in range(2)]
    still = Pair.of(*frames, is_lit=False)
    frames[0] += 5 * np.sin(np.arange(200, dtype=np.float32) / 30)[:, None]
    drifting = Pair.of(*frames, is_lit=False)
    assert drifting.variance == pytest.approx(still.variance, rel=1e-4)
    assert drifting.variance == pytest.approx(32, rel=0.05)


def test_the_textbook_case():
    # Gain 2: 10000 adu are 20000 electron, noise squared 5000 adu²; read noise 3 adu.
    flat = Pair(10_000, 2 * (5000 + 9 + 1 / 12), 1.0, 10_000.0, 10_000.0)
    found = measure_transfer([flat], [Pair(10_000, 2 * (9 + 1 / 12), 1.0, 0.0, 0.0)])
    assert found.gain == pytest.approx(2, rel=1e-3)
    assert (found.noise_adu, found.noise) == pytest.approx((3, 6), rel=1e-3)
    # sqrt(2/9999) of the variance.
    assert found.gain_error == pytest.approx(2 * math.sqrt(2 / 9999), rel=0.02)


def test_without_flats_there_is_read_noise_in_adu_only():
    found = measure_transfer([], [Pair(1000, 18.0, 1.0, 0.0, 0.0)])
    assert found.noise_adu == pytest.approx(math.sqrt(9 - 1 / 12))
    assert math.isnan(found.gain)
    assert math.isnan(found.noise)
    nothing = measure_transfer([Pair(0, math.nan, 1.0, math.nan, math.nan)], [])
    assert math.isnan(nothing.noise_adu)
    assert nothing.flat_pairs == 0


def test_pairs_are_alike_and_no_frame_is_in_two():
    def one(kind: str, seconds: float, number: int) -> Input:
        visit = VisitInfo(exposure_s=seconds, filter="r")
        return Input(str(number), str(number), visit, Frame.of(np.zeros((2, 1, 1), np.float32)), kind=kind)

    inputs = [one("flat", 2, 0), one("bias", 0, 1), one("flat", 3, 2), one("flat", 2, 3), one("flat", 2, 4)]
    found = [(a.path, b.path) for a, b in pairs_of([*inputs, one("bias", 0, 5)])]
    assert found == [("0", "3"), ("1", "5")]


def test_the_command_finds_gains_and_read_noise(isr, tmp_path):
    files = [
        write(tmp_path / f"f{n}.fits", expose(SIM0, 20_000.0, seed=n)[0], OBSTYPE="flat", EXPTIME=5.0)
        for n in range(4)
    ]
    files += [
        write(tmp_path / f"b{n}.fits", expose(SIM0, 0.0, seed=50 + n)[0], OBSTYPE="bias") for n in range(4)
    ]
    status, out, _ = isr("calibrate", "gain", *files, "-o", tmp_path / "masters")
    assert status == 0
    table = Table.read(tmp_path / "masters" / "gain.ecsv", format="ascii.ecsv")
    assert list(table["amplifier"]) == ["A", "B"]
    assert abs((table["gain"] - [1.5, 2.1]) / table["gain_error"]).max() < 4
    assert abs((table["noise"] - [5, 7]) / table["noise_error"]).max() < 4
    # Two pairs of 3840 pixels: a variance to 1.6 %.
    assert (table["gain_error"] / table["gain"]).max() < 0.03
    assert table.meta["input 1"] == files[4]
    assert str(table["gain"].unit) == "electron / adu"
    assert "sim0       A" in out
    status, _, err = isr("calibrate", "gain", *files, "-o", tmp_path / "masters")
    assert (status, "it exists" in err) == (1, True)


def test_gain_needs_biases(isr, tmp_path):
    flats = [write(tmp_path / f"{n}.fits", expose(SIM0, 9000.0, seed=n)[0], OBSTYPE="flat") for n in range(2)]
    status, _, err = isr("calibrate", "gain", *flats, "-o", tmp_path / "g.ecsv")
    assert status == 1
    assert "gain needs two biases or more, there are 0, and 2 flats" in err
    assert not (tmp_path / "g.ecsv").exists()


def test_frames_of_unknown_type_are_refused(isr, tmp_path):
    odd = write(tmp_path / "odd.fits", expose(SIM0, 0.0)[0])
    status, _, err = isr("calibrate", "gain", odd, "-o", tmp_path / "g.ecsv")
    assert status == 1
    assert "gain is made from flat and bias frames" in err


@pytest.mark.skipif(not DATA.is_dir(), reason="real frames are not here")
def test_read_noise_of_real_biases(isr, tmp_path):
    biases = sorted(DATA.glob("EFOSC.2022-01-26T19*.fits"))
    assert len(biases) == 5
    assert isr("calibrate", "gain", *biases, "-o", tmp_path / "g.ecsv")[0] == 0
    table = Table.read(tmp_path / "g.ecsv", format="ascii.ecsv")
    # Standard deviations of whole differences are 10.5 to 11.8 adu, for 30 to 70 pixels hit by particles: 5
    # pixels in 100,000. Blocks of 64 x 64 pixels, of which few are hit, say what the noise is.
    raws = [fits.getdata(path)[:960, 6:966].astype(float) for path in biases]
    differences = [raws[n] - raws[n + 1] for n in (0, 2)]
    blocks = [one.reshape(15, 64, 15, 64).std(axis=(1, 3)) / math.sqrt(2) for one in differences]
    assert max(one.std() / math.sqrt(2) for one in differences) > 10.5
    # A block's value scatters by 1.1 %, the median of 450 by 0.07 %; the two pairs differ by 0.5 %.
    assert table["noise_adu"][0] == pytest.approx(float(np.median(blocks)), rel=0.005)
    assert 10.2 < table["noise_adu"][0] < 10.4
    # With all of them it is what others tell of these frames.
    assert 10.5 < table["scatter_adu"][0] < 11.3
    assert table["bias_pairs"][0] == 2
    assert np.isnan(table["gain"][0])
