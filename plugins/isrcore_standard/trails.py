"""Widen saturation trails (behaviour §2.14)."""

from __future__ import annotations

import attrs
import numpy as np

from isrcore import Calibrations, Exposure, Runs, Skip, Step, StepSpec, stepspecs

#: A run at least this wide gets so many more pixels at each end.
_WIDTHS, _EXTRAS = np.array([6, 8, 10]), np.array([0, 1, 3, 4])


class SaturationTrails(Step):
    """Flag more pixels beside the saturated runs of a row, the more the wider the run.

    Rows are not widened upwards. Widths are those before: what is added makes no run wider still.
    """

    spec = stepspecs.TRAILS

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Set the plane of saturated pixels that the task names."""
        return attrs.evolve(self.spec, planes={self._plane()})

    def _plane(self) -> str:
        return str(getattr(self.top_config(), "saturatedMaskName", "SAT"))

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Look through the mask once, then touch what is saturated and wide."""
        bits = exposure.planes.value(self._plane())
        trails = Runs.of(exposure.mask, bits, self.threads)
        trails = trails[trails.width >= _WIDTHS[0]]
        if len(trails):
            extra = _EXTRAS[np.searchsorted(_WIDTHS, trails.width, "right")]
            trails.flag(exposure.mask, bits, extra)
            exposure.forget_statistics()
