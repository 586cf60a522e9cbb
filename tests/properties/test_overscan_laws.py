"""Laws: the offset is found whatever its shape; what is masked has no say; guesses are flagged."""

from __future__ import annotations

import logging
import math
from typing import Any

import attrs
import numpy as np
import pytest
from astropy.io.fits import Header
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import Legendre

from isrcore import (
    Amplifier,
    Box,
    ConfigError,
    Detector,
    Exposure,
    IsrTask,
    PlanError,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.mirror import Mirror
from isrcore_standard import overscan_fit
from isrcore_standard.overscan_fit import FIT_TYPES, NUMBERS, PER_LINE, POLYNOMIALS, SPLINES
from tests.overscan_frames import (
    JUMPING,
    LEFT,
    PAIR,
    REGISTRY,
    STACK,
    UPPER,
    data_of,
    drift,
    overscanned,
    raw,
    task,
)

ALONG = (*PER_LINE, *POLYNOMIALS, *SPLINES)

coefficients = st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=7)


@given(coefficients, st.sampled_from(POLYNOMIALS), st.sampled_from([PAIR, STACK]))
@settings(max_examples=40)
def test_a_polynomial_pedestal_is_removed_by_one_of_its_degree(numbers, fit_type, detector):
    frame = raw(detector, drift(detector, Legendre([1000.0, *numbers])))
    done = overscanned(task(fitType=fit_type, order=max(len(numbers), 1)), frame)
    # Pixels are float32 numbers of at most 2^11: each holds half a unit in its last place of rounding.
    rounding = np.spacing(np.float32(2**11))
    for amp in detector.amplifiers:
        assert np.abs(data_of(done, amp)).max() <= 4 * rounding


@pytest.mark.parametrize("fit_type", ALONG)
def test_without_it_the_error_is_ten_times_larger(fit_type):
    rng = np.random.default_rng(8)
    frame = raw(PAIR, drift(PAIR, lambda t: 1000 + 80 * np.cos(2 * t) + 30 * t))
    frame.image[...] += rng.normal(0, 1, frame.shape).astype(np.float32)
    errors = {}
    for name in ("MEAN", fit_type):
        done = overscanned(task(fitType=name, order=12 if name in SPLINES else 5), frame)
        errors[name] = max(data_of(done, amp).mean(axis=1).std() for amp in PAIR.amplifiers)
    # The mean of 30 pixels of noise 1, less the level from 16 of them, scatters by 0.31; curves miss a bit.
    assert errors[fit_type] < 0.45
    assert errors["MEAN"] > 10 * errors[fit_type]


@given(st.data())
def test_masked_overscan_pixels_change_no_pixel_of_the_data(data):
    config = data.draw(strategies.configs(REGISTRY, doOverscan=True, doAssembleCcd=False))
    detector = data.draw(strategies.detectors(has_overscan=True))
    exposure = data.draw(strategies.raw_exposures(detector))
    rng = data.draw(strategies.generators())
    mask = np.zeros(exposure.shape, np.int32)
    for amp in detector.amplifiers:
        for box in (amp.serial_overscan_box, amp.parallel_overscan_box):
            mask[box.slices] = rng.choice([0, 0, 0, 1, 2], box.shape)
    first = raw(detector, exposure.image, mask)
    second = first.clone()
    # Not so bright that saturated pixels are a bleed trail, which grows.
    second.image[mask != 0] = rng.choice([-1e6, 0.0, 65535.0], int(np.count_nonzero(mask)))
    second.image[mask == 1] *= 10
    chain = IsrTask(config=config, registry=REGISTRY)
    results = [outcome(chain, frame) for frame in (first, second)]
    if any(isinstance(result, str) for result in results):
        assert results[0] == results[1]
        return
    for amp in detector.amplifiers:
        box = amp.raw_data_box
        check_same(results[0].pixels.window(box), results[1].pixels.window(box))


def outcome(chain: IsrTask, exposure: Exposure) -> Any:
    """The corrected frame, or why there is none."""
    try:
        return overscanned(chain, exposure)
    except RuntimeError as fault:
        assert "no usable overscan pixel" in str(fault)  # noqa: PT017
        return str(fault)


