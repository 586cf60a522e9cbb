"""What the EFOSC2 table says, against the pixels of eleven real frames (data/efosc2)."""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import isrcore_eso
from isrcore import RawSource
from isrcore_eso import CAMERA

DATA = Path(os.environ.get("ISRCORE_TEST_DATA", Path(__file__).parents[2] / "../shared")) / "data/efosc2"
pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no EFOSC2 frames in {DATA}; set ISRCORE_TEST_DATA"
)

AMP = CAMERA["ccd40"]["L"]
# Where field, flat and charge are even: away from the edges.
CENTRE = (slice(200, 800), slice(200, 800))
# A Gaussian clipped at three sigma keeps this part of its variance.
CLIPPED = 0.9733


@cache
def exposures():
    sources = [RawSource.open(path) for path in sorted(DATA.glob("*.fits"))]
    return [next(isrcore_eso.isr_read_raw(source, None)) for source in sources]


def raw_frames(kind):
    return [exposure.image for exposure in exposures() if exposure.visit.observation_type == kind]


def level_of(raw):
    return np.median(raw[AMP.parallel_overscan_box.slices])


def data_of(raw):
    return raw[AMP.raw_data_box.slices].astype(np.float32) - np.float32(level_of(raw))


@cache
def master_bias():
    return np.mean([data_of(raw) for raw in raw_frames("bias")], axis=0)


@cache
def master_flat():
    flats = [data_of(raw) - master_bias() for raw in raw_frames("flat")]
    return np.mean([flat / np.median(flat) for flat in flats], axis=0)


@cache
def bad_pixels():
    defects = isrcore_eso.isr_curated_calibrations(CAMERA)["defects"]["ccd40"]
    return defects.to_mask(AMP.box.shape)


@cache
def flat_fielded():
    flat = np.where(bad_pixels(), np.nan, master_flat())
    return [(data_of(raw) - master_bias()) / flat for raw in raw_frames("science")]


def variance_of(values):
    """Variance without outliers: three-sigma clipping, its loss restored."""
    kept = values[np.isfinite(values)].astype(np.float64)
    for _ in range(20):
        kept = kept[np.abs(kept - np.median(kept)) < 3 * kept.std()]
    return kept.var() / CLIPPED


def scatter_of_blocks(image):
    """Scatter of the medians of 64-pixel blocks over their mean."""
    blocks = image[:960, :960].reshape(15, 64, 15, 64).swapaxes(1, 2).reshape(225, -1)
    medians = np.nanmedian(blocks, axis=1)
    return medians.std() / medians.mean()


def without_stars(image):
    """The centre of the image; stars and a margin round them are NaN."""
    sky = np.nanmedian(image)
    smooth = ndimage.gaussian_filter(np.where(np.isnan(image), sky, image) - sky, 3)
    star = ndimage.binary_dilation(smooth > 2 * np.sqrt(variance_of(smooth)), iterations=6)
    return np.where(star, np.nan, image)[CENTRE]


def test_eleven_frames_are_biases_flats_and_science():
    visits = [exposure.visit for exposure in exposures()]
    assert Counter(visit.observation_type for visit in visits) == {"bias": 5, "flat": 3, "science": 3}
    assert {visit.filter for visit in visits if visit.observation_type != "bias"} == {"g#782"}
    assert len({visit.exposure_id for visit in visits}) == 11


def test_overscan_rows_agree_with_each_other_to_the_noise():
    for exposure in exposures():
        rows = np.median(exposure.image[AMP.parallel_overscan_box.slices], axis=1)
        assert np.ptp(rows) <= 4, exposure.source


def test_columns_beside_the_data_are_no_overscan():
    for raw in raw_frames("flat"):
        assert np.median(raw[AMP.prescan_box.slices]) > level_of(raw) + 70


def test_unlit_rows_are_near_zero_in_biases_and_science_frames():
    bias = np.mean([raw[1018:] - level_of(raw) for raw in raw_frames("bias")], axis=0)
    for raw in raw_frames("science"):
        rows = (raw[1018:] - level_of(raw) - bias)[6:, :1021]
        assert abs(rows.mean()) < 1


