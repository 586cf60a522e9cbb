"""Laws of the variance budget: it adds up, names whose noise it is, and is what frames really scatter."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Affine,
    AmpView,
    Box,
    Detector,
    Divide,
    Exposure,
    IsrTask,
    MaskedImage,
    Op,
    PixelStep,
    Registry,
    Step,
    StepSpec,
    Subtract,
    VisitInfo,
    apply_op,
    default_config,
    hookimpl,
    stepspecs,
)
from isrcore.kernels.ops import Arithmetic
from isrcore.kernels.reference import apply
from isrcore.testing import strategies
from isrcore.testing.mirror import Mirror
from isrcore_standard.noise_sources import SOURCES, image_before, rule_of
from tests import overscan_frames
from tests.forward_model import expose

REGISTRY = Registry({"standard": isrcore_standard})
#: Steps that have no operations, so what they do to image and variance is nobody's.
OPAQUE = dict.fromkeys(
    [
        "doAmpOffset", "doBrighterFatter", "doCrosstalk", "doDeferredCharge", "doFringe", "doInterpolate",
        "doLinearize", "doSetBadRegions", "doStrayLight",
    ],
    False,
)  # fmt: skip


def known_runs(**fixed: Any) -> st.SearchStrategy[Any]:
    """Random runs of steps that are operations, with a budget, and all trimmed."""
    flags = {spec.flag for spec in REGISTRY.specs.values()}
    opaque = {name: value for name, value in OPAQUE.items() if name in flags}
    always = {"doVarianceBudget": True, "doVariance": True, "doAssembleCcd": True, "assembly__doTrim": True}
    return strategies.runs(REGISTRY, **{**opaque, **always, "variance__maskNegative": True, **fixed})


def product_of(drawn: Any, registry: Registry = REGISTRY, **inputs: Any) -> Exposure:
    config, exposure, given_inputs = drawn
    result: Exposure = IsrTask(config, registry=registry).run(exposure, **{**given_inputs, **inputs}).exposure
    return result


def budgets(product: Exposure) -> dict[str, Any]:
    found: dict[str, Any] = product.measured["varianceBudget"]
    return found


@given(known_runs())
def test_contributions_add_up_and_nothing_is_left(drawn: Any) -> None:
    product = product_of(drawn)
    for name, one in budgets(product).items():
        box = product.detector[name].box
        good = product.mask[box.slices] == 0
        if not good.any():
            assert (one.count, math.isnan(one.total)) == (0, True)
            continue
        parts = [getattr(one, source) for source in SOURCES]
        assert math.fsum([*parts, one.other]) == pytest.approx(one.total, rel=1e-12)
        # Float32 chains of a dozen operations, with light and read noise cancelling in dark pixels.
        assert abs(one.other) <= 1e-5 * sum(map(abs, parts))
        low, high = np.quantile(
            product.variance[box.slices][good].astype(float), (0.45, 0.55), method="nearest"
        )
        assert low * (1 - 1e-9) <= one.total <= high * (1 + 1e-9)


def without_noise(frame: Exposure) -> Exposure:
    pixels = attrs.evolve(frame.pixels, variance=np.zeros(frame.shape, np.float32))
    return attrs.evolve(frame, pixels=pixels)


@given(drawn=known_runs(doBias=True, doDark=True, doFlat=True), data=st.data())
def test_a_contribution_vanishes_with_its_source_and_the_others_stay(drawn: Any, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["bias", "dark", "flat", "read"]))
    config, exposure, inputs = drawn
    config.doEmpiricalReadNoise = False
    full = budgets(product_of(drawn))
    if kind == "read":
        names = exposure.detector.amplifier_names
        quiet = exposure.detector.with_amplifiers(**{name: {"read_noise": 0.0} for name in names})
        other = product_of((config, attrs.evolve(exposure.share(), detector=quiet), inputs))
    else:
        other = product_of(drawn, **{kind: without_noise(inputs[kind])})
    for name, one in budgets(other).items():
        if one.count:
            scale = abs(one.total) + abs(full[name].total)
            assert abs(getattr(one, kind)) <= 1e-6 * scale
            assert getattr(full[name], kind) >= 0


@given(
    # The circle that light falls into is that of the telescope: it does not turn with the frame.
    drawn=known_runs(doVignette=False),
    mirror=st.builds(Mirror, st.just(False), st.booleans(), st.booleans()),
)
def test_a_mirrored_frame_has_the_same_budget(drawn: Any, mirror: Mirror) -> None:
    config, exposure, inputs = drawn
    turned = {kind: mirror.input(value, exposure.detector.shape) for kind, value in inputs.items()}
    other = budgets(product_of((config, mirror.exposure(exposure), turned)))
    for name, one in budgets(product_of(drawn)).items():
        for field in attrs.fields(type(one)):
            # The order of a sum of up to 144 numbers.
            expected = getattr(one, field.name)
            assert getattr(other[name], field.name) == pytest.approx(
                expected, rel=1e-9, abs=1e-9, nan_ok=True
            )


@given(drawn=known_runs(doDefect=True, doNanMasking=True))
def test_flagged_pixels_do_not_matter(drawn: Any) -> None:
    config, exposure, inputs = drawn
    box = Box(0, 2, 0, 2)
    inputs = {**inputs, "defects": [box]}
    config.gains.normalize, config.flat.scalingType = False, "USER"
    dark = inputs["dark"].clone()
    dark.image[box.slices], dark.variance[box.slices] = 1e6, 1e9
    one, two = (budgets(product_of((config, exposure, i))) for i in (inputs, {**inputs, "dark": dark}))
    for name in one:
        assert str(attrs.asdict(one[name])) == str(attrs.asdict(two[name]))


LATE = {"requires": {"assembled", "variance-set"}, "after": stepspecs.VARIANCE_BUDGET.after}


class Blur(Step):
    """Adds to every variance, nobody knows why."""

    spec = StepSpec(name="blur", doc="Blur.", before={"variance-budgeted"}, provides={"blurred"}, **LATE)

    def run(self, exposure: Exposure, calibrations: Any) -> None:
        exposure.pixels.variance[...] += np.float32(1000)


class Triple(Arithmetic):
    """Three times the image: an operation of another plugin's."""


