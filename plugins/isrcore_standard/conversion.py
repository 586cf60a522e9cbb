"""Raw integers become float32 pixels with no flags and unit variance (behaviour §2.1)."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import AmpView, Exposure, Op, PixelStep, Simulation, Skip, StepSpec, stepspecs


class Conversion(PixelStep):
    """Make pixels float32. Reading a segment's pixels casts them, so no operation is left to do."""

    spec, per = stepspecs.CONVERSION, "detector"

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Float pixels need nothing."""
        return self.spec if exposure.pixels.is_raw else Skip("pixels are float32 already")

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Nothing beyond the cast."""
        return iter(())

    def simulate(self, simulation: Simulation) -> None:
        """Digitise: the nearest adu, within the range of the converter."""
        simulation.digitise()
