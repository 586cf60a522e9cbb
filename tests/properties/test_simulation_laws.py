"""Laws: simulating and correcting undo each other; noise is what variance says; seeds decide everything."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Affine,
    Amplifier,
    AmpView,
    Box,
    Camera,
    Config,
    Detector,
    Exposure,
    Hits,
    IsrTask,
    MaskedImage,
    NotInvertible,
    Op,
    PixelStep,
    Readout,
    Registry,
    SimulationError,
    StepError,
    StepSpec,
    VisitInfo,
    default_config,
    hookimpl,
    simulate,
)
from isrcore.testing import strategies
from tests.forward_model import expose, read_out

REGISTRY = Registry({"standard": isrcore_standard})
ELECTRONS = 8000.0


NEEDED = frozenset(
    {"doAssembleCcd", "doBias", "doConvertIntToFloat", "doDark", "doFlat", "doOverscan", "doVariance"}
)


def task(**settings: Any) -> IsrTask:
    """A task of the steps that change pixels one by one; ``settings`` with double underscores for dots."""
    config: Config = default_config(REGISTRY)
    for flag in (spec.flag for spec in REGISTRY.specs.values()):
        if flag is not None:
            config.set(flag, flag in NEEDED)
    config.expectWcs = False
    config.variance.maskNegative = False
    for name, value in settings.items():
        config.set(name.replace("__", "."), value)
    return IsrTask(config, registry=REGISTRY)


def frame(detector: Detector, image: Any, **values: Any) -> Exposure:
    pixels = MaskedImage.from_image(np.broadcast_to(image, detector.shape).astype(np.float32))
    return Exposure(pixels, detector, facts=frozenset({"assembled"}), **values)


def gains(detector: Detector) -> np.ndarray:
    plane = np.ones(detector.shape, np.float32)
    for amp in detector.amplifiers:
        plane[amp.box.slices] = amp.gain
    return plane


@st.composite
def skies(draw: st.DrawFn, detector: Detector) -> tuple[Exposure, dict[str, Exposure]]:
    """A sky of about 8000 electron as its product should be, and true calibrations."""
    rng = draw(strategies.generators())
    shape, visit = detector.shape, VisitInfo(exposure_s=30.0, dark_s=30.0)
    truth = frame(detector, ELECTRONS * rng.uniform(0.9, 1.1, shape) / gains(detector), visit=visit)
    return truth, {
        "bias": frame(detector, rng.normal(0, 5, shape)),
        "dark": frame(detector, rng.uniform(0, 20, shape), visit=VisitInfo(dark_s=60.0)),
        "flat": frame(detector, rng.uniform(0.7, 1.3, shape), unit=""),
    }


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Exposure, dict[str, Exposure], Readout, int]:
    """Everything `simulate` needs for a random detector with overscan."""
    detector = draw(strategies.detectors(has_overscan=True))
    levels = {name: float(draw(st.integers(500, 3000))) for name in detector.amplifier_names}
    truth, inputs = draw(skies(detector))
    return truth, inputs, Readout(levels), draw(st.integers(0, 2**32))


@given(scene=scenes())
@settings(max_examples=60)
def test_correcting_a_simulated_frame_gives_the_sky_within_its_variance(scene: Any) -> None:
    truth, inputs, readout, seed = scene
    raw = simulate(task(), truth, readout, seed=seed, **inputs).exposure
    product = task(overscan__fitType="MEAN").run(raw, **inputs).exposure
    pull = ((product.image - truth.image) / np.sqrt(product.variance)).astype(np.float64)
    # Five standard errors; 0.06 for what all pixels of an amplifier share, the noise of its overscan level
    # (10 electron over the root of 16 pixels against a noise of 80), and for variances of noisy pixels.
    assert abs(pull.mean()) < 5 / np.sqrt(pull.size) + 0.06
    assert abs(pull.std() - 1) < 5 / np.sqrt(2 * pull.size) + 0.06


@given(scene=scenes())
def test_without_noise_only_rounding_is_left(scene: Any) -> None:
    truth, inputs, readout, _ = scene
    raw = simulate(task(), truth, attrs.evolve(readout, has_noise=False), **inputs).exposure
    product = task().run(raw, **inputs).exposure
    # Half an adu of the converter, and some float32 places of at most 2^15 adu, both divided by the flat.
    error = abs(product.image - truth.image) * inputs["flat"].image
    assert error.max() <= 0.5 + 8 * np.spacing(np.float32(2**15))
    assert np.allclose(np.median(product.image - truth.image), 0, atol=0.5)


@given(scene=scenes())
@settings(max_examples=10)
def test_every_correction_of_the_default_chain_is_simulated(scene: Any) -> None:
    truth, inputs, readout, _ = scene
    config = default_config(REGISTRY)
    config.doDefect, config.expectWcs = True, False
    chain, inputs = IsrTask(config, registry=REGISTRY), {**inputs, "defects": [Box(0, 1, 0, 2)]}
    raw = simulate(chain, truth, attrs.evolve(readout, has_noise=False), **inputs).exposure
    product = chain.run(raw, **inputs).exposure
    good = product.mask == 0
    assert good.any()
    error = abs(product.image - truth.image) * inputs["flat"].image
    assert error[good].max() <= 0.5 + 8 * np.spacing(np.float32(2**15))


@given(scene=scenes())
@settings(max_examples=10)
def test_products_in_electrons_are_simulated_too(scene: Any) -> None:
    truth, inputs, readout, _ = scene
    inputs = {kind: inputs[kind] for kind in ("bias", "dark")}
    in_electrons = task(doApplyGains=True, doFlat=False)
    image = truth.image * gains(truth.detector)
    truth = attrs.evolve(truth, pixels=MaskedImage.from_image(image), unit="electron")
    raw = simulate(in_electrons, truth, attrs.evolve(readout, has_noise=False), **inputs).exposure
    product = in_electrons.run(raw, **inputs).exposure
    assert (abs(product.image - image) <= (0.5 + 0.05) * gains(truth.detector)).all()


def test_a_plain_example() -> None:
    detector = Detector.of_shape((2, 3), gain=2.0)
    quiet = Readout(level=100.0, has_noise=False)
    made = simulate(
        task(doOverscan=False, doBias=False, doDark=False, doFlat=False), frame(detector, 7.4), quiet
    )
    # No overscan is corrected, so no pedestal was put in: 7.4 adu become 7.
    assert made.exposure.image.tolist() == [[7, 7, 7], [7, 7, 7]]
    assert made.exposure.image.dtype == np.uint16
    assert not made.saturated.any()


def layout_of(detector: Detector, readout: Readout, **changes: float) -> dict[str, Any]:
    """The detector as the independent model describes it."""

    def ends(box: Any) -> tuple[int, int, int, int]:
        return box.y0, box.y1, box.x0, box.x1

    amplifiers = {
        amp.name: {
            "raw": ends(amp.raw_box),
            "data": ends(amp.raw_data_box),
            "box": ends(amp.box),
            "gain": amp.gain,
            "read_noise": amp.read_noise,
            "level": readout.level_of(amp.name),
            "flip_y": amp.flip_y,
            "flip_x": amp.flip_x,
            **changes,
        }
        for amp in detector.amplifiers
    }
    return {"shape": detector.shape, "raw_shape": detector.raw_shape, "amplifiers": amplifiers}


BIAS_ONLY = {"doDark": False, "doFlat": False}


@given(scene=scenes(), drift=st.floats(-50, 50), bright=st.booleans())
def test_the_independent_model_reads_equal_charge_to_equal_numbers(
    scene: Any, drift: float, bright: bool
) -> None:
    truth, inputs, readout, seed = scene
    detector, bias = truth.detector, inputs["bias"]
    charge = (
        np.random.default_rng(seed).poisson(60_000 if bright else 3000, detector.shape).astype(np.float32)
    )
    readout = attrs.evolve(readout, drift=drift, has_noise=False)
    layout = layout_of(detector, readout, read_noise=0.0)
    expected, known = read_out(layout, charge, np.random.default_rng(0), bias=bias.image, drift=drift)
    truth = frame(detector, charge / gains(detector), visit=truth.visit)
    made = simulate(task(**BIAS_ONLY), truth, readout, bias=bias)
    np.testing.assert_array_equal(made.exposure.image, expected)
    np.testing.assert_array_equal(made.saturated, known["saturated"])
    for name, levels in made.levels.items():
        box = detector[name].raw_box
        np.testing.assert_array_equal(levels, known["levels"][name][box.y0 : box.y1])


# Large enough for statistics, not for patience: amplifiers side by side, the second stored right to left and
# top to bottom, each with 20 columns of overscan.
WIDE = Detector(
    "wide",
    3,
    (300, 400),
    (310, 440),
    (
        Amplifier(
            "A", Box(0, 300, 0, 200), Box(0, 310, 0, 220), Box(0, 300, 20, 220), Box(0, 300, 0, 20),
            gain=1.6, read_noise=4.0,
        ),
        Amplifier(
            "B", Box(0, 300, 200, 400), Box(0, 310, 220, 440), Box(0, 300, 220, 420), Box(0, 300, 420, 440),
            flip_y=True, flip_x=True, gain=2.4, read_noise=9.0,
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("electrons", [5.0, 3000.0])
@pytest.mark.parametrize("name", ["A", "B"])
def test_mean_and_variance_are_those_of_the_independent_model(name: str, electrons: float) -> None:
    readout = Readout({"A": 900.0, "B": 1100.0}, drift=7.0)
    ours = simulate(
        task(**BIAS_ONLY), frame(WIDE, electrons / gains(WIDE)), readout, seed=5, bias=frame(WIDE, 3.0)
    )
    theirs, _ = expose(layout_of(WIDE, readout), electrons, bias=3.0, drift=7.0, seed=6)
    amp = WIDE[name]
    photon = electrons / amp.gain**2
    floor = (amp.read_noise / amp.gain) ** 2 + 1 / 12
    for box, variance in ((amp.raw_data_box, photon + floor), (amp.serial_overscan_box, floor)):
        # The drift, the same in both, is taken out of the difference; its mean and variance to five sigma.
        difference = ours.exposure.image[box.slices].astype(float) - theirs[box.slices]
        assert abs(difference.mean()) < 5 * np.sqrt(2 * variance / box.area)
        assert difference.var() == pytest.approx(2 * variance, rel=5 * np.sqrt(3 / box.area))


def test_no_two_amplifiers_share_their_read_noise() -> None:
    made = simulate(task(**BIAS_ONLY), frame(WIDE, 0.0), seed=5, bias=frame(WIDE, 0.0))
    left, right = (
        made.exposure.image[amp.raw_data_box.slices].astype(float).ravel() for amp in WIDE.amplifiers
    )
    assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(left.size)


def test_photon_noise_is_poisson_not_normal() -> None:
    made = simulate(
        task(doOverscan=False, doBias=False, **BIAS_ONLY), frame(Detector.of_shape((500, 500)), 2.0), seed=1
    )
    # Without read noise and pedestal pixels are the counts; P(0) = e^-2, five standard errors wide.
    share = np.mean(made.exposure.image == 0)
    assert share == pytest.approx(np.exp(-2), abs=5 * np.sqrt(0.117 / 250_000))


@given(camera=strategies.cameras(), seed=st.integers(0, 2**40), data=st.data())
def test_a_frame_depends_on_seed_and_detector_only(camera: Camera, seed: int, data: st.DataObject) -> None:
    chain = task(doOverscan=False, doBias=False, **BIAS_ONLY)
    order = data.draw(st.permutations(camera.detectors))
    readout = Readout(row_noise=1.0)

    def image(detector: Detector, seed: Any) -> np.ndarray:
        return simulate(chain, frame(detector, 900.0), readout, seed=seed).exposure.image

    first = {detector.name: image(detector, seed) for detector in camera.detectors}
    again = {detector.name: image(detector, (seed,)) for detector in order}
    for name, pixels in first.items():
        np.testing.assert_array_equal(again[name], pixels)
        assert np.any(image(camera[name], seed + 1) != pixels)


def test_detectors_of_one_shape_do_not_share_their_noise() -> None:
    chain = task(doOverscan=False, doBias=False, **BIAS_ONLY)
    twins = [attrs.evolve(Detector.of_shape((9, 9), read_noise=5.0), name=name) for name in "ab"]
    one, other = (simulate(chain, frame(twin, 900.0)).exposure.image for twin in twins)
    assert np.any(one != other)


def test_full_pixels_spill_and_are_named() -> None:
    chain = task(doOverscan=False, doBias=False, **BIAS_ONLY)
    truth = frame(Detector.of_shape((9, 3)), 0.0)
    truth.image[4, 1] = 350.0
    made = simulate(chain, truth, Readout(full_well=100.0, has_noise=False))
    assert made.exposure.image[:, 1].tolist() == [0, 0, 25, 100, 100, 100, 25, 0, 0]
    assert np.argwhere(made.saturated).tolist() == [[y, 1] for y in range(2, 7)]


def test_the_end_of_the_converter_is_saturation_too() -> None:
    truth = frame(WIDE, 100.0)
    truth.image[7, 250] = 70_000.0
    readout = Readout(has_noise=False, converter_max=60_000)
    made = simulate(task(**BIAS_ONLY), truth, readout, bias=frame(WIDE, 0.0))
    assert np.argwhere(made.saturated).tolist() == [[7, 250]]
    assert made.exposure.image.max() == 60_000


def test_particles_leave_their_charge_once() -> None:
    chain = task(doOverscan=False, doBias=False, **BIAS_ONLY)
    hits = Hits(np.array([2, 2, 5]), np.array([1, 1, 0]), np.array([30.0, 12.0, 7.0]))
    truth = frame(Detector.of_shape((6, 4), gain=2.0), 10.0)
    made = simulate(chain, truth, Readout(has_noise=False), hits=hits)
    assert made.exposure.image[2, 1] == 10 + 21
    # 3.5 adu more: halves are rounded upwards.
    assert made.exposure.image[5, 0] == 14
    assert np.sum(made.exposure.image != 10) == 2


def test_a_truth_that_does_not_fit_is_refused_with_every_reason() -> None:
    truth = frame(WIDE, 1.0, unit="electron")
    truth.image[0, :2] = np.nan
    with pytest.raises(SimulationError) as caught:
        simulate(task(doAssembleCcd=False, doBias=False, **BIAS_ONLY), truth)
    told = str(caught.value)
    assert "set doAssembleCcd = true" in told
    assert "2 pixels of its image are not finite" in told
    assert "in 'electron', the task's products are in 'adu'" in told


def test_what_depends_on_the_pixels_it_changes_cannot_be_simulated() -> None:
    normalising = task(doApplyGains=True, doFlat=False, doDark=False, doBias=False, gains__normalize=True)
    with pytest.raises(StepError, match="step 'gains' cannot be simulated, it measures the pixels"):
        simulate(normalising, frame(WIDE, 1.0, unit="electron"))


class Stretch(PixelStep):
    """Doubles, then adds three: the other way round it would add six."""

    spec = StepSpec(name="stretch", doc="Stretch.", requires={"assembled"}, after={"overscan-subtracted"})

    def ops(self, view: AmpView) -> Iterator[Op]:
        yield Affine(scale=2.0)
        yield Affine(offset=3.0)


def with_step(step: type[PixelStep]) -> IsrTask:
    """A task whose plan has a step of another plugin's."""
    plugin = SimpleNamespace(steps=hookimpl(lambda: [step], specname="isr_steps"))
    registry = Registry({"standard": isrcore_standard, "other": plugin})
    config = default_config(registry)
    for flag in (spec.flag for spec in registry.specs.values()):
        if flag is not None:
            config.set(flag, flag in NEEDED - {"doBias", "doDark", "doFlat", "doOverscan"})
    return IsrTask(config, registry=registry)


