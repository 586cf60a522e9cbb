"""The documented methods of IsrTask, one plain example each."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from isrcore import Amplifier, Box, Detector, Exposure, MaskedImage, PlanError, StepError, VisitInfo
from tests.golden_exposures import ASSEMBLED, make_task

AMP = Amplifier(
    "A",
    box=Box(0, 4, 0, 6),
    raw_box=Box(0, 5, 0, 9),
    raw_data_box=Box(0, 4, 0, 6),
    serial_overscan_box=Box(0, 4, 6, 9),
    gain=2.0,
    read_noise=4.0,
    saturation=1000.0,
    suspect_level=500.0,
)
DETECTOR = Detector("d", 0, (4, 6), (5, 9), (AMP,))


def raw(level=100.0):
    """Data of 10 adu above an overscan of ``level``."""
    image = np.full(DETECTOR.raw_shape, level, np.float32)
    image[AMP.raw_data_box.slices] += 10
    return Exposure(MaskedImage.from_image(image), DETECTOR)


def frame(value, variance=0.0, dark_s=math.nan, **values):
    """An assembled frame of one value."""
    image = np.full(DETECTOR.shape, value, np.float32)
    pixels = MaskedImage.from_image(image, variance=np.full(DETECTOR.shape, variance, np.float32))
    return Exposure(pixels, DETECTOR, visit=VisitInfo(dark_s=dark_s), facts=ASSEMBLED, **values)


def test_conversion_returns_float_exposures_as_they_are():
    exposure = frame(1)
    assert make_task().convertIntToFloat(exposure) is exposure


def test_conversion_makes_float_pixels_of_raw_ones():
    exposure = Exposure(MaskedImage.from_raw(np.full((5, 9), 7, np.uint16)), DETECTOR)
    converted = make_task().convertIntToFloat(exposure)
    assert converted.image.dtype == np.float32
    assert (converted.image == 7).all()
    assert (converted.variance == 1).all()
    assert not converted.mask.any()
    assert exposure.pixels.is_raw


def test_conversion_needs_an_exposure():
    with pytest.raises(RuntimeError, match="cannot convert a 'ndarray'"):
        make_task().convertIntToFloat(np.zeros((5, 9)))


@pytest.mark.parametrize(
    ("method", "plane", "level"), [("saturationDetection", "SAT", 1000), ("suspectDetection", "SUSPECT", 500)]
)
def test_levels_are_inclusive_and_hold_in_the_overscan(method, plane, level):
    exposure = raw()
    exposure.image[1, 1], exposure.image[2, 8], exposure.image[3, 3] = level, level + 1, level - 1
    getattr(make_task(), method)(exposure, AMP)
    assert np.argwhere(exposure.pixels.flagged(plane)).tolist() == [[1, 1], [2, 8]]


def test_a_saturation_level_of_the_config_comes_before_that_of_the_amplifier():
    exposure = raw()
    exposure.image[1, 1], exposure.image[2, 2] = 800, 799
    make_task(saturation__level=800.0).saturationDetection(exposure, AMP)
    assert np.argwhere(exposure.pixels.flagged("SAT")).tolist() == [[1, 1]]


def test_good_amplifier_is_only_flagged_where_it_is_bright():
    exposure = raw()
    exposure.image[1, 1] = 1000
    assert not make_task("doSaturation").maskAmplifier(exposure, AMP, None)
    assert exposure.mask.tolist() == (exposure.planes.value("SAT") * (exposure.image == 1000)).tolist()


def test_boxes_that_cover_an_amplifier_together_make_it_bad():
    exposure = raw()
    halves = [Box(0, 2, 0, 6), Box(2, 4, 0, 6)]
    assert make_task("doSaturation").maskAmplifier(exposure, AMP, halves)
    assert exposure.pixels.flagged("BAD").all()


@pytest.mark.parametrize("rows", [slice(0, 1), slice(0, 3), slice(1, 4)])
def test_amplifier_with_some_saturated_rows_is_good(rows):
    exposure = raw()
    exposure.image[rows] = 2000
    assert not make_task("doSaturation").maskAmplifier(exposure, AMP, None)
    assert not exposure.pixels.flagged("BAD").any()


def test_saturated_amplifier_is_bad():
    exposure = raw()
    exposure.image[AMP.raw_data_box.slices] = 2000
    assert make_task("doSaturation").maskAmplifier(exposure, AMP, None)
    assert exposure.pixels.flagged("BAD").sum() == AMP.raw_data_box.area


def test_overscan_is_subtracted_from_data_and_overscan():
    exposure = raw()
    result = make_task().overscanCorrection(exposure, AMP)
    assert (exposure.image[AMP.raw_data_box.slices] == 10).all()
    assert (exposure.image[AMP.serial_overscan_box.slices] == 0).all()
    assert result.imageFit == result.overscanFit == 100
    assert not result.overscanImage.image.any()


def test_overscan_of_rows_leaves_rows_it_does_not_know():
    exposure = raw()
    result = make_task(overscan__fitType="MEDIAN_PER_ROW").overscanCorrection(exposure, AMP)
    assert result.imageFit.tolist() == [100] * 4
    assert (exposure.image[4] == 100).all()


def test_overscan_of_rows_and_then_of_columns_is_told_as_one():
    exposure, amp = raw(), attrs.evolve(AMP, parallel_overscan_box=Box(4, 5, 0, 6))
    exposure.detector = attrs.evolve(DETECTOR, amplifiers=(amp,))
    exposure.image[:, :6] += np.arange(6, dtype=np.float32)
    exposure.image[2] += 7
    exposure.mask[0, 6:9] = exposure.planes.value("BAD")
    task = make_task(
        overscan__fitType="MEAN_PER_ROW",
        overscan__doParallel=True,
        overscan__parallel__fitType="MEAN_PER_ROW",
    )
    result = task.overscanCorrection(exposure, amp)
    assert (exposure.image[:4, :6] == 10).all()
    assert result.overscanFit.tolist() == [100, 100, 107, 100, 100]
    assert result.imageFit.tolist() == [
        [level + column for column in range(6)] for level in (100, 100, 107, 100)
    ]
    assert result.edgeMask.tolist() == [True, False, False, False, False]
    assert not result.overscanImage.image[1:].any()


def test_amplifier_without_overscan_is_left_alone():
    owner = Detector.of_shape((4, 6))
    exposure = Exposure(MaskedImage.from_image(np.ones((4, 6), np.float32)), owner)
    assert make_task().overscanCorrection(exposure, owner["0"]) is None
    assert (exposure.image == 1).all()


@pytest.mark.parametrize("fit_type", ["MEAN", "MEANCLIP", "MEDIAN", "MEDIAN_PER_ROW", "MEAN_PER_ROW"])
def test_overscan_pixels_that_are_no_number_do_not_count(fit_type):
    exposure = raw()
    exposure.image[1, 6] = np.nan
    exposure.image[2, 6:9] = np.inf
    make_task(overscan__fitType=fit_type).overscanCorrection(exposure, AMP)
    assert (exposure.image[AMP.raw_data_box.slices] == 10).all()


def test_rows_without_overscan_pixels_take_the_level_of_their_neighbours():
    exposure = raw()
    exposure.image[:4] += np.array([0, 1, 2, 3], np.float32)[:, None]
    exposure.mask[1:3, 6:9] = exposure.planes.value("BAD")
    result = make_task(overscan__fitType="MEAN_PER_ROW").overscanCorrection(exposure, AMP)
    assert result.overscanFit.tolist() == [100, 101.5, 101.5, 103]


@pytest.mark.parametrize("fit_type", ["MEDIAN", "MEAN_PER_ROW"])
def test_overscan_without_a_good_pixel_is_refused(fit_type):
    exposure = raw()
    exposure.mask[AMP.serial_overscan_box.slices] = exposure.planes.value("SAT")
    with pytest.raises(StepError, match="'A' has no usable overscan pixel"):
        make_task(overscan__fitType=fit_type).overscanCorrection(exposure, AMP)


def test_overscan_whose_pixels_all_lie_apart_is_refused():
    exposure = raw()
    exposure.mask[AMP.serial_overscan_box.slices] = exposure.planes.value("SAT")
    exposure.mask[0, 6:8] = 0
    exposure.image[0, 6:8] = 0, 1000
    with pytest.raises(StepError, match="no usable overscan pixel"):
        make_task(overscan__maxDev=10.0).overscanCorrection(exposure, AMP)


def test_variance_is_photon_noise_and_read_noise():
    exposure = frame(10)
    make_task().updateVariance(exposure, AMP)
    assert (exposure.variance == 10 / 2 + (4 / 2) ** 2).all()


def test_variance_of_a_raw_frame_is_set_in_the_amplifier():
    exposure = raw()
    make_task().updateVariance(exposure, AMP)
    assert (exposure.variance[AMP.raw_data_box.slices] == 110 / 2 + 4).all()


def test_empirical_read_noise_is_that_of_the_unflagged_overscan():
    exposure = frame(10)
    noise = np.random.default_rng(7).normal(0, 3, (50, 20)).astype(np.float32)
    overscan = MaskedImage.from_image(noise)
    overscan.image[0], overscan.mask[0] = 8, overscan.planes.value("SAT")
    make_task(doEmpiricalReadNoise=True).updateVariance(exposure, AMP, overscan)
    assert exposure.variance[0, 0] == pytest.approx(10 / 2 + np.var(noise[1:], ddof=1), rel=0.03)


def test_empirical_read_noise_needs_the_overscan():
    exposure = frame(10)
    make_task(doEmpiricalReadNoise=True).updateVariance(exposure, AMP)
    assert (exposure.variance == 9).all()


def test_dark_scales_with_dark_time_and_comes_back():
    exposure, task = frame(10, 1.0, dark_s=300), make_task()
    dark = frame(2, 0.5, dark_s=600)
    dark.mask[1, 2] = dark.planes.value("BAD")
    task.darkCorrection(exposure, dark)
    assert (exposure.image == 9).all()
    assert (exposure.variance == 1 + 0.25 * 0.5).all()
    assert "dark-subtracted" in exposure.facts
    task.darkCorrection(exposure, dark, invert=True)
    assert (exposure.image == 10).all()
    assert (exposure.variance == 1).all()
    assert "dark-subtracted" not in exposure.facts
    assert np.argwhere(exposure.mask).tolist() == [[1, 2]]


@pytest.mark.parametrize(("flag", "kind"), [("doBias", "bias"), ("doDark", "dark"), ("doFlat", "flat")])
def test_flags_of_a_frame_join_those_of_the_exposure(flag, kind):
    exposure, other = frame(10, dark_s=300), frame(2, dark_s=600)
    exposure.mask[0, 0], other.mask[0, :2] = 1, (2, 4)
    mask = make_task(flag).run(exposure, **{kind: other}).exposure.mask
    assert mask[0, :3].tolist() == [3, 4, 0]
    assert not mask[1:].any()


def test_dark_is_not_subtracted_twice():
    exposure, dark, task = frame(10, dark_s=300), frame(2, dark_s=300), make_task()
    task.darkCorrection(exposure, dark)
    with pytest.raises(PlanError, match="'dark' must not run twice"):
        task.darkCorrection(exposure, dark)
    assert (exposure.image == 8).all()


@pytest.mark.parametrize(
    ("ours", "its", "reason"),
    [
        (math.nan, 300, "has no dark time"),
        (300, math.nan, "has dark time nan s"),
        (300, 0, "has dark time 0 s"),
    ],
)
def test_dark_needs_both_dark_times(ours, its, reason):
    exposure = frame(10, dark_s=ours)
    with pytest.raises(PlanError, match=reason):
        make_task().darkCorrection(exposure, frame(2, dark_s=its))
    assert (exposure.image == 10).all()


@pytest.mark.parametrize(("method", "fact"), [("dark", "dark-subtracted"), ("flat", "flat-fielded")])
def test_what_was_not_done_cannot_be_undone(method, fact):
    calibration = frame(2, dark_s=300)
    with pytest.raises(ValueError, match=f"step '{method}' cannot be undone, the exposure is not '{fact}'"):
        getattr(make_task(), f"{method}Correction")(frame(10, dark_s=300), calibration, invert=True)


def test_flat_is_divided_out_and_multiplied_back():
    exposure, flat = frame(10, 4.0), frame(2, 0.5, unit="")
    task = make_task(flat__userScale=4.0)
    task.flatCorrection(exposure, flat)
    assert (exposure.image == 20).all()
    assert (exposure.variance == (4 * 4**2 + 20**2 * 0.5) / 2**2).all()
    task.flatCorrection(exposure, flat, invert=True)
    assert (exposure.image == 10).all()
    assert (exposure.variance == 4).all()


@pytest.mark.parametrize(("kind", "level"), [("MEAN", 2.5), ("MEDIAN", 2.0)])
def test_flat_is_scaled_to_its_own_level(kind, level):
    flat = frame(2, unit="")
    flat.image[0] = [2, 2, 2, 2, 2, 14]
    exposure = frame(10)
    make_task(flat__scalingType=kind).flatCorrection(exposure, flat)
    assert (exposure.image[1] == 10 * level / 2).all()


def test_flat_of_another_shape_is_refused():
    flat = Exposure(MaskedImage.from_image(np.ones((3, 3), np.float32)), Detector.of_shape((3, 3)), unit="")
    with pytest.raises(PlanError, match=r"shape \(3, 3\), the detector needs \(4, 6\)"):
        make_task().flatCorrection(frame(10), flat)


def test_defects_are_flagged_and_clipped():
    exposure = frame(10)
    make_task().maskDefect(exposure, [Box(1, 2, 1, 3), Box(3, 9, 5, 9)])
    assert np.argwhere(exposure.pixels.flagged("BAD")).tolist() == [[1, 1], [1, 2], [3, 5]]


def test_edges_are_flagged():
    exposure = frame(10)
    make_task().maskEdges(exposure, 1)
    assert np.argwhere(~exposure.pixels.flagged("SUSPECT")).tolist() == [
        [y, x] for y in (1, 2) for x in (1, 2, 3, 4)
    ]


def test_edges_go_to_the_plane_that_was_asked_for():
    exposure = frame(10)
    make_task().maskEdges(exposure, 2, "EDGE")
    assert exposure.pixels.flagged("EDGE").all()
    assert not exposure.pixels.flagged("SUSPECT").any()


@pytest.mark.parametrize("width", [0, -1])
def test_no_width_flags_no_edge(width):
    exposure = frame(10)
    make_task().maskEdges(exposure, width)
    assert not exposure.mask.any()


def test_edges_wider_than_half_the_detector_are_refused():
    with pytest.raises(PlanError, match="more than half"):
        make_task().maskEdges(frame(10), 3)


def test_pixels_that_are_no_number_are_flagged_and_counted():
    exposure, task = frame(10), make_task()
    exposure.image[0, 1], exposure.variance[2, 3] = np.nan, np.inf
    exposure.mask[0, 1] = exposure.planes.value("SAT")
    task.maskNan(exposure)
    assert np.argwhere(exposure.pixels.flagged("UNMASKEDNAN")).tolist() == [[0, 1], [2, 3]]
    assert exposure.pixels.flagged("SAT")[0, 1]
    assert task.metadata.scalar("NUMNANS") == 2


def test_run_leaves_the_raw_exposure_as_it_was():
    exposure = raw()
    before = exposure.clone()
    product = make_task("doOverscan", "doAssembleCcd", "doVariance", "doSaturation").run(exposure).exposure
    assert (product.image == 10).all()
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(exposure, plane), getattr(before, plane))
    assert exposure.facts == before.facts


def test_run_refuses_inputs_that_no_step_reads():
    with pytest.raises(TypeError, match="no step reads input 'sky'"):
        make_task().run(frame(10), sky=frame(1))


def test_run_names_everything_that_is_missing():
    with pytest.raises(PlanError) as caught:
        make_task("doBias", "doFlat").run(raw())
    assert len(caught.value.problems) >= 4
    for word in ("'bias'", "'flat'", "'assembled'"):
        assert word in str(caught.value)
