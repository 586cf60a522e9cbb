"""Law: an integer constant added to the raw frame, which changes no flag, does not change the result."""

from __future__ import annotations

import math

import attrs
import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Amplifier, Box, Detector, Exposure, IsrTask, MaskedImage, Registry
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

REGISTRY = Registry({"standard": isrcore_standard})


def allowed(exposure):
    """The least and the largest constant that keep pixels in uint16 and no pixel crosses a level."""
    low, high = -int(exposure.image.min()), 65535 - int(exposure.image.max())
    for amp in exposure.detector.amplifiers:
        values = exposure.image[amp.raw_box.slices].astype(int)
        for level in (amp.saturation, amp.suspect_level):
            if math.isfinite(level):
                low = max(low, int(level - values[values >= level].min(initial=70000)))
                high = min(high, int(level - 1 - values[values < level].max(initial=-70000)))
    return low, high


def shifted(exposure, constant):
    image = (exposure.image.astype(int) + constant).astype(np.uint16)
    return attrs.evolve(exposure.share(), pixels=MaskedImage.from_raw(image))


@given(st.data())
def test_a_constant_on_the_raw_frame_changes_nothing(data):
    detector = data.draw(strategies.detectors(has_overscan=True))
    exposure = data.draw(strategies.raw_exposures(detector, ceiling=60000))
    inputs = data.draw(strategies.calibrations_for(detector))
    config = data.draw(strategies.configs(REGISTRY, doOverscan=True))
    # An amplifier that is bad as a whole keeps its pedestal.
    assume(not any(inputs["defects"].covers(amp.box) for amp in detector.amplifiers))
    low, high = allowed(exposure)
    constant = data.draw(st.integers(low, high))
    task = IsrTask(config=config, registry=REGISTRY)
    plain, lifted = (task.run(e, **inputs).exposure for e in (exposure, shifted(exposure, constant)))
    assume("amplifierMask" not in plain.measured or not plain.measured["amplifierMask"])
    # Beyond the data an untrimmed frame has lines that no overscan knows.
    for amp in plain.detector.amplifiers:
        box = amp.box if plain.is_assembled else amp.raw_data_box
        check_same(plain.pixels.window(box), lifted.pixels.window(box))


def test_example_fractions_of_the_overscan_level_round_alike_on_any_pedestal():
    data, overscan = Box(0, 1, 0, 2), Box(0, 1, 2, 5)
    amp = Amplifier("A", data, Box(0, 1, 0, 5), data, overscan)
    detector = Detector("ccd0", 0, (1, 2), (1, 5), (amp,))
    config = IsrTask(registry=REGISTRY).config.copy()
    config.overscan.fitType = "MEAN"
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs"):
        config.set(name, False)
    task = IsrTask(config=config, registry=REGISTRY)
    results = []
    for pedestal in (0, 1000, 60001):
        raw = np.uint16([[10, 20, 1, 2, 2]]) + np.uint16(pedestal)
        results.append(task.run(Exposure(MaskedImage.from_raw(raw), detector)).exposure.image.tolist())
    assert results[0] == results[1] == results[2]
    np.testing.assert_allclose(results[0], [[25 / 3, 55 / 3]], rtol=1e-6)
