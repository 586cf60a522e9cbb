"""Laws: the brighter-fatter correction takes back what charge does to charge, and nothing else."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Box,
    BrighterFatterKernel,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Readout,
    Registry,
    Tiled,
    VisitInfo,
    isr_config,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.brighter_fatter import kernel_weights
from isrcore.testing.contracts import check_same
from isrcore.testing.mirror import Mirror
from isrcore_standard import charge_shifts
from tests.effects.brighter_fatter import push_charge, weigh

REGISTRY = Registry({"standard": isrcore_standard})
ASSEMBLED = frozenset({"assembled", "converted", "levels-known"})
SHAPE = (70, 60)


def task(*flags: str, threads: int = 1, **settings: Any) -> IsrTask:
    """A task with the brighter-fatter correction and the steps of ``flags``; iterating to the last digit."""
    config = isr_config(REGISTRY)()
    for flag in (spec.flag for spec in REGISTRY.specs.values()):
        if flag is not None:
            config.set(flag, flag in ("doBrighterFatter", *flags))
    config.expectWcs = False
    for name, value in {"maxIter": 8, "threshold": 0.0, **settings}.items():
        config.set(f"brighterFatter.{name}", value)
    return IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))


def exposure(image: Any, detector: Detector | None = None, mask: Any = None) -> Exposure:
    """An assembled exposure, of one amplifier with gain 1 unless a detector is given."""
    pixels = MaskedImage.from_image(
        np.array(image, np.float32), mask, np.full(np.shape(image), 7, np.float32)
    )
    return Exposure(pixels, detector or Detector.of_shape(pixels.shape), facts=ASSEMBLED)


def stars(rng: np.random.Generator, shape: tuple[int, int], sigma: float, peak: float = 5e4) -> Any:
    """Sky and a few round stars, electron."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 1500.0)
    for _ in range(6):
        at_y, at_x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        image += rng.uniform(0.3, 1.0) * peak * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * sigma**2))
    return image * min(1.0, 1.5 * peak / image.max())


def inside(shape: tuple[int, int], kernel: Any) -> tuple[slice, slice]:
    """Pixels of which neither correction nor effect depends on what is beyond the detector."""
    y, x = (2 * (side // 2 + 1) for side in kernel.shape)
    return slice(y, shape[0] - y), slice(x, shape[1] - x)


forms = pytest.mark.parametrize("is_conserving", [False, True])


@forms
@given(rng=strategies.generators(), kernel=kernel_weights(strength=3e-7))
def test_what_charge_did_to_charge_is_taken_back(is_conserving, rng, kernel):
    # Transfers take light to be the same all over a pixel: that is so to within a tenth in wide stars only.
    light = stars(rng, SHAPE, sigma=7.0 if is_conserving else 4.0)
    collected = push_charge(light, [], kernel)
    found = task(fluxConserving=is_conserving).run(exposure(collected), bfKernel=kernel).exposure.image
    part = inside(SHAPE, kernel)
    before, after = (np.sqrt(np.mean((image - light)[part] ** 2)) for image in (collected, found))
    assert before > 10 * after


@st.composite
def simulated(draw: st.DrawFn) -> tuple[dict[str, Any], Exposure, dict[str, Any]]:
    """Settings, a sky of stars as its product should be in adu, and true calibrations."""
    detector = draw(strategies.detectors(has_overscan=True))
    amps = tuple(attrs.evolve(amp, saturation=np.nan, read_noise=0.0) for amp in detector.amplifiers)
    detector, rng = attrs.evolve(detector, amplifiers=amps), draw(strategies.generators())
    image = stars(rng, detector.shape, sigma=2.0, peak=1e4)
    for amp in amps:
        image[amp.box.slices] /= amp.gain
    visit = VisitInfo(exposure_s=30.0, dark_s=30.0)
    truth = attrs.evolve(exposure(image, detector), facts=frozenset(), visit=visit)
    inputs = draw(strategies.calibrations_for(detector))
    for kind in ("dark", "flat"):
        inputs[kind] = frame_without_flags(inputs[kind])
    inputs["bfKernel"] = BrighterFatterKernel(draw(kernel_weights(strength=1e-6)))
    settings = {"fluxConserving": draw(st.booleans()), "applyGain": draw(st.booleans())}
    return settings, truth, {kind: inputs[kind] for kind in ("dark", "flat", "bfKernel", "bfGains")}


def frame_without_flags(frame: Exposure) -> Exposure:
    return attrs.evolve(frame, pixels=MaskedImage.from_image(frame.image))


CHAIN = ("doConvertIntToFloat", "doAssembleCcd", "doDark", "doFlat")


@given(simulated())
def test_simulating_and_correcting_undo_each_other(drawn):
    settings, truth, inputs = drawn
    chain = task(*CHAIN, **settings)
    raw = simulate(chain, truth, Readout(level=0.0, has_noise=False), **inputs).exposure
    product = chain.run(raw, **inputs).exposure
    # Half an adu where the converter rounded, some of it pushed on; all divided by the flat.
    error = np.abs(product.image - truth.image) * inputs["flat"].image
    assert error.max() < 0.6


@forms
def test_example_a_simulated_star_is_sharper_after_the_correction(is_conserving):
    kernel = -1e-6 * np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]])
    truth = attrs.evolve(exposure(stars(np.random.default_rng(3), (60, 50), 2.0)), facts=frozenset())
    chain = task("doConvertIntToFloat", "doAssembleCcd", fluxConserving=is_conserving)
    raw = simulate(chain, truth, Readout(level=0.0, has_noise=False), bfKernel=kernel).exposure
    before, after = raw.image - truth.image, chain.run(raw, bfKernel=kernel).exposure.image - truth.image
    assert before.min() < -700
    assert np.abs(after).max() < 0.01 * np.abs(before).max()


