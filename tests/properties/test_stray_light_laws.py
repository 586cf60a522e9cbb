"""Laws of the stray light: what shone is taken out, by time or by fit, whatever stars and flags there are."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Detector, PlanError, Readout, VisitInfo, simulate
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same, ulps
from isrcore.testing.mirror import with_other_amplifiers
from isrcore_standard.template_fit import fit_line
from tests.assembled import assembled, rms
from tests.effects.stray_light import halo, put_in_stray_light
from tests.golden_exposures import make_task

SECONDS = 30.0
IN_R = VisitInfo(exposure_s=SECONDS, dark_s=SECONDS + 10, filter="r")
SCALINGS = ["exposure time", "fit", "fixed"]


def task_of(*flags, **settings):
    return make_task(*flags, strayLight__filters=["r"], **settings)


def by_time():
    return task_of("doStrayLight")


def by_fit():
    return task_of("doStrayLight", strayLight__scaling="fit")


def scale_of(product):
    """What the template was multiplied by."""
    (found,) = product.measured["strayLight"].values()
    return found


@given(st.data())
def test_the_sky_comes_back_by_exposure_time(data):
    detector = data.draw(strategies.detectors())
    sky = data.draw(strategies.generators()).uniform(100, 5000, detector.shape)
    rates = halo(detector.shape)
    seen = assembled(detector, put_in_stray_light(sky, detector.amplifiers, rates, SECONDS), visit=IN_R)
    product = by_time().run(seen, strayLightData=assembled(detector, rates)).exposure
    # Roundings of what was seen, of the frame, of its multiple and of the difference, each at most of 8192.
    assert ulps(product.image, sky, 5200).max() <= 4
    assert rms(seen.image - sky) > 10 * rms(product.image - sky)


@given(st.data(), st.floats(-3, 3))
def test_the_sky_comes_back_by_fit_though_there_are_stars(data, amount):
    detector = Detector.of_shape((40, 50))
    rng, rates = data.draw(strategies.generators()), halo(detector.shape, rate=100.0)
    noise = rng.normal(0, 10, detector.shape)
    stars = np.where(rng.random(detector.shape) < 0.05, rng.uniform(100, 60000, detector.shape), 0)
    sky = 900 + noise
    image = put_in_stray_light(sky + stars, detector.amplifiers, rates, amount)
    product = (
        by_fit()
        .run(assembled(detector, image, visit=IN_R), strayLightData=assembled(detector, rates))
        .exposure
    )
    found = scale_of(product)
    # Five standard errors, as the fit says them, and 0.005 for stars that are fainter than the limit.
    assert abs(found.scale - amount) < 5 * found.error + 0.005
    assert found.error == pytest.approx(10 / (np.std(rates) * np.sqrt(sky.size)), rel=0.15)
    left, before = product.image - sky - stars, image - sky - stars
    if abs(amount) > 0.5:
        assert rms(before) > 10 * rms(left)


@pytest.mark.parametrize("scaling", SCALINGS)
@given(data=st.data(), scale=st.floats(0.5, 3))
def test_simulated_frames_are_corrected(scaling, data, scale):
    detector = data.draw(strategies.detectors())
    rng = data.draw(strategies.generators())
    truth = assembled(detector, rng.normal(3000, 5, detector.shape), visit=IN_R)
    template = assembled(detector, halo(detector.shape, rate=100 if scaling != "exposure time" else 5))
    flags = "doConvertIntToFloat", "doAssembleCcd"
    task = task_of(*flags, "doStrayLight", strayLight__scaling=scaling, strayLight__scale=scale)
    raw = simulate(task, truth, Readout(has_noise=False), strayLightData=template).exposure
    product, bare = task.run(raw, strayLightData=template).exposure, task_of(*flags).run(raw).exposure
    found, error = scale_of(product), product.image - truth.image
    wanted = scale * SECONDS if scaling == "exposure time" else scale
    assert abs(found.scale - wanted) <= 5 * found.error
    # Half an adu of the converter, some float32 places of 4096 adu, and what a fit misses.
    assert abs(error).max() <= 0.5 + 4 * np.spacing(np.float32(4096)) + 5 * found.error * template.image.max()
    assert rms(bare.image - truth.image) > 10 * 0.3
    if scaling != "fit":
        assert rms(bare.image - truth.image) > 10 * rms(error)


@given(st.data())
def test_flagged_pixels_have_no_say(data):
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    template = data.draw(strategies.frames(detector, "strayLightData"))
    changed, other = exposure.clone(), template.clone()
    rng = data.draw(strategies.generators())
    changed.image[exposure.mask != 0] = rng.choice([np.nan, np.inf, -1e9, 0.0, 6e4])
    other.image[template.mask != 0] = rng.choice([np.nan, np.inf, -1e9, 0.0, 6e4])
    first = scale_of(by_fit().run(exposure, strayLightData=template).exposure)
    second = scale_of(by_fit().run(changed, strayLightData=other).exposure)
    np.testing.assert_equal(attrs.asdict(first), attrs.asdict(second))


@pytest.mark.parametrize("scaling", SCALINGS)
@given(data=st.data())
def test_names_and_order_of_amplifiers_do_not_matter(scaling, data):
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    template = data.draw(strategies.frames(detector, "strayLightData"))
    task, other = task_of("doStrayLight", strayLight__scaling=scaling), with_other_amplifiers(detector)
    product = task.run(exposure, strayLightData=template).exposure
    renamed = task.run(attrs.evolve(exposure, detector=other), strayLightData=template).exposure
    check_same(product.pixels, renamed.pixels)


@given(st.data())
def test_without_a_fit_a_pixel_depends_on_itself_alone(data):
    detector = data.draw(strategies.detectors())
    exposure = attrs.evolve(data.draw(strategies.exposures(detector)), visit=IN_R)
    template = data.draw(strategies.frames(detector, "strayLightData"))
    place = tuple(data.draw(st.integers(0, n - 1)) for n in detector.shape)
    first = by_time().run(exposure, strayLightData=template).exposure
    exposure.image[place] += 1000
    second = by_time().run(exposure, strayLightData=template).exposure
    assert np.argwhere(first.image != second.image).tolist() == [list(place)]
    reaches = [
        step.plan(exposure, strayLightData=template).steps[-1].spec.reach for step in (by_time(), by_fit())
    ]
    assert reaches == [0, None]


@given(rng=strategies.generators(), count=st.integers(3, 400))
def test_the_order_of_pixels_does_not_change_a_bit_of_the_fit(rng, count):
    template, noise = rng.normal(3, 1, count), rng.standard_t(2, count)
    image, order = 100 + 0.7 * template + noise, rng.permutation(count)
    assert fit_line(template[order], image[order]) == fit_line(template, image)


def test_large_frames_are_fitted_by_some_of_their_rows():
    detector = Detector.of_shape((3000, 1000))
    rates = halo(detector.shape, rate=100.0)
    rng = np.random.default_rng(1)
    image = 50 + 0.5 * rates + rng.normal(0, 5, detector.shape)
    product = (
        by_fit()
        .run(assembled(detector, image, visit=IN_R), strayLightData=assembled(detector, rates))
        .exposure
    )
    found = scale_of(product)
    assert 200_000 < found.count <= 1 << 18
    assert found.scale == pytest.approx(0.5, abs=5 * found.error)
    assert product.header["ISR_STRAYLIGHT_SCALE"] == found.scale


@pytest.mark.parametrize("level", [0.0, 7.0])
def test_a_template_without_a_pattern_cannot_be_fitted(level, caplog):
    exposure = assembled(Detector.of_shape((4, 5)), 9.0, visit=IN_R)
    product = by_fit().run(exposure, strayLightData=assembled(exposure.detector, level)).exposure
    assert (product.image == 9).all()
    assert scale_of(product).scale == 0
    assert "varies over no good pixels" in caplog.text


def test_a_small_bright_spot_is_found_though_it_is_rare():
    """Among a thousand pixels of sky its twenty are outliers, until a line through them is tried."""
    detector = Detector.of_shape((30, 40))
    spot = np.zeros(detector.shape)
    spot[10:14, 5:10] = 1.0
    image = np.random.default_rng(2).normal(500, 5, detector.shape) + 2000 * spot
    product = (
        by_fit()
        .run(assembled(detector, image, visit=IN_R), strayLightData=assembled(detector, spot))
        .exposure
    )
    found = scale_of(product)
    assert found.scale == pytest.approx(2000, abs=5 * found.error)
    assert found.error == pytest.approx(5 / np.sqrt(20), rel=0.3)


def test_what_makes_it_impossible_is_told_before_any_pixel_is_touched():
    exposure = assembled(Detector.of_shape((1, 2)), 9.0, visit=VisitInfo(filter="r"))
    template = assembled(exposure.detector, 1.0)
    task = task_of("doStrayLight", strayLight__doRotatorAngleCorrection=True)
    with pytest.raises(PlanError) as caught:
        task.run(exposure, strayLightData=template)
    told = str(caught.value)
    assert "has exposure time nan s: set strayLight.scaling = 'fit' or 'fixed'" in told
    assert "does not turn with the rotator: set strayLight.doRotatorAngleCorrection = false" in told


def test_other_filters_are_skipped():
    exposure = assembled(Detector.of_shape((1, 2)), 9.0, visit=IN_R)
    plan = make_task("doStrayLight").plan(exposure)
    skipped = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert skipped["strayLight"] == "filter 'r' is not in strayLight.filters (which is empty)"


def test_example_twice_the_template():
    visit = VisitInfo(exposure_s=4.0, filter="r")
    exposure = assembled(Detector.of_shape((1, 2)), [[10, 6]], variance=1.0, visit=visit)
    template = assembled(exposure.detector, [[1, 2]], variance=0.25, mask=[[0, 1]])
    task = task_of("doStrayLight", strayLight__scale=0.5)
    product = task.run(exposure, strayLightData=template).exposure
    assert product.image.tolist() == [[8, 2]]
    assert product.variance.tolist() == [[2, 2]]
    assert product.mask.tolist() == [[0, 1]]
    assert "stray-light-subtracted" in product.facts
