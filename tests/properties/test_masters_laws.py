"""Laws of combining frames into masters."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from isrcore import VisitInfo
from isrcore_calib import Combined, Frame, Rule, combine, make_master
from isrcore_calib.master import Input
from isrcore_calib.rules import combine_values, median_noise
from isrcore_calib.selection import medians
from isrcore_simulated import CAMERA

DETECTOR = CAMERA["sim0"]
SIZE = st.tuples(st.integers(1, 9), st.integers(1, 7), st.integers(1, 5))
VALUES = st.integers(-200, 200).map(lambda number: number / 4)
LAW = settings(max_examples=60, deadline=None)


@st.composite
def stacks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Values, some of them NaN or far away, and variances; shape (n, ny, nx), multiples of 1/4."""
    size = draw(SIZE)
    values = draw(arrays.arrays(np.float32, size, elements=VALUES))
    far = draw(arrays.arrays(np.bool_, size, elements=st.integers(0, 5).map(lambda number: number == 0)))
    gone = draw(arrays.arrays(np.bool_, size, elements=st.integers(0, 5).map(lambda number: number == 0)))
    values = np.where(far, values + np.float32(4096), values)
    variances = draw(arrays.arrays(np.float32, size, elements=st.integers(1, 400).map(lambda n: n / 4)))
    return np.where(gone, np.float32(np.nan), values), variances


def frames_of(values: np.ndarray, variances: np.ndarray) -> list[Frame]:
    return [Frame.of(np.stack(pair)) for pair in zip(values, variances, strict=True)]


