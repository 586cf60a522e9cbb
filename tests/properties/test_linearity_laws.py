"""Laws of linearity: a response that is not proportional is undone, amplifier by amplifier."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator

import isrcore_standard
from isrcore import (
    Detector,
    Exposure,
    IsrTask,
    LinearityCurve,
    Linearizer,
    MaskedImage,
    PlanError,
    Readout,
    Registry,
    Tiled,
    default_config,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.linearity import coefficients, linearizers
from isrcore_standard.linearity_lines import lines_of
from tests.effects.linearity import respond

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"assembled", "converted", "levels-known"})
SMOOTH = ("None", "Proportional", "Squared", "Polynomial", "Spline", "DoubleSpline")


def make_task(*flags: str, executor: Any = None, **settings: Any) -> IsrTask:
    """A task with these steps only, and linearity; double underscores stand for dots."""
    config = default_config(REGISTRY)
    for flag in (spec.flag for spec in REGISTRY.specs.values()):
        if flag is not None:
            config.set(flag, flag in ("doConvertIntToFloat", "doLinearize", *flags))
    config.expectWcs = False
    for name, value in settings.items():
        config.set(name.replace("__", "."), value)
    return IsrTask(config, registry=REGISTRY, executor=executor)


def frame(detector: Detector, image: Any, variance: Any = 4.0) -> Exposure:
    image = np.broadcast_to(image, detector.shape).astype(np.float32)
    variance = np.broadcast_to(variance, detector.shape).astype(np.float32)
    return Exposure(MaskedImage.from_image(image, variance=variance), detector, facts=FACTS)


def corrected(exposure: Exposure, linearizer: Any = None, **settings: Any) -> Exposure:
    return make_task(**settings).run(exposure, linearizer=linearizer).exposure


def formula(curve: LinearityCurve, table: Any, x: Any) -> Any:
    """x' as the table of types in behaviour §2.11 has it, in float64."""
    x, c = np.asarray(x, np.float64), curve.coeffs
    if curve.type in ("Squared", "Polynomial"):
        return x + sum(factor * x ** (power + 2) for power, factor in enumerate(c))
    if curve.type == "LookupTable":
        row = np.asarray(table, np.float64)[int(c[0])]
        return x + row[np.clip(np.trunc(x + c[1]), 0, row.size - 1).astype(int)]
    for nodes, values in curve.splines:
        places, heights = np.array(nodes), np.array(values) - values[0]
        if places[0] > 0:
            places, heights = np.append(0, places), np.append(0, heights)
        x = x - Akima1DInterpolator(places, heights)(np.clip(x, places[0], places[-1]))
    return x


def boxes(detector: Detector) -> list[dict[str, Any]]:
    """The amplifiers as independent models describe them."""
    return [{"box": attrs.astuple(amp.box)} for amp in detector.amplifiers]


@st.composite
def bent(
    draw: st.DrawFn, types: tuple[str, ...] = SMOOTH, top: float = 60000.0
) -> tuple[Detector, Linearizer, np.ndarray]:
    """A detector, its linearizer, and an image of what it should read, adu."""
    detector = draw(strategies.detectors())
    rng = draw(strategies.generators())
    return detector, draw(linearizers(detector, types)), rng.uniform(0, top, detector.shape)


def responding(detector: Detector, linearizer: Linearizer, truth: Any) -> np.ndarray:
    """The image that amplifiers with these curves read, by the independent model."""
    read = np.arange(-3000.0, 80000.0)
    amplifiers = boxes(detector)
    for described, amp in zip(amplifiers, detector.amplifiers, strict=True):
        curve = linearizer.amplifiers[amp.name]
        described["response"] = formula(curve, linearizer.table, read), read
    return respond(truth, amplifiers)


@given(bent())
def test_what_amplifiers_bend_is_straightened(drawn: Any) -> None:
    detector, linearizer, truth = drawn
    read = responding(detector, linearizer, truth)
    product = corrected(frame(detector, read), linearizer)
    # float32 places of pixels, two roundings each for two splines; the model has lines of one adu.
    assert abs(product.image - truth).max() <= 5 * np.spacing(np.float32(2**16 - 1)) + 2.0**-26 * 1e5
    assert ("linearized" in product.facts) == any(c.type != "None" for c in linearizer.amplifiers.values())


