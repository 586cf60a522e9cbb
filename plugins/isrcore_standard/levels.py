"""Gain, read noise and saturation of the amplifiers: here, what the camera says (behaviour §0.2, §7.1)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isrcore import LEVEL_QUANTITIES, Calibrations, Exposure, Step, stepspecs


class Levels(Step):
    """Take the levels as the camera describes them. Cameras bind their own step to read headers or pixels."""

    spec, changes_pixels = stepspecs.LEVELS, False
    quantities = LEVEL_QUANTITIES

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Refuse gains and read noises that would make every variance wrong."""
        for amp in exposure.detector.amplifiers:
            where = f"amplifier {amp.name!r} of detector {exposure.detector.name!r}"
            if not (math.isfinite(amp.gain) and amp.gain > 0):
                yield f"{where} has gain {amp.gain} electron/adu; it must be positive"
            if not (math.isfinite(amp.read_noise) and amp.read_noise >= 0):
                yield f"{where} has read noise {amp.read_noise} electron; it must be zero or more"

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Keep the detector as it is: its values are the exposure's."""
        exposure.measured = {**exposure.measured, self.spec.name: exposure.detector.by_name()}
