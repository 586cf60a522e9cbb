"""Flag a frame of pixels along the detector's edges (behaviour §2.13; §9 fault 40)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from isrcore import (
    AmpView,
    Box,
    Calibrations,
    Config,
    Exposure,
    FlagBoxes,
    Op,
    PixelStep,
    Skip,
    StepSpec,
    field,
    stepspecs,
)


class EdgesConfig(Config):
    """Which pixels are edges."""

    numPixels: int = field(0, "Width of the frame in pixels; more than 0 switches the step on.", minimum=0)
    plane: str = field("SUSPECT", "Mask plane to set.")


class Edges(PixelStep):
    """Flag pixels near the edges, where fields bend and light leaks. Independent of doDefect."""

    spec, per = stepspecs.EDGES, "detector"
    ConfigClass = EdgesConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Off without a width."""
        if self.config.numPixels == 0:
            return Skip("edges.numPixels = 0")
        return attrs.evolve(self.spec, planes={self.config.plane})

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """A frame wider than half the detector is a mistake."""
        width, shape = self.config.numPixels, exposure.detector.shape
        if 2 * width > min(shape):
            yield f"edges.numPixels = {width} is more than half of the detector's shape {shape}"

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Four boxes; corners are flagged once or twice alike."""
        (ny, nx), n = view.box.shape, self.config.numPixels
        sides = Box(0, n, 0, nx), Box(ny - n, ny, 0, nx), Box(0, ny, 0, n), Box(0, ny, nx - n, nx)
        yield FlagBoxes.of(sides, view.bits(self.config.plane))