def assert_equal(one: Combined, other: Combined) -> None:
    for name in ("image", "variance", "number"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def combine_pixel(values: list[float], variances: list[float], typical: list[float], num_sigma: float):
    """The rule as the docstring tells it, for one pixel."""
    usable = [i for i, value in enumerate(values) if not np.isnan(value)]
    if not usable:
        return np.nan, np.nan, 0
    centre = np.median([values[i] for i in usable])
    deviation = {i: abs(values[i] - centre) / np.sqrt(typical[i]) for i in usable}
    sigma = np.sqrt(np.mean([variances[i] / typical[i] for i in usable]))
    if len(usable) >= 5:
        sigma = max(sigma, 1.4826 * np.median(list(deviation.values())))
    kept = [i for i in usable if deviation[i] <= num_sigma * sigma]
    if not kept:
        return np.nan, np.nan, 0
    number = len(kept)
    return np.mean([values[i] for i in kept]), sum(variances[i] for i in kept) / number**2, number


@LAW
@given(stacks())
def test_every_pixel_follows_the_rule(stack):
    values, variances = stack
    typical = np.array([frame.typical_variance for frame in frames_of(*stack)], np.float32)
    # An odd threshold, so that no deviation lies on it but for rounding.
    found = combine_values(values, variances, typical, Rule(num_sigma=2.9173))
    for place in np.ndindex(values.shape[1:]):
        column = (slice(None), *place)
        wanted = combine_pixel(values[column].tolist(), variances[column].tolist(), typical.tolist(), 2.9173)
        got = [float(plane[place]) for plane in found]
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


@LAW
@given(stacks(), st.integers(1, 5000))
def test_the_height_of_bands_changes_nothing(stack, memory):
    frames = frames_of(*stack)
    assert_equal(combine(frames, memory=memory), combine(frames))


@LAW
@given(stacks(), st.randoms(use_true_random=False))
def test_the_order_of_the_inputs_changes_nothing(stack, random):
    frames = frames_of(*stack)
    shuffled = frames.copy()
    random.shuffle(shuffled)
    assert_equal(combine(shuffled), combine(frames))


@settings(max_examples=20, deadline=None)
@given(stacks())
def test_frames_on_disk_are_frames_in_memory(stack):
    with tempfile.TemporaryDirectory() as folder:
        stored = [
            Frame.of(np.stack(pair), Path(folder) / f"{number}.npy")
            for number, pair in enumerate(zip(*stack, strict=True))
        ]
        assert_equal(combine(stored), combine(frames_of(*stack)))


@LAW
@given(stacks(), st.integers(-6, 6))
def test_scaling_all_frames_by_a_power_of_two_scales_the_result(stack, power):
    scale = 2.0**power
    frames = frames_of(*stack)
    plain = combine(frames)
    scaled = combine([frame.scaled(scale) for frame in frames])
    assert_equal(
        scaled,
        attrs.evolve(
            plain, image=plain.image * np.float32(scale), variance=plain.variance * np.float32(scale**2)
        ),
    )


@LAW
@given(stacks(), st.integers(-1000, 1000))
def test_a_pedestal_stays_a_pedestal(stack, pedestal):
    values, variances = stack
    plain = combine(frames_of(values, variances))
    raised = combine(frames_of(values + np.float32(pedestal), variances))
    np.testing.assert_array_equal(raised.number, plain.number)
    np.testing.assert_array_equal(raised.variance, plain.variance)
    # Means are rounded to float32 at different heights.
    np.testing.assert_allclose(raised.image, plain.image + np.float32(pedestal), rtol=1e-6, atol=1e-3)


@LAW
@given(stacks(), st.floats(-1e6, 1e6))
def test_what_must_not_be_used_does_not_matter(stack, value):
    values, variances = stack
    is_gone = np.isnan(values)
    other = np.where(is_gone, np.float32(abs(value)), variances)
    typical = np.ones(len(values), np.float32)
    for one, two in zip(
        combine_values(values, variances, typical, Rule()),
        combine_values(values, other, typical, Rule()),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


@LAW
@given(stacks())
def test_the_mean_lies_among_the_values_and_is_better_than_each(stack):
    values, variances = stack
    found = combine(frames_of(values, variances))
    some = found.number > 0
    with np.errstate(invalid="ignore"):
        low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
    assert np.all((found.image >= low)[some] & (found.image <= high)[some])
    assert np.all(found.variance[some] <= variances.max() / found.number[some] * np.float32(1.000001))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["bias", "dark", "flat"]),
    st.lists(st.tuples(st.integers(100, 900), st.integers(60, 600)), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_the_order_of_files_changes_nothing_in_a_master(kind, kinds, random):
    inputs = []
    for number, (level, time) in enumerate(kinds):
        rng = np.random.default_rng((number, level))
        planes = np.stack([rng.normal(level, 3, (4, 5)), np.full((4, 5), 9.0)]).astype(np.float32)
        visit = VisitInfo(dark_s=time, exposure_s=time)
        inputs.append(Input(f"{number}.fits", str(number), visit, Frame.of(planes), float(level)))
    one = make_master(kind, inputs, "simulated", DETECTOR)
    random.shuffle(inputs)
    two = make_master(kind, inputs, "simulated", DETECTOR)
    np.testing.assert_array_equal(one.exposure.image, two.exposure.image)
    np.testing.assert_array_equal(one.exposure.variance, two.exposure.variance)
    np.testing.assert_array_equal(one.exposure.mask, two.exposure.mask)
    assert one.exposure.visit.dark_s == two.exposure.visit.dark_s
    assert [used.path for used in one.inputs] == [used.path for used in two.inputs]


@LAW
@given(stacks(), st.lists(st.integers(0, 4), min_size=9, max_size=9))
def test_flats_of_any_level_count_alike(stack, powers):
    """A brighter flat, divided by its level, is the same flat (levels are powers of two, so exactly)."""
    scales = [2.0**power for power in powers[: len(stack[0])]]
    brighter = [
        Frame.of(np.stack([image * np.float32(scale), variance * np.float32(scale**2)]))
        for image, variance, scale in zip(*stack, scales, strict=True)
    ]
    scaled = [frame.scaled(1 / scale) for frame, scale in zip(brighter, scales, strict=True)]
    assert_equal(combine(scaled), combine(frames_of(*stack)))


@LAW
@given(st.integers(1, 6), st.floats(0.5, 500))
def test_normalising_a_flat_keeps_its_relative_noise(count, level):
    planes = np.stack([np.full((4, 5), level), np.full((4, 5), 0.01 * level**2)]).astype(np.float32)
    inputs = [Input(f"{n}.fits", str(n), VisitInfo(), Frame.of(planes)) for n in range(count)]
    master = make_master("flat", inputs, "simulated", DETECTOR).exposure
    np.testing.assert_allclose(master.image, 1, rtol=1e-6)
    np.testing.assert_allclose(master.variance, 0.01 / count, rtol=1e-5)


RULES = [Rule("mean"), Rule("median"), Rule(), Rule("mean", is_weighted=True), Rule(is_weighted=True)]
ANY = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 12), st.just(2), st.integers(1, 5)),
    elements=st.floats(-1e6, 1e6, width=32) | st.sampled_from([np.nan, np.inf, -np.inf, -0.0]),
)


def frames_of_any(values: np.ndarray) -> list[Frame]:
    """Frames with variances that differ from frame to frame and pixel to pixel, and scales."""
    spread = np.arange(1, values.size + 1, dtype=np.float32).reshape(values.shape)
    frames = [Frame.of(np.stack(pair)) for pair in zip(values, spread, strict=True)]
    return [frame.scaled(1 + 0.1 * (number % 3)) for number, frame in enumerate(frames)]