@apply.register
def _triple(op: Triple, image: Any, mask: Any, variance: Any, rows: slice, scratch: Any) -> int:
    image *= np.float32(1 / 3 if op.inverted else 3)
    variance *= np.float32(1 / 9 if op.inverted else 9)
    return 0


class Tripling(PixelStep):
    spec = StepSpec(name="triple", doc="Triple.", before={"variance-budgeted"}, provides={"tripled"}, **LATE)

    def ops(self, view: AmpView) -> Iterator[Op]:
        yield Triple()


def with_plugin(drawn: Any, step: type[Step]) -> dict[str, Any]:
    """Budgets of the same run with one step more."""
    config, exposure, inputs = drawn
    plugin = SimpleNamespace(steps=hookimpl(lambda: [step], specname="isr_steps"))
    registry = Registry({"standard": isrcore_standard, "other": plugin})
    richer = default_config(registry)
    for name in config.names():
        if not name.endswith("implementation"):
            richer.set(name, config.get(name))
    return budgets(product_of((richer, exposure, inputs), registry))


@given(known_runs())
def test_what_another_plugin_adds_is_other(drawn: Any) -> None:
    plain = budgets(product_of(drawn))
    for name, one in with_plugin(drawn, Blur).items():
        if one.count and one.count == plain[name].count:
            assert one.other - plain[name].other == pytest.approx(1000, rel=1e-3, abs=1e-6 * one.total)


@given(known_runs())
def test_what_another_plugin_scales_stays_whose_it_was(drawn: Any) -> None:
    plain = budgets(product_of(drawn))
    for name, one in with_plugin(drawn, Tripling).items():
        if one.count and one.count == plain[name].count:
            for source in SOURCES:
                assert getattr(one, source) == pytest.approx(
                    9 * getattr(plain[name], source), rel=1e-4, abs=1e-4 * one.total
                )


