"""Every standard step keeps its contract; what one cannot keep is named, with the reason."""

from __future__ import annotations

import pickle
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Box,
    Detector,
    Divide,
    Exposure,
    MaskedImage,
    PixelStep,
    Registry,
    StepSpec,
    Subtract,
    hookimpl,
    stepspecs,
)
from isrcore.testing import StepContract
from isrcore.testing.alike import breach_of_same, differences
from isrcore.testing.step_cases import Subject

REGISTRY = Registry({"standard": isrcore_standard})
CHECKS = [name.removeprefix("test_") for name in dir(StepContract) if name.startswith("test_")]

#: Settings with which a step has something to do, or does what a check is about.
PINNED: dict[str, dict[str, Any]] = {
    "assembly": {"assembly.doTrim": True},
    "badRegions": {"doInterpolate": False},
    "brighterFatter": {"brighterFatter.threshold": 1000.0},
    "crosstalk": {"crosstalk.beforeAssembly": False},
    "edges": {"edges.numPixels": 2},
    # Its mean and median are of the whole frame, so a part of it has others.
    "flat": {"flat.scalingType": "USER"},
    "fringe": {"fringe.filters": ["r"]},
    "illumination": {"illumination.filters": ["r"]},
    "overscan": {"overscan.doParallel": False},
    "strayLight": {"strayLight.filters": ["r"]},
}

#: Checks that are not for a step.
EXEMPT: dict[str, dict[str, str]] = {
    "brighterFatter": {
        "reversed": "Fourier transforms round otherwise",
        "exchanged": "as when it is reversed",
    },
    "deferredCharge": {"exchanged": "charge lags along rows"},
    "edges": {"windows": "it flags the edges of the frame"},
    "fringe": {"reversed": "it measures at random places", "exchanged": "it measures at random places"},
    "gains": {"amplifiers_are_independent": "normalize makes amplifiers agree"},
    "interpolation": {"exchanged": "it interpolates along rows"},
    "saturationTrails": {"exchanged": "charge spills along rows"},
    "variance": {"records": "the read noise it was told is no measurement of its own"},
    "vignette": {
        "reversed": "the axis of a mirrored focal plane is elsewhere",
        "exchanged": "the axis of a mirrored focal plane is elsewhere",
        "windows": "it flags what is far from the axis, wherever the frame is cut",
    },
}

# The standard masking has nothing to do: it is a place in the order for those of cameras.
STEPS = sorted(set(REGISTRY.specs) - {"masking"})


def through_a_filter(exposure: Exposure) -> Exposure:
    """The exposure in the filter that settings name."""
    return attrs.evolve(exposure, visit=attrs.evolve(exposure.visit, filter="r"))


def contract_of(name: str, count: int = 2) -> StepContract:
    """The tests of a standard step, on this many cases each."""

    class Contract(StepContract):
        step, registry, examples = name, REGISTRY, count
        exempt: ClassVar = EXEMPT.get(name, {})

        def exposures(self, detector):
            return super().exposures(detector).map(through_a_filter)

        def settings(self):
            return super().settings().map(lambda drawn: {**drawn, **PINNED.get(name, {})})

    return Contract()


@pytest.mark.parametrize("step", STEPS)
def test_standard_steps_keep_their_contracts(step: str) -> None:
    contract = contract_of(step)
    for check in CHECKS:
        getattr(contract, f"test_{check}")()


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_standard_steps_keep_their_contracts_on_many_exposures(step: str) -> None:
    contract = contract_of(step, 40)
    for check in CHECKS:
        getattr(contract, f"test_{check}")()


class Lamp(PixelStep):
    """A step that nobody has registered, of a kind of calibration that nobody knows."""

    spec, per = (
        StepSpec(name="lamp", doc="Lamp.", requires={"assembled"}, calibrations={"lampTable"}),
        "detector",
    )

    def ops(self, view):
        yield Subtract(view.calibration("lampTable"))


