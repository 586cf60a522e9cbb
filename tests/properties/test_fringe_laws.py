"""Laws: amplitudes of fringes are found within their errors, whatever the sky; medians of boxes are exact."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Box,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Readout,
    Registry,
    Struct,
    Tiled,
    VisitInfo,
    default_config,
    simulate,
    statistics,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.fringes import waves
from isrcore.testing.mirror import Mirror
from isrcore_standard.box_levels import Sieve, box_means, box_medians
from isrcore_standard.fringe_fit import solve
from tests.effects import fringe as effect
from tests.forward_model import read_out

REGISTRY = Registry({"standard": isrcore_standard})
ASSEMBLED = frozenset({"assembled", "converted", "levels-known"})
SHAPE = (60, 75)
VISIT = VisitInfo(exposure_id=17, filter="i", exposure_s=30.0, dark_s=30.0)
SETTINGS = {"fringe.filters": ["i"], "fringe.num": 400, "fringe.small": 2, "fringe.large": 9}
# As many pixels have this flag as make boxes differ, none of which is empty.
FLAGGED = 0.03


def task(*others: str, threads: int = 1, **fringe: Any) -> IsrTask:
    """A task of the fringe correction alone, and the ``others``' switches; settings of it may be changed."""
    return made_task(others, threads, tuple(fringe.items()))


@cache
def made_task(others: tuple[str, ...], threads: int, fringe: tuple[tuple[str, Any], ...]) -> IsrTask:
    config = default_config(REGISTRY)
    for flag in (spec.flag for spec in REGISTRY.specs.values() if spec.flag):
        config.set(flag, flag in ("doFringe", *others))
    config.expectWcs = False
    changed = {f"fringe.{name.replace('__', '.')}": value for name, value in fringe}
    for name, value in {**SETTINGS, **changed}.items():
        config.set(name, list(value) if name == "fringe.filters" else value)
    return IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))


def exposure_of(image: Any, detector: Detector | None = None, **values: Any) -> Exposure:
    pixels = MaskedImage.from_image(np.asarray(image, np.float32))
    owner = detector or Detector.of_shape(pixels.shape)
    return Exposure(pixels, owner, **{"facts": ASSEMBLED, "visit": VISIT, **values})


def amplitudes(exposure: Exposure) -> tuple[float, ...]:
    return next(iter(exposure.measured["fringe"].values())).amplitudes


@st.composite
def scenes(draw: st.DrawFn, *, whole: bool = False) -> tuple[Exposure, list[Exposure], list[float]]:
    """A noisy sky with fringes, the frames of these, and how strong they are.

    Pixels of the ``whole`` ones are whole numbers. A few pixels are saturated or no number.
    """
    rng = draw(strategies.generators())
    true = [draw(st.floats(20, 200)) for _ in range(draw(st.integers(1, 3)))]
    frames = [exposure_of(waves(SHAPE, rng), source=f"frame {number}") for number in range(len(true))]
    for frame in frames:
        frame.variance[...] = rng.uniform(0, 1e-4, SHAPE)
        frame.mask[rng.random(SHAPE) < FLAGGED / 3] |= frame.planes.value("SAT")
        frame.image[rng.random(SHAPE) < FLAGGED / 3] = np.nan
    image = rng.normal(1000.0, 3.0, SHAPE)
    image += sum(a * np.nan_to_num(f.image) for a, f in zip(true, frames, strict=True))
    science = exposure_of(np.rint(image) if whole else image)
    science.variance[...] = 9
    science.mask[rng.random(SHAPE) < FLAGGED] |= science.planes.value("SAT")
    science.image[rng.random(SHAPE) < FLAGGED / 3] = np.nan
    return science, frames, true


@given(scene=scenes())
def test_amplitudes_are_found_within_their_uncertainties(scene: Any) -> None:
    science, frames, true = scene
    found = task(stats__stat="MEAN").run(science, fringes=frames).exposure.measured["fringe"]["unnamed"]
    assert found.count > 200
    # Six standard errors, as there are up to three amplitudes. Besides, a pixel that is bad in a frame only
    # leaves the frame's box and not the image's: of one pixel in fifty, up to a few per cent of a flux.
    error = np.abs(np.subtract(found.amplitudes, true))
    assert (error <= 6 * np.array(found.uncertainties) + 0.05 * np.array(true)).all()