@given(rng=strategies.generators(), kernel=kernel_weights(strength=1e-6))
def test_the_flux_conserving_form_conserves_charge(rng, kernel):
    image = stars(rng, SHAPE, sigma=1.5) + rng.normal(0, 40, SHAPE)
    before = exposure(image)
    after = task(fluxConserving=True).run(before, bfKernel=kernel).exposure
    moved = after.image.astype(np.float64) - before.image
    # Every pixel is rounded once, by at most half a step of float32; rounding of the charge that passes a
    # side is the same for both pixels.
    assert abs(moved.sum()) <= 0.5 * np.spacing(after.image).astype(np.float64).sum()
    assert np.abs(moved).sum() > 1000


@forms
@given(data=st.data())
def test_a_kernel_of_zeros_changes_no_pixel(is_conserving, data):
    detector = data.draw(strategies.detectors())
    before = data.draw(strategies.exposures(detector))
    kernel = np.zeros((5, 3))
    after = task(fluxConserving=is_conserving).run(before, bfKernel=kernel).exposure
    np.testing.assert_array_equal(after.image, before.image)
    np.testing.assert_array_equal(after.variance, before.variance)
    np.testing.assert_array_equal(after.mask, before.mask | after.mask & after.planes.value("EDGE"))


@given(
    rng=strategies.generators(),
    kernels=st.tuples(kernel_weights((5, 3)), kernel_weights((5, 3))),
    factor=st.floats(-2, 2),
)
def test_one_iteration_is_linear_in_the_kernel(rng, kernels, factor):
    before = exposure(stars(rng, SHAPE, sigma=2.0))
    once = task(maxIter=1)
    first, second, both = (
        once.run(before, bfKernel=kernel).exposure.image.astype(np.float64) - before.image
        for kernel in (kernels[0], kernels[1], kernels[0] + factor * kernels[1])
    )
    # Four results rounded to steps of float32, and those of shifts of at most some hundred electron.
    steps = 0.5 * np.spacing(before.image * 1.1).astype(np.float64)
    assert (np.abs(first + factor * second - both) <= (2 + abs(factor)) * steps + 1e-3).all()


@forms
@given(rng=strategies.generators(), kernel=kernel_weights(strength=1e-7))
def test_the_correction_is_proportional_to_a_weak_kernel(is_conserving, rng, kernel):
    before, chain = exposure(stars(rng, SHAPE, sigma=2.0)), task(fluxConserving=is_conserving)
    single, double = (
        chain.run(before, bfKernel=k * kernel).exposure.image.astype(np.float64) - before.image
        for k in (1, 2)
    )
    # To second order: the correction changes the charge by some hundredths, and that its correction.
    assert np.abs(double - 2 * single).max() <= 0.1 * np.abs(double).max()


