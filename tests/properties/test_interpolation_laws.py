"""Laws of interpolation over bad pixels, and of the runs and weights it works with."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, PlanError, Registry, Runs, hookimpl, isr_config
from isrcore.footprints import grow
from isrcore.statistics import clipped
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore_standard.interpolation import FWHM_PER_SIGMA, Interpolation
from isrcore_standard.kriging import kriging_weights, weight_table
from tests.golden import DATA
from tests.plain_interpolation import plain

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted"})
FLAGGED = ("BAD", "SAT", "UNMASKEDNAN")
needs_data = pytest.mark.skipif(not DATA.exists(), reason=f"no data at {DATA}; set ISRCORE_TEST_DATA")


def task_for(steps="doInterpolate", **settings):
    config = isr_config(REGISTRY)()
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            setattr(config, spec.flag, spec.flag in steps)
    config.expectWcs = False
    for name, value in settings.items():
        setattr(config.interpolation, name, value)
    return IsrTask(config, registry=REGISTRY)


def exposure_of(pixels):
    return Exposure(pixels, Detector.of_shape(pixels.shape), facts=FACTS)


def interpolated(pixels, **settings):
    """What interpolation without growth makes of a masked image."""
    settings = {"growSaturationFootprintSize": 0, **settings}
    return task_for(**settings).run(exposure_of(pixels)).exposure.pixels


def row_of(values, bad=(), variance=None, plane="BAD"):
    """A masked image of one row."""
    image = np.array([values], np.float32)
    pixels = MaskedImage.from_image(image, variance=None if variance is None else np.float32([variance]))
    pixels.mask[0, list(bad)] = pixels.planes.value(plane)
    return pixels


@st.composite
def flagged_images(draw, spoiled=True):
    """Images with bad pixels in runs and singly, at borders too, whose values are often no number."""
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 60))
    rng = draw(strategies.generators())
    image, variance = rng.normal(1000, 50, shape), rng.uniform(1, 9, shape)
    pixels = MaskedImage.from_image(image.astype(np.float32), variance=variance.astype(np.float32))
    bad = rng.random(shape) < draw(st.sampled_from([0.0, 0.05, 0.4]))
    for _ in range(draw(st.integers(0, 8))):
        y, x = rng.integers(shape[0]), rng.integers(-10, shape[1] + 1)
        bad[y, max(x, 0) : max(x + rng.integers(1, draw(st.sampled_from([3, 12, 40]))), 0)] = True
    pixels.mask[bad] = pixels.planes.value("BAD")
    if spoiled:
        pixels.image[bad] = rng.choice([np.nan, np.inf, -np.inf, 65535], bad.sum())
    return pixels


@settings(max_examples=150, deadline=None)
@given(flagged_images(), st.sampled_from([0.3, 1.0, 2.0]))
def test_interpolation_is_what_its_definition_says(pixels, sigma):
    found = interpolated(pixels.copy(), fwhm=sigma * FWHM_PER_SIGMA)
    frame = exposure_of(pixels).statistics("BAD").clipped
    if not math.isfinite(frame.sigma):
        return
    image, variance = plain(pixels, pixels.flagged("BAD"), (frame.mean, frame.sigma**2), sigma)
    np.testing.assert_allclose(found.image, image, rtol=1e-6)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-5)
    np.testing.assert_array_equal(found.flagged("INTRP"), pixels.flagged("BAD"))


def test_example_one_bad_pixel():
    found = interpolated(row_of([10, 20, -1, 40, 50], bad=[2], variance=[1, 2, 0, 2, 1]))
    assert found.image[0, 2] == pytest.approx(30.0)
    assert found.variance[0, 2] == pytest.approx(2 * 0.2737**2 * 1 + 2 * 0.7737**2 * 2, rel=1e-3)


def test_example_a_bad_pixel_at_the_start_of_the_row():
    found = interpolated(row_of([-1, 20, 10], bad=[0]))
    assert found.image[0, 0] == pytest.approx(24.288, abs=1e-3)


@settings(max_examples=80, deadline=None)
@given(flagged_images(), st.floats(-1e6, 1e6, width=32), st.sampled_from([0.1, 2.3548, 9.0, 30.0]))
def test_a_constant_stays_constant(pixels, value, fwhm):
    good = ~pixels.flagged("BAD")
    pixels.image[good] = value
    found = interpolated(pixels, fwhm=fwhm)
    if np.count_nonzero(good) > 1:
        assert (found.image == np.float32(value)).all()


@settings(max_examples=80, deadline=None)
@given(flagged_images())
def test_good_pixels_and_other_flags_are_left_alone(pixels):
    found, good = interpolated(pixels.copy()), ~pixels.flagged("BAD")
    for plane in ("image", "variance"):
        np.testing.assert_array_equal(getattr(found, plane)[good], getattr(pixels, plane)[good])
    np.testing.assert_array_equal(found.mask & ~found.planes.value("INTRP"), pixels.mask)


@settings(max_examples=80, deadline=None)
@given(flagged_images(), strategies.generators())
def test_values_of_bad_pixels_do_not_matter(pixels, rng):
    other, bad = pixels.copy(), pixels.flagged("BAD")
    other.image[bad], other.variance[bad] = rng.normal(0, 1e6, bad.sum()), rng.random(bad.sum())
    first, second = interpolated(pixels), interpolated(other)
    replaced = first.flagged("INTRP")
    np.testing.assert_array_equal(first.image[replaced], second.image[replaced])
    np.testing.assert_array_equal(first.variance[replaced], second.variance[replaced])


@settings(max_examples=80, deadline=None)
@given(flagged_images(), st.booleans(), st.booleans())
def test_a_mirrored_frame_gives_the_mirrored_result(pixels, flip_y, flip_x):
    mirrored = interpolated(pixels.flip(flip_y, flip_x).copy())
    check_same(mirrored, interpolated(pixels).flip(flip_y, flip_x))


@settings(max_examples=80, deadline=None)
@given(flagged_images(), flagged_images())
def test_rows_do_not_know_of_each_other(pixels, others):
    """But through the level of the frame, which rows with a good pixel beside every run do not use."""
    found = interpolated(pixels.copy())
    nx = min(pixels.shape[1], others.shape[1])
    below = others.image[:, :nx], others.mask[:, :nx], others.variance[:, :nx]
    both = [
        np.concatenate([one, np.resize(other, (other.shape[0], pixels.shape[1]))])
        for one, other in zip((pixels.image, pixels.mask, pixels.variance), below, strict=True)
    ]
    together = interpolated(MaskedImage(*both, pixels.planes))
    ny = pixels.shape[0]
    inside = ~(pixels.flagged("BAD")[:, 0] | pixels.flagged("BAD")[:, -1])
    np.testing.assert_array_equal(together.image[:ny][inside], found.image[inside])


@settings(max_examples=80, deadline=None)
@given(flagged_images(), strategies.generators())
def test_what_is_no_number_never_spreads(pixels, rng):
    """Not even when nobody has flagged it: it does not count, nor does anything in its place."""
    stray = rng.random(pixels.shape) < 0.1
    pixels.image[~pixels.flagged("BAD")] = 1000
    pixels.image[stray & (rng.random(stray.shape) < 0.5)] = np.nan
    pixels.variance[stray] = np.inf
    found = interpolated(pixels, nan=False, planes=["BAD"])
    replaced = found.flagged("INTRP")
    assert (found.image[replaced] == 1000).all()
    assert np.isfinite(found.variance[replaced]).all()


def test_example_a_pixel_with_a_bad_variance_is_replaced():
    pixels = row_of([1, 2, 3, 4, 5], variance=[1, 1, np.nan, 1, 1])
    found = task_for("doNanMasking doInterpolate").run(exposure_of(pixels)).exposure.pixels
    assert found.image[0, 2] == pytest.approx(3)
    assert np.isfinite(found.variance).all()
    assert found.flagged("INTRP")[0].tolist() == [False, False, True, False, False]


@settings(max_examples=60, deadline=None)
@given(flagged_images())
def test_the_layout_of_the_memory_does_not_matter(pixels):
    strided = [np.asfortranarray(plane) for plane in (pixels.image, pixels.mask, pixels.variance)]
    exposures = exposure_of(MaskedImage(*strided, pixels.planes)), exposure_of(pixels)
    for exposure in exposures:
        task_for().maskAndInterpolateDefects(exposure, [])
    check_same(*(exposure.pixels for exposure in exposures))
    assert exposures[0].image is strided[0]


@given(flagged_images())
def test_the_given_exposure_is_not_changed(pixels):
    exposure, before = exposure_of(pixels), pixels.copy()
    task_for("doInterpolate doWidenSaturationTrails").run(exposure)
    check_same(exposure.pixels, before)


class Alone:
    """A plugin with nothing before interpolation that would make pixels anew."""

    @hookimpl
    def isr_steps(self):
        return [Interpolation]


def test_example_the_given_exposure_is_not_changed_by_interpolation_alone():
    pixels = row_of([1, 2, 9, 4, 5], bad=[2])
    config = isr_config(Registry({"alone": Alone()}))()
    config.expectWcs = False
    product = IsrTask(config, registry=Registry({"alone": Alone()})).run(exposure_of(pixels)).exposure
    assert product.image[0, 2] == 3
    assert pixels.image[0, 2] == 9
    assert not pixels.flagged("INTRP").any()


# Runs at borders, and without a good pixel.


def test_example_a_wide_run_at_the_border_blends_into_the_level_of_the_frame():
    values, bad = np.full(40, 100.0), range(12)
    values[12:] += np.where(np.arange(28) % 2, 2.0, -2.0)
    pixels = row_of(values, bad, variance=np.full(40, 4.0))
    frame = exposure_of(pixels).statistics("BAD").clipped
    found = interpolated(pixels)
    assert (found.image[0, :6] == np.float32(frame.mean)).all()
    assert (found.variance[0, :6] == np.float32(frame.sigma**2)).all()
    assert (found.image[0, 6:12] != np.float32(frame.mean)).all()


def test_example_a_row_without_a_good_pixel_takes_the_level_of_the_frame():
    pixels = MaskedImage.from_image(np.float32([[1, 2, 3], [7, 7, 7], [1, 2, 3]]))
    pixels.mask[1] = pixels.planes.value("BAD")
    assert (interpolated(pixels).image[1] == 2).all()


def test_example_a_frame_without_a_good_pixel_stays_as_it_is(caplog):
    pixels = row_of([7, 7, 7], bad=[0, 1, 2])
    found = interpolated(pixels)
    assert (found.image == 7).all()
    assert not found.flagged("INTRP").any()
    assert "has no good pixel to interpolate from" in caplog.text


def test_example_flagged_pixels_count_in_the_level_on_request():
    values = [*[50.0] * 7, *[1.0] * 5]
    assert interpolated(row_of(values, range(7))).image[0, 0] == 1
    everything = np.mean(values)
    assert everything > 1
    found = interpolated(row_of(values, range(7)), fallbackIncludesFlagged=True)
    assert found.image[0, 0] == pytest.approx(everything)


def test_example_a_level_found_before_growth_does_not_count():
    exposure = exposure_of(row_of([*[9] * 8, 3, 1, 2, 1, 2, 1, 2], range(8), plane="SAT"))
    assert exposure.statistics("SAT").clipped.mean > 1.6
    task_for(nan=False).saturationInterpolation(exposure)
    assert exposure.pixels.flagged("SAT")[0, 8]
    assert exposure.image[0, 0] == 1.5


def test_example_statistics_of_replaced_pixels_are_found_anew():
    exposure = exposure_of(row_of([2, 2, 9, 2, 2], bad=[2], plane="SAT"))
    assert exposure.statistics().clipped.count == 4
    task_for(growSaturationFootprintSize=0).saturationInterpolation(exposure)
    assert exposure.statistics().clipped.count == 5


class Unasked(Exposure):
    """Refuses to find statistics."""

    def statistics(self, *ignored, threads=1):
        raise AssertionError("nobody needs statistics here")


def test_example_the_level_is_not_found_when_no_run_needs_it():
    pixels = row_of([1, 2, 3, 4, 5, 6], bad=[0, 3])
    exposure = Unasked(pixels, Detector.of_shape(pixels.shape), facts=FACTS)
    task_for().saturationInterpolation(exposure)
    task_for(saturation=False).maskAndInterpolateDefects(exposure, [])
    assert exposure.pixels.flagged("INTRP").sum() == 2


@pytest.mark.parametrize("detected", [True, False])
def test_example_the_level_of_a_large_frame_leaves_out_detected_stars(detected):
    rng = np.random.default_rng(9)
    image = rng.normal(1000, 3, (200, 250)).astype(np.float32)
    pixels = MaskedImage.from_image(image, variance=np.ones(image.shape, np.float32))
    # So few that a forecast of where the quartiles lie would not notice them.
    image[:, 60::100] += 5
    pixels.mask[:, 60::100] = pixels.planes.value("DETECTED") if detected else 0
    pixels.mask[50:60, :40] |= pixels.planes.value("BAD")
    level = clipped(image, ignore=pixels.flagged("BAD", "DETECTED")).mean
    assert (abs(level - clipped(image).mean) > 0.01) is detected
    np.testing.assert_array_equal(interpolated(pixels).image[50:60, :30], np.float32(level))


# Weights.


@given(st.integers(0, 2), st.integers(0, 2), st.integers(1, 60), st.floats(0.05, 12.7))
@settings(max_examples=100, deadline=None)
def test_weights_have_the_sum_one_and_mirrored_runs_mirrored_weights(left, right, width, sigma):
    if left + right == 0:
        return
    table = weight_table(round(sigma, 1) or 0.05)
    ours = columns_of(table, left, right, width)
    np.testing.assert_allclose(ours.sum(axis=0), 1, rtol=1e-12)
    np.testing.assert_array_equal(columns_of(table, right, left, width), ours[::-1, ::-1])
    exact = kriging_weights(left, right, width, round(sigma, 1) or 0.05).T
    np.testing.assert_allclose(ours[2 - left : 2 + right], exact, atol=1e-7 * np.abs(exact).max())


def columns_of(table, left, right, width):
    """Weights of every pixel of a run, the middle column repeated in wide ones."""
    (kind,) = table.kinds(np.array([left]), np.array([right]), np.array([width]))
    weights = table.of_kind(kind)
    middle, more = weights.shape[1] // 2, width - weights.shape[1]
    return np.hstack(
        [weights[:, :middle], np.repeat(weights[:, [middle]], more, axis=1), weights[:, middle:]]
    )


@needs_data
def test_weights_are_the_published_ones():
    stored = json.loads((DATA / "spec/data/interp_weights.json").read_text())["weights"]
    assert len(stored) == 80
    for name, weights in stored.items():
        left, right, width = int(name[1]), int(name[3]), int(name.partition("n")[2])
        # They are written with six decimals.
        np.testing.assert_allclose(kriging_weights(left, right, width, 1.0), weights, atol=6e-7)


def test_example_without_good_pixels_there_is_nothing_to_weigh():
    with pytest.raises(ValueError, match="no good pixel beside a run of 3"):
        kriging_weights(0, 0, 3, 1.0)


def published_rows():
    path = DATA / "spec/data/interp_cases.json"
    cases = json.loads(path.read_text())["cases"] if path.exists() else []
    return [pytest.param(case, id=case["name"]) for case in cases]


@needs_data
@pytest.mark.parametrize("case", published_rows())
def test_published_rows(case):
    """Rows of numbers of order 100.

    The stored ones set negative results of the pattern one good, two bad, one good to zero, we do not (fault
    9); runs of eleven and more follow the exact weights, which differ by up to 3e-4.
    """
    values, runs = np.array(case["values"]), case["bad_runs"]
    bad = [x for first, last in runs for x in range(first, last + 1)]
    pixels = row_of(values, bad)
    # The published level of 50 is not that of the row: good rows around it make it so.
    around = MaskedImage.from_image(np.full((500, values.size), case["fallback"], np.float32))
    around.image[::2] += 1e-3
    stacked = [
        np.concatenate([getattr(around, plane), getattr(pixels, plane)])
        for plane in ("image", "mask", "variance")
    ]
    found = interpolated(MaskedImage(*stacked, pixels.planes)).image[-1].astype(np.float64)
    expected = np.array(case["recommended"])
    is_clamped = np.isin(np.arange(values.size), bad) & (expected == 0)
    assert is_clamped.any() == (case["name"] == "1-2-1 clamp")
    assert (found[is_clamped] < 0).all()
    widest = max(last + 1 - first for first, last in runs)
    tolerance = 3e-4 * np.abs(values).max() if widest >= 11 else 1e-3
    np.testing.assert_allclose(found[~is_clamped], expected[~is_clamped], atol=tolerance + 1e-3)


# Growth, trails and runs.


@given(st.data(), st.integers(0, 4))
@settings(max_examples=100, deadline=None)
def test_runs_grow_as_footprints_do(data, radius):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    mask = data.draw(strategies.masks(shape))
    expected = grow((mask & 3) != 0, radius)
    grown = np.zeros(shape, np.int32)
    Runs.of(mask, 3).flag_near(grown, 4, radius)
    np.testing.assert_array_equal(grown, np.where(expected, 4, 0))


@given(st.data(), st.integers(1, 7))
@settings(max_examples=100, deadline=None)
def test_runs_are_what_is_flagged_and_portions_are_all_of_them(data, pixels):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    mask = data.draw(strategies.masks(shape))
    runs = Runs.of(mask, 5)
    assert runs.indices().tolist() == np.flatnonzero(mask & 5).tolist()
    assert (runs.start // shape[1] == (runs.stop - 1) // shape[1]).all()
    parts = [runs[part] for part in runs.portions(pixels)]
    assert all(part.pixel_count <= pixels or len(part) == 1 for part in parts)
    portions = [part.indices() for part in parts]
    assert np.concatenate([np.empty(0, int), *portions]).tolist() == runs.indices().tolist()


@given(st.data(), st.sampled_from([(1, 5, 4), (3,), (0, 7)]))
@settings(max_examples=100, deadline=None)
def test_runs_of_several_bits_are_those_of_each(data, bits):
    mask = data.draw(strategies.masks(data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))))
    for one, runs in zip(bits, Runs.of_each(mask, bits), strict=True):
        same = Runs.of(mask & np.int32(one), -1)
        np.testing.assert_array_equal([runs.start, runs.stop], [same.start, same.stop])


@given(st.data(), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_runs_of_a_union_are_those_of_all_its_pixels(data, count):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    masks = [data.draw(strategies.masks(shape)) & 1 for _ in range(count)]
    first, *others = (Runs.of(mask, 1) for mask in masks)
    found, expected = first.union(*others), Runs.of(np.bitwise_or.reduce(masks), 1)
    np.testing.assert_array_equal([found.start, found.stop], [expected.start, expected.stop])


def test_example_a_union_of_runs():
    runs = [
        Runs.of(np.int32([[1, 1, 0, 0], [1, 0, 0, 0]]), 1),
        Runs.of(np.int32([[0, 0, 1, 1], [0, 0, 1, 0]]), 1),
    ]
    both = runs[0].union(runs[1])
    # Runs that touch are one, but not across the end of a row.
    assert (both.start.tolist(), both.stop.tolist()) == ([0, 4, 6], [4, 5, 7])


def test_example_runs_of_a_mask_with_many_rows():
    mask = (np.random.default_rng(5).random((300, 1000)) < 0.01).astype(np.int32)
    mask[100:200, 990:] = mask[100:200, :10] = 1
    runs = Runs.of(mask, 1)
    np.testing.assert_array_equal(runs.indices(), np.flatnonzero(mask))
    assert ((runs.stop - 1) // 1000 == runs.start // 1000).all()


@given(st.integers(0, 3), st.data())
@settings(max_examples=60, deadline=None)
def test_saturated_pixels_grow_before_they_are_replaced(radius, data):
    pixels = data.draw(strategies.masked_images((6, 9), spoiled=False))
    found = task_for(growSaturationFootprintSize=radius).run(exposure_of(pixels)).exposure.pixels
    saturated = grow(pixels.flagged("SAT"), radius)
    np.testing.assert_array_equal(found.flagged("SAT"), saturated)
    if np.count_nonzero(~found.flagged("SAT", "BAD")) > 1:
        assert (found.flagged("INTRP") >= saturated).all()


@pytest.mark.parametrize(("width", "extra"), [(5, 0), (6, 1), (7, 1), (8, 3), (9, 3), (10, 4), (30, 4)])
def test_example_trails_widen_with_their_width(width, extra):
    pixels = row_of(np.zeros(50), range(10, 10 + width), plane="SAT")
    found = task_for("doWidenSaturationTrails").run(exposure_of(pixels)).exposure.pixels
    assert np.flatnonzero(found.flagged("SAT")).tolist() == list(range(10 - extra, 10 + width + extra))


def test_example_trails_stay_in_their_row_and_do_not_add_up():
    pixels = MaskedImage.from_image(np.zeros((3, 20), np.float32))
    pixels.mask[1, :6] = pixels.mask[1, 8:14] = pixels.mask[1, 18:] = pixels.planes.value("SAT")
    found = task_for("doWidenSaturationTrails").run(exposure_of(pixels)).exposure.pixels
    expected = [*range(15), 18, 19]
    assert np.flatnonzero(found.flagged("SAT")[1]).tolist() == expected
    assert not found.flagged("SAT")[[0, 2]].any()


# Switches and methods.


def planes_replaced(**settings):
    """Which planes are, of those that three bad pixels have."""
    pixels = row_of(np.arange(20.0), bad=[3])
    pixels = pixels.with_planes(pixels.planes.with_planes({"UNMASKEDNAN"}))
    for x, plane in ((8, "SAT"), (13, "UNMASKEDNAN")):
        pixels.mask[0, x] = pixels.planes.value(plane)
    found = interpolated(pixels, **settings).flagged("INTRP")[0]
    return {name for x, name in ((3, "BAD"), (8, "SAT"), (13, "UNMASKEDNAN")) if found[x]}


@pytest.mark.parametrize(
    ("settings", "replaced"),
    [
        ({}, {"BAD", "SAT", "UNMASKEDNAN"}),
        ({"planes": ["BAD"]}, {"BAD", "SAT", "UNMASKEDNAN"}),
        ({"saturation": False}, {"BAD", "UNMASKEDNAN"}),
        ({"nan": False}, {"BAD", "SAT"}),
        ({"planes": [], "nan": False}, {"SAT"}),
    ],
)
def test_example_switches_decide_over_their_planes(settings, replaced):
    assert planes_replaced(**settings) == replaced


def test_example_a_plane_that_does_not_exist_is_an_error():
    with pytest.raises(PlanError, match=r"interpolation.planes names 'BDA', which is none of BAD, CR"):
        interpolated(row_of([1, 2, 3]), planes=["BDA"])


def test_example_saturated_pixels_alone_with_a_plane_of_their_own_name():
    pixels = row_of(np.arange(9.0), bad=[1])
    pixels = pixels.with_planes(pixels.planes.with_planes({"FULL"}))
    pixels.mask[0, 5] = pixels.planes.value("FULL")
    config = task_for().config.copy()
    config.saturatedMaskName = "FULL"
    task, exposure = IsrTask(config, registry=REGISTRY), exposure_of(pixels)
    configured = task.getTaskDict()["isr.interpolation"]
    task.saturationInterpolation(exposure)
    assert np.flatnonzero(exposure.pixels.flagged("INTRP")).tolist() == [4, 5, 6]
    assert task.getTaskDict()["isr.interpolation"] is configured


def test_example_defects_and_edges_are_flagged_and_defects_replaced():
    exposure = exposure_of(MaskedImage.from_image(np.tile(np.arange(9, dtype=np.float32), (5, 1))))
    config = task_for().config.copy()
    config.edges.numPixels = 1
    IsrTask(config, registry=REGISTRY).maskAndInterpolateDefects(exposure, [(3, 0, 2, 5)])
    assert np.flatnonzero(exposure.pixels.flagged("INTRP").any(axis=0)).tolist() == [3, 4]
    assert exposure.pixels.flagged("SUSPECT").sum() == 24
    np.testing.assert_allclose(exposure.image[:, 3:5], [[3.113, 3.887]] * 5, atol=1e-3)


def test_example_the_state_before_interpolation_is_kept_on_request():
    pixels = row_of([1, 2, 9, 4, 5], bad=[2])
    config = task_for().config.copy()
    assert IsrTask(config, registry=REGISTRY).run(exposure_of(pixels)).preInterpolatedExposure is None
    config = config.copy()
    config.doSaveInterpPixels = True
    result = IsrTask(config, registry=REGISTRY).run(exposure_of(pixels))
    assert result.preInterpolatedExposure.image[0].tolist() == [1, 2, 9, 4, 5]
    assert "interpolated" not in result.preInterpolatedExposure.facts
    assert result.exposure.image[0, 2] == 3
    config = config.copy()
    config.doInterpolate = False
    result = IsrTask(config, registry=REGISTRY).run(exposure_of(pixels))
    check_same(result.preInterpolatedExposure.pixels, result.exposure.pixels)