class TestLamp(StepContract):
    """As its author writes it; every test of it runs."""

    step, registry, examples = Lamp, REGISTRY, 3


class HalfFlat(PixelStep):
    """Another implementation of a standard contract, which the user would have to choose."""

    spec, per = stepspecs.FLAT, "detector"

    def ops(self, view):
        yield Divide(view.calibration("flat"), scale=0.5)


class TestHalfFlat(StepContract):
    """It is tested in the place of the standard one."""

    step, registry, examples = HalfFlat, REGISTRY, 2

    def test_it_is_the_one_that_runs(self):
        found = Subject.find(HalfFlat, REGISTRY)
        assert found.registry.candidates("flat") == (HalfFlat,)
        assert set(found.registry.specs) == set(REGISTRY.specs)


class TestWithInputsOfItsOwn(StepContract):
    """Calibrations, exposures, settings and detectors can be the author's."""

    step, registry, examples = Lamp, REGISTRY, 2

    def detectors(self):
        return st.just(Detector.of_shape((4, 6)))

    def exposures(self, detector):
        return super().exposures(detector).map(lambda drawn: attrs.evolve(drawn, camera="mine"))

    def calibrations(self, detector):
        image = np.full(detector.shape, 7, np.float32)
        return st.just({"lampTable": Exposure(MaskedImage.from_image(image), detector)})

    def test_they_are_used(self):
        seen = []
        self._holds("contract", lambda case, data: seen.append((case.exposure, case.run().image)))
        for exposure, image in seen:
            assert exposure.camera == "mine"
            np.testing.assert_array_equal(image, exposure.image - 7)


def test_an_unknown_step_gives_near_matches():
    with pytest.raises(AssertionError, match="no installed plugin has a step 'drak'; did you mean dark"):
        Subject.find("drak", REGISTRY)


def test_an_unknown_exemption_gives_near_matches():
    contract = contract_of("dark")
    type(contract).exempt = {"exchangd": "why not"}
    with pytest.raises(AssertionError, match="exempt names no check 'exchangd'; did you mean 'exchanged'"):
        contract.test_contract()


def test_a_class_that_is_not_registered_stands_beside_the_registered_ones():
    found = Subject.find(Lamp, REGISTRY)
    assert found.registry.plugin_of(Lamp).name == "under test"
    assert set(found.registry.specs) == {*REGISTRY.specs, "lamp"}

    class Plugin:
        @hookimpl
        def isr_steps(self):
            return [Lamp]

    mine = Registry({"mine": Plugin()})
    assert Subject.find(Lamp, mine).registry is mine
    assert Subject.find("lamp", mine).step is Lamp


def test_a_failure_shows_the_case_in_a_few_lines():
    shown = []
    contract_of("dark")._holds("contract", lambda case, data: shown.append(repr(case)))
    assert all(len(text) < 500 for text in shown)
    assert "step 'dark' on" in shown[0]
    assert "calibrations: dark" in shown[0]


def test_differences_are_told_in_words():
    one = MaskedImage.from_image(np.float32([[1, 2]]))
    other = MaskedImage.from_image(np.float32([[1, 3]]), np.int32([[1, 0]]))
    assert breach_of_same(one, one.copy(), exactly=True) == ""
    assert breach_of_same(one, other) == "image at (0, 1) is 3.0, not 2.0"
    flagged = attrs.evolve(one, mask=other.mask)
    assert breach_of_same(one, flagged) == "plane 'BAD' at (0, 0) is set"
    assert breach_of_same(one, one.window(Box(0, 1, 0, 1))) != ""
    assert (
        differences({"a": [1.0, float("nan")]}, pickle.loads(pickle.dumps({"a": [1.0, float("nan")]}))) == ""
    )
    assert differences({"a": one}, {"a": other}) == "image differs"
    assert differences({"a": 1}, {"b": 1}) == "it has ['b'], not ['a']"
