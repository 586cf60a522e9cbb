"""Subtract the ghost of the pupil: light that went to and fro between the lenses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np

from isrcore import AmpView, Config, Measurement, Op, PixelStep, Quantity, StepSpec, Subtract, field

PUPIL_GHOST = StepSpec(
    name="pupilGhost",
    doc="Subtract the ghost of the pupil, scaled to the sky.",
    flag="doPupilGhost",
    requires={"assembled", "flat-fielded"},
    after={"fringe-subtracted"},
    provides={"pupil-ghost-subtracted"},
    calibrations={"pupilGhost"},
    once=True,
    reach=None,
)


class PupilGhostConfig(Config):
    """How bright the ghost is."""

    fraction: float = field(0.01, "Brightness of a ghost of 1 relative to the sky.", minimum=0.0, maximum=1.0)


@attrs.frozen(eq=False)
class Sky(Measurement):
    """The sky of the detector, in the unit of the image."""

    sky: float


class PupilGhost(PixelStep):
    """I - f·s·C, V + (f·s)²·W: ghost C with variance W, fraction f, sky s."""

    spec, ConfigClass, per = PUPIL_GHOST, PupilGhostConfig, "detector"
    quantities: ClassVar = (Quantity("sky", "Median of the detector, in the unit of the image."),)

    def reads_pixels(self) -> bool:
        """The sky is measured on the exposure."""
        return True

    def measure(self, view: AmpView) -> Sky:
        """The median of all pixels that are numbers."""
        return Sky(float(np.nanmedian(view.pixels(view.box).image)))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One subtraction."""
        yield Subtract(view.calibration("pupilGhost"), scale=self.config.fraction * view.measurement.sky)
