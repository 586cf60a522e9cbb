"""Law: what may be done once is refused the second time, in memory and after a detour through a file."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given

import isrcore_standard
from isrcore import (
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    PlanError,
    Registry,
    VisitInfo,
    read_exposure,
    write_exposure,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

REGISTRY = Registry({"standard": isrcore_standard})


def refusals(task, exposure, inputs):
    """The steps that refuse to run again; raises when none does."""
    with pytest.raises(PlanError) as caught:
        task.run(exposure, **inputs)
    found = [problem for problem in caught.value.problems if "must not run twice" in problem]
    return {problem.split("'")[1] for problem in found}


@given(strategies.runs(REGISTRY, doAssembleCcd=True, assembly__doTrim=True))
def test_a_second_application_is_refused(drawn):
    config, exposure, inputs = drawn
    task = IsrTask(config=config, registry=REGISTRY)
    plan = task.plan(exposure, **inputs)
    done = task.run(exposure, **inputs).exposure
    expected = {planned.spec.name for planned in plan.steps if planned.spec.once}
    before = done.clone()
    with TemporaryDirectory() as folder:
        path = Path(folder, "done.fits")
        write_exposure(done, path)
        again = read_exposure(path)
    assert again.facts == done.facts
    # The overscan is gone with the assembly, so a detector without one has nothing to refuse.
    for exposed in (done, again):
        assert refusals(task, exposed, inputs) == expected
        check_same(exposed.pixels, before.pixels)


def test_example_a_dark_is_not_subtracted_twice():
    detector = Detector.of_shape((1, 2))
    facts = frozenset({"converted", "levels-known", "assembled"})
    science = Exposure(MaskedImage.from_image(np.float32([[10, 6]])), detector, facts=facts)
    dark = Exposure(MaskedImage.from_image(np.float32([[2, 1]])), detector, facts=facts)
    science.visit = dark.visit = VisitInfo(dark_s=30.0)
    task = IsrTask(registry=REGISTRY)
    task.darkCorrection(science, dark)
    with pytest.raises(PlanError, match="'dark' must not run twice: the exposure is 'dark-subtracted'"):
        task.darkCorrection(science, dark)
    assert science.image.tolist() == [[8, 5]]