@given(st.data(), st.sampled_from(ALONG))
def test_exactly_the_extrapolated_rows_are_suspect(data, fit_type):
    detector = data.draw(st.sampled_from([PAIR, STACK]))
    rng = data.draw(strategies.generators())
    frame = raw(detector, 1000 + rng.normal(0, 3, detector.raw_shape))
    expected = np.zeros(frame.shape, bool)
    for amp in detector.amplifiers:
        rows = rng.random(60) < 0.3
        low, high = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 9))
        rows[:low] = rows[60 - high :] = True
        rows[30] = False
        frame.mask[amp.serial_overscan_box.slices][rows] = frame.planes.value("SAT")
        known = np.flatnonzero(~rows)
        box = amp.raw_data_box
        expected[box.slices][: known[0]] = expected[box.slices][known[-1] + 1 :] = True
    chain = task(fitType=fit_type, order=3, doSaturation=False)
    done = overscanned(chain, frame)
    np.testing.assert_array_equal(done.pixels.flagged("SUSPECT"), expected)
    product = chain.run(frame).exposure
    for amp in detector.amplifiers:
        np.testing.assert_array_equal(
            product.pixels.flagged("SUSPECT")[amp.box.slices], amp.gather().read(expected)
        )
    for amp in detector.amplifiers:
        struct = chain.overscanCorrection(frame.clone(), amp)
        np.testing.assert_array_equal(struct.edgeMask, expected[amp.raw_data_box.slices].any(axis=1))


@pytest.mark.parametrize("fit_type", NUMBERS)
def test_one_level_extrapolates_nothing(fit_type):
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    frame.mask[:20, 30:62] = frame.planes.value("SAT")
    chain = task(fitType=fit_type)
    assert not overscanned(chain, frame).pixels.flagged("SUSPECT").any()
    assert chain.plan(frame).planes.isdisjoint({"SUSPECT"})


# The jump is in raw row 20. B is stored from its readout corner too, C from the opposite one.
JUMPS = [
    (PAIR, 20),
    (attrs.evolve(STACK, amplifiers=(LEFT,)), 20),
    (attrs.evolve(STACK, amplifiers=(UPPER,)), 112),
]


@pytest.mark.parametrize("fit_type", FIT_TYPES)
@pytest.mark.parametrize(("detector", "row"), JUMPS, ids=["corners", "stored first", "stored last"])
def test_every_segment_of_a_jumping_frame_is_found_and_told(fit_type, detector, row):
    amp = detector.amplifiers[0]
    frame = raw(detector, np.full(detector.raw_shape, 1000.0))
    frame.image[row:] += 300
    frame.header["CCD"] = "jumper"
    chain = task(fitType=fit_type, order=3, **JUMPING, biasJump__location=20)
    done = overscanned(chain, frame)
    for one in detector.amplifiers:
        np.testing.assert_allclose(data_of(done, one), 0, atol=1e-3)
    found = done.measured["overscan"][amp.name].first
    assert [round(np.median(segment.levels), 6) for segment in found.segments] == [1000, 1300]
    assert [segment.box.y1 - segment.box.y0 for segment in found.segments] in ([20, 40], [40, 20])
    for number, level in ((1, 1000), (2, 1300)):
        assert done.header[f"ISR_OSCAN_SEGMENT{number}_LEVEL{amp.name}"] == pytest.approx(level)
        assert done.header[f"ISR_OSCAN_SEGMENT{number}_SIGMA{amp.name}"] == pytest.approx(0, abs=1e-9)
        name = f"ISR OSCAN {amp.name} SEGMENT{number} MEDIAN"
        assert chain.overscan.metadata[name] == pytest.approx(level)
    without = overscanned(task(fitType="MEDIAN"), frame)
    assert np.abs(data_of(without, amp)).max() > 100


@pytest.mark.parametrize("header", [{}, {"CCD": "other"}, {"OTHER": "jumper"}])
def test_frames_of_other_devices_do_not_jump(header):
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    frame.header = Header(list(header.items()))
    chain = task(fitType="MEAN", **JUMPING, biasJump__location=20)
    assert len(overscanned(chain, frame).measured["overscan"]["A"].first.segments) == 1


@pytest.mark.parametrize("location", [0, 60, 100])
def test_a_jump_outside_the_data_is_refused(location):
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    frame.header["CCD"] = "jumper"
    with pytest.raises(PlanError, match=f"biasJump.location is {location}, it must be 1 to 59"):
        task(**JUMPING, biasJump__location=location).run(frame)


def test_one_level_has_no_scatter_and_quality_control_may_be_silent():
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    chain = task(fitType="MEAN")
    product = chain.run(frame).exposure
    assert math.isnan(chain.overscan.metadata["ISR OSCAN A STDEV"])
    assert product.header["ISR_OSCAN_SIGMAA"] == 0
    silent = task(fitType="MEAN", qa__saveStats=False)
    assert silent.run(frame).exposure.header["ISR_OSCAN_LEVELA"] == 1000
    assert "ISR OSCAN A MEDIAN" not in silent.overscan.metadata


