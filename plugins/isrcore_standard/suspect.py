"""Flag pixels too bright to be trusted (behaviour §2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from isrcore import AmpView, Exposure, FlagAbove, Op, PixelStep, Skip, StepSpec, stepspecs


class Suspect(PixelStep):
    """Flag pixels at or above the amplifier's suspect level, inclusive. NaN means there is none."""

    spec = stepspecs.SUSPECT

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Set the plane the config names; levels count for raw pixels, pedestal included."""
        if "overscan-subtracted" in exposure.facts:
            return Skip("levels are those of raw pixels, the overscan is subtracted already")
        return attrs.evolve(self.spec, planes={self._plane()})

    def _plane(self) -> str:
        return str(getattr(self.top_config(), "suspectMaskName", "SUSPECT"))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One threshold; no level, no operation."""
        level = view.amplifier.suspect_level
        is_dead = view.defects is not None and view.defects.covers(view.amplifier.box)
        if not (is_dead or math.isnan(level)):
            yield FlagAbove(level, view.bits(self._plane()))
