"""Laws: a plan meets the contract of every step, and so does every step; no step clears a mask bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, Registry, Step, StepSpec, hookimpl
from isrcore.testing import strategies
from isrcore.testing.contracts import check_plan, check_run

PLUGINS = {"standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)


@given(strategies.runs(REGISTRY))
def test_a_plan_meets_the_contract_of_every_step(drawn):
    config, exposure, inputs = drawn
    check_plan(IsrTask(config=config, registry=REGISTRY).plan(exposure, **inputs), exposure)


@given(strategies.runs(REGISTRY))
def test_every_step_keeps_its_contract_and_clears_no_flag(drawn):
    config, exposure, inputs = drawn
    check_run(PLUGINS, config, exposure, **inputs)


BROKEN = StepSpec(
    name="broken", doc="Breaks its word.", requires={"converted"}, after={"saturation-flagged"}, planes={"CR"}
)


class ClearsFlags(Step):
    spec = BROKEN

    def run(self, exposure, calibrations):
        exposure.mask[...] = 0


class SetsOthers(Step):
    spec = BROKEN

    def run(self, exposure, calibrations):
        exposure.mask[...] |= exposure.planes.value("CR", "EDGE")


class ChangesUnit(Step):
    spec = BROKEN

    def run(self, exposure, calibrations):
        exposure.unit = "electron"


@pytest.mark.parametrize(
    ("step", "breach"),
    [
        (ClearsFlags, "step 'broken' breaks its contract\n  it clears plane 'SAT'"),
        (SetsOthers, "it sets plane 'EDGE', its contract allows \\['CR'\\]"),
        (ChangesUnit, "unit became 'electron' from 'adu'"),
    ],
)
def test_example_a_step_that_breaks_its_word_is_found(step, breach):
    class Plugin:
        @hookimpl
        def isr_steps(self):
            return [step]

    plugins = {**PLUGINS, "mine": Plugin()}
    config = IsrTask(registry=Registry(plugins)).config.copy()
    for name in ("doBias", "doDark", "doFlat", "doDefect", "expectWcs"):
        config.set(name, False)
    raw = Exposure(MaskedImage.from_raw(np.uint16([[9, 70]])), Detector.of_shape((1, 2), saturation=50.0))
    with pytest.raises(AssertionError, match=breach):
        check_run(plugins, config, raw)