@given(st.data())
@settings(max_examples=30)
def test_amplifiers_have_no_say_in_each_other_and_names_none_at_all(data):
    detector = data.draw(strategies.detectors(has_overscan=True))
    config = data.draw(
        strategies.configs(
            REGISTRY,
            doOverscan=True,
            doAssembleCcd=True,
            assembly__doTrim=True,
            gains__normalize=False,
            flat__scalingType="USER",
        )
    )
    exposure = data.draw(strategies.raw_exposures(detector))
    order = data.draw(st.permutations(detector.amplifiers))
    renamed = tuple(attrs.evolve(amp, name=f"{number}{amp.name}") for number, amp in enumerate(order))
    other = attrs.evolve(exposure.share(), detector=attrs.evolve(detector, amplifiers=renamed))
    chain = IsrTask(config=config, registry=REGISTRY)
    first, second = (overscanned(chain, frame_of(e)) for e in (exposure, other))
    check_same(first.pixels, second.pixels)


def frame_of(exposure: Exposure) -> Exposure:
    return attrs.evolve(raw(exposure.detector, exposure.image), header=exposure.header)


@given(st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()), st.data())
@settings(max_examples=60)
def test_long_overscans_mirror_too(mirror, data):
    fit_type = data.draw(st.sampled_from(FIT_TYPES))
    frame = raw(PAIR, drift(PAIR, lambda t: 1000 + 30 * t**2))
    frame.image[...] += (
        data.draw(strategies.generators()).normal(0, 3, frame.shape).round().astype(np.float32)
    )
    frame.header["CCD"] = "jumper"
    # 65 rows or columns apart are no multiple of ten: bins are uneven.
    chain = task(
        fitType=fit_type, order=10, **JUMPING, biasJump__location=21, doParallel=data.draw(st.booleans())
    )
    turned = mirror.exposure(frame)
    check_same(mirror.pixels(overscanned(chain, frame).pixels), overscanned(chain, turned).pixels)


def test_settings_that_contradict_each_other_are_refused_together():
    with pytest.raises(ConfigError) as caught:
        task(fitType="AKIMA_SPLINE", parallel__fitType="CUBIC_SPLINE", doParallel=True, region="parallel")
    told = str(caught.value)
    assert "overscan: order = 1 is too small for AKIMA_SPLINE: it is the number of bins, 3 or more" in told
    assert "overscan.parallel: order = 1 is too small for CUBIC_SPLINE" in told
    assert "overscan: region = 'parallel' reads the parallel overscan already: set doParallel = false" in told


def test_a_model_that_has_to_be_simpler_is_told(caplog):
    frame = raw(PAIR, np.full(PAIR.raw_shape, 1000.0))
    frame.mask[2:, 30:62] = frame.planes.value("SAT")
    with caplog.at_level(logging.WARNING):
        overscanned(task(fitType="POLY", order=3), frame)
        overscanned(task(fitType="CUBIC_SPLINE", order=20), frame)
    told = [record.getMessage() for record in caplog.records]
    assert "amplifier A: 2 overscan lines with pixels: a polynomial of degree 1, not 3" in told
    assert "amplifier B: 1 of 20 bins of overscan lines have pixels: one level, no spline" in told


def test_example_rows_before_the_first_pixel_are_suspect():
    data, overscan = Box(0, 4, 0, 1), Box(0, 4, 1, 4)
    detector = Detector("ccd0", 0, (4, 1), (4, 4), (Amplifier("A", data, Box(0, 4, 0, 4), data, overscan),))
    frame = raw(detector, [[15, 0, 0, 0], [15, 5, 5, 5], [17, 6, 6, 6], [18, 7, 7, 7]])
    frame.mask[0, 1:] = frame.planes.value("BAD")
    product = task(fitType="POLY").run(frame).exposure
    np.testing.assert_allclose(product.image[:, 0], [11, 10, 11, 11], atol=1e-5)
    assert product.pixels.flagged("SUSPECT")[:, 0].tolist() == [True, False, False, False]
    assert overscan_fit.LEAST_BINS == 3


def test_example_the_read_noise_is_the_scatter_of_the_overscan_in_electron():
    noise = np.random.default_rng(5).normal(1000, 3, PAIR.raw_shape)
    done = overscanned(task(fitType="MEAN"), raw(PAIR, noise))
    for amp in PAIR.amplifiers:
        # 960 pixels know a scatter to 2.3 %: five times that.
        assert done.measured["overscan"][amp.name].read_noise == pytest.approx(3 * amp.gain, rel=0.12)


def test_example_the_empirical_read_noise_of_a_run_is_the_scatter_of_its_overscan():
    quiet = PAIR.with_amplifiers(A={"read_noise": 0.0}, B={"read_noise": 0.0})
    noise = np.random.default_rng(5).normal(1000, 3, PAIR.raw_shape)
    done = task(fitType="MEAN", doEmpiricalReadNoise=True).run(raw(quiet, noise)).exposure
    for amp in PAIR.amplifiers:
        # 960 pixels know a variance to 4.6 %: five times that.
        assert done.measured["variance"][amp.name].read_noise == pytest.approx(9, rel=0.23)
