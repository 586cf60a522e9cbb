"""Plans by example: order, refusals that come together, segments, and what a plan prints."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import pytest

import isrcore_standard
from isrcore import (
    AmpView,
    Calibrations,
    Detector,
    Exposure,
    GatherStep,
    IsrTask,
    MaskedImage,
    Op,
    PixelStep,
    Plan,
    PlanError,
    Registry,
    Skip,
    Step,
    StepSpec,
    VisitInfo,
)
from isrcore.plan import plan

REGISTRY = Registry({"standard": isrcore_standard})
RAW = Exposure(MaskedImage.from_raw(np.full((2, 3), 100, np.uint16)), Detector.of_shape((2, 3)))


def step_of(name: str, base: type[Step] = PixelStep, **contract: Any) -> Step:
    """A step that does nothing, of the given contract."""

    class Made(base):  # type: ignore[misc, valid-type]
        spec, per = StepSpec(name=name, doc=f"{name}.", **contract), "detector"

        def ops(self, view: AmpView) -> Iterator[Op]:
            return iter(())

    return Made()


def plan_of(*steps: Step, exposure: Exposure = RAW, breaks: Iterable[str] = ()) -> Plan:
    return plan(steps, exposure, Calibrations(), breaks)


def names(found: Plan) -> list[str]:
    return [planned.spec.name for planned in found.steps]


def segments(found: Plan) -> list[list[str]]:
    return [[planned.spec.name for planned in segment.steps] for segment in found.segments]


def test_providers_come_before_those_that_wait_and_ties_go_by_name() -> None:
    steps = [
        step_of("c", provides={"c-done"}),
        step_of("a", after={"c-done"}),
        step_of("b", requires={"c-done"}),
        step_of("d"),
    ]
    assert names(plan_of(*steps)) == names(plan_of(*reversed(steps))) == ["c", "a", "b", "d"]


def test_who_provides_a_fact_waits_for_steps_that_must_come_before_it() -> None:
    steps = [
        step_of("a", provides={"a-done"}),
        step_of("b", before={"a-done"}),
        step_of("c", after={"a-done"}),
    ]
    assert names(plan_of(*steps)) == names(plan_of(*reversed(steps))) == ["b", "a", "c"]


def test_a_step_whose_time_has_passed_is_refused() -> None:
    done = attrs.evolve(RAW, facts=frozenset({"a-done"}))
    with pytest.raises(PlanError, match="step 'b' comes too late: the exposure is 'a-done' already"):
        plan_of(step_of("b", before={"a-done"}), exposure=done)


def test_steps_that_must_come_before_each_other_are_refused() -> None:
    steps = [
        step_of("a", provides={"a-done"}, before={"b-done"}),
        step_of("b", provides={"b-done"}, before={"a-done"}),
    ]
    with pytest.raises(PlanError, match="these steps wait for each other: a, b"):
        plan_of(*steps)


def test_a_calibration_that_is_used_if_given_is_no_problem_unless_refused() -> None:
    step = step_of("a", accepts={"table"})
    assert plan([step], RAW, Calibrations({"table": 1})).steps[0].calibrations == ("in memory",)
    assert plan([step], RAW, Calibrations()).steps[0].calibrations == ()
    with pytest.raises(PlanError, match="step 'a' cannot use 'table': it is torn"):
        plan([step], RAW, Calibrations(refused={"table": "it is torn"}))


def test_a_fact_that_nobody_planned_provides_is_not_waited_for() -> None:
    assert names(plan_of(step_of("a", after={"z-done"}), step_of("b"))) == ["a", "b"]


def test_steps_that_need_a_unit_come_before_the_one_that_changes_it() -> None:
    steps = [
        step_of("a", unit_in="adu", unit_out="electron", provides={"changed"}),
        step_of("b", unit_in="adu"),
        step_of("c"),
        step_of("d", unit_in="electron", requires={"changed"}),
    ]
    assert names(plan_of(*steps)) == ["b", "a", "c", "d"]


def test_a_unit_that_is_given_back_serves_those_that_wait_for_it() -> None:
    steps = [
        step_of("a", unit_in="adu", unit_out="electron", provides={"changed"}),
        step_of("b", unit_in="electron", unit_out="adu", requires={"changed"}, provides={"changed-back"}),
        step_of("c", unit_in="adu", requires={"changed-back"}),
    ]
    assert names(plan_of(*steps)) == ["a", "b", "c"]


def test_all_problems_come_together() -> None:
    steps = [
        step_of("a", requires={"z-done"}),
        step_of("b", unit_in="electron"),
        step_of("c", calibrations={"sky"}),
        step_of("d", provides={"told"}, once=True),
        step_of("e", provides={"told"}),
    ]
    exposure = attrs.evolve(RAW.share(), facts=frozenset({"told"}), source="n.fits")
    with pytest.raises(PlanError) as caught:
        plan_of(*steps, exposure=exposure)
    assert set(caught.value.problems) == {
        "fact 'told' is provided by both 'd' and 'e'",
        "step 'a' needs the exposure to be 'z-done': no planned step provides it",
        "step 'b' works in 'electron', the exposure is in 'adu'",
        "step 'c' needs calibration 'sky', none was given: give one, or set None = false "
        "(None = true was set by always)",
        "step 'd' must not run twice: the exposure is 'told' already; start from the raw frame",
    }
    assert str(caught.value).startswith("n.fits (detector 'unnamed') cannot be processed\n  ")
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems


def test_steps_that_wait_for_each_other_are_named() -> None:
    steps = (
        step_of("a", after={"b-done"}, provides={"a-done"}),
        step_of("b", after={"a-done"}, provides={"b-done"}),
    )
    with pytest.raises(PlanError, match="these steps wait for each other: a, b"):
        plan_of(*steps)


def test_a_step_that_says_skip_is_skipped_with_its_reason() -> None:
    class Idle(PixelStep):
        spec = StepSpec(name="idle", doc="Idle.")

        def contract(self, exposure: Exposure) -> StepSpec | Skip:
            return Skip("nothing to do")

    found = plan_of(Idle(), step_of("a"))
    assert names(found) == ["a"]
    assert [(planned.spec.name, planned.reason, planned.runs) for planned in found.skipped] == [
        ("idle", "nothing to do", False)
    ]


def test_segments_end_where_somebody_looks_or_a_step_runs_alone() -> None:
    pixelwise = [step_of(name) for name in "abd"]
    assert segments(plan_of(*pixelwise)) == [["a", "b", "d"]]
    assert segments(plan_of(*pixelwise, breaks=["a"])) == [["a"], ["b", "d"]]
    assert segments(plan_of(*pixelwise, step_of("c", Step))) == [["a", "b"], ["c"], ["d"]]


def test_who_reads_pixels_that_moved_starts_a_segment() -> None:
    class Reading(PixelStep):
        spec, per = StepSpec(name="c", doc="Reads."), "detector"

        def reads_pixels(self) -> bool:
            return True

    moving, plain = step_of("b", GatherStep), step_of("d")
    assert segments(plan_of(step_of("a"), moving, Reading(), plain)) == [["a", "b"], ["c", "d"]]
    assert segments(plan_of(step_of("a"), Reading(), plain)) == [["a", "c", "d"]]
    assert segments(plan_of(moving, step_of("c", GatherStep))) == [["b"], ["c"]]


def test_a_plan_touches_nothing() -> None:
    exposure = attrs.evolve(RAW.share(), visit=VisitInfo(dark_s=1.0))
    planes, facts = exposure.planes, exposure.facts
    with pytest.raises(PlanError):
        IsrTask(registry=REGISTRY).plan(exposure)
    assert (exposure.planes, exposure.facts, exposure.history) == (planes, facts, ())


def test_missing_calibrations_say_who_wanted_them() -> None:
    config = IsrTask(registry=REGISTRY).config.copy()
    with config.layer("file", "night.toml:3"):
        config.doDark = True
    with pytest.raises(PlanError) as caught:
        IsrTask(config=config, registry=REGISTRY).run(RAW)
    needed = [problem for problem in caught.value.problems if "needs calibration" in problem]
    assert sorted(problem.split("'")[3] for problem in needed) == ["bias", "dark", "defects", "flat"]
    assert any("doDark = true was set by file: night.toml:3" in problem for problem in needed)


def test_a_refused_calibration_is_told_with_the_reason() -> None:
    wrong = Exposure(MaskedImage.from_image(np.zeros((9, 9), np.float32)), Detector.of_shape((9, 9)))
    with pytest.raises(PlanError, match=r"'bias'.* has shape \(9, 9\), the detector needs \(2, 3\)"):
        IsrTask(registry=REGISTRY).run(RAW, bias=wrong)


def test_example_a_plan_prints_itself() -> None:
    config = IsrTask(registry=REGISTRY).config.copy()
    for name in ("doBias", "doDark", "doDefect", "doSaturation"):
        config.set(name, False)
    flat = Exposure(
        MaskedImage.from_image(np.ones((2, 3), np.float32)), RAW.detector, unit="", source="f.fits"
    )
    text = str(IsrTask(config=config, registry=REGISTRY).plan(RAW, flat=flat))
    rows = {line.split()[0]: line for line in text.splitlines()}
    assert text.startswith("plan for exposure in memory (detector 'unnamed')\nstep ")
    assert rows["dark"].split()[1:5] == ["skipped", "doDark", "=", "false"]
    assert rows["flat"].split()[-2:] == ["f.fits", "2"]
    assert rows["overscan"].count("the detector has no serial overscan") == 1
