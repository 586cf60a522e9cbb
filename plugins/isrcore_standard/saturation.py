"""Flag saturated pixels (behaviour §2.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from isrcore import AmpView, Config, Exposure, FlagAbove, Op, PixelStep, Skip, StepSpec, field, stepspecs


class SaturationConfig(Config):
    """Where saturation starts."""

    level: float = field(
        math.nan, "Saturation level in adu of the raw frame, for all amplifiers; NaN: the amplifiers' own."
    )


class Saturation(PixelStep):
    """Flag pixels at or above the saturation level, inclusive, over the amplifier's whole raw box.

    Amplifiers that defects cover are left to `AmplifierMask`.
    """

    spec = stepspecs.SATURATION
    ConfigClass = SaturationConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Set the plane the config names; levels count for raw pixels, pedestal included."""
        if "overscan-subtracted" in exposure.facts:
            return Skip("levels are those of raw pixels, the overscan is subtracted already")
        return attrs.evolve(self.spec, planes={self._plane()})

    def _plane(self) -> str:
        return str(getattr(self.top_config(), "saturatedMaskName", "SAT"))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One threshold; no level, no operation."""
        level = self.config.level if math.isfinite(self.config.level) else view.amplifier.saturation
        is_dead = view.defects is not None and view.defects.covers(view.amplifier.box)
        if not (is_dead or math.isnan(level)):
            yield FlagAbove(level, view.bits(self._plane()))
