"""Put the amplifiers' data together into one image (behaviour §2.6)."""

from __future__ import annotations

from typing import Any

import attrs

from isrcore import (
    Amplifier,
    Box,
    Config,
    Detector,
    Exposure,
    Gather,
    GatherStep,
    Simulation,
    Skip,
    StepSpec,
    field,
    stepspecs,
)
from isrcore_standard.wcs import moved_wcs

_ALWAYS_REMOVED = ("DATASEC", "BIASSEC", "TRIMSEC", "GAIN")


class AssemblyConfig(Config):
    """What the assembled image holds."""

    doTrim: bool = field(True, "Keep only data pixels; false keeps overscan, turned the assembled way round.")
    keysToRemove: list[str] = field(
        [], "Header cards that no longer hold, besides DATASEC, BIASSEC, TRIMSEC and GAIN."
    )


class Assembly(GatherStep):
    """Trim, flip and place every amplifier. Image, mask and variance move; the WCS follows amplifier one."""

    spec = stepspecs.ASSEMBLY
    ConfigClass = AssemblyConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Untrimmed frames are only turned, so they do not count as assembled."""
        if self.config.doTrim:
            return self.spec
        return attrs.evolve(self.spec, provides={"turned"})

    def gathers(self, detector: Detector) -> tuple[Gather, ...]:
        """Data into the trimmed frame, or whole amplifiers turned where they are."""
        if self.config.doTrim:
            return detector.gathers()
        return tuple(Gather(a.raw_box, a.raw_box, a.flip_y, a.flip_x) for a in detector.amplifiers)

    def target(self, detector: Detector) -> tuple[Detector, tuple[int, int]]:
        """The trimmed detector, or one whose raw sections are where turning brought them."""
        if self.config.doTrim:
            return detector, detector.shape
        turned = tuple(_turned(amp) for amp in detector.amplifiers)
        return attrs.evolve(detector, amplifiers=turned), detector.raw_shape

    def simulate(self, simulation: Simulation) -> None:
        """Move pixels and WCS back into the raw frame."""
        super().simulate(simulation)
        exposure = simulation.exposure
        if exposure.wcs is not None and exposure.detector.amplifiers:
            exposure.wcs = moved_wcs(exposure.wcs, exposure.detector.amplifiers[0].gather().inverse())

    def finish(self, exposure: Exposure) -> None:
        """Take cards away that no longer hold and move the WCS with the pixels."""
        for key in (*_ALWAYS_REMOVED, *self.config.keysToRemove):
            exposure.header.remove(key, ignore_missing=True, remove_all=True)
        if self.config.doTrim and exposure.wcs is not None and exposure.detector.amplifiers:
            exposure.wcs = moved_wcs(exposure.wcs, exposure.detector.amplifiers[0].gather())


def _turned(amp: Amplifier) -> Amplifier:
    """An amplifier whose raw sections were flipped inside its raw box."""
    sections = ("raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")
    moved: dict[str, Any] = {
        name: _flipped(getattr(amp, name), amp.raw_box, amp.flip_y, amp.flip_x) for name in sections
    }
    return attrs.evolve(amp, flip_y=False, flip_x=False, **moved)


def _flipped(part: Box, raw_box: Box, flip_y: bool, flip_x: bool) -> Box:
    """Where a section of the raw box lies after the box is flipped; empty ones stay empty."""
    if not part.area:
        return part
    local = part.relative_to(raw_box).flip(raw_box.shape, flip_y, flip_x)
    return local.shift(raw_box.y0, raw_box.x0)