@pytest.mark.parametrize("slope", [1.5e-6, -1.5e-6])
def test_an_output_node_of_changing_capacitance_needs_a_square(slope: float) -> None:
    detector = Detector.of_shape((60, 70))
    truth = np.random.default_rng(3).uniform(0, 60000, detector.shape)
    read = respond(truth, [{**boxes(detector)[0], "capacitance_slope": slope}])
    product = corrected(frame(detector, read), Linearizer({"0": LinearityCurve("Squared", (slope,))}))
    residual, before = abs(product.image - truth).max(), abs(read - truth).max()
    assert residual <= 2 * np.spacing(np.float32(60000))
    assert before > 1000 * residual


@given(bent(("Squared", "Polynomial", "Spline", "DoubleSpline")))
def test_without_the_correction_the_residual_is_ten_times_larger(drawn: Any) -> None:
    detector, linearizer, truth = drawn
    read = responding(detector, linearizer, truth)
    product = corrected(frame(detector, read), linearizer)
    uncorrected = corrected(frame(detector, read), linearizer, doLinearize=False)
    np.testing.assert_array_equal(uncorrected.image, read.astype(np.float32))
    left = np.sqrt(np.mean((product.image - truth) ** 2))
    bent_by = np.sqrt(np.mean((uncorrected.image - truth) ** 2))
    # Curves may be drawn straight: by less than float32 sees of such pixels.
    assert bent_by > 10 * left or bent_by < 0.05


@given(bent((*SMOOTH, "LookupTable")))
def test_pixels_are_corrected_by_the_formula_of_their_type(drawn: Any) -> None:
    detector, linearizer, image = drawn
    exposure = frame(detector, image)
    product = corrected(exposure, linearizer)
    for amp in detector.amplifiers:
        curve = linearizer.amplifiers[amp.name]
        expected = formula(curve, linearizer.table, exposure.image[amp.box.slices])
        found = product.image[amp.box.slices]
        # Splines: two roundings each, and lines that may be off by 2^-26 of the nodes' range.
        assert abs(found - expected).max() <= 3 * np.spacing(np.float32(2**16 - 1)) + 2.0**-26 * 1e5


def gaps(kind: str, coeffs: Any) -> np.ndarray:
    """How far lines are from the curve at four places of each, as parts of the range they cover."""
    curve = LinearityCurve(kind, coeffs)
    table = lines_of((curve.splines,))
    x = (table.start + np.arange(0.125, table.length, 0.25)) / table.scale
    lines = np.arange(x.size) // 4 + 1
    followed = table.slopes[lines].astype(float) * x + table.intercepts[lines]
    return abs(followed - formula(curve, None, x)) * table.scale / table.length


SPLINES = st.sampled_from(["Spline", "DoubleSpline"])


@given(SPLINES.flatmap(lambda kind: st.tuples(st.just(kind), coefficients(kind))))
def test_lines_are_as_near_to_a_spline_as_they_promise(drawn: Any) -> None:
    found = gaps(*drawn)
    # Intercepts are float32, and up to a thirtieth of the range.
    rounding = 2.0**-30
    assert found.max() <= 2.0**-20 + rounding
    # Two splines have four ends, in steps with four places each.
    assert np.sort(found)[: -4 * 4].max() <= 2.0**-26 + rounding


def test_example_lines_follow_a_spline_that_breaks_off() -> None:
    """The second spline ends at 3000 with a slope of one percent."""
    found = gaps("DoubleSpline", (3, 3, 0, 30000, 60000, 0, 0, 0, 0, 1500, 3000, 0, 15, 30))
    assert 2.0**-26 < found.max() < 2.0**-20


@given(bent(("None", "Squared", "Polynomial", "Spline")))
def test_variance_grows_with_the_square_of_the_slope(drawn: Any) -> None:
    detector, linearizer, image = drawn
    product = corrected(frame(detector, image, 9.0), linearizer)
    for amp in detector.amplifiers:
        x = np.float32(image[amp.box.slices]).astype(float)
        curve = linearizer.amplifiers[amp.name]
        slope = (formula(curve, None, x + 1) - formula(curve, None, x - 1)) / 2
        # Lines have one slope per step of some adu, and a node's kink may be within it.
        np.testing.assert_allclose(product.variance[amp.box.slices], 9 * slope**2, rtol=2e-3)