@forms
@given(data=st.data())
def test_a_turned_frame_with_a_turned_kernel_is_corrected_to_the_turned_result(is_conserving, data):
    detector = data.draw(strategies.detectors())
    mirror = Mirror(*(data.draw(st.booleans()) for _ in range(3)))
    rng, chain = data.draw(strategies.generators()), task(fluxConserving=is_conserving, maxIter=3)
    before, kernel = exposure(stars(rng, detector.shape, 2.0), detector), data.draw(kernel_weights())
    plain = chain.run(before, bfKernel=kernel).exposure
    turned = chain.run(mirror.exposure(before), bfKernel=mirror.array(kernel)).exposure
    np.testing.assert_array_equal(mirror.array(plain.mask), turned.mask)
    # Transforms of turned windows are rounded otherwise; pixels of up to 75000 adu have steps of 0.008.
    np.testing.assert_allclose(mirror.array(plain.image), turned.image, rtol=0, atol=0.016)


@forms
@given(data=st.data())
def test_flagged_pixels_push_nothing(is_conserving, data):
    rng, shape = data.draw(strategies.generators()), (30, 24)
    image, kernel = stars(rng, shape, 2.0), data.draw(kernel_weights())
    bad, sat = rng.random(shape) < 0.03, rng.random(shape) < 0.01
    mask = (bad * 1 + sat * 2).astype(np.int32)
    first, second = exposure(image, mask=mask), exposure(image, mask=mask)
    # Flags of saturated pixels grow by one pixel before anything is replaced.
    grown = sat.copy()
    for axis, by in ((0, 1), (0, -1), (1, 1), (1, -1)):
        neighbour = np.roll(sat, by, axis)
        neighbour[tuple(slice(None) if a != axis else (0 if by > 0 else -1) for a in (0, 1))] = False
        grown |= neighbour
    flagged = bad | grown
    wild = rng.choice([np.nan, np.inf, -1e9, 0.0, 65535.0], shape)
    second.image[flagged] = wild[flagged].astype(np.float32)
    chain = task(fluxConserving=is_conserving)
    found, other = (chain.run(e, bfKernel=kernel).exposure for e in (first, second))
    np.testing.assert_array_equal(found.image[~flagged], other.image[~flagged])
    np.testing.assert_array_equal(found.mask, other.mask)
    assert np.isfinite(other.image[~flagged]).all()


@forms
@given(data=st.data())
def test_a_pixel_that_is_no_number_stays_alone(is_conserving, data):
    rng, shape = data.draw(strategies.generators()), (30, 24)
    image, kernel = stars(rng, shape, 2.0), data.draw(kernel_weights())
    spoiled = exposure(image)
    hit = rng.random(shape) < 0.03
    spoiled.image[hit] = rng.choice([np.nan, np.inf, -np.inf])
    after = task(fluxConserving=is_conserving).run(spoiled, bfKernel=kernel).exposure
    np.testing.assert_array_equal(np.isfinite(after.image), ~hit)


@forms
@given(data=st.data())
def test_threads_change_nothing(is_conserving, data):
    # Larger than one tile.
    rng, shape = data.draw(strategies.generators()), (charge_shifts.TILE + 30, charge_shifts.TILE + 40)
    before = exposure(rng.normal(5000, 70, shape))
    kernel = data.draw(kernel_weights(strength=1e-6))
    settings = {"fluxConserving": is_conserving, "maxIter": 2}
    alone, shared = (
        task(threads=threads, **settings).run(before, bfKernel=kernel).exposure for threads in (1, 3)
    )
    check_same(alone.pixels, shared.pixels)
    assert attrs.asdict(measured(alone)) == attrs.asdict(measured(shared))


@forms
@given(rng=strategies.generators(), tile=st.integers(3, 60), kernel=kernel_weights())
def test_the_size_of_tiles_changes_roundings_only(is_conserving, rng, tile, kernel):
    before, chain = exposure(stars(rng, (50, 45), 2.0)), task(fluxConserving=is_conserving, maxIter=2)
    whole = chain.run(before, bfKernel=kernel).exposure.image
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charge_shifts, "TILE", tile)
        tiled = chain.run(before, bfKernel=kernel).exposure.image
    np.testing.assert_allclose(tiled, whole, rtol=0, atol=0.016)


def measured(found: Exposure) -> Any:
    return found.measured["brighterFatter"][found.detector.name]


