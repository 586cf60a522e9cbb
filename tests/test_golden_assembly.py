"""Assembly agrees with the original."""

from __future__ import annotations

import pytest

from tests.golden import golden_cases
from tests.golden_exposures import amplifier, assert_agrees, detector, exposure, make_task


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("assembleCcd"))
def test_assembly(entry, inputs, outputs):
    params = entry["params"]
    owner = detector([amplifier(amp) for amp in params["amps"]])
    task = make_task("doAssembleCcd", assembly__doTrim=params["doTrim"])
    raw = exposure(entry, inputs, "raw", facts=frozenset(), detector=owner)
    assert_agrees(task.run(raw).exposure, outputs, "ccd")