@given(bent((*SMOOTH, "LookupTable")))
def test_variance_may_stay(drawn: Any) -> None:
    detector, linearizer, image = drawn
    exposure = frame(detector, image)
    scaled, left = (
        corrected(exposure, linearizer, linearity__scaleVariance=scale) for scale in (True, False)
    )
    np.testing.assert_array_equal(left.variance, exposure.variance)
    np.testing.assert_array_equal(left.image, scaled.image)


@pytest.mark.parametrize("kind", ["Squared", "LookupTable", "Spline"])
def test_noise_is_what_variance_says(kind: str) -> None:
    """Read noise of 20 adu on a curve that stretches pixels by 30 %."""
    detector = Detector.of_shape((200, 300))
    x = np.arange(60001.0)
    table = (5e-6 * x**2)[None] if kind == "LookupTable" else None
    nodes = np.linspace(0, 60000, 30)
    coeffs = {
        "Squared": (5e-6,),
        "LookupTable": (0, 0.5),
        "Spline": (*nodes, *(-5e-6 * nodes**2)),
    }[kind]
    read = 30000 + 20 * np.random.default_rng(1).standard_normal(detector.shape)
    linearizer = Linearizer({"0": LinearityCurve(kind, coeffs)}, table)
    product = corrected(frame(detector, read, 400.0), linearizer)
    pull = (product.image - formula(linearizer.amplifiers["0"], table, 30000.0)) / np.sqrt(product.variance)
    # Five standard errors of 60,000 pixels.
    assert pull.std() == pytest.approx(1, abs=5 / np.sqrt(2 * pull.size))
    assert np.sqrt(product.variance.mean()) == pytest.approx(26, rel=0.01)


CHAIN = ("doOverscan", "doAssembleCcd", "doBias", "doVariance")


@given(data=st.data())
@settings(max_examples=20)
def test_simulating_and_correcting_returns_the_sky(data: st.DataObject) -> None:
    detector = data.draw(strategies.detectors(has_overscan=True))
    linearizer = data.draw(linearizers(detector))
    truth = frame(detector, data.draw(strategies.generators()).uniform(0, 50000, detector.shape))
    task, bias = make_task(*CHAIN), frame(detector, 3.0)
    quiet = Readout(level=2000.0, has_noise=False)
    raw = simulate(task, truth, quiet, bias=bias, linearizer=linearizer).exposure
    product = task.run(raw, bias=bias, linearizer=linearizer).exposure
    # Half an adu of the converter, stretched by some percent; twice where a table leaps next to it.
    leap = 0.0 if linearizer.table is None else abs(np.diff(linearizer.table)).max(initial=0.0)
    assert abs(product.image - truth.image).max() <= 0.55 + 2 * leap + 8 * np.spacing(np.float32(2**15))


@given(bent((*SMOOTH, "LookupTable")), st.data())
def test_order_and_names_of_amplifiers_do_not_matter(drawn: Any, data: st.DataObject) -> None:
    detector, linearizer, image = drawn
    order = data.draw(st.permutations(detector.amplifiers))
    renamed = {amp.name: f"{amp.name} of {len(order)}" for amp in order}
    other = attrs.evolve(
        detector, amplifiers=tuple(attrs.evolve(amp, name=renamed[amp.name]) for amp in order)
    )
    curves = {renamed[name]: curve for name, curve in reversed(linearizer.amplifiers.items())}
    check_same(
        corrected(frame(detector, image), linearizer).pixels,
        corrected(frame(other, image), attrs.evolve(linearizer, amplifiers=curves)).pixels,
    )


