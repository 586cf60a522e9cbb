"""Bad regions, background, thumbnails: plain examples and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import (
    Amplifier,
    Box,
    Detector,
    Exposure,
    IsrQaConfig,
    MaskedImage,
    bin_image,
    frame_statistics,
    make_thumbnail,
    read_exposure,
    write_exposure,
)
from isrcore.testing import strategies
from tests.golden_exposures import ASSEMBLED, make_task


def frame(image, **flags):
    """An assembled frame; ``BAD=[(y, x)]`` flags pixels."""
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    for plane, places in flags.items():
        for place in places:
            pixels.mask[place] |= pixels.planes.value(plane)
    return Exposure(pixels, Detector.of_shape(pixels.shape), facts=ASSEMBLED)


def qa_of(**values):
    qa = IsrQaConfig()
    for name, value in values.items():
        qa.set(name.replace("__", "."), value)
    return qa


def test_bad_pixels_get_the_median_of_the_good_ones():
    before = frame([[1, 2, 3], [900, 4, 800]], BAD=[(1, 0), (1, 2)], INTRP=[(1, 2)])
    task = make_task("doSetBadRegions")
    after = task.run(before).exposure
    assert after.image.tolist() == [[1, 2, 3], [2.5, 4, 800]]
    assert before.image[1, 0] == 900
    np.testing.assert_array_equal(after.mask, before.mask)
    assert (task.badRegions.metadata["count"], task.badRegions.metadata["value"]) == (1, 2.5)


def test_bad_pixels_get_the_clipped_mean_on_request():
    image = np.float32([[1, 2, 3, 6, 7, 900]])
    task = make_task("doSetBadRegions", badRegions__statistic="MEANCLIP", badRegions__ignore=["BAD", "SAT"])
    after = task.run(frame(image, BAD=[(0, 5)], SAT=[(0, 4)])).exposure
    assert after.image[0, 5] == 3


def test_a_frame_of_bad_pixels_stays(caplog):
    before = frame([[1, 2]], BAD=[(0, 0), (0, 1)])
    after = make_task("doSetBadRegions").run(before).exposure
    assert after.image.tolist() == [[1, 2]]
    assert after.measured["badRegions"][before.detector.name].count == 0
    assert "has no good pixel" in caplog.text


def test_a_frame_without_bad_pixels_stays_silent(caplog):
    before = frame([[np.nan, np.nan]])
    make_task("doSetBadRegions").run(before)
    assert not caplog.text


@pytest.mark.parametrize(
    ("planes", "is_on", "runs"), [(["BAD"], True, False), (["SAT"], True, True), (["BAD"], False, True)]
)
def test_bad_regions_are_left_to_interpolation(planes, is_on, runs):
    flags = ["doSetBadRegions"] + ["doInterpolate"] * is_on
    plan = make_task(*flags, interpolation__planes=planes).plan(frame([[1, 2]]))
    assert ("badRegions" in [step.step.spec.name for step in plan.steps]) is runs
    assert ("interpolation fills BAD pixels" in str(plan)) is not runs


def test_background_of_a_gradient():
    image = np.zeros((8, 12)) + np.array([90, 100, 130]).repeat(4)
    exposure = frame(image)
    make_task().measureBackground(exposure, qa_of(flatness__meshX=4, flatness__meshY=4))
    assert exposure.header["SKYLEVEL"] == 100
    assert exposure.header["FLATNESS_PP"] == pytest.approx(0.4)
    assert exposure.header["FLATNESS_RMS"] == pytest.approx(np.std([-0.1, 0, 0.3]))
    assert exposure.header["FLATNESS_NGRIDS"] == "3x2"
    found = exposure.measured["background"][exposure.detector.name]
    assert found.cells == ((90, 100, 130), (90, 100, 130))
    np.testing.assert_array_equal(exposure.image, image)


def test_background_without_config_is_nothing():
    exposure = frame([[1, 2]])
    make_task().measureBackground(exposure)
    assert not list(exposure.header)
    assert exposure.facts == ASSEMBLED


def test_cells_end_with_the_image():
    exposure = frame(np.add.outer(np.arange(11), np.zeros(7)))
    make_task().measureBackground(
        exposure, qa_of(flatness__meshX=4, flatness__meshY=8, flatness__doClip=False)
    )
    assert exposure.header["FLATNESS_NGRIDS"] == "2x1"
    exposure = frame(np.add.outer(np.arange(12), np.zeros(7)))
    make_task().measureBackground(
        exposure, qa_of(flatness__meshX=4, flatness__meshY=8, flatness__doClip=False)
    )
    assert exposure.measured["background"][exposure.detector.name].cells == ((3.5, 3.5), (9.5, 9.5))


@pytest.mark.parametrize("plane", ["BAD", "SAT", "DETECTED"])
def test_flagged_pixels_are_no_background(plane):
    image = np.full((4, 4), 7.0)
    image[1, 2] = 1000
    exposure = frame(image, **{plane: [(1, 2)]})
    qa = qa_of(flatness__meshX=4, flatness__meshY=4, flatness__doClip=False)
    make_task().measureBackground(exposure, qa)
    assert exposure.measured["background"][exposure.detector.name].cells == ((7,),)


@pytest.mark.parametrize("level", [np.nan, 0.0])
def test_a_background_that_cannot_be_had_gives_cards_without_value(level, tmp_path):
    exposure = frame(np.full((4, 4), level))
    make_task().measureBackground(exposure, qa_of(flatness__meshX=2, flatness__meshY=2))
    found = exposure.measured["background"][exposure.detector.name]
    assert math.isnan(found.peak_to_peak)
    assert math.isnan(found.rms)
    write_exposure(exposure, tmp_path / "product.fits")
    header = read_exposure(tmp_path / "product.fits").header
    assert header["FLATNESS_PP"] is None
    assert header["FLATNESS_NGRIDS"] == "2x2"


def test_a_run_measures_every_amplifier():
    halves = [
        Amplifier(name, box, box, box) for name, box in (("L", Box(0, 4, 0, 4)), ("R", Box(0, 4, 4, 8)))
    ]
    image = np.float32([[5] * 4 + [9] * 4] * 4)
    owner = Detector("two", 0, (4, 8), (4, 8), tuple(halves))
    task = make_task("doMeasureBackground", qa__flatness__meshX=4, qa__flatness__meshY=4)
    exposure = task.run(Exposure(MaskedImage.from_image(image), owner, facts=ASSEMBLED)).exposure
    metadata = task.background.metadata
    assert [metadata[f"ISR BACKGROUND {name} MEDIAN"] for name in "LR"] == [5, 9]
    assert metadata["ISR BACKGROUND L STDEV"] == 0
    assert metadata["SKYLEVEL"] == exposure.header["SKYLEVEL"] == 7


def test_amplifiers_are_not_measured_without_save_stats():
    task = make_task("doMeasureBackground", qa__saveStats=False)
    task.run(frame(np.ones((4, 4))))
    assert not [key for key in task.background.metadata if key.startswith("ISR")]


def test_binning_averages_blocks_and_unites_flags():
    exposure = frame([[1, 3, 5, 7, 99], [1, 3, 5, np.nan, 99], [9, 9, 9, 9, 9]], BAD=[(0, 0)], SAT=[(1, 1)])
    exposure.variance[...] = 8
    found = bin_image(exposure.pixels, 2)
    np.testing.assert_array_equal(found.image, [[2, np.nan]])
    np.testing.assert_array_equal(found.variance, [[2, 2]])
    assert found.mask.tolist() == [[exposure.planes.value("BAD", "SAT"), 0]]
    assert bin_image(exposure.pixels, (1, 5)).shape == (3, 1)


@pytest.mark.parametrize("binning", [0, 3, (1, 5)])
def test_blocks_must_fit_the_image(binning):
    with pytest.raises(ValueError, match="cannot bin"):
        bin_image(frame(np.ones((2, 4))).pixels, binning)


@given(strategies.masked_images((12, 18), spoiled=False), st.sampled_from([1, 2, 3, 6]))
def test_binning_keeps_mean_and_flags(pixels, binning):
    found = bin_image(pixels, binning)
    # Means of blocks are rounded to float32.
    assert found.image.mean(dtype=float) == pytest.approx(pixels.image.mean(dtype=float), rel=1e-6, abs=1e-5)
    assert np.bitwise_or.reduce(found.mask, axis=None) == np.bitwise_or.reduce(pixels.mask, axis=None)
    assert found.variance.sum(dtype=float) == pytest.approx(
        pixels.variance.sum(dtype=float) / binning**4, rel=1e-6
    )


@given(strategies.masked_images((12, 18)), st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 3])))
def test_binning_twice_is_binning_once(pixels, binning):
    once, twice = (
        bin_image(pixels, (binning[0], binning[1])),
        bin_image(bin_image(pixels, (binning[0], 1)), (1, binning[1])),
    )
    np.testing.assert_array_equal(once.mask, twice.mask)
    np.testing.assert_allclose(once.image, twice.image, rtol=1e-6, atol=1e-4)


def test_thumbnail_of_a_constant_is_black():
    thumbnail = make_thumbnail(frame(np.full((10, 14), 7.0)), IsrQaConfig())
    assert thumbnail.shape == (2, 3, 3)
    assert thumbnail.dtype == np.uint8
    assert not thumbnail.any()


def test_thumbnail_follows_the_stretch():
    image = np.zeros((1, 9))
    image[0, 4:] = 1.0, 2.0, 5.0, 400.0, np.nan
    exposure = frame(image, BAD=[(0, x) for x in range(4, 8)])
    thumbnail = make_thumbnail(exposure, qa_of(thumbnailBinning=1, thumbnailSatBorder=0))
    assert thumbnail[0, :4].max() == thumbnail[0, 8].max() == 0
    expected = [25.5 / math.asinh(2.0) * math.asinh(20.0 * x / 5.0) for x in (1.0, 2.0, 5.0)]
    for grey, value in zip(thumbnail[0, 4:7], expected, strict=True):
        assert grey.tolist() == [int(value)] * 3
    assert thumbnail[0, 7, 0] == int(min(255, 25.5 / math.asinh(2.0) * math.asinh(20.0 * 400.0 / 5.0)))


def test_saturated_areas_are_as_bright_as_any():
    image = np.zeros((7, 7))
    image[0, 0] = 3.0
    exposure = frame(image, SAT=[(3, 3)])
    exposure.image[3, 3] = exposure.image[6, 6] = np.nan
    thumbnail = make_thumbnail(exposure, qa_of(thumbnailBinning=1, thumbnailSatBorder=1, thumbnailStdev=0.0))
    white = thumbnail[0, 0, 0]
    assert white > 0
    bright = np.argwhere(thumbnail[:, :, 0] == white).tolist()
    assert bright == [[0, 0], [2, 3], [3, 2], [3, 3], [3, 4], [4, 3]]


def test_thumbnail_without_config_is_none():
    assert make_thumbnail(frame([[1]]), None) is None


@given(strategies.masked_images((9, 13)), st.integers(1, 20))
def test_every_image_has_a_thumbnail(pixels, binning):
    exposure = Exposure(pixels, Detector.of_shape(pixels.shape))
    thumbnail = make_thumbnail(exposure, qa_of(thumbnailBinning=binning))
    assert thumbnail.shape == (9 // min(binning, 9), 13 // min(binning, 9), 3)


AMP = Amplifier(
    "A",
    box=Box(0, 4, 0, 6),
    raw_box=Box(0, 4, 0, 9),
    raw_data_box=Box(0, 4, 0, 6),
    serial_overscan_box=Box(0, 4, 6, 9),
)


def raw():
    image = np.full((4, 9), 100, np.uint16)
    image[:, :6] += np.arange(24, dtype=np.uint16).reshape(4, 6)
    return Exposure(MaskedImage.from_raw(image), Detector("d", 0, (4, 6), (4, 9), (AMP,)))


STEPS = ("doConvertIntToFloat", "doOverscan", "doAssembleCcd", "doVariance", "doDefect", "doSetBadRegions")


def test_a_run_returns_its_thumbnails():
    flags = {"qa__doThumbnailOss": True, "qa__doThumbnailFlattened": True, "qa__thumbnailBinning": 1}
    task, defects = make_task(*STEPS, **flags), [Box(3, 4, 5, 6)]
    result = task.run(raw(), defects=defects)
    assembled = make_task("doConvertIntToFloat", "doOverscan", "doAssembleCcd").run(raw()).exposure
    np.testing.assert_array_equal(result.ossThumb, make_thumbnail(assembled, task.config.qa))
    flattened = make_task(*STEPS[:-1]).run(raw(), defects=defects).exposure
    np.testing.assert_array_equal(result.flattenedThumb, make_thumbnail(flattened, task.config.qa))
    assert result.outputOssThumbnail is result.ossThumb
    assert result.outputFlattenedThumbnail is result.flattenedThumb
    # Looking changes nothing.
    plain = make_task(*STEPS).run(raw(), defects=defects)
    np.testing.assert_array_equal(result.exposure.image, plain.exposure.image)
    assert result.exposure.image[3, 5] != flattened.image[3, 5]


def test_a_run_draws_nothing_unasked():
    result = make_task(*STEPS[:3]).run(raw())
    assert result.ossThumb is result.flattenedThumb is result.outputOssThumbnail is None


def test_a_run_without_replaced_pixels_has_its_thumbnail_at_the_end():
    result = make_task(*STEPS[:3], qa__doThumbnailFlattened=True).run(raw())
    np.testing.assert_array_equal(
        result.flattenedThumb, make_thumbnail(result.exposure, qa_of(doThumbnailFlattened=True))
    )


def test_interpolation_and_background_share_one_look_at_the_frame(monkeypatch):
    looked = []
    plain = frame_statistics.clipped

    def counting(image, *settings, ignore=None):
        looked.append(image.shape)
        return plain(image, *settings, ignore=ignore)

    monkeypatch.setattr("isrcore.frame_statistics.clipped", counting)
    exposure = Exposure(
        MaskedImage.from_image(np.random.default_rng(1).normal(100, 5, (60, 80)).astype(np.float32)),
        Detector.of_shape((60, 80)),
        facts=frozenset({"assembled", "converted"}),
    )
    # A run at the border, wide enough to need the level of the frame.
    exposure.mask[5, :20] = exposure.planes.value("BAD")
    task = make_task("doInterpolate", "doMeasureBackground", qa__saveStats=False)
    done = task.run(exposure).exposure
    assert done.pixels.flagged("INTRP").sum() == 20
    assert "SKYLEVEL" in done.header
    assert looked.count((60, 80)) == 1