@given(strategies.generators(), st.booleans())
def test_operations_are_followed_as_they_act(rng: np.random.Generator, inverted: bool) -> None:
    image, variance, divisor, noise = (
        rng.uniform(low, high, (4, 5)).astype(np.float32)
        for low, high in ((100, 200), (50, 90), (0.5, 2), (1e-4, 1e-3))
    )
    frame = MaskedImage.from_image(divisor, variance=noise)
    for forward in (Affine(scale=1.5, offset=-30.0), Subtract(frame, scale=7.0), Divide(frame, scale=1.3)):
        op = forward.inverse() if inverted else forward
        pixels = MaskedImage.from_image(image.copy(), variance=variance.copy())
        apply_op(op, pixels)
        after = pixels.image.astype(np.float64)
        # Float32 on one side, float64 on the other.
        np.testing.assert_allclose(image_before(op, after), image, rtol=1e-5)
        rule = rule_of(op, image.astype(np.float64), after, variance.astype(np.float64))
        np.testing.assert_allclose(rule.scale * variance + rule.own, pixels.variance, rtol=1e-5, atol=1e-3)


GAIN, READ_NOISE, LIGHT = 1.6, 6.0, 900.0
SIZE = 256
AMP = {
    "raw": (0, SIZE, 0, SIZE),
    "data": (0, SIZE, 0, SIZE),
    "box": (0, SIZE, 0, SIZE),
    "level": 200.0,
    "gain": GAIN,
}


def chain() -> IsrTask:
    config = default_config(REGISTRY)
    flags = {
        "doConvertIntToFloat",
        "doBias",
        "doVariance",
        "doDark",
        "doFlat",
        "doAssembleCcd",
        "doVarianceBudget",
    }
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.flag in flags)
    config.expectWcs = False
    return IsrTask(config, registry=REGISTRY)


def master(image: Any, variance: float, dark_s: float = math.nan, unit: str = "adu") -> Exposure:
    plane = np.broadcast_to(image, (SIZE, SIZE)).astype(np.float32)
    pixels = MaskedImage.from_image(plane, variance=np.full((SIZE, SIZE), variance, np.float32))
    facts = frozenset({"assembled"})
    detector = Detector.of_shape((SIZE, SIZE))
    return Exposure(pixels, detector, visit=VisitInfo(dark_s=dark_s), unit=unit, facts=facts)


@pytest.mark.parametrize("source", ["read", "poisson", "bias", "dark", "flat", "all"])
def test_each_contribution_is_what_frames_of_the_independent_model_scatter(source: str) -> None:
    rng = np.random.default_rng(7)

    def noise(kind: str, sigma: float) -> Any:
        return sigma * rng.standard_normal((SIZE, SIZE)) if source in (kind, "all") else 0.0

    # A flat of 0.8 with its own noise; a dark of 30 adu at half the exposure's dark time.
    sigmas = {"bias": 4.0, "dark": 3.0, "flat": 0.02}
    dark_rate = 60 * GAIN / 100
    layout = {"shape": (SIZE, SIZE), "raw_shape": (SIZE, SIZE)}
    layout["amplifiers"] = {"0": {**AMP, "read_noise": READ_NOISE if source in ("read", "all") else 0.0}}
    if source in ("poisson", "all"):
        raw, _ = expose(layout, LIGHT / 0.8, 100.0, flat=0.8, dark=dark_rate, seed=11)
    else:
        plain = 200 + (LIGHT + dark_rate * 100) / GAIN
        read = READ_NOISE / GAIN * rng.standard_normal((SIZE, SIZE)) if source == "read" else 0.0
        raw = np.rint(plain + read + np.zeros((SIZE, SIZE))).astype(np.uint16)
    inputs = {
        "bias": master(200.0 + noise("bias", 4.0), sigmas["bias"] ** 2),
        "dark": master(30.0 + noise("dark", 3.0), sigmas["dark"] ** 2, 50.0),
        "flat": master(0.8 + noise("flat", 0.02), sigmas["flat"] ** 2, unit=""),
    }
    detector = Detector.of_shape((SIZE, SIZE), gain=GAIN, read_noise=READ_NOISE)
    exposure = Exposure(MaskedImage.from_raw(raw), detector, visit=VisitInfo(dark_s=100.0))
    product = chain().run(exposure, **inputs).exposure
    one = budgets(product)["0"]
    predicted = one.total if source == "all" else getattr(one, source)
    # Rounding to whole adu adds 1/12 adu²; 65536 pixels know a variance to 0.55 %, five times; the mean of
    # 1/F² and of Q² over a flat of 2.5 % noise is that much above their values at the mean.
    found = (
        float(np.var(product.image, dtype=np.float64)) - (source in ("read", "poisson", "all")) / 12 / 0.64
    )
    assert found == pytest.approx(predicted, rel=0.04)
    assert abs(one.other) < 1e-5 * one.total


