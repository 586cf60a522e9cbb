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
        """Dark times must be known and positive."""
        frames = [exposure] + ([calibrations.frame("dark")] if calibrations.offers("dark") else [])
        for frame in frames:
            if not frame.visit.dark_s > 0:
                yield f"{frame.label} has dark time {frame.visit.dark_s} s: it must be positive"

    def measure(self, view: AmpView) -> DarkScale:
        """The ratio of the charges; without a temperature both are taken to be equally warm."""
        dark = view.calibrations.frame("dark")
        warm, cold = (one.header.get("CCDTEMP") for one in (view.exposure, dark))
        is_known = isinstance(warm, int | float) and isinstance(cold, int | float)
        growth = 2.0 ** ((warm - cold) / self.config.doubling) if is_known else 1.0
        return DarkScale(view.visit.dark_s / dark.visit.dark_s * growth)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One subtraction."""
        yield Subtract(view.calibration("dark"), scale=view.measurement.scale)
