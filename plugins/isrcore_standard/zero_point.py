"""What a count is worth in flux, from filter and exposure time alone (behaviour §2.29; §9 fault 38)."""

from __future__ import annotations

import math

from isrcore import Calibrations, Config, Exposure, Skip, Step, StepSpec, ZeroPoint, field, stepspecs

# 28 mag, what a telescope of a few metres counts once a second.
_FLUX = 10.0 ** (0.4 * 28.0)


class ZeroPointConfig(Config):
    """Counts per second of a star of magnitude zero."""

    fluxMag0T1: dict[str, float] = field(
        {"Unknown": _FLUX},
        "Counts per second of a star of AB magnitude 0, in the unit of the product, by a filter's names.",
        exclusive_minimum=0.0,
    )
    defaultFluxMag0T1: float = field(
        _FLUX, "The same for filters that are not in fluxMag0T1.", exclusive_minimum=0.0
    )
    doReplace: bool = field(
        False,
        "Replace a zero point that the exposure has already: by default it stays, as few are rougher.",
    )


class RoughZeroPoint(Step):
    """Attach a zero point: 2.5·log10(f0·t) mag for f0 counts per second of magnitude 0 in t s."""

    spec = stepspecs.ZERO_POINT
    ConfigClass = ZeroPointConfig
    changes_pixels = False

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Nothing to do without exposure time, or where somebody said it better."""
        time = exposure.visit.exposure_s
        if not (time > 0 and math.isfinite(time)):
            return Skip(f"the exposure time is {time} s")
        if exposure.zero_point is not None and not self.config.doReplace:
            return Skip(f"there is a zero point already: {exposure.zero_point.source or 'source unknown'}")
        return self.spec

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Look the filter up by all its names."""
        table = self.config.fluxMag0T1
        key = next((name for name in self.filter_names(exposure) if name in table), None)
        counts = self.config.defaultFluxMag0T1 if key is None else table[key]
        source = "zeroPoint.defaultFluxMag0T1" if key is None else f"zeroPoint.fluxMag0T1.{key}"
        if key is None:
            self._tell_default(exposure)
        magnitude = 2.5 * math.log10(counts * exposure.visit.exposure_s)
        exposure.zero_point = ZeroPoint.of_magnitude(magnitude, source)
        self.metadata.set("magnitude", magnitude)

    def _tell_default(self, exposure: Exposure) -> None:
        """Say that the filter is in no table; a warning only to those who have a table of their own."""
        is_theirs = len(self.config.history("fluxMag0T1")) > 1
        tell = self.log.warning if is_theirs else self.log.info
        name = exposure.visit.filter or "none"
        tell("%s: filter %r is not in zeroPoint.fluxMag0T1, the default is used", exposure.label, name)
