"""The forward model that truth tests rely on: its statistics, its geometry, its independence."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from tests import forward_model
from tests.forward_model import MEGACAM, expose

QUIET = {"gain": 2.0, "read_noise": 0.0}
# Two amplifiers, the second stored right to left and top to bottom, overscan in columns and rows.
SMALL = {
    "shape": (5, 8),
    "raw_shape": (7, 12),
    "amplifiers": {
        "A": {"raw": (0, 7, 0, 6), "data": (0, 5, 0, 4), "box": (0, 5, 0, 4), "level": 100.0, **QUIET},
        "B": {"raw": (0, 7, 6, 12), "data": (0, 5, 6, 10), "box": (0, 5, 4, 8), "level": 300.0, **QUIET},
    },
}
SMALL["amplifiers"]["B"] |= {"flip_y": True, "flip_x": True}
WIDE = {
    "shape": (400, 600),
    "raw_shape": (420, 640),
    "amplifiers": {
        "A": {"raw": (0, 420, 0, 320), "data": (0, 400, 20, 320), "box": (0, 400, 0, 300), "level": 900.0},
        "B": {
            "raw": (0, 420, 320, 640),
            "data": (0, 400, 320, 620),
            "box": (0, 400, 300, 600),
            "level": 1100.0,
        },
    },
}
WIDE["amplifiers"]["A"] |= {"gain": 1.6, "read_noise": 4.0}
WIDE["amplifiers"]["B"] |= {"gain": 2.4, "read_noise": 9.0, "flip_x": True}
# Five standard errors of a mean and of a variance over 120,000 pixels.
MEAN_ERRORS = 5 / np.sqrt(120_000)
VARIANCE_ERROR = 5 * np.sqrt(2 / 120_000)


def data(layout, raw, name):
    return raw[forward_model.cut(layout["amplifiers"][name]["data"])].astype(float)


@pytest.mark.parametrize("name", ["A", "B"])
def test_mean_and_variance_are_those_of_the_inputs(name):
    amp = WIDE["amplifiers"][name]
    raw, truth = expose(WIDE, 3000.0, 500.0, flat=0.8, dark=0.2, bias=7.0, seed=1)
    pixels = data(WIDE, raw, name)
    electrons = 3000 * 0.8 + 0.2 * 500
    variance = (electrons + amp["read_noise"] ** 2) / amp["gain"] ** 2 + 1 / 12
    assert np.all(truth["electrons"] == np.float32(electrons))
    mean = amp["level"] + 7 + electrons / amp["gain"]
    assert pixels.mean() == pytest.approx(mean, abs=MEAN_ERRORS * np.sqrt(variance))
    assert pixels.var() == pytest.approx(variance, rel=VARIANCE_ERROR)


@pytest.mark.parametrize("name", ["A", "B"])
def test_overscan_has_level_and_read_noise_only(name):
    amp = WIDE["amplifiers"][name]
    raw, truth = expose(WIDE, 3000.0, drift=40.0, row_noise=3.0, seed=2)
    rows = raw[400:, slice(*amp["raw"][2:])].astype(float) - truth["levels"][name][400:, None]
    variance = (amp["read_noise"] / amp["gain"]) ** 2 + 1 / 12
    assert rows.mean() == pytest.approx(0, abs=5 * np.sqrt(variance / rows.size))
    assert rows.var() == pytest.approx(variance, rel=5 * np.sqrt(2 / rows.size))


def test_levels_drift_along_the_raw_rows():
    raw, truth = expose(SMALL, 0.0, drift=10.0)
    level = 100 + 10 * np.cos(np.pi * np.arange(7) / 7)
    np.testing.assert_allclose(truth["levels"]["A"], level)
    np.testing.assert_array_equal(raw[:, 0], np.floor(level + 0.5))
    # A flipped amplifier drifts in the order of its raw rows too.
    np.testing.assert_array_equal(raw[:, 11], np.floor(level + 200.5))


def test_row_noise_is_one_number_per_row_and_amplifier():
    _, truth = expose(MEGACAM, 0.0, row_noise=2.5, seed=5)
    for name, levels in truth["levels"].items():
        noise = levels - MEGACAM["amplifiers"][name]["level"]
        assert noise.std() == pytest.approx(2.5, rel=5 / np.sqrt(2 * len(noise)))
    assert abs(np.corrcoef(*truth["levels"].values())[0, 1]) < 0.1


@pytest.mark.parametrize(("pixel", "raw_pixel"), [((1, 2), (1, 2)), ((0, 4), (4, 9)), ((3, 7), (1, 6))])
def test_a_star_lands_where_the_flips_send_it(pixel, raw_pixel):
    sky = np.zeros((5, 8))
    sky[pixel] = 1e4
    raw, _ = expose(SMALL, sky)
    assert np.unravel_index(np.argmax(raw), raw.shape) == raw_pixel
    base = 100 if pixel[1] < 4 else 300
    assert int(raw[raw_pixel]) - base == pytest.approx(5000, abs=250)
    assert np.count_nonzero(raw % 100) == 1


def test_frames_given_per_pixel_are_those_of_the_assembled_detector():
    pattern = np.arange(40.0).reshape(5, 8)
    raw, _ = expose(SMALL, 0.0, bias=pattern)
    np.testing.assert_array_equal(raw[:5, :4], 100 + pattern[:, :4])
    np.testing.assert_array_equal(raw[:5, 6:10], 300 + pattern[::-1, :3:-1])


def test_dead_pixels_are_dark_and_hot_ones_grow_with_time():
    dead, hot = (0, 400, 10, 12), (50, 90, 400, 440)
    one, _ = expose(WIDE, 500.0, 10.0, dead=[dead], hot=[(hot, 300.0)])
    two, truth = expose(WIDE, 500.0, 20.0, dead=[dead], hot=[(hot, 300.0)])
    assert data(WIDE, two, "A")[:, 10:12].mean() == pytest.approx(900, abs=0.5)
    assert np.all(truth["electrons"][:, 10:12] == 0)
    growth = [data(WIDE, raw, "B")[50:90, ::-1][:, 100:140].mean() for raw in (one, two)]
    assert growth[1] - growth[0] == pytest.approx(3000 / 2.4, abs=5)


def test_saturation_stops_at_the_converter_and_at_the_full_well():
    sky = np.full((5, 8), 1000.0)
    sky[2, 1] = sky[2, 6] = 1e6
    raw, truth = expose(SMALL, sky)
    assert raw[2, 1] == raw[2, 7] == 65535
    assert set(map(tuple, np.argwhere(truth["saturated"]))) == {(2, 1), (2, 6)}
    raw, truth = expose(SMALL, sky, full_well=8e4, adc_max=50000)
    assert raw[2, 1] == 40100
    assert set(map(tuple, np.argwhere(truth["saturated"]))) == {(2, 1), (2, 6)}


def test_levels_below_zero_are_cut_not_wrapped():
    raw, _ = expose(SMALL, 0.0, bias=-200.0)
    assert raw[0, 0] == 0
    assert raw[0, 6] == 100


def test_one_seed_gives_one_frame():
    first, again, other = (expose(WIDE, 50.0, seed=seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


def test_megacam_frames_have_two_amplifiers_and_overscan_at_the_outer_edges():
    raw, truth = expose(MEGACAM, 2000.0, seed=6)
    assert (raw.dtype, raw.shape, truth["electrons"].shape) == (np.uint16, (4644, 2112), (4612, 2048))
    lit = {
        "A": (slice(0, 4612), slice(32, 1056), 1210 + 2000 / 1.62),
        "B": (slice(0, 4612), slice(1056, 2080), 1365 + 2000 / 1.74),
        "overscan of A": (slice(0, 4644), slice(0, 32), 1210),
        "overscan of B": (slice(0, 4644), slice(2080, 2112), 1365),
        "overscan rows of A": (slice(4612, 4644), slice(32, 1056), 1210),
        "overscan rows of B": (slice(4612, 4644), slice(1056, 2080), 1365),
    }
    for where, (rows, columns, level) in lit.items():
        assert raw[rows, columns].mean() == pytest.approx(level, abs=0.2), where


def test_the_model_needs_numpy_only_and_stays_small():
    text = Path(forward_model.__file__).read_text()
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["import numpy as np"]
    assert len(text.splitlines()) <= 60