@given(
    ANY, st.sampled_from(RULES), st.randoms(use_true_random=False), st.integers(1, 3), st.integers(1, 20000)
)
def test_neither_order_nor_threads_nor_memory_change_a_bit(values, rule, random, threads, memory):
    frames = frames_of_any(values)
    shuffled = frames.copy()
    random.shuffle(shuffled)
    one, other = combine(frames, rule), combine(shuffled, rule, threads=threads, memory=memory)
    for name in ("image", "variance", "number"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


@given(ANY, st.sampled_from(RULES[:2] + RULES[3:4]))
def test_means_and_medians_are_those_of_numpy_on_the_whole_stack(values, rule):
    frames = frames_of_any(values)
    stack = np.stack([frame.planes[0] * np.float32(frame.scale) for frame in frames]).astype(np.float64)
    variances = np.stack([frame.planes[1] * np.float32(frame.scale) ** 2 for frame in frames]).astype(float)
    counts = np.isfinite(stack)
    weights = [1 / frame.typical_variance if rule.is_weighted else 1.0 for frame in frames]
    weight = np.where(counts, np.array(weights)[:, None, None], 0)
    safe = np.where(counts, stack, 0)
    found, some = combine(frames, rule), counts.any(axis=0)
    np.testing.assert_array_equal(found.number, counts.sum(axis=0))
    assert np.isnan(found.image[~some]).all()
    with np.errstate(invalid="ignore"):
        image = (safe * weight).sum(axis=0) / weight.sum(axis=0)
        variance = (variances * weight**2).sum(axis=0) / weight.sum(axis=0) ** 2
    # Values of opposite sign may cancel: what is left of their rounding is relative to them.
    close = {"rtol": 1e-5, "atol": 1e-6 * np.abs(safe).max()}
    if rule.method == "median":
        image = np.ma.median(np.ma.array(stack, mask=~counts), axis=0).filled(np.nan)
        variance = variance * np.vectorize(median_noise)(counts.sum(axis=0))
    np.testing.assert_allclose(found.image[some], image[some], **close)
    np.testing.assert_allclose(found.variance[some], variance[some], rtol=1e-5)


@given(st.integers(1, 200))
def test_networks_find_the_middle(count):
    values = np.random.default_rng(count).normal(0, 1, (count, 50)).astype(np.float32)
    found = medians(values, None, np.empty((count + 1, 50), np.float32))
    np.testing.assert_allclose(found, np.median(values, axis=0), rtol=1e-6, atol=1e-7)


@given(stacks(), st.data())
def test_a_value_that_is_no_number_spoils_no_other_pixel(stack, data):
    values, variances = stack
    place = tuple(data.draw(st.integers(0, side - 1)) for side in values.shape)
    spoilt = values.copy()
    spoilt[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    rule, typical = data.draw(st.sampled_from(RULES)), np.ones(len(values), np.float32)
    one, other = (combine_values(each, variances, typical, rule) for each in (values, spoilt))
    beside = np.ones(values.shape[1:], bool)
    beside[place[1:]] = False
    for plane, same in zip(one, other, strict=True):
        np.testing.assert_array_equal(plane[beside], same[beside])
    gone = values.copy()
    gone[place] = np.nan
    for plane, same in zip(combine_values(gone, variances, typical, rule), other, strict=True):
        np.testing.assert_array_equal(plane, same)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9, 10, 15, 30])
def test_the_variance_of_a_median_is_what_medians_scatter(count):
    values = np.random.default_rng(count).normal(0, 1, (count, 40_000))
    # The variance of 40000 medians is known to 0.7 %, the factor to 2 %.
    assert np.var(np.median(values, axis=0)) * count == pytest.approx(median_noise(count), rel=0.04)


def test_weights_favour_the_quiet_frames():
    frames = [Frame.of(np.stack([np.full((2, 3), x), np.full((2, 3), v)])) for x, v in ((0, 1.0), (10, 4.0))]
    found = combine(frames, Rule("mean", is_weighted=True))
    # Weights 1 and 1/4: the mean is 2, the variance (1 + 4/16) / (5/4)².
    np.testing.assert_allclose(found.image, 2.0)
    np.testing.assert_allclose(found.variance, 0.8)


def test_rules_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match="method 'mode' is none of mean, median, clipped; num_sigma 0 must"):
        Rule("mode", 0)
    with pytest.raises(ValueError, match="a median has no weights"):
        Rule("median", is_weighted=True)


def test_sums_that_depend_on_the_order_do_not():
    # In float64 2^60 + 1 - 2^60 is 0, and 2^60 - 2^60 + 1 is 1.
    frames = [Frame.of(np.full((2, 1, 1), value, np.float32)) for value in (2.0**60, 1.0, -(2.0**60))]
    found = {combine(list(some), Rule("mean")).image.item() for some in itertools.permutations(frames)}
    assert len(found) == 1


@pytest.mark.parametrize("rule", RULES)
def test_zero_has_one_sign(rule):
    frames = [Frame.of(np.array([[[value]], [[1.0]]], np.float32)) for value in (-0.0, -0.0, 0.0)]
    assert not np.signbit(combine(frames, rule).image).any()
    assert not np.signbit(combine(frames[:1], rule).image).any()