def test_example_the_parts_of_a_pixel() -> None:
    raw = Exposure(
        MaskedImage.from_raw(np.full((SIZE, SIZE), 500, np.uint16)),
        Detector.of_shape((SIZE, SIZE), gain=2.0, read_noise=6.0),
        visit=VisitInfo(dark_s=10.0),
    )
    task = chain()
    inputs = {"bias": master(100.0, 1.0), "dark": master(20.0, 2.0, 5.0), "flat": master(0.5, 1e-4, unit="")}
    one = task.run(raw, **inputs).exposure.measured["varianceBudget"]["0"]
    # 400 adu above the bias: 200 adu² of photon noise, 9 of read noise, 1 of the bias, 4 times 2 of the dark;
    # all divided by 0.25, and the flat's: (360/0.5)² times its relative variance.
    expected = {
        "read": 36,
        "poisson": 800,
        "overscan": 0,
        "bias": 4,
        "dark": 32,
        "flat": 720**2 * 4e-4,
        "other": 0,
    }
    for name, value in expected.items():
        assert getattr(one, name) == pytest.approx(value, rel=1e-5, abs=1e-3)
    assert one.total == pytest.approx(sum(expected.values()), rel=1e-5)
    assert one.count == SIZE**2
    metadata = task.varianceBudget.metadata
    assert metadata["ISR VARIANCE 0 READ"] == one.read
    assert "ISR VARIANCE 0 READ FRACTION" not in metadata
    assert raw.applied == ()


def test_example_fractions_and_samples() -> None:
    config = chain().config.copy()
    config.doDark = config.doFlat = config.doBias = False
    config.varianceBudget.fractions, config.varianceBudget.maxPixels = True, 1000
    task = IsrTask(config, registry=REGISTRY)
    pixels = MaskedImage.from_raw(np.full((SIZE, SIZE), 100, np.uint16))
    result = task.run(Exposure(pixels, Detector.of_shape((SIZE, SIZE), read_noise=10.0))).exposure
    metadata = task.varianceBudget.metadata
    assert (metadata["ISR VARIANCE 0 TOTAL"], metadata["ISR VARIANCE 0 POISSON FRACTION"]) == (200, 0.5)
    # Three rows of 256 pixels.
    assert budgets(result)["0"].count == 768
    assert result.applied == ()


def test_example_a_variance_that_was_there_before_is_other() -> None:
    image = np.full((8, 8), 10, np.float32)
    facts = frozenset({"assembled", "converted", "levels-known", "variance-set"})
    pixels = MaskedImage.from_image(image, variance=image)
    exposure, task = Exposure(pixels, Detector.of_shape((8, 8)), facts=facts), chain()
    task._apply([task._step("varianceBudget")], exposure)
    one = budgets(exposure)["0"]
    assert (one.total, one.other, one.read) == (10, 10, 0)


@pytest.mark.parametrize("has_parallel", [False, True])
def test_example_the_noise_of_overscans_is_not_that_of_the_bias(has_parallel: bool) -> None:
    chain = overscan_frames.task(
        doBias=True, doVarianceBudget=True, doParallel=has_parallel, fitType="MEAN_PER_ROW",
        parallel__fitType="MEAN_PER_ROW",
    )  # fmt: skip
    pixels = MaskedImage.from_image(np.zeros((60, 60), np.float32), variance=np.full((60, 60), 3, np.float32))
    bias = Exposure(pixels, overscan_frames.PAIR, unit="adu", facts=frozenset({"assembled"}))
    raw = overscan_frames.raw(overscan_frames.PAIR, np.full(overscan_frames.PAIR.raw_shape, 1000.0))
    for one in budgets(chain.run(raw, bias=bias).exposure).values():
        # Read noise of 9 adu² per pixel; a mean of 16 pixels of a row, and one of 6 of a column.
        assert one.overscan == pytest.approx(9 / 16 + 9 / 6 * has_parallel, rel=1e-5)
        assert one.bias == pytest.approx(3, rel=1e-5)
