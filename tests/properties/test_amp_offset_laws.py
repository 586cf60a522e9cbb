"""Laws of amplifier offsets: found to their stated uncertainty, from unflagged pixels, in any layout."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Calibrations,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Readout,
    Registry,
    Simulation,
    Skip,
    Tiled,
    default_config,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.mirror import Mirror
from tests.effects.amp_offset import offset_amplifiers

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted"})
NOISE = 20.0


def task(executor: Any = None, **values: Any) -> IsrTask:
    config = default_config(REGISTRY)
    for name, value in values.items():
        config.set(f"ampOffset.{name}", value)
    return IsrTask(config, registry=REGISTRY, executor=executor)


def detector_of(boxes: list[Box]) -> Detector:
    """Amplifiers "a", "b", ... without overscan."""
    shape = max(box.y1 for box in boxes), max(box.x1 for box in boxes)
    amplifiers = (Amplifier(chr(ord("a") + n), box, box, box) for n, box in enumerate(boxes))
    return Detector("d", 0, shape, shape, tuple(amplifiers))


def grid(rows: int, columns: int, height: int = 40, width: int = 36) -> Detector:
    boxes = [
        Box.from_corner(width * column, height * row, width, height)
        for row in range(rows)
        for column in range(columns)
    ]
    return detector_of(boxes)


def bricks() -> Detector:
    """Two rows whose seams do not meet, and amplifiers of three sizes."""
    lower = [Box(0, 40, 0, 50), Box(0, 40, 50, 100)]
    return detector_of([*lower, Box(40, 90, 0, 30), Box(40, 90, 30, 70), Box(40, 90, 70, 100)])


LAYOUTS = {
    "2": grid(1, 2),
    "2 stacked": grid(2, 1),
    "4": grid(2, 2),
    "16": grid(2, 8),
    "bricks": bricks(),
}
layouts = st.sampled_from(sorted(LAYOUTS)).map(LAYOUTS.__getitem__)


def exposure_of(detector: Detector, image: Any) -> Exposure:
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    pixels.variance[...] = NOISE**2
    return Exposure(pixels, detector, facts=FACTS)


def corrected(exposure: Exposure, by: IsrTask | None = None) -> Exposure:
    """A copy with the step applied."""
    chain, result = by or task(), exposure.clone()
    chain._apply([chain._step("ampOffset")], result)
    return result


def found_in(exposure: Exposure, by: IsrTask | None = None) -> dict[str, Any]:
    measured: dict[str, Any] = corrected(exposure, by).measured["ampOffset"]
    return measured


def balanced(detector: Detector, numbers: Any) -> dict[str, float]:
    """Offsets of mean zero, weighted by area."""
    areas = [amp.box.area for amp in detector.amplifiers]
    mean = np.average(numbers, weights=areas)
    return {amp.name: float(n - mean) for amp, n in zip(detector.amplifiers, numbers, strict=True)}


def as_dicts(detector: Detector, offsets: dict[str, float]) -> list[dict[str, Any]]:
    return [
        {"box": (amp.box.y0, amp.box.y1, amp.box.x0, amp.box.x1), "offset": offsets[amp.name]}
        for amp in detector.amplifiers
    ]


@st.composite
def skies(draw: st.DrawFn) -> tuple[Detector, np.ndarray, dict[str, float]]:
    """A layout, a noisy sky with a few stars, and offsets of some ten."""
    detector, rng = draw(layouts), draw(strategies.generators())
    sky = rng.normal(1000, NOISE, detector.shape)
    for _ in range(5):
        y, x = rng.integers(0, detector.shape[0] - 3), rng.integers(0, detector.shape[1] - 3)
        sky[y : y + 3, x : x + 3] += rng.uniform(50, 5000)
    # Up and down in turn: offsets that are all alike are none.
    number = len(detector.amplifiers)
    return detector, sky, balanced(detector, rng.uniform(80, 200, number) * (-1) ** np.arange(number))


def shifted(drawn: Any) -> Exposure:
    detector, sky, offsets = drawn
    return exposure_of(detector, offset_amplifiers(sky, as_dicts(detector, offsets)))


# A window of 40 pixels along the seam: several per seam, as in real frames.
SHORT = {"windowLength": 20}


@given(skies())
def test_offsets_are_found_within_their_uncertainty(drawn: Any) -> None:
    offsets = drawn[2]
    found = found_in(shifted(drawn))
    for name, one in found.items():
        # Five sigma, and half of one more for clipping, which a few hundred pixels know to 10 %.
        assert abs(one.offset - offsets[name]) <= 5.5 * one.sigma
        assert 0 < one.sigma < NOISE / 4


@given(drawn=skies(), settings_=st.sampled_from([{}, SHORT, {"applyWeights": False}, {"gradient": False}]))
def test_the_independent_effect_is_taken_out(drawn: Any, settings_: dict[str, Any]) -> None:
    detector, sky, offsets = drawn
    error = corrected(shifted(drawn), task(**settings_)).image - sky
    before = [abs(offsets[amp.name]) for amp in detector.amplifiers]
    after = [abs(float(np.mean(error[amp.box.slices]))) for amp in detector.amplifiers]
    assert np.sqrt(np.mean(np.square(after))) <= np.sqrt(np.mean(np.square(before))) / 10


@given(skies())
def test_simulated_offsets_are_taken_out(drawn: Any) -> None:
    detector, sky, offsets = drawn
    plain, result = exposure_of(detector, sky), exposure_of(detector, sky)
    simulation = Simulation.start(result, Calibrations(), Readout(offsets=offsets), 0)
    task()._step("ampOffset").simulate(simulation)
    np.testing.assert_allclose(result.image, shifted(drawn).image, atol=1e-3)
    first, second = corrected(plain), corrected(result)
    # What differs in the frames as such, by noise, is not put in by anybody: it is taken out alike.
    np.testing.assert_allclose(first.image, second.image, atol=0.2 * NOISE)


def test_pulls_are_as_wide_as_they_should_be() -> None:
    rng, detector = np.random.default_rng(3), grid(2, 2, 60, 50)
    pulls = []
    for _ in range(100):
        found = found_in(exposure_of(detector, rng.normal(1000, NOISE, detector.shape)))
        pulls += [one.offset / one.sigma for one in found.values()]
    # 400 pulls, of which three in four are independent: their width is known to 4 %, five times.
    assert np.std(pulls) == pytest.approx(1, abs=0.2)


@given(drawn=skies(), slope=st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_a_slope_of_the_sky_is_no_offset(drawn: Any, slope: tuple[float, float]) -> None:
    detector, sky, _ = drawn
    y, x = np.mgrid[: detector.shape[0], : detector.shape[1]]
    plain, sloped = (found_in(exposure_of(detector, s)) for s in (sky, sky + slope[0] * y + slope[1] * x))
    for name, one in plain.items():
        # Exact but for which pixels are clipped: along a seam of 40 pixels a slope widens them.
        assert abs(sloped[name].offset - one.offset) <= one.sigma
    # Without extrapolation the amplifiers of a row would differ by some thirty pixels of slope.
    y, x = slope[0] * y, slope[1] * x
    exact = found_in(exposure_of(detector, 1000 + y + x))
    assert all(abs(one.offset) < 1e-3 for one in exact.values())


@given(skies())
def test_a_constant_changes_nothing(drawn: Any) -> None:
    exposure = shifted(drawn)
    # Whole numbers: adding one does not round.
    exposure.image[...] = np.rint(exposure.image)
    other = exposure.clone()
    other.image[...] += 512
    one, two = corrected(exposure), corrected(other)
    for name, found in one.measured["ampOffset"].items():
        assert two.measured["ampOffset"][name].offset == pytest.approx(found.offset, abs=1e-5)
    np.testing.assert_allclose(two.image - one.image, 512, atol=1e-3)


@given(drawn=skies(), data=st.data())
def test_flagged_pixels_never_matter(drawn: Any, data: st.DataObject) -> None:
    exposure = shifted(drawn)
    rng = data.draw(strategies.generators())
    exposure.mask[rng.random(exposure.shape) < 0.2] = data.draw(st.sampled_from([1, 2, 128]))
    other = exposure.clone()
    flagged = other.mask != 0
    other.image[flagged] = rng.choice([np.nan, np.inf, -1e6, 1e6], np.count_nonzero(flagged))
    one, two = corrected(exposure), corrected(other)
    np.testing.assert_array_equal(one.image[~flagged], two.image[~flagged])


@given(drawn=skies(), mirror=st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()))
def test_a_mirrored_frame_gives_the_mirrored_result(drawn: Any, mirror: Mirror) -> None:
    exposure = shifted(drawn)
    plain, turned = corrected(exposure, task(**SHORT)), corrected(mirror.exposure(exposure), task(**SHORT))
    check_same(mirror.pixels(plain.pixels), turned.pixels)


@given(drawn=skies(), data=st.data())
def test_order_and_names_of_amplifiers_do_not_matter(drawn: Any, data: st.DataObject) -> None:
    exposure = shifted(drawn)
    order = data.draw(st.permutations(exposure.detector.amplifiers))
    renamed = tuple(attrs.evolve(amp, name=f"{n}") for n, amp in enumerate(order))
    other = attrs.evolve(exposure.clone(), detector=attrs.evolve(exposure.detector, amplifiers=renamed))
    check_same(corrected(exposure).pixels, corrected(other).pixels)


@given(drawn=skies())
def test_mask_variance_and_threads(drawn: Any) -> None:
    exposure = shifted(drawn)
    exposure.mask[0, 0] = 1
    one, two = corrected(exposure), corrected(exposure, task(Tiled(threads=2)))
    check_same(one.pixels, two.pixels)
    np.testing.assert_array_equal(one.mask, exposure.mask)
    np.testing.assert_array_equal(one.variance, exposure.variance)


@given(detector=strategies.detectors(), data=st.data())
@settings(max_examples=60)
def test_any_detector_and_any_frame_has_finite_offsets_of_mean_zero(
    detector: Detector, data: st.DataObject
) -> None:
    exposure = data.draw(strategies.exposures(detector))
    by = task(edgeInset=data.draw(st.integers(0, 3)), minFraction=data.draw(st.sampled_from([0.0, 0.5, 1.0])))
    if len(detector.amplifiers) < 2:
        assert isinstance(by._step("ampOffset").contract(exposure), Skip)
        return
    found = found_in(exposure, by)
    offsets = np.array([found[amp.name].offset for amp in detector.amplifiers])
    areas = np.array([amp.box.area for amp in detector.amplifiers])
    assert np.isfinite(offsets).all()
    # Each is rounded to a millionth of its deviation.
    sigmas = np.array([found[amp.name].sigma for amp in detector.amplifiers])
    assert abs(offsets @ areas) <= 1e-6 * np.nansum(areas * sigmas)
    for one in found.values():
        assert (one.reason != "") == math.isnan(one.sigma)
        assert one.offset == 0 or not one.reason


def test_example_two_amplifiers() -> None:
    image = np.full((40, 72), 100.0)
    image[:, 36:] = 106.0
    result = corrected(exposure_of(grid(1, 2), image))
    assert (result.image == 103).all()
    found = result.measured["ampOffset"]
    assert (found["a"].offset, found["b"].offset) == (-3, 3)
    assert result.header["ISR_AMPOFFSET_LEVELa"] == -3


def test_example_a_dead_amplifier_stands_apart() -> None:
    # Four in a row; the second is flagged throughout, so the first stands alone and the others are leveled.
    exposure, by = exposure_of(grid(1, 4), np.full((40, 144), 100.0)), task()
    exposure.image[:, 108:] = 110
    exposure.mask[:, 36:72] = 1
    result = corrected(exposure, by)
    found = result.measured["ampOffset"]
    assert [found[name].offset for name in "abcd"] == [0, 0, -5, 5]
    assert found["a"].reason == found["b"].reason == "no seam of it has enough good pixels"
    assert by.ampOffset.metadata["ISR AMPOFFSET a REASON"] == found["a"].reason
    assert "ISR_AMPOFFSET_SIGMAa" not in result.header
    assert (result.image[:, 72:] == 105).all()


def test_example_what_is_too_much_is_no_offset(caplog: pytest.LogCaptureFixture) -> None:
    image = np.full((40, 72), 100.0)
    image[:, 36:] = 900.0
    found = corrected(exposure_of(grid(1, 2), image), task(maxDifference=50.0)).measured["ampOffset"]
    assert found["a"].reason == "it differs from all beside it by more than ampOffset.maxDifference"
    assert "amplifiers a and b differ by -800, more than" in caplog.text


def test_example_a_cluster_on_one_side_of_a_window_does_not_count() -> None:
    # A bright patch that ends at the seam fills one window of ten; its jump is no offset.
    image = np.random.default_rng(1).normal(100, 1, (200, 72))
    image[40:60, 36:] += 300
    found = found_in(exposure_of(grid(1, 2, 200), image), task(windowLength=20))
    assert abs(found["b"].offset) < 5 * found["b"].sigma < 2


def test_example_a_detector_of_one_amplifier_is_skipped() -> None:
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.name == "ampOffset")
    plan = IsrTask(config, registry=REGISTRY).plan(exposure_of(Detector.of_shape((4, 4)), np.ones((4, 4))))
    reasons = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert reasons["ampOffset"] == "the detector has one amplifier"


@given(seed=st.integers(0, 2**32), numbers=st.tuples(st.floats(20, 60), st.floats(-60, -20)))
@settings(max_examples=10)
def test_a_simulated_raw_frame_comes_back(seed: int, numbers: tuple[float, float]) -> None:
    detector = grid(1, 2, 120, 100)
    offsets = balanced(detector, numbers)
    chains = []
    for name in ("ampOffset", ""):
        config = default_config(REGISTRY)
        for spec in REGISTRY.specs.values():
            if spec.flag is not None:
                config.set(spec.flag, spec.name in ("conversion", "assembly", name))
        config.expectWcs = False
        chains.append(IsrTask(config, registry=REGISTRY))
    truth = exposure_of(detector, np.full(detector.shape, 400.0))
    raw = simulate(chains[0], truth, Readout(offsets=offsets), seed=seed).exposure
    product, plain = (chain.run(raw).exposure for chain in chains)
    error, before = (
        float(np.median((e.image - truth.image)[:, :100].astype(float))) for e in (product, plain)
    )
    assert abs(before) > 15
    # Twenty electron of photon noise in some thousand pixels.
    assert abs(error) < 5 * product.measured["ampOffset"]["a"].sigma < 7.5
