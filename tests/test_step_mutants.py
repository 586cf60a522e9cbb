"""The kit for steps finds every fault it is for, says so in words, and leaves sound steps alone."""

from __future__ import annotations

import re

import pytest

import isrcore_standard
from isrcore import Registry
from isrcore.testing import StepContract
from tests.mutants.steps import MUTANTS, SOUND

REGISTRY = Registry({"standard": isrcore_standard})
CHECKS = [name.removeprefix("test_") for name in dir(StepContract) if name.startswith("test_")]


def contract_of(step, examples):
    """The tests of one step; what fails is not made smaller."""
    values = {"step": step, "registry": REGISTRY, "examples": examples, "shrinks": False}
    return type("Contract", (StepContract,), values)()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_fault_is_found_by_its_check(mutant):
    # Some faults show on few detectors only: of one amplifier there is no other to read.
    contract = contract_of(mutant.step, examples=40)
    with pytest.raises(AssertionError) as found:
        getattr(contract, f"test_{mutant.check}")()
    message = " ".join(str(found.value).split())
    assert re.search(mutant.message, message)
    assert f"step '{mutant.step.spec.name}'" in message


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("step", SOUND)
def test_sound_steps_pass_every_check(step, check):
    getattr(contract_of(step, examples=3), f"test_{check}")()


def test_the_list_of_faults_is_in_order():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 14
    assert {mutant.check for mutant in MUTANTS} == set(CHECKS)