@pytest.mark.parametrize("pair", list(combinations(range(3), 2)))
def test_gain_is_that_of_the_photon_transfer_of_two_flats(pair):
    one, two = (data_of(raw_frames("flat")[number]) - master_bias() for number in pair)
    gains = []
    for y, x in np.ndindex(6, 6):
        block = (slice(200 + 100 * y, 300 + 100 * y), slice(200 + 100 * x, 300 + 100 * x))
        a, b = one[block], two[block]
        ratio = np.median(a) / np.median(b)
        read_noise = (AMP.read_noise / AMP.gain) ** 2 * (1 + ratio**2)
        gains.append((np.median(a) + ratio**2 * np.median(b)) / (variance_of(a - ratio * b) - read_noise))
    # Each block gives 2 %; 36 of them 0.3 %.
    assert np.median(gains) == pytest.approx(AMP.gain, rel=0.01)


def test_read_noise_is_that_of_two_biases_and_of_the_overscan_rows():
    noises = [
        np.sqrt(variance_of(one[CENTRE].astype(float) - two[CENTRE]) / 2) * AMP.gain
        for one, two in combinations(raw_frames("bias"), 2)
    ]
    np.testing.assert_allclose(noises, AMP.read_noise, rtol=0.02)
    for exposure in exposures():
        overscan = exposure.image[AMP.parallel_overscan_box.slices]
        assert np.sqrt(variance_of(overscan)) * AMP.gain == pytest.approx(AMP.read_noise, rel=0.06)


def test_stars_pile_up_at_the_saturation_level_only():
    counts = [np.count_nonzero(raw >= AMP.saturation) for raw in raw_frames("science")]
    assert counts == [1, 4, 4]
    assert all(np.count_nonzero((raw > 65300) & (raw < AMP.saturation)) == 0 for raw in raw_frames("science"))


def test_every_trimmed_row_and_column_has_the_sky_of_its_surroundings_after_the_flat():
    sky = np.mean([frame / np.nanmedian(frame) for frame in flat_fielded()], axis=0)
    sides = {
        "first rows": np.nanmedian(sky[:20, 60:940], axis=1),
        "last rows": np.nanmedian(sky[-20:, 60:940], axis=1),
        "first columns": np.nanmedian(sky[50:600, :20], axis=0),
        "last columns": np.nanmedian(sky[50:600, -20:], axis=0),
    }
    for side, profile in sides.items():
        assert np.abs(profile / np.median(profile) - 1).max() < 0.03, side


def test_rows_left_out_are_off_after_the_flat():
    flats = [raw[:1018, :1021] - level_of(raw) for raw in raw_frames("flat")]
    for raw in raw_frames("science"):
        sky = np.median((raw[:1018, 60:940] - level_of(raw)) / flats[0][:, 60:940], axis=1)
        assert np.all(sky[1015:] / np.median(sky[980:1005]) > 1.035)


def test_pixels_that_are_not_bad_have_a_flat_that_can_be_divided_by():
    assert master_flat()[~bad_pixels()].min() > 0.25
    assert bad_pixels().mean() < 0.01


def test_a_flat_makes_the_sky_even():
    for raw, flat in zip(raw_frames("science"), flat_fielded(), strict=True):
        assert scatter_of_blocks(data_of(raw) - master_bias()) > 0.02
        assert scatter_of_blocks(flat) < 0.0115


def test_noise_of_the_sky_is_what_gain_and_read_noise_say():
    for frame in flat_fielded():
        sky = np.nanmedian(frame[CENTRE])
        read_noise = (AMP.read_noise / AMP.gain) ** 2
        # Five biases and three flats of 37,000 adu have noise of their own.
        flat_noise = sky**2 / (3 * 37000 * AMP.gain)
        expected = sky / AMP.gain + read_noise * 1.2 + flat_noise
        pixels = without_stars(frame)
        # Not neighbours in a row: the electronics couple them, and their differences are 4 % noisier.
        for difference in (np.diff(pixels, axis=0), pixels[:, 5:] - pixels[:, :-5]):
            assert expected / (variance_of(difference) / 2) == pytest.approx(1, abs=0.05)


def test_the_brightest_star_stays_where_it_is_on_the_sky_while_the_telescope_moves():
    places = []
    for exposure in (e for e in exposures() if e.visit.observation_type == "science"):
        y, x = np.unravel_index(np.argmax(exposure.image), exposure.shape)
        cut = exposure.image[y - 5 : y + 6, x - 5 : x + 6] - 600.0
        dy, dx = ndimage.center_of_mass(cut)
        places.append(exposure.wcs.pixel_to_world_values(x - 5 + dx, y - 5 + dy))
    # Dithers are 5 to 10 arcsec; half a pixel is 0.12.
    assert np.ptp(places, axis=0).max() * 3600 < 0.5
