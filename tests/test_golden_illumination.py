"""The illumination correction agrees with the original."""

from __future__ import annotations

import pytest

from isrcore import VisitInfo
from tests.golden import golden_cases
from tests.golden_exposures import assert_agrees, exposure, make_task


@pytest.mark.parametrize(("entry", "inputs", "outputs"), golden_cases("illuminationCorrection"))
def test_illumination(entry, inputs, outputs):
    task = make_task(
        "doIlluminationCorrection",
        illumination__filters=["r"],
        illumination__scale=entry["params"]["illumScale"],
    )
    science = exposure(entry, inputs, "maskedImage", visit=VisitInfo(filter="r"))
    frame = exposure(entry, inputs, "illum", unit="")
    assert_agrees(task.run(science, illumMaskedImage=frame).exposure, outputs)
