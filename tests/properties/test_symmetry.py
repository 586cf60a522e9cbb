"""Laws: a frame read out mirrored, or with rows and columns exchanged, gives the mirrored result."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Amplifier, Box, Detector, Exposure, IsrTask, MaskedImage, Registry
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same
from isrcore.testing.mirror import RAW_BOXES, Mirror

REGISTRY = Registry({"standard": isrcore_standard})


@st.composite
def hit_runs(draw, /, **fixed):
    """A run on a frame whose overscan lost whole rows to a bleed trail, now and then."""
    detector = draw(strategies.detectors(has_overscan=True))
    region = draw(st.sampled_from(["serial", "serial", "parallel"]))
    # Fourier transforms round a turned frame otherwise: the brighter-fatter effect has a law of its own.
    switches = {
        "doBrighterFatter": False,
        "doOverscan": True,
        "overscan__region": region,
        **fixed,
    }
    config = draw(strategies.configs(REGISTRY, **switches))
    exposure, inputs = draw(strategies.raw_exposures(detector)), draw(strategies.calibrations_for(detector))
    image = exposure.image.copy()
    for amp in exposure.detector.amplifiers:
        if amp.serial_overscan_box.area and draw(st.booleans()):
            height = amp.serial_overscan_box.height
            first = draw(st.integers(0, height - 2))
            last = draw(st.integers(first + 1, height - 1))
            image[amp.serial_overscan_box.slices][first:last] = 65535
    exposure.pixels = MaskedImage.from_raw(image)
    return config, exposure, inputs


@given(hit_runs(), st.builds(Mirror, st.booleans(), st.booleans(), st.booleans()))
def test_a_mirrored_frame_gives_the_mirrored_result(drawn, mirror):
    config, exposure, inputs = drawn
    if mirror.is_transposed:
        # These work along rows.
        config.doInterpolate = config.doWidenSaturationTrails = config.doDeferredCharge = False
    # A mirrored detector has no place in a focal plane that is not mirrored too.
    config.doVignette = False
    # Its positions are random numbers of columns and rows, which are not mirrored.
    config.doFringe = False
    # Sums over neighbours in another order: pixels at the very limit may fall on either side of it.
    config.doCosmicRays = False
    task = IsrTask(config=config, registry=REGISTRY)
    plain = outcome(task, exposure, inputs)
    shape = exposure.detector.shape
    mirrored_inputs = {kind: mirror.input(value, shape) for kind, value in inputs.items()}
    mirrored = outcome(task, mirror.exposure(exposure), mirrored_inputs)
    if plain is None or mirrored is None:
        assert plain is mirrored
    else:
        check_same(mirror.pixels(plain.pixels), mirrored.pixels)
        assert plain.facts == mirrored.facts


def stored_turned(exposure: Exposure, turns: list[tuple[bool, bool]]) -> Exposure:
    """The frame as if every amplifier had written its part of it from another corner."""
    image, amplifiers = exposure.image.copy(), []
    for amp, (flip_y, flip_x) in zip(exposure.detector.amplifiers, turns, strict=False):
        part = Mirror(False, flip_y, flip_x)
        image[amp.raw_box.slices] = part.array(image[amp.raw_box.slices])
        moved = {
            name: part.box(box.relative_to(amp.raw_box), amp.raw_box.shape).shift(
                amp.raw_box.y0, amp.raw_box.x0
            )
            for name in RAW_BOXES
            if (box := getattr(amp, name)).area
        }
        flips = {"flip_y": amp.flip_y != flip_y, "flip_x": amp.flip_x != flip_x}
        amplifiers.append(attrs.evolve(amp, **flips, **moved))
    detector = attrs.evolve(exposure.detector, amplifiers=tuple(amplifiers))
    return attrs.evolve(exposure.share(), pixels=MaskedImage.from_raw(image), detector=detector)


# Rows that lose different numbers of overscan pixels have levels of different variance.
UNEVEN = {"overscan__fitType": "MEAN_PER_ROW", "overscan__numSigmaClip": 1.0}


@pytest.mark.parametrize("is_trimmed", [True, False])
@given(data=st.data())
def test_the_corner_an_amplifier_is_read_from_does_not_matter(is_trimmed, data):
    settings = {"doAssembleCcd": True, "doVariance": True, "assembly__doTrim": is_trimmed, **UNEVEN}
    config, exposure, inputs = data.draw(hit_runs(**settings))
    turns = data.draw(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=4, max_size=4))
    task = IsrTask(config=config, registry=REGISTRY)
    plain, turned = (outcome(task, e, inputs) for e in (exposure, stored_turned(exposure, turns)))
    if plain is None or turned is None:
        assert plain is turned
    else:
        check_same(plain.pixels, turned.pixels)


def outcome(task: IsrTask, exposure: Exposure, inputs: dict[str, Any]) -> Exposure | None:
    """The result, or None where no overscan pixel of an amplifier can be used."""
    try:
        result: Exposure = task.run(exposure, **inputs).exposure
    except RuntimeError as fault:
        assert "no usable overscan pixel" in str(fault)  # noqa: PT017
        return None
    return result


def test_example_overscan_in_rows_is_overscan_in_columns_turned():
    config = IsrTask(registry=REGISTRY).config.copy()
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs"):
        config.set(name, False)
    config.overscan.fitType = "MEDIAN_PER_ROW"
    data, overscan = Box(0, 2, 0, 1), Box(0, 2, 1, 4)
    amp = Amplifier("A", data, Box(0, 2, 0, 4), data, overscan)
    detector = Detector("ccd0", 0, (2, 1), (2, 4), (amp,))
    raw = Exposure(MaskedImage.from_raw(np.uint16([[15, 5, 5, 5], [17, 6, 6, 6]])), detector)
    task = IsrTask(config=config, registry=REGISTRY)
    assert task.run(raw).exposure.image.tolist() == [[10], [11]]
    turned = Mirror(True, False, False).exposure(raw)
    assert turned.image.tolist() == [[15, 17], [5, 6], [5, 6], [5, 6]]
    assert task.run(turned).exposure.image.tolist() == [[10, 11]]