def test_operations_of_a_step_are_undone_last_first() -> None:
    quiet = Readout(has_noise=False)
    made = simulate(with_step(Stretch), frame(Detector.of_shape((2, 2)), 83.0), quiet)
    assert (made.exposure.image == 40).all()


def test_noise_is_in_the_charge_before_electronics_touch_it() -> None:
    made = simulate(with_step(Stretch), frame(Detector.of_shape((300, 300)), 900.0), seed=3)
    # Poisson of 900 electron, halved with the signal: its variance is a quarter of 900, and 1/12 of rounding.
    assert made.exposure.image.var(dtype=float) == pytest.approx(225, rel=5 * np.sqrt(2 / 90_000))


@given(scene=scenes())
@settings(max_examples=5)
def test_where_noise_comes_in_does_not_depend_on_the_variance_step(scene: Any) -> None:
    truth, inputs, readout, seed = scene
    one, other = (
        simulate(task(doVariance=does), truth, readout, seed=seed, **inputs).exposure.image
        for does in (True, False)
    )
    np.testing.assert_array_equal(one, other)


class Halving(Op):
    """Halves pixels and does not know how it did."""


class Halve(PixelStep):
    spec = StepSpec(name="halve", doc="Halve.", requires={"assembled"}, after={"dark-subtracted"})

    def ops(self, view: AmpView) -> Iterator[Op]:
        yield Halving()


def test_an_operation_without_inverse_says_so() -> None:
    with pytest.raises(NotInvertible, match="'Halving' has no inverse"):
        simulate(with_step(Halve), frame(WIDE, 1.0))


def test_assembly_takes_the_wcs_back_with_the_pixels() -> None:
    wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 5.0, "CRPIX2": 9.0, "CDELT1": -1e-4,
               "CDELT2": 1e-4, "CRVAL1": 10.0, "CRVAL2": 20.0})  # fmt: skip
    chain = task(doBias=False, **BIAS_ONLY)
    raw = simulate(chain, frame(WIDE, 1.0, wcs=wcs), Readout(has_noise=False)).exposure
    np.testing.assert_allclose(raw.wcs.wcs.crpix, (25.0, 9.0))
    np.testing.assert_allclose(chain.run(raw).exposure.wcs.wcs.crpix, wcs.wcs.crpix)
