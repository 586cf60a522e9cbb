"""Laws of facts that held before isrcore saw the pixels: nothing is done twice, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Affine,
    AmpView,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Op,
    PixelStep,
    PlanError,
    Registry,
    default_config,
    hookimpl,
    stepspecs,
)

REGISTRY = Registry({"standard": isrcore_standard})
FLAGS = {"assembled": "doAssembleCcd", "bias-subtracted": "doBias", "flat-fielded": "doFlat"}
WHO = "somebody (CARD)"


def config_without_defects():
    config = default_config(REGISTRY)
    with config.layer("camera", "test"):
        config.doDark = config.doDefect = config.doOverscan = False
    return config


def exposure_of(facts, others=frozenset()):
    """A float frame with facts that somebody made true, and others that isrcore did."""
    pixels = MaskedImage.from_image(np.full((3, 4), 100, np.float32))
    known = frozenset(facts) | others | {"overscan-subtracted"}
    return Exposure(pixels, Detector.of_shape((3, 4)), facts=known, given=dict.fromkeys(sorted(facts), WHO))


def inputs():
    """A bias of 1 and a flat of 2."""
    frames = {}
    for kind, value in (("bias", 1.0), ("flat", 2.0)):
        pixels = MaskedImage.from_image(np.full((3, 4), value, np.float32))
        frames[kind] = Exposure(pixels, Detector.of_shape((3, 4)), facts=frozenset({"assembled"}))
    return frames


# Nobody divides by the flat before the bias is gone.
given_facts = st.sets(st.sampled_from(sorted(FLAGS))).filter(
    lambda facts: "flat-fielded" not in facts or "bias-subtracted" in facts
)


@settings(deadline=None, max_examples=20)
@given(given_facts)
def test_what_was_done_is_skipped_and_the_rest_is_done(facts):
    task = IsrTask(config_without_defects(), registry=REGISTRY)
    exposure = exposure_of(facts)
    reasons = {planned.reason for planned in task.plan(exposure, **inputs()).skipped}
    assert {f"{fact} already: {WHO}" for fact in facts} <= reasons
    product = task.run(exposure, **inputs()).exposure
    expected = 100.0 - ("bias-subtracted" not in facts)
    np.testing.assert_array_equal(product.image, expected / (1 if "flat-fielded" in facts else 2))
    assert product.facts >= FLAGS.keys()


@settings(deadline=None, max_examples=20)
@given(given_facts)
def test_the_product_is_refused_whoever_did_what(facts):
    task = IsrTask(config_without_defects(), registry=REGISTRY)
    product = task.run(exposure_of(facts), **inputs()).exposure
    assert not product.given
    with pytest.raises(PlanError) as refused:
        task.run(product, **inputs())
    for fact in FLAGS:
        assert f"the exposure is '{fact}' already" in str(refused.value)


@settings(deadline=None, max_examples=20)
@given(given_facts, st.sampled_from(["user", "file", "command line"]))
def test_whoever_asks_for_it_is_refused(facts, layer):
    config = config_without_defects()
    with config.layer(layer, "test"):
        for flag in FLAGS.values():
            setattr(config, flag, True)
    task, exposure = IsrTask(config, registry=REGISTRY), exposure_of(facts)
    if not facts:
        task.run(exposure, **inputs())
        return
    with pytest.raises(PlanError) as refused:
        task.run(exposure, **inputs())
    twice = [problem for problem in refused.value.problems if "must not run twice" in problem]
    assert len(twice) == len(facts)


def test_the_given_exposure_keeps_what_it_was_given():
    exposure = exposure_of({"bias-subtracted"})
    IsrTask(config_without_defects(), registry=REGISTRY).run(exposure, **inputs())
    assert exposure.given == {"bias-subtracted": WHO}
    assert exposure.clone().given == exposure.given


def test_a_step_asked_for_by_name_is_refused():
    task = IsrTask(config_without_defects(), registry=REGISTRY)
    exposure = exposure_of({"assembled", "flat-fielded"})
    with pytest.raises(PlanError, match="'flat' must not run twice"):
        task.flatCorrection(exposure, inputs()["flat"])


def test_a_dark_is_too_late_after_the_flat():
    """It would have to be divided by the flat too, which nobody has."""
    config = config_without_defects()
    with config.layer("camera", "test"):
        config.doDark = True
    exposure = exposure_of({"assembled", "flat-fielded"})
    plan = IsrTask(config, registry=REGISTRY).plan(exposure, **inputs())
    reasons = {planned.spec.name: planned.reason for planned in plan.skipped}
    assert reasons["dark"] == reasons["bias"] == f"too late: flat-fielded already: {WHO}"
    asked = config_without_defects()
    asked.doDark = True
    with pytest.raises(PlanError, match="'dark' comes too late: flat-fielded already"):
        IsrTask(asked, registry=REGISTRY).plan(exposure, **inputs())


def test_what_may_be_repeated_is_repeated():
    """Only a step that must not run twice is spared."""

    class Polish(PixelStep):
        spec = attrs.evolve(stepspecs.BIAS, name="polish", flag=None, once=False, calibrations=frozenset())

        def ops(self, view: AmpView) -> Iterator[Op]:
            yield Affine(offset=np.float32(1))

    plugin = SimpleNamespace(steps=hookimpl(lambda: [Polish], specname="isr_steps"))
    registry = Registry({"polish": plugin})
    exposure = exposure_of({"bias-subtracted", "assembled"})
    product = IsrTask(registry=registry).run(exposure).exposure
    assert (product.image == 101).all()
