"""What one count of an exposure is worth in flux."""

from __future__ import annotations

import math

import attrs

#: Flux density of AB magnitude zero, nJy: 1 erg/s/cm²/Hz, which is 10³² nJy, has magnitude -48.60 (Oke and
#: Gunn 1983, ApJ 266, 713).
AB_ZERO_NJY = 10.0 ** (0.4 * 31.4)


@attrs.frozen
class ZeroPoint:
    """The flux density, in nJy, of one count in the unit of the exposure; the same all over the detector.

    ``source`` says who determined it. Raises ValueError for a flux that is not positive and finite.
    """

    flux_njy: float
    source: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what is no flux."""
        if not (math.isfinite(self.flux_njy) and self.flux_njy > 0):
            raise ValueError(f"one count cannot be worth {self.flux_njy} nJy: give a positive flux")

    @classmethod
    def of_magnitude(cls, magnitude: float, source: str = "") -> ZeroPoint:
        """From the AB magnitude of one count."""
        return cls(AB_ZERO_NJY * 10.0 ** (-0.4 * magnitude), source)

    @property
    def magnitude(self) -> float:
        """AB magnitude of one count: of n counts it is this minus 2.5·log10(n)."""
        return -2.5 * math.log10(self.flux_njy / AB_ZERO_NJY)