@given(rng=strategies.generators(), amplitude=st.floats(20, 200))
def test_medians_find_the_amplitude_of_one_frame_where_noise_is_small(
    rng: np.random.Generator, amplitude: float
) -> None:
    frame = exposure_of(waves(SHAPE, rng))
    science = exposure_of(rng.normal(1000.0, 0.01 * amplitude, SHAPE) + amplitude * frame.image)
    product = task().run(science, fringes=frame).exposure
    assert amplitudes(product)[0] == pytest.approx(amplitude, rel=0.02)
    assert np.std(product.image) < 0.03 * amplitude


def ripples() -> np.ndarray:
    """Fringes longer than the small box, of which the large one holds about one."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.sin(2 * np.pi * (x + 0.3 * y) / 23) * np.cos(2 * np.pi * y / 31)


def pulls(noise: float, count: int, **changed: Any) -> np.ndarray:
    """Errors of amplitudes of 70 over their uncertainties, of ``count`` images with different noise."""
    frame, chain, rng = exposure_of(ripples()), task(**changed), np.random.default_rng(7)
    found = []
    for number in range(count):
        sky = exposure_of(rng.normal(500.0, noise, SHAPE) + 70.0 * frame.image)
        sky.visit = attrs.evolve(VISIT, exposure_id=number)
        one = chain.run(sky, fringes=frame).exposure.measured["fringe"]["unnamed"]
        found.append((one.amplitudes[0] - 70.0) / one.uncertainties[0])
    return np.array(found)


@pytest.mark.parametrize(("stat", "noise"), [("MEAN", 20.0), ("MEANCLIP", 20.0), ("MEDIAN", 0.1)])
def test_the_scatter_of_amplitudes_is_what_their_uncertainties_say(stat: str, noise: float) -> None:
    """Medians are no linear functions: only where noise is small against fringes is there no bias."""
    found = pulls(noise, 300, num=100, stats__stat=stat)
    # Four standard errors.
    assert np.std(found) == pytest.approx(1.0, abs=4 / np.sqrt(600))
    assert np.mean(found) == pytest.approx(0.0, abs=4 / np.sqrt(300))


def test_uncertainties_are_not_too_small_where_boxes_overlap() -> None:
    """At 1500 positions boxes hold every pixel ten times; as if independent they would promise a third."""
    found = pulls(20.0, 100, num=1500, stats__stat="MEAN")
    assert 0.6 < np.std(found) < 1.0 + 4 / np.sqrt(200)


def test_medians_bias_amplitudes_of_fringes_weaker_than_the_noise_and_means_do_not() -> None:
    """At a crest the median of the smooth frame's large box is nearer to the crest than the mean.

    For y from -30 to 30 the median of y² is a quarter of 900 and the mean a third; the median of a noisy box
    is like a mean.
    """
    rng = np.random.default_rng(1)
    wave = np.cos(2 * np.pi * np.arange(400) / 80)[:, None] * np.ones(400)
    sky = exposure_of(rng.normal(1000.0, 80.0, wave.shape) + 40 * wave)
    found = {
        stat: task(num=2000, small=3, large=30, stats__stat=stat).run(sky, fringes=exposure_of(wave)).exposure
        for stat in ("MEDIAN", "MEAN")
    }
    errors = {stat: one.measured["fringe"]["unnamed"].uncertainties[0] for stat, one in found.items()}
    assert abs(amplitudes(found["MEAN"])[0] - 40) < 4 * errors["MEAN"]
    assert amplitudes(found["MEDIAN"])[0] - 40 > 4 * errors["MEDIAN"]


@given(scene=scenes(whole=True), level=st.integers(-500, 30_000))
def test_a_constant_sky_changes_no_amplitude(scene: Any, level: int) -> None:
    science, frames, _ = scene
    lifted = attrs.evolve(science.share(), pixels=science.pixels.copy())
    # Whole numbers: no rounding.
    lifted.pixels.image[...] += level
    first, second = (task().run(e, fringes=frames).exposure for e in (science, lifted))
    assert amplitudes(first) == amplitudes(second)


@given(scene=scenes(), slope=st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_a_sloping_sky_hardly_changes_an_amplitude(scene: Any, slope: tuple[float, float]) -> None:
    science, frames, _ = scene
    tilted = attrs.evolve(science.share(), pixels=science.pixels.copy())
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    tilted.pixels.image[...] += (slope[0] * y + slope[1] * x).astype(np.float32)
    chain = task(stats__stat="MEAN")
    found = [chain.run(e, fringes=frames).exposure.measured["fringe"]["unnamed"] for e in (science, tilted)]
    # Both boxes have one centre, so a slope shifts their means alike, but for pixels that are missing.
    errors = np.hypot(*(np.array(one.uncertainties) for one in found))
    assert (np.abs(np.subtract(found[0].amplitudes, found[1].amplitudes)) <= 6 * errors).all()


@given(scene=scenes(), rng=strategies.generators())
def test_masked_pixels_do_not_count(scene: Any, rng: np.random.Generator) -> None:
    """Nor do those of the frames under a flag of the image."""
    science, frames, _ = scene
    flagged = science.pixels.flagged("SAT")
    other, others = science.clone(), [frame.clone() for frame in frames]
    for one in (other, *others):
        one.image[flagged] = rng.choice([0.0, 1e6, -1e6, np.nan, np.inf], flagged.sum())
    first, second = (task().run(e, fringes=f).exposure for e, f in ((science, frames), (other, others)))
    told, again = (attrs.asdict(one.measured["fringe"]["unnamed"]) for one in (first, second))
    assert told == again
    np.testing.assert_array_equal(first.image[~flagged], second.image[~flagged])


@given(scene=scenes())
def test_what_is_subtracted(scene: Any) -> None:
    science, frames, _ = scene
    product = task().run(science, fringes=frames).exposure
    found = amplitudes(product)
    image, variance = science.image.astype(np.float64), science.variance.astype(np.float64)
    for amplitude, frame in zip(found, frames, strict=True):
        image = image - amplitude * frame.image
        variance = variance + amplitude**2 * frame.variance
    # Three frames: six roundings of numbers up to 2000 at most.
    np.testing.assert_allclose(product.image, image, rtol=0, atol=6 * np.spacing(np.float32(2000)))
    np.testing.assert_allclose(product.variance, variance, rtol=1e-6)
    flags = np.bitwise_or.reduce([frame.mask for frame in frames])
    np.testing.assert_array_equal(product.mask, science.mask | flags)


@given(scene=scenes(), levels=st.lists(st.floats(-50, 50), min_size=3, max_size=3))
def test_with_pedestal_the_level_of_a_frame_does_not_matter(scene: Any, levels: list[float]) -> None:
    science, frames, _ = scene
    lifted = [frame.clone() for frame in frames]
    for frame, level in zip(lifted, levels, strict=False):
        frame.image[...] += np.float32(level)
    first, second = (task(pedestal=True).run(science, fringes=f).exposure for f in (frames, lifted))
    # A level of 50 costs a frame of unit size some places: 2e-6 of each pixel, times an amplitude of 200.
    np.testing.assert_allclose(first.image, second.image, rtol=0, atol=6 * 200 * np.spacing(np.float32(50)))
    assert np.nanmedian(first.image) == pytest.approx(np.nanmedian(science.image), abs=20.0)


@given(scene=scenes(), order=st.permutations(range(3)))
def test_the_order_of_frames_permutes_amplitudes(scene: Any, order: list[int]) -> None:
    science, frames, _ = scene
    order = [place for place in order if place < len(frames)]
    straight = task().run(science, fringes=frames).exposure
    turned = task().run(science, fringes=[frames[place] for place in order]).exposure
    expected = [amplitudes(straight)[place] for place in order]
    # Sums in another order.
    np.testing.assert_allclose(amplitudes(turned), expected, rtol=1e-9, atol=1e-9)


@given(scene=scenes(), power=st.integers(-20, 20))
def test_the_scale_of_a_frame_goes_into_its_amplitude(scene: Any, power: int) -> None:
    science, frames, _ = scene
    scaled = [frame.clone() for frame in frames]
    for frame in scaled:
        frame.image[...] *= np.float32(2.0**power)
        frame.variance[...] *= np.float32(4.0**power)
    first, second = (task().run(science, fringes=f).exposure for f in (frames, scaled))
    # A power of two rounds nothing, but in singular values.
    np.testing.assert_allclose(np.multiply(amplitudes(second), 2.0**power), amplitudes(first), rtol=1e-9)
    np.testing.assert_allclose(first.image, second.image, rtol=1e-6)


@given(scene=scenes())
def test_positions_are_those_of_the_exposure(scene: Any) -> None:
    science, frames, _ = scene
    visits = [attrs.evolve(VISIT, exposure_id=number) for number in (5, 7, 7 + 2**32)]
    five, seven, wrapped = (attrs.evolve(science, visit=visit) for visit in visits)
    plain = amplitudes(task().run(seven, fringes=frames).exposure)
    assert amplitudes(task().run(seven, fringes=frames).exposure) == plain
    assert amplitudes(task().run(wrapped, fringes=frames).exposure) == plain
    assert amplitudes(task(stats__rngSeedOffset=2).run(five, fringes=frames).exposure) == plain
    assert amplitudes(task().run(five, fringes=Struct(fringes=frames, seed=7)).exposure) == plain
    assert amplitudes(task().run(five, fringes=frames).exposure) != plain


@given(scene=scenes(), threads=st.integers(2, 3))
def test_threads_change_nothing(scene: Any, threads: int) -> None:
    science, frames, _ = scene
    one, more = (task(threads=n).run(science, fringes=frames).exposure for n in (1, threads))
    check_same(one.pixels, more.pixels)
    assert amplitudes(one) == amplitudes(more)


@given(scene=scenes())
def test_amplifiers_do_not_matter(scene: Any) -> None:
    science, frames, _ = scene
    (amp,) = science.detector.amplifiers
    cuts = (slice(0, 40), slice(40, SHAPE[1]))
    parts = [Box(0, SHAPE[0], cut.start, cut.stop) for cut in cuts]
    amps = [
        attrs.evolve(amp, name=name, box=box, raw_box=box, raw_data_box=box)
        for name, box in zip("BA", parts, strict=True)
    ]
    whole = task().run(science, fringes=frames).exposure
    for amplifiers in (amps, amps[::-1]):
        detector = attrs.evolve(science.detector, amplifiers=tuple(amplifiers))
        split = task().run(attrs.evolve(science, detector=detector), fringes=frames).exposure
        check_same(whole.pixels, split.pixels)


@given(scene=scenes())
def test_frames_and_exposure_stay_as_they_are(scene: Any) -> None:
    science, frames, _ = scene
    before = [one.clone() for one in (science, *frames)]
    task(pedestal=True).run(science, fringes=frames)
    for one, other in zip((science, *frames), before, strict=True):
        check_same(one.pixels, other.pixels)


sieves = st.builds(
    lambda pixels, others: Sieve(pixels.image, (pixels.mask, others.mask), 2),
    strategies.masked_images((30, 24)),
    strategies.masked_images((30, 24)),
)


def boxes_of(sieve: Sieve, x: Any, y: Any, half: int) -> Iterator[tuple[Any, np.ndarray]]:
    """Every box, and which pixels of the frame do not count."""
    bad = (sieve.masks[0] | sieve.masks[1]) & sieve.bits != 0
    for a, b in zip(x, y, strict=True):
        yield (slice(b - half, b + half), slice(a - half, a + half)), bad


def plain_medians(sieve: Sieve, x: Any, y: Any, half: int) -> list[float]:
    """The definition."""
    return [statistics.median(sieve.image[box], bad[box]) for box, bad in boxes_of(sieve, x, y, half)]


@given(sieve=sieves, half=st.integers(1, 12), rng=strategies.generators(), density=st.floats(0, 1))
def test_medians_of_boxes_are_those_of_their_pixels(
    sieve: Sieve, half: int, rng: np.random.Generator, density: float
) -> None:
    sieve.masks[0][rng.random(sieve.image.shape) < density] |= 2
    # Equal pixels, and zeros of both signs.
    sieve.image[rng.random(sieve.image.shape) < 0.2] = rng.choice([0.0, -0.0, 100.0])
    x, y = rng.integers(half, 25 - half, 50), rng.integers(half, 31 - half, 50)
    for threads in (1, 2):
        found = box_medians(sieve, x, y, (1, half), threads)
        np.testing.assert_array_equal(found[0], plain_medians(sieve, x, y, 1))
        np.testing.assert_array_equal(found[1], plain_medians(sieve, x, y, half))


@pytest.mark.parametrize("iterations", [0, 1, 3])
@given(sieve=sieves, half=st.integers(2, 12), rng=strategies.generators(), clip=st.floats(1.5, 4))
@settings(max_examples=15)
def test_means_of_boxes_are_those_of_their_pixels(
    sieve: Sieve, half: int, rng: np.random.Generator, clip: float, iterations: int
) -> None:
    x, y = rng.integers(half, 25 - half, 20), rng.integers(half, 31 - half, 20)
    for found, size in zip(box_means(sieve, x, y, (1, half), clip, iterations), (1, half), strict=True):
        expected = plain_means(sieve, x, y, size, clip, iterations)
        # Sums in another order.
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-10)


def plain_means(sieve: Sieve, x: Any, y: Any, half: int, clip: float, iterations: int) -> list[float]:
    """The definition."""
    pixels = [(sieve.image[box], bad[box]) for box, bad in boxes_of(sieve, x, y, half)]
    if not iterations:
        return [statistics.mean(*pair) for pair in pixels]
    return [statistics.clipped(values, clip, iterations, bad).mean for values, bad in pixels]


@given(
    sieve=sieves,
    mirror=st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()),
    rng=strategies.generators(),
)
def test_boxes_of_a_mirrored_frame_are_at_mirrored_places(
    sieve: Sieve, mirror: Mirror, rng: np.random.Generator
) -> None:
    """A box ends one pixel before its centre plus half its size: mirrored it starts there."""
    ny, nx = sieve.image.shape
    x, y = rng.integers(5, nx - 5, 40), rng.integers(5, ny - 5, 40)
    turned = Sieve(mirror.array(sieve.image), tuple(mirror.array(mask) for mask in sieve.masks), sieve.bits)
    across, along = (y, x) if mirror.is_transposed else (x, y)
    height, width = turned.image.shape
    places = width - across if mirror.flip_x else across, height - along if mirror.flip_y else along
    for plain, other in zip(
        box_medians(sieve, x, y, (2, 5)), box_medians(turned, *places, (2, 5)), strict=True
    ):
        np.testing.assert_array_equal(plain, other)


@given(count=st.integers(0, 6), frames=st.integers(1, 3))
def test_with_too_few_positions_every_amplitude_is_zero(count: int, frames: int) -> None:
    fluxes = np.full((count, frames), np.nan)
    found = solve(np.full(count, np.nan), fluxes, 3.0, 20)
    assert found.amplitudes.tolist() == [0.0] * frames
    assert (found.count, np.isnan(found.rms)) == (0, True)
    assert np.isnan(found.sigmas).all()


def test_frames_that_cannot_be_told_apart_have_no_uncertainty() -> None:
    rng = np.random.default_rng(1)
    fluxes = rng.normal(size=200)
    found = solve(3 * fluxes + 0.1 * rng.normal(size=200), np.column_stack([fluxes, 2 * fluxes]), 3.0, 20)
    assert found.amplitudes @ [1, 2] == pytest.approx(3.0, abs=0.05)
    assert np.isnan(found.sigmas).all()


def test_a_frame_without_fringes_changes_nothing_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(1)
    science = exposure_of(rng.normal(size=SHAPE))
    with caplog.at_level(logging.WARNING):
        product = task().run(science, fringes=[exposure_of(np.ones(SHAPE)), science]).exposure
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(product, plane), getattr(science, plane))
    assert amplitudes(product) == (0.0, 0.0)
    assert "no fringes can be measured" in caplog.text
    assert (product.header["FRNGNPOS"], product.header["FRNGA2"]) == (0, 0.0)
    assert product.header["FRNGS2"] is None


def test_a_frame_that_shows_nothing_at_most_positions_gets_no_absurd_amplitude() -> None:
    """On the slopes of a wave longer than the boxes both medians agree: only rounding is left."""
    y, x = np.mgrid[:400, :100]
    wave = np.cos(2 * np.pi * y / 160 + 0.01 * x)
    sky = exposure_of(np.random.default_rng(1).normal(1000.0, 10.0, wave.shape) + 40 * wave)
    product = task(num=2000, small=3, large=30).run(sky, fringes=exposure_of(wave)).exposure
    assert amplitudes(product) == (0.0,)
    np.testing.assert_array_equal(product.image, sky.image)


def test_example_a_checkerboard_of_fringes() -> None:
    """Every other block is bright: the small box sees one block, the large one as many of both."""
    blocks = np.kron(np.indices((8, 8)).sum(axis=0) % 2 * 2.0 - 1.0, np.ones((4, 4)))
    rng = np.random.default_rng(3)
    science = exposure_of(100 + 7 * blocks + rng.normal(0, 0.1, blocks.shape))
    product = task(small=1, large=4).run(science, fringes=exposure_of(blocks)).exposure
    assert amplitudes(product)[0] == pytest.approx(7, abs=0.05)
    assert np.std(science.image) == pytest.approx(7, abs=0.1)
    assert np.std(product.image) == pytest.approx(0.1, abs=0.05)


# From the sky to the raw frame and back.

CHAIN = ("doConvertIntToFloat", "doOverscan", "doAssembleCcd", "doVariance", "doFlat")
_A = {"raw": (0, 80, 0, 70), "data": (0, 80, 0, 60), "box": (0, 80, 0, 60), "gain": 1.5, "read_noise": 4.0}
_B = {"raw": (0, 80, 70, 140), "data": (0, 80, 80, 140), "box": (0, 80, 60, 120), "gain": 2.0}
LAYOUT = {
    "shape": (80, 120),
    "raw_shape": (80, 140),
    "amplifiers": {
        "A": {**_A, "level": 900.0},
        "B": {**_B, "read_noise": 5.0, "level": 1100.0, "flip_x": True},
    },
}


def ccd() -> Detector:
    overscans = {"A": Box(0, 80, 60, 70), "B": Box(0, 80, 70, 80)}
    (template,) = Detector.of_shape((80, 120)).amplifiers
    amps = [
        attrs.evolve(
            template,
            name=name,
            box=Box(*amp["box"]),
            raw_box=Box(*amp["raw"]),
            raw_data_box=Box(*amp["data"]),
            serial_overscan_box=overscans[name],
            flip_x=amp.get("flip_x", False),
            gain=amp["gain"],
            read_noise=amp["read_noise"],
        )
        for name, amp in LAYOUT["amplifiers"].items()
    ]
    return Detector("ccd0", 0, LAYOUT["shape"], LAYOUT["raw_shape"], tuple(amps))


def gains() -> np.ndarray:
    return np.where(np.arange(120) < 60, 1.5, 2.0)


@st.composite
def skies(draw: st.DrawFn) -> tuple[Exposure, dict[str, Any], np.ndarray]:
    """The sky as a product should show it, calibrations with fringes of known strength, and these fringes."""
    rng, detector = draw(strategies.generators()), ccd()
    true = [draw(st.floats(100, 300)) for _ in range(draw(st.integers(1, 3)))]
    frames = [exposure_of(waves((80, 120), rng, shortest=10), detector) for _ in true]
    flat = exposure_of(rng.uniform(0.9, 1.1, (80, 120)), detector, unit="")
    truth = exposure_of(np.linspace(2000, 2040, 120) * np.ones((80, 1)), detector)
    fringes = sum(a * frame.image for a, frame in zip(true, frames, strict=True))
    return truth, {"flat": flat, "fringes": Struct(fringes=frames, amplitudes=true)}, fringes


@given(sky=skies(), after=st.booleans(), seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_correcting_a_simulated_frame_finds_what_was_put_in(sky: Any, after: bool, seed: int) -> None:
    truth, inputs, _ = sky
    # Medians of sums of frames are no sums of medians.
    chain = task(*CHAIN, afterFlat=after, stats__stat="MEAN")
    raw = simulate(chain, truth, Readout(), seed=seed, **inputs).exposure
    product = chain.run(raw, **inputs).exposure
    found = product.measured["fringe"]["ccd0"]
    error = np.subtract(found.amplitudes, inputs["fringes"].amplitudes)
    # Six standard errors, as there are up to three amplitudes.
    assert (np.abs(error) <= 6 * np.array(found.uncertainties)).all()
    pull = ((product.image - truth.image) / np.sqrt(product.variance)).astype(np.float64)
    # Five standard errors; errors of amplitudes, which all pixels share, are not in the variance.
    assert pull.std() == pytest.approx(1.0, abs=5 / np.sqrt(2 * pull.size) + 0.03)


@given(sky=skies())
@settings(max_examples=10)
def test_without_the_correction_the_residual_is_ten_times_as_large(sky: Any) -> None:
    truth, inputs, fringes = sky
    chain = task(*CHAIN, stats__stat="MEAN")
    raw = simulate(chain, truth, Readout(has_noise=False), **inputs).exposure
    with_it = chain.run(raw, **inputs).exposure
    without = task(*CHAIN, filters=()).run(raw, **inputs).exposure
    left, whole = (np.std(product.image - truth.image) for product in (with_it, without))
    assert whole >= 10 * left
    assert whole == pytest.approx(np.std(fringes), rel=0.05)


# The default, of which see the bias above, and the statistic without.
@pytest.mark.parametrize(("stat", "num", "tolerance"), [("MEDIAN", 3000, 0.12), ("MEANCLIP", 1500, 0.0)])
@pytest.mark.parametrize("strengths", [(3000.0,), (3000.0, 1500.0), (3000.0, 1500.0, 2000.0)])
def test_fringes_of_an_independent_model_are_removed(
    strengths: tuple[float, ...], stat: str, num: int, tolerance: float
) -> None:
    thickness, rng = effect.layer(LAYOUT["shape"]), np.random.default_rng(2)
    electrons = np.full(LAYOUT["shape"], 40_000.0)
    lit = effect.put_in_fringes(electrons, LAYOUT["amplifiers"], thickness, strengths)
    raw, _ = read_out(LAYOUT, rng.poisson(lit).astype(np.float32), rng)
    exposure = Exposure(MaskedImage.from_raw(raw), ccd(), visit=VISIT)
    patterns = [effect.interference(thickness, lines) for lines in effect.LINES[: len(strengths)]]
    # A flat of the gains makes adu of both amplifiers the same number of electrons.
    inputs = {
        "fringes": [exposure_of(pattern, ccd()) for pattern in patterns],
        "flat": exposure_of(np.ones(LAYOUT["shape"]) / gains(), ccd(), unit=""),
    }
    product = task(*CHAIN, num=num, large=12, stats__stat=stat).run(exposure, **inputs).exposure
    without = task(*CHAIN, filters=()).run(exposure, **inputs).exposure
    found = product.measured["fringe"]["ccd0"]
    error = np.abs(np.subtract(found.amplitudes, strengths))
    assert (error <= 5 * np.array(found.uncertainties) + tolerance * np.array(strengths)).all()
    # Means of blocks of 4 x 4 pixels have a quarter of the photon noise of 200, and all of the fringes.
    left, fringes = (blocks(one.image - 40_000).std() for one in (product, without))
    assert left == pytest.approx(50.0, rel=0.25)
    assert fringes > 10 * left


def blocks(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float64).reshape(20, 4, 30, 4).mean(axis=(1, 3))