@given(bent((*SMOOTH, "LookupTable")), st.data())
def test_a_changed_pixel_changes_itself_alone_and_flags_count_for_nothing(
    drawn: Any, data: st.DataObject
) -> None:
    detector, linearizer, image = drawn
    exposure = frame(detector, image)
    changed = exposure.clone()
    y, x = (data.draw(st.integers(0, n - 1)) for n in detector.shape)
    changed.image[y, x] = data.draw(st.sampled_from([np.nan, np.inf, -50.0, 70000.0]))
    changed.mask[...] = data.draw(strategies.masks(detector.shape))
    flags = changed.mask.copy()
    one, other = (corrected(e, linearizer) for e in (exposure, changed))
    np.testing.assert_array_equal(other.mask, flags)
    is_same = (one.image == other.image) & (one.variance == other.variance)
    is_same[y, x] = True
    assert is_same.all()


@given(bent((*SMOOTH, "LookupTable")), st.integers(1, 30), st.integers(1, 3))
def test_bands_and_threads_change_neither_pixels_nor_counts(drawn: Any, rows: int, threads: int) -> None:
    detector, linearizer, image = drawn
    tasks = [make_task(executor=executor) for executor in (None, Tiled(rows, threads))]
    products = [task.run(frame(detector, image), linearizer=linearizer).exposure for task in tasks]
    check_same(products[0].pixels, products[1].pixels)
    first, second = (task.linearity.metadata for task in tasks)
    assert first == second


@given(bent(("LookupTable",)))
def test_pixels_outside_the_table_are_counted_by_amplifier(drawn: Any) -> None:
    detector, linearizer, image = drawn
    image[0, 0] = np.nan
    exposure, task = frame(detector, image - 100), make_task()
    task.run(exposure, linearizer=linearizer)
    columns = linearizer.table.shape[1]
    for amp in detector.amplifiers:
        offset = np.float32(linearizer.amplifiers[amp.name].coeffs[1])
        places = np.trunc(exposure.image[amp.box.slices] + offset)
        outside = np.count_nonzero(~((places >= 0) & (places < columns)))
        assert task.linearity.metadata[f"ISR LINEARITY {amp.name} OUTSIDE"] == outside
    assert task.linearity.metadata["flagged"] == 0


@given(bent(("Squared", "Polynomial", "Spline", "DoubleSpline", "Proportional", "None")))
def test_what_the_detector_says_is_as_good_as_a_linearizer(drawn: Any) -> None:
    detector, linearizer, image = drawn
    said = {
        name: {"linearity_type": curve.type, "linearity_coeffs": (*curve.coeffs, np.nan)}
        for name, curve in linearizer.amplifiers.items()
    }
    described = detector.with_amplifiers(**said)
    check_same(
        corrected(frame(described, image)).pixels, corrected(frame(detector, image), linearizer).pixels
    )
    is_bent = any(curve.type != "None" for curve in linearizer.amplifiers.values())
    assert make_task().doLinearize(described) == is_bent
    assert not make_task(doLinearize=False).doLinearize(described)


def test_example_two_amplifiers_with_curves_of_their_own() -> None:
    detector = two_amplifiers()
    linearizer = Linearizer(
        {"left": LinearityCurve("Squared", (0.01,)), "right": LinearityCurve("LookupTable", (0, 0.5))},
        [[0, 5, 7]],
    )
    exposure = frame(detector, [[10, 20, 1, 2.6]])
    product = corrected(exposure, linearizer)
    assert product.image[0].tolist() == pytest.approx([11, 24, 6, 9.6])
    assert exposure.image[0].tolist() == pytest.approx([10, 20, 1, 2.6])


def two_amplifiers(**said: Any) -> Detector:
    """One row of two pixels each."""
    whole = Detector.of_shape((1, 4))
    (amp,) = whole.amplifiers
    left, right = (attrs.evolve(amp.box, x0=x, x1=x + 2) for x in (0, 2))
    amplifiers = tuple(
        attrs.evolve(amp, name=name, box=box, raw_box=box, raw_data_box=box)
        for name, box in (("left", left), ("right", right))
    )
    return attrs.evolve(whole, amplifiers=amplifiers, name="pair", serial="7").with_amplifiers(**said)


def reason(detector: Detector, linearizer: Any = None) -> str:
    """Why the step is skipped."""
    skipped = make_task().plan(frame(detector, 1.0), linearizer=linearizer).skipped
    return next(planned.reason for planned in skipped if planned.spec.name == "linearity")


