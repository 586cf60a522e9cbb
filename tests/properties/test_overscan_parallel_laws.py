"""Laws: a parallel level after the serial one, frames whose level jumps, and their independent model."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st

from isrcore import (
    Exposure,
    MaskedImage,
    Readout,
    simulate,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore_standard.overscan_fit import FIT_TYPES
from tests.effects.overscan import add_offsets
from tests.forward_model import expose
from tests.overscan_frames import (
    BOTH,
    GAIN,
    LEFT,
    OFFSETS,
    PAIR,
    RIGHT,
    drift,
    layout,
    modelled,
    overscanned,
    raw,
    task,
)

COUNT = 200


@pytest.mark.parametrize(
    ("first", "second"),
    [("MEAN_PER_ROW", "MEAN_PER_ROW"), ("POLY", "MEAN_PER_ROW"), ("MEAN_PER_ROW", "POLY")],
)
def test_the_variance_of_two_levels_is_predicted(first, second):
    # Six pixels often lie far from their median in units of their own quartiles: none is to be rejected.
    levels = {"fitType": first, "order": 2, "parallel__fitType": second, "parallel__order": 2}
    chain = task(doParallel=True, numSigmaClip=20.0, parallel__numSigmaClip=20.0, **levels)
    images, variances = [], []
    rng = np.random.default_rng(5)
    sigma = np.zeros(PAIR.raw_shape)
    for amp in PAIR.amplifiers:
        sigma[amp.raw_box.slices] = amp.read_noise / amp.gain
    for _ in range(COUNT):
        frame = raw(PAIR, 1000 + rng.normal(0, 1, PAIR.raw_shape) * sigma)
        product = chain.run(frame).exposure
        images.append(product.image)
        variances.append(product.variance)
    ratio = np.var(images, axis=0, ddof=1) / np.mean(variances, axis=0)
    # Pixels of a column share its level, and each of 60 columns is an independent sample at least.
    assert ratio.mean() == pytest.approx(1, abs=5 * np.sqrt(2 / (COUNT - 1) / 60))
    # Row by row and column by column, so that an operand along the wrong axis is seen: six overscan rows.
    for axis in (0, 1):
        np.testing.assert_allclose(ratio.mean(axis=axis), 1, atol=5 * np.sqrt(2 / (COUNT - 1)) / 3)


def pulls(product: Exposure, truth: Any) -> Any:
    return ((product.image - truth) / np.sqrt(product.variance)).astype(np.float64)


def assert_within_noise(product: Exposure, truth: Any) -> None:
    found = pulls(product, truth)
    # 3600 pixels; 60 columns share the noise of a level that six rows tell, a seventh of the variance.
    assert abs(found.mean()) < 5 * np.sqrt(1 / found.size + 1 / 7 / 60)
    assert found.std() == pytest.approx(1, abs=5 / np.sqrt(2 * found.size) + 0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_sky_of_the_independent_model_is_found(seed):
    sky = np.random.default_rng(seed).uniform(900, 1100, PAIR.shape)
    frame = modelled(sky, seed, **OFFSETS)
    assert_within_noise(task(**BOTH).run(frame).exposure, sky / GAIN)
    plain = task(fitType="POLY", order=2).run(frame).exposure
    assert pulls(plain, sky / GAIN).std() > 1.5
    assert_within_noise(task(fitType="POLY", order=4).run(modelled(sky, seed)).exposure, sky / GAIN)


def test_without_noise_the_error_is_ten_times_smaller_with_it():
    model = layout(PAIR, 1000.0)
    for amp in model["amplifiers"].values():
        amp["read_noise"] = 0.0
    frame, _ = expose(model, 0.0)
    shifted = add_offsets(frame.astype(np.float64), model["amplifiers"].values(), **OFFSETS)
    exposure = attrs.evolve(raw(PAIR, shifted), header=Header([("CCD", "jumper")]))
    errors = [np.abs(t.run(exposure).exposure.image).max() for t in (task(**BOTH), task(fitType="MEAN"))]
    assert errors[0] < 0.01
    assert errors[1] > 10 * errors[0]


@pytest.mark.parametrize("has_noise", [True, False])
def test_simulated_offsets_are_removed(has_noise):
    sky = np.random.default_rng(4).uniform(900, 1100, PAIR.shape) / GAIN
    facts = frozenset({"assembled"})
    truth = Exposure(MaskedImage.from_image(sky.astype(np.float32)), PAIR, facts=facts)
    truth.header["CCD"] = "jumper"
    chain = task(**BOTH)
    made = simulate(chain, truth, Readout(1000.0, 15.0, has_noise=has_noise, **OFFSETS), seed=9).exposure
    product = chain.run(made).exposure
    if has_noise:
        assert_within_noise(product, sky)
    else:
        # Half an adu of the converter in every pixel, and a tenth of it in levels of many; the cosine of
        # 66 rows is no parabola, by 0.3 adu.
        assert np.abs(product.image - sky).max() < 1.5
    assert np.abs(task(fitType="MEAN").run(made).exposure.image - sky).max() > 20


def test_the_independent_model_has_the_simulated_offsets():
    quiet = {"A": {"read_noise": 0.0}, "B": {"read_noise": 0.0}}
    detector = PAIR.with_amplifiers(**quiet)
    truth = Exposure(
        MaskedImage.from_image(np.zeros(PAIR.shape, np.float32)), detector, facts=frozenset({"assembled"})
    )
    made = simulate(task(), truth, Readout(1000.0, has_noise=False, **OFFSETS)).exposure.image
    level = add_offsets(np.full(PAIR.raw_shape, 1000.0), layout(PAIR, 0.0)["amplifiers"].values(), **OFFSETS)
    np.testing.assert_array_equal(made, np.floor(level + 0.5))


@given(st.data())
@settings(max_examples=40)
def test_a_parallel_level_after_the_serial_one_is_two_corrections(data):
    fits = data.draw(st.tuples(st.sampled_from(FIT_TYPES), st.sampled_from(FIT_TYPES)))
    orders = data.draw(st.tuples(st.integers(3, 6), st.integers(3, 6)))
    rng = data.draw(strategies.generators())
    frame = raw(PAIR, np.rint(drift(PAIR, lambda t: 1000 + 30 * t) + rng.normal(0, 3, PAIR.raw_shape)))
    first, second = (
        {"fitType": fit, "order": order, "isInt": False} for fit, order in zip(fits, orders, strict=True)
    )
    parallel = {f"parallel__{name}": value for name, value in second.items()}
    at_once = overscanned(task(**first, doParallel=True, **parallel), frame)
    # The serial overscan goes on beside the parallel one.
    tall = [
        attrs.evolve(a, serial_overscan_box=attrs.evolve(a.serial_overscan_box, y1=66)) for a in (LEFT, RIGHT)
    ]
    one = overscanned(task(**first), attrs.evolve(frame, detector=attrs.evolve(PAIR, amplifiers=tuple(tall))))
    both = overscanned(task(**second, region="parallel"), attrs.evolve(one, detector=PAIR))
    check_same(at_once.pixels, both.pixels)


def test_both_levels_and_their_noise_are_told():
    # A pattern of columns would be noise in the serial overscan.
    frame = modelled(500.0, 6, jump=60.0, jump_row=25)
    chain = task(**BOTH)
    product = chain.run(frame).exposure
    metadata, header = chain.overscan.metadata, product.header
    assert header["OVERSCAN"] == "Overscan corrected"
    found = product.measured["overscan"]["B"]
    for kind, level in (("", found.first), ("PARALLEL ", found.overscans[1])):
        assert metadata[f"ISR OSCAN B {kind}MEDIAN"] == pytest.approx(np.median(level.levels))
        assert (
            header[f"ISR_OSCAN_{kind.strip()}{'_' * bool(kind)}LEVELB"]
            == metadata[f"ISR OSCAN B {kind}MEDIAN"]
        )
        assert (
            header[f"ISR_OSCAN_{kind.strip()}{'_' * bool(kind)}SIGMAB"]
            == metadata[f"ISR OSCAN B {kind}STDEV"]
        )
    for amp in PAIR.amplifiers:
        # 1056 overscan pixels, whose digitisation adds 1/12 adu² to their noise.
        noise = math.sqrt((amp.read_noise / amp.gain) ** 2 + 1 / 12)
        assert metadata[f"ISR OSCAN {amp.name} NOISE ADU"] == pytest.approx(
            noise, rel=5 / math.sqrt(2 * 1056)
        )
        electrons = metadata[f"ISR OSCAN {amp.name} NOISE ELECTRON"]
        assert electrons == metadata[f"ISR OSCAN {amp.name} NOISE ADU"] * amp.gain


@pytest.mark.parametrize(("threshold", "grow"), [(500.0, 0), (500.0, 3), (100000.0, 3)])
def test_what_bleeds_into_the_parallel_overscan_is_flagged_with_its_surroundings(threshold, grow):
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    frame.image[63, 10] = 1000 + threshold * 0.99 if threshold > 1e4 else 1501
    frame.image[62, 20] = 1499
    chain = task(
        doParallel=True,
        parallel__fitType="MEAN_PER_ROW",
        parallel__maskThreshold=threshold,
        parallel__maskGrowSize=grow,
        parallel__maxDev=1e6,
    )
    done = overscanned(chain, frame)
    y, x = np.mgrid[:66, :92]
    near = (abs(y - 63) + abs(x - 10) <= grow) & (y >= 60) & (x < 30)
    expected = near if threshold < 1e4 else np.zeros_like(near)
    np.testing.assert_array_equal(done.pixels.flagged("SAT"), expected)