@given(st.data())
def test_order_and_names_of_amplifiers_do_not_matter(data):
    detector = data.draw(strategies.detectors())
    rng, kernels = data.draw(strategies.generators()), {}
    settings = {"level": "AMP", "fluxConserving": data.draw(st.booleans()), "maxIter": 2}
    kernels = {name: data.draw(kernel_weights((3, 5))) for name in detector.amplifier_names}
    before = exposure(stars(rng, detector.shape, 2.0), detector)
    names = {name: f"new {name}" for name in kernels}
    renamed = [
        attrs.evolve(amp, name=names[amp.name]) for amp in data.draw(st.permutations(detector.amplifiers))
    ]
    other = exposure(before.image, attrs.evolve(detector, amplifiers=tuple(renamed)))
    moved = {names[name]: kernel for name, kernel in kernels.items()}
    first, second = (
        task(**settings).run(e, bfKernel=BrighterFatterKernel(amplifiers=by)).exposure
        for e, by in ((before, kernels), (other, moved))
    )
    check_same(first.pixels, second.pixels)


@given(st.data())
def test_every_amplifier_is_corrected_with_its_own_kernel(data):
    detector = data.draw(strategies.detectors())
    kernels = {name: data.draw(kernel_weights((3, 3))) for name in detector.amplifier_names}
    before = exposure(stars(data.draw(strategies.generators()), detector.shape, 2.0), detector)
    settings = {"fluxConserving": data.draw(st.booleans()), "maxIter": 1}
    own = BrighterFatterKernel(amplifiers=kernels)
    found = task(level="AMP", **settings).run(before, bfKernel=own).exposure.image
    for amp in detector.amplifiers:
        alone = task(**settings).run(before, bfKernel=kernels[amp.name]).exposure.image
        np.testing.assert_allclose(found[amp.box.slices], alone[amp.box.slices], rtol=0, atol=0.016)


@given(st.data())
def test_given_gains_count_like_those_of_the_detector(data):
    detector, kernel = data.draw(strategies.detectors()), data.draw(kernel_weights())
    gains = {name: data.draw(st.floats(0.5, 4.0, width=32)) for name in detector.amplifier_names}
    amps = tuple(attrs.evolve(amp, gain=gains[amp.name]) for amp in detector.amplifiers)
    image, chain = stars(data.draw(strategies.generators()), detector.shape, 2.0), task(maxIter=2)
    expected = chain.run(exposure(image, attrs.evolve(detector, amplifiers=amps)), bfKernel=kernel).exposure
    given_gains = chain.run(exposure(image, detector), bfKernel=kernel, bfGains=gains).exposure
    of_kernel = chain.run(
        exposure(image, detector), bfKernel=BrighterFatterKernel(kernel, gains=gains)
    ).exposure
    for found in (given_gains, of_kernel):
        check_same(found.pixels, expected.pixels)


def test_example_the_first_iteration_by_hand():
    """½[∇T·∇P + T ∇²P] of the charge as it was measured."""
    image = stars(np.random.default_rng(8), (12, 11), 2.0)
    kernel = np.array([[-1e-7, -2e-7, -1e-7], [-3e-7, -9e-7, -4e-7], [-2e-7, -2e-7, -1e-7]])
    potential = weigh(kernel, image)
    slopes = [np.gradient(image, axis=axis) * np.gradient(potential, axis=axis) for axis in (0, 1)]
    curvature = np.diff(potential, 2, 0)[1:-1, 2:-2] + np.diff(potential, 2, 1)[2:-2, 1:-1]
    expected = 0.5 * (sum(slopes)[2:-2, 2:-2] + image[2:-2, 2:-2] * curvature)
    found = task(maxIter=1).run(exposure(image), bfKernel=kernel).exposure
    np.testing.assert_allclose((found.image - image)[2:-2, 2:-2], expected, atol=0.01)
    assert np.abs(expected).max() > 100
    edge = found.pixels.flagged("EDGE")
    assert not edge[2:-2, 2:-2].any()
    assert edge.sum() == edge.size - edge[2:-2, 2:-2].size
    assert found.image[edge].tolist() == image.astype(np.float32)[edge].tolist()


def test_example_what_one_bright_pixel_gave_its_neighbours_comes_back():
    image = np.full((5, 5), 100.0)
    image[2, 2] = 10000.0
    kernel = np.zeros((3, 3))
    kernel[1, 1] = -1e-5
    found = task(maxIter=1, fluxConserving=True).run(exposure(image), bfKernel=kernel).exposure.image
    # Half of 0.1 - 0.001 of the bright pixel's charge went through each of its four sides.
    gave = 0.5 * 10000 * (0.1 - 0.001)
    assert found[2, 2] == pytest.approx(10000 + 4 * gave)
    assert found[1, 2] == pytest.approx(100 - gave)
    assert found.sum() == pytest.approx(image.sum())
    assert Box.of_shape(found.shape).area == 25
