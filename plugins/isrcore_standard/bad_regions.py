"""Give bad pixels the level of the good ones (behaviour §2.26; §9 fault 3)."""

from __future__ import annotations

import math
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Calibrations,
    Config,
    Exposure,
    Measurement,
    Quantity,
    Runs,
    Skip,
    Step,
    StepSpec,
    field,
    reading_order,
    stepspecs,
)


class BadRegionsConfig(Config):
    """What bad pixels get."""

    statistic: str = field(
        "MEDIAN", "Level of the good pixels: their median, or their mean clipped at three sigma.",
        choices=("MEDIAN", "MEANCLIP"),
    )  # fmt: skip
    ignore: list[str] = field(["BAD"], "Mask planes whose pixels are not good.")


@attrs.frozen(eq=False)
class BadRegionsMeasurement(Measurement):
    """How many pixels were set, and the level in the unit of the image (NaN without a good pixel)."""

    count: int
    value: float


class BadRegions(Step):
    """Set BAD pixels that were not interpolated over to one level; mask and variance stay.

    Without a good pixel there is no level and nothing is set. Skipped when interpolation replaces BAD pixels
    anyway: it reads good pixels only, so what bad ones hold before makes no difference.
    """

    spec = stepspecs.BAD_REGIONS
    ConfigClass = BadRegionsConfig
    quantities: ClassVar = (
        Quantity("count", "Pixels that were set.", kind=int),
        Quantity("value", "Level they were set to, in the unit of the image."),
    )

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Nothing to do where interpolation follows."""
        top = self.top_config()
        planes = getattr(getattr(top, "interpolation", None), "planes", ())
        if getattr(top, "doInterpolate", False) and "BAD" in planes:
            return Skip("interpolation fills BAD pixels")
        return self.spec

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Find the flagged pixels first: without any no level is needed."""
        flagged = Runs.of(exposure.mask, exposure.planes.value("BAD")).indices()
        interpolated = np.int32(exposure.planes.value("INTRP"))
        places = flagged[reading_order(exposure.mask)[flagged] & interpolated == 0]
        value = self._level(exposure) if places.size else math.nan
        if math.isfinite(value):
            reading_order(exposure.image)[places] = value
        elif places.size:
            self.log.warning("%s has no good pixel: its bad pixels keep their values", exposure.label)
        self._record(exposure, BadRegionsMeasurement(places.size if math.isfinite(value) else 0, value))

    def _level(self, exposure: Exposure) -> float:
        found = exposure.statistics(*self.config.ignore, threads=self.threads).clipped
        return found.median if self.config.statistic == "MEDIAN" else found.mean

    def _record(self, exposure: Exposure, measurement: BadRegionsMeasurement) -> None:
        by_detector = {exposure.detector.name: measurement}
        exposure.measured = {**exposure.measured, self.spec.name: by_detector}
        self.metadata.set("count", measurement.count)
        self.metadata.set("value", measurement.value)
