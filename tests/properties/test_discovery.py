"""Law: the order in which plugins are found, and how steps are spread over them, change nothing."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_simulated
import isrcore_standard
from isrcore import (
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PixelStep,
    Registry,
    StepSpec,
    default_config,
    hookimpl,
    isr_config,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

REGISTRY = Registry({"standard": isrcore_standard})
STEPS = isrcore_standard.isr_steps()


class Bringing:
    """A plugin that brings the given steps, in the given order."""

    def __init__(self, steps):
        self.steps = steps

    @hookimpl
    def isr_steps(self):
        return self.steps


@st.composite
def registries(draw):
    """The standard steps in any order, spread over up to four plugins that are found in any order."""
    steps = draw(st.permutations(STEPS))
    owners = [draw(st.sampled_from("pqrs")) for _ in steps]
    found = {
        name: [s for s, o in zip(steps, owners, strict=True) if o == name] for name in sorted(set(owners))
    }
    order = draw(st.permutations(sorted(found)))
    return Registry({name: Bringing(found[name]) for name in order})


@given(st.data())
def test_plan_config_and_result_do_not_depend_on_discovery(data):
    shuffled = data.draw(registries())
    config, exposure, inputs = data.draw(strategies.runs(REGISTRY))
    assert isr_config(shuffled)().to_toml() == isr_config(REGISTRY)().to_toml()
    first, second = (IsrTask(config=config.copy(), registry=registry) for registry in (REGISTRY, shuffled))
    assert str(first.plan(exposure, **inputs)) == str(second.plan(exposure, **inputs))
    check_same(*(task.run(exposure, **inputs).exposure.pixels for task in (first, second)))


@given(st.permutations(["aardvark", "isrsim", "standard", "zebra"]))
def test_overrides_and_cameras_do_not_depend_on_discovery(order):
    first = SimpleNamespace(applyOverrides=hookimpl(lambda config, camera: config.set("doDark", False)))
    last = SimpleNamespace(applyOverrides=hookimpl(lambda config, camera: config.set("doDark", True)))
    plugins = {"aardvark": first, "isrsim": isrcore_simulated, "standard": isrcore_standard, "zebra": last}
    registry = Registry({name: plugins[name] for name in order})
    config = default_config(registry, "simulated")
    assert list(registry.cameras) == ["simulated"]
    assert [change.who for change in config.history("doDark")[1:]] == ["aardvark", "zebra"]
    assert config.doDark


def test_example_a_step_of_a_plugin_goes_where_its_facts_say():
    glow = StepSpec(
        name="lampGlow",
        doc="Glow.",
        requires={"bias-subtracted"},
        provides={"lamp-glow-subtracted"},
        unit_in="adu",
    )

    class LampGlow(PixelStep):
        spec, per = glow, "detector"

        def ops(self, view):
            return iter(())

    detector = Detector.of_shape((1, 2))
    raw = Exposure(MaskedImage.from_raw(np.uint16([[5, 6]])), detector)
    bias = Exposure(MaskedImage.from_image(np.float32([[1, 1]])), detector, facts={"assembled"})
    for order in ([LampGlow, *STEPS], [*STEPS, LampGlow]):
        registry = Registry({"one": Bringing(order)})
        config = isr_config(registry)(doDark=False, doFlat=False, doDefect=False, doApplyGains=True)
        planned = IsrTask(config=config, registry=registry).plan(raw, bias=bias).steps
        # Before the gains, because it works in adu.
        names = [step.spec.name for step in planned if step.spec.name in ("bias", "gains", "lampGlow")]
        assert names == ["bias", "lampGlow", "gains"]
