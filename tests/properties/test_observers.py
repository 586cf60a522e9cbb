"""Law: looking changes nothing. Observers see read-only arrays after every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Box, Detector, Exposure, IsrTask, MaskedImage, Registry, hookimpl
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

PLUGINS = {"standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)


class Meddler:
    """An observer that tries to change all it can reach."""

    def __init__(self):
        self.steps = []

    @hookimpl
    def isr_after_step(self, step, exposure):
        self.steps.append(step)
        for plane in (exposure.image, exposure.mask, exposure.variance):
            with pytest.raises(ValueError, match="read-only"):
                plane[0, 0] = 7
            with pytest.raises(ValueError, match="read-only"):
                exposure.pixels.window(Box(0, 1, 0, 1)).image[...] = 7
        exposure.facts, exposure.unit = frozenset(), "electron"
        exposure.header["MEDDLED"] = True
        exposure.measured.clear()
        exposure.history = ()
        exposure.pixels = MaskedImage.from_image(np.zeros((1, 1), np.float32))


@given(strategies.runs(REGISTRY))
def test_an_observer_changes_nothing(drawn):
    config, exposure, inputs = drawn
    meddler = Meddler()
    observed = IsrTask(config=config, registry=Registry({**PLUGINS, "meddler": meddler}))
    plan = observed.plan(exposure, **inputs)
    seen = observed.run(exposure, **inputs).exposure
    alone = IsrTask(config=config, registry=REGISTRY).run(exposure, **inputs).exposure
    assert meddler.steps == [planned.spec.name for planned in plan.steps]
    check_same(seen.pixels, alone.pixels)
    assert (seen.facts, seen.unit, seen.header) == (alone.facts, alone.unit, alone.header)
    assert seen.measured.keys() == alone.measured.keys()
    assert [entry.step for entry in seen.history] == [entry.step for entry in alone.history]


@given(strategies.runs(REGISTRY))
def test_a_run_leaves_its_inputs_alone(drawn):
    config, exposure, inputs = drawn
    frames = {"raw": exposure, **{kind: inputs[kind] for kind in strategies.FRAME_KINDS}}
    copies = {kind: frame.clone() for kind, frame in frames.items()}
    IsrTask(config=config, registry=REGISTRY).run(exposure, **inputs)
    for kind, frame in frames.items():
        check_same(frame.pixels, copies[kind].pixels)
        assert (frame.facts, frame.header) == (copies[kind].facts, copies[kind].header)
        assert set(frame.planes) == set(copies[kind].planes)


@given(st.data())
def test_a_run_leaves_float_pixels_alone(data):
    config, exposure, inputs = data.draw(strategies.runs(REGISTRY))
    image = exposure.image.astype(np.float32)
    exposure.pixels = MaskedImage.from_image(image, data.draw(strategies.masks(image.shape, density=0.01)))
    before = exposure.clone()
    IsrTask(config=config, registry=REGISTRY).run(exposure, **inputs)
    check_same(exposure.pixels, before.pixels)


def test_example_a_plugin_that_counts_saturated_pixels():
    counts = {}

    class Counter:
        @hookimpl
        def isr_after_step(self, step, exposure):
            counts[step] = int(exposure.pixels.flagged("SAT").sum())

    registry = Registry({**PLUGINS, "counter": Counter()})
    config = IsrTask(registry=REGISTRY).config.copy()
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs"):
        config.set(name, False)
    detector = Detector.of_shape((1, 3), saturation=200.0)
    raw = Exposure(MaskedImage.from_raw(np.uint16([[100, 200, 300]])), detector)
    IsrTask(config=config, registry=registry).run(raw)
    assert (counts["conversion"], counts["saturation"], counts["nanFlags"]) == (0, 2, 2)