def test_amplifiers_of_type_none_are_nothing_to_do() -> None:
    padding = {"linearity_coeffs": (1.0, np.nan, np.nan, np.nan)}
    detector = two_amplifiers(left=padding, right=padding)
    assert reason(detector) == "every amplifier of the detector has linearity type 'None'"
    straight = Linearizer(dict.fromkeys(("left", "right"), LinearityCurve()))
    bent_detector = two_amplifiers(left={"linearity_type": "Squared", "linearity_coeffs": (1e-6,)})
    assert reason(detector, straight) == "every amplifier of the linearizer has linearity type 'None'"
    # All amplifiers count, not the first alone (behaviour §2.10).
    second = two_amplifiers(right={"linearity_type": "Squared", "linearity_coeffs": (1e-6,)})
    for bent_one in (bent_detector, second):
        assert make_task().doLinearize(bent_one)
        assert "linearity" in [p.spec.name for p in make_task().plan(frame(bent_one, 1.0)).steps]


def problems_of(detector: Detector, linearizer: Any = None) -> str:
    with pytest.raises(PlanError) as caught:
        make_task().run(frame(detector, 1.0), linearizer=linearizer)
    assert isinstance(caught.value, RuntimeError)
    return str(caught.value)


def test_unknown_types_of_a_detector_are_named_before_any_pixel_is_touched() -> None:
    told = problems_of(two_amplifiers(right={"linearity_type": "Cubist"}))
    assert "amplifier 'right': its type 'Cubist' is unknown; known are 'None', 'Proportional'" in told
    assert "give a linearizer, or set doLinearize = false" in told


def test_everything_that_is_wrong_with_a_linearizer_is_told_at_once() -> None:
    detector = two_amplifiers(right={"linearity_type": "Squared", "linearity_coeffs": (1e-6,)})
    foreign = Linearizer(
        {
            "middle": LinearityCurve(),
            "left": LinearityCurve(box=detector["right"].box),
            "right": LinearityCurve("Polynomial", (1e-6,)),
        },
        detector_name="other",
        serial="8",
    )
    told = problems_of(detector, foreign)
    assert "step 'linearity' cannot use 'linearizer': linearizer is not for 'pair'" in told
    for sentence in (
        "it is of detector 'other', not 'pair'",
        "it is of serial number '8', the detector has '7'",
        "it has 3 amplifiers, the detector 2",
        "the detector has no 'middle'",
        "its amplifier 'left' is at [3:4,1:1], that of the detector at [1:2,1:1]",
        "amplifier 'right' is 'Polynomial', the detector says 'Squared'",
    ):
        assert sentence in told


def test_a_bare_table_is_the_lookup_table_of_a_detector_that_says_its_rows() -> None:
    lookup = {"linearity_type": "LookupTable"}
    detector = two_amplifiers(
        left={**lookup, "linearity_coeffs": (1.0, 0.0)}, right={**lookup, "linearity_coeffs": (0.0, 0.0)}
    )
    product = corrected(frame(detector, [[0, 1, 0, 1]]), np.float32([[1, 2, 3], [10, 20, 30]]))
    assert product.image.tolist() == [[10, 21, 1, 3]]
    # One past the last row is not a row (behaviour §9, fault 36).
    assert "amplifier 'left': row 1 is not among the table's 1 rows" in problems_of(detector, [[1, 2, 3]])
    assert "no amplifier is of type 'LookupTable'" in problems_of(two_amplifiers(), np.ones((1, 3)))
    assert "needs a table, there is none" in problems_of(detector)


def test_zero_coefficients_linearize_nothing_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    linearizer = Linearizer(dict.fromkeys(("left", "right"), LinearityCurve("Squared", (0.0,))))
    product = corrected(frame(two_amplifiers(), 5.0), linearizer)
    assert product.image.tolist() == [[5, 5, 5, 5]]
    assert not product.measured["linearity"]["left"].is_applied
    assert "amplifier left is not linearized: its coefficients are zero" in caplog.text


def test_what_was_linearized_is_not_linearized_again() -> None:
    linearizer = Linearizer(dict.fromkeys(("left", "right"), LinearityCurve("Squared", (0.01,))))
    once = corrected(frame(two_amplifiers(), 5.0), linearizer)
    with pytest.raises(PlanError, match="step 'linearity' must not run twice"):
        corrected(once, linearizer)
