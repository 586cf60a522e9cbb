"""Subtract the dark frame (behaviour §2.16)."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isrcore import AmpView, Calibrations, Config, Exposure, Op, PixelStep, Subtract, field, stepspecs


class DarkConfig(Config):
    """Where the frame comes from."""

    dataProductName: str = field("dark", "Dataset of the dark frame in a repository.")


class Dark(PixelStep):
    """Subtract the dark frame, scaled by the ratio of dark times (not exposure times)."""

    spec, per = stepspecs.DARK, "detector"
    ConfigClass = DarkConfig

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Both dark times must be known."""
        if not math.isfinite(exposure.visit.dark_s):
            yield f"{exposure.label} has no dark time: its header needs DARKTIME (or EXPTIME), in seconds"
        if calibrations.offers("dark"):
            frame = calibrations.frame("dark")
            if not (math.isfinite(frame.visit.dark_s) and frame.visit.dark_s > 0):
                yield f"{frame.label} has dark time {frame.visit.dark_s} s: a dark frame needs a positive one"

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I - sD, V + s²V_D, M | M_D with s = dark time of the exposure / of the frame."""
        yield Subtract(view.calibration("dark"), scale=view.visit.dark_s / view.visit_of("dark").dark_s)
