"""The dark of Heron, whose detector is not always equally warm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from isrcore import (
    AmpView,
    Calibrations,
    Config,
    Exposure,
    Measurement,
    Op,
    PixelStep,
    Quantity,
    Subtract,
    field,
    stepspecs,
)


class WarmDarkConfig(Config):
    """How the dark current grows."""

    dataProductName: str = field("dark", "Dataset of the dark frame in a repository.")
    doubling: float = field(7.0, "Kelvins by which the dark current doubles.", exclusive_minimum=0.0)


@attrs.frozen(eq=False)
class DarkScale(Measurement):
    """What the dark frame is multiplied by."""

    scale: float


class WarmDark(PixelStep):
    """I - s·D, V + s²·V_D with s = t/t_D · 2^((T - T_D)/doubling): dark times t, temperatures T (CCDTEMP)."""

    spec, ConfigClass, per, camera = stepspecs.DARK, WarmDarkConfig, "detector", "Heron"
    quantities: ClassVar = (Quantity("scale", "What the dark frame was multiplied by."),)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Times and temperatures must be known."""
        frames = [exposure] + ([calibrations.frame("dark")] if calibrations.offers("dark") else [])
        for frame in frames:
            if not frame.visit.dark_s > 0:
                yield f"{frame.label} has dark time {frame.visit.dark_s} s: it must be positive"
            if not isinstance(frame.header.get("CCDTEMP"), int | float):
                yield f"{frame.label} does not say how warm the detector was: its header needs CCDTEMP"

    def measure(self, view: AmpView) -> DarkScale:
        """The ratio of the charges."""
        dark = view.calibrations.frame("dark")
        warmer = float(view.exposure.header["CCDTEMP"]) - float(dark.header["CCDTEMP"])
        growth = 2.0 ** (warmer / self.config.doubling)
        return DarkScale(view.visit.dark_s / dark.visit.dark_s * growth)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One subtraction."""
        yield Subtract(view.calibration("dark"), scale=view.measurement.scale)
