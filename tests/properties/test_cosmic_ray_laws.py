"""Laws of cosmic rays: hits are found, stars and noise are not, and nothing but the plane CR changes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    Readout,
    Registry,
    default_config,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.mirror import Mirror
from isrcore_simulate import Scene

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted"})
BLOCK = np.ones((3, 3), bool)

# Two amplifiers of different gain and noise: raw frames have a step in level and noise between them.
DETECTOR = Detector(
    "d",
    0,
    (300, 320),
    (300, 360),
    (
        Amplifier(
            "A", Box(0, 300, 0, 160), Box(0, 300, 0, 180), Box(0, 300, 20, 180), Box(0, 300, 0, 20),
            gain=1.6, read_noise=4.0, saturation=60_000.0,
        ),
        Amplifier(
            "B", Box(0, 300, 160, 320), Box(0, 300, 180, 360), Box(0, 300, 180, 340), Box(0, 300, 340, 360),
            gain=2.4, read_noise=8.0, saturation=60_000.0,
        ),
    ),
)  # fmt: skip


def task(*steps: str, **values: Any) -> IsrTask:
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.name in (*steps, "cosmicRays"))
    config.expectWcs = False
    for name, value in values.items():
        config.set(f"cosmicRays.{name}", value)
    return IsrTask(config, registry=REGISTRY)


def noise(detector: Detector, sky: float, rng: np.random.Generator) -> np.ndarray:
    """A sky of so many electron, read out: adu."""
    image = np.empty(detector.shape, np.float32)
    for amp in detector.amplifiers:
        shape = amp.box.shape
        electrons = rng.poisson(sky, shape) + rng.normal(0, amp.read_noise, shape)
        image[amp.box.slices] = electrons / amp.gain
    return image


def exposure_of(image: Any, detector: Detector = DETECTOR) -> Exposure:
    return Exposure(MaskedImage.from_image(np.asarray(image, np.float32)), detector, facts=FACTS)


def flagged(exposure: Exposure, by: IsrTask | None = None) -> np.ndarray:
    result: Exposure = (by or task()).run(exposure).exposure
    return result.pixels.flagged("CR")


skies = st.sampled_from([0.0, 30.0, 3000.0])


@given(rng=strategies.generators(), sky=skies)
@settings(max_examples=10)
def test_noise_is_no_hit(rng: np.random.Generator, sky: float) -> None:
    # Laplacians of noise have wide tails: three in 100,000 pixels on average, and three times that at most.
    assert flagged(exposure_of(noise(DETECTOR, sky, rng))).mean() < 1e-4


@given(rng=strategies.generators(), sky=skies)
@settings(max_examples=10)
def test_hits_are_found_wherever_they_fall(rng: np.random.Generator, sky: float) -> None:
    image, hits = noise(DETECTOR, sky, rng), np.zeros(DETECTOR.shape, bool)
    # Anywhere, on the seam, and on the border.
    places = [(int(rng.integers(300)), int(rng.integers(320))) for _ in range(20)]
    for y, x in [*places, (150, 159), (80, 160), (0, 40), (299, 200), (33, 0), (44, 319)]:
        hits[y, x] = True
        image[y, x] += 20 * np.sqrt(sky + 64)
    found = flagged(exposure_of(image))
    assert found[hits].mean() > 0.9
    assert not found[~binary_dilation(hits, BLOCK)].mean() > 1e-4


@given(rng=strategies.generators())
@settings(max_examples=10)
def test_flagged_pixels_are_neither_judged_nor_changed(rng: np.random.Generator) -> None:
    exposure = exposure_of(noise(DETECTOR, 30.0, rng))
    ys, xs = rng.integers(5, 295, 30), rng.integers(5, 315, 30)
    exposure.image[ys, xs] = rng.choice([np.nan, np.inf, 5e4, -5e4], 30)
    exposure.mask[ys, xs] = exposure.planes.value("BAD")
    product = task().run(exposure).exposure
    assert not product.pixels.flagged("CR")[ys, xs].any()
    np.testing.assert_array_equal(product.image, exposure.image)
    np.testing.assert_array_equal(product.variance, exposure.variance)
    np.testing.assert_array_equal(product.mask & ~np.int32(product.planes.value("CR")), exposure.mask)


@given(rng=strategies.generators(), flip_y=st.booleans(), flip_x=st.booleans())
@settings(max_examples=8)
def test_a_mirrored_frame_has_mirrored_hits(rng: np.random.Generator, flip_y: bool, flip_x: bool) -> None:
    image = noise(DETECTOR, 30.0, rng)
    image[rng.integers(0, 300, 40), rng.integers(0, 320, 40)] += 2000
    exposure, mirror = exposure_of(image), Mirror(False, flip_y, flip_x)
    turned = flagged(mirror.exposure(exposure))
    # A pixel at the very limit may fall on either side of it: sums of float32 in another order.
    assert np.count_nonzero(turned != mirror.array(flagged(exposure))) <= 1


@given(rng=strategies.generators(), power=st.integers(-3, 3))
@settings(max_examples=8)
def test_the_unit_does_not_matter(rng: np.random.Generator, power: int) -> None:
    image = noise(DETECTOR, 30.0, rng)
    image[rng.integers(0, 300, 40), rng.integers(0, 320, 40)] += 2000
    exposure = exposure_of(image)
    exposure.variance[...] = 40.0
    exposure.facts = exposure.facts | {"variance-set"}
    other = exposure.clone()
    other.image[...] *= 2.0**power
    other.variance[...] *= 4.0**power
    np.testing.assert_array_equal(flagged(exposure), flagged(other))


def test_hits_of_simulated_frames_are_found_and_stars_are_kept() -> None:
    detector, seconds = DETECTOR, 100.0
    scene = Scene(sky_rate=5.0, star_density=1500.0, faintest=100.0, particle_rate=3.0, seed=3)
    light, hits = scene.light(detector, seconds), scene.particles(detector, seconds, (3,))
    image = light.copy()
    for amp in detector.amplifiers:
        image[amp.box.slices] /= np.float32(amp.gain)
    steps = "conversion saturation overscan assembly variance nanFlags saturationTrails"
    chain = task(*steps.split())
    truth = Exposure(MaskedImage.from_image(image), detector)
    raw = simulate(chain, truth, Readout(1000.0, full_well=150_000.0), seed=5, hits=hits).exposure
    product = chain.run(raw).exposure
    found = product.pixels.flagged("CR")
    charge = np.zeros(detector.shape)
    np.add.at(charge, (hits.y, hits.x), hits.electrons)
    sigma = np.sqrt(light + 64)
    wanted = (charge > 10 * sigma) & ~product.pixels.flagged("SAT")
    assert np.count_nonzero(wanted) > 150
    assert found[wanted].mean() > 0.95
    stars = (light > light.min() + 10 * sigma) & ~binary_dilation(charge > 0, BLOCK)
    assert np.count_nonzero(stars) > 2000
    assert product.pixels.flagged("SAT").any()
    # One star in a hundred is cut by the border or by a bleed trail in a way that looks sharp.
    assert found[stars].mean() < 0.01
    assert found[~stars & ~binary_dilation(charge > 0, BLOCK, 2)].mean() < 2e-4


@given(strategies.detectors().flatmap(strategies.exposures))
@settings(max_examples=10)
def test_any_frame_will_do(exposure: Exposure) -> None:
    exposure.mask[...] = 1
    assert not flagged(exposure).any()
    exposure.mask[...] = 0
    exposure.variance[...] = -1
    assert flagged(exposure).dtype == bool


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 4)])
def test_frames_of_a_few_pixels_have_no_hits(shape: tuple[int, int]) -> None:
    assert not flagged(exposure_of(np.ones(shape), Detector.of_shape(shape))).any()


def test_example_one_hit_is_counted_and_interpolation_may_replace_it() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(100, 5, (40, 40))
    image[20, 20] += 500
    config = task("interpolation").config.copy()
    config.interpolation.planes = ["CR"]
    by = IsrTask(config, registry=REGISTRY)
    detector = Detector.of_shape((40, 40), gain=4.0, read_noise=1.0)
    product = by.run(exposure_of(image, detector)).exposure
    found = {tuple(place) for place in np.argwhere(product.pixels.flagged("CR")).tolist()}
    # Neighbours of a hit need 0.3 times 4.5 sigma only: noise makes that now and then.
    assert (20, 20) in found
    assert found <= {(y, x) for y in range(18, 23) for x in range(18, 23)}
    assert product.measured["cosmicRays"]["unnamed"].pixels == by.cosmicRays.metadata["pixels"] == len(found)
    assert abs(product.image[20, 20] - 100) < 25


def test_example_sharper_limits_find_less() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(100, 5, (60, 60))
    image[20, 20] += 60
    image[40, 40] += 500
    exposure = exposure_of(image, Detector.of_shape((60, 60), gain=4.0))
    found = [
        tuple(flagged(exposure, task(**values))[[20, 40], [20, 40]].tolist())
        for values in ({}, {"sigclip": 20.0}, {"fsmode": "convolve", "sepmed": False})
    ]
    assert found == [(True, True), (False, True), (True, True)]


def test_without_the_library_a_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astroscrappy", None)
    with pytest.raises(PlanError, match=r"astroscrappy is not installed: pip install 'isrcore\[cosmicray\]'"):
        task().run(exposure_of(np.ones(DETECTOR.shape)))
