"""Divide by the illumination correction (behaviour §2.25)."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import AmpView, Config, Divide, Exposure, Op, PixelStep, Skip, StepSpec, field, stepspecs


class IlluminationConfig(Config):
    """Which exposures are corrected, and the scale of the frame."""

    filters: list[str] = field(
        [],
        "Filters it is for, by any of their names. None by default: a frame is that of one filter, as "
        "scattered light depends on the colour.",
    )
    scale: float = field(1.0, "Number the frame counts as 1.", exclusive_minimum=0.0)


class Illumination(PixelStep):
    """Divide out what the flat got wrong on large scales, as its light came on other ways than the sky's."""

    spec, per = stepspecs.ILLUMINATION, "detector"
    ConfigClass = IlluminationConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Nothing to do in filters that are not listed."""
        return self.skip_unlisted(exposure, self.config.filters) or self.spec

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I·s/L, variance by the quotient rule, M | M_L."""
        scale = self.config.scale
        yield Divide(view.calibrations.divisor("illumMaskedImage", scale), scale=scale)
