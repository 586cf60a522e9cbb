"""Flag amplifiers that are bad as a whole (behaviour §2.2, and §9 fault 18: boxes together count)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from isrcore import AmpView, Box, FlagBoxes, Measurement, Op, PixelStep, Simulation, stepspecs


@attrs.frozen(eq=False)
class BadAmplifier(Measurement):
    """Why an amplifier is bad, and which pixels of its view say so."""

    reason: str
    box: Box


class AmplifierMask(PixelStep):
    """Flag BAD the amplifiers that defects cover, and those saturated or suspect in every data pixel."""

    spec = stepspecs.AMPLIFIER_MASK

    def reads_pixels(self) -> bool:
        """To see amplifiers that are saturated throughout."""
        return True

    def measure(self, view: AmpView) -> BadAmplifier | None:
        """Whether and why the amplifier is bad."""
        if view.defects is not None and view.defects.covers(view.amplifier.box):
            return BadAmplifier("defects cover it", Box.of_shape(view.box.shape))
        data = view.box if view.is_assembled else view.amplifier.raw_data_box
        if self._is_flagged_throughout(view, data):
            return BadAmplifier("every pixel is saturated or suspect", data.relative_to(view.box))
        return None

    def _is_flagged_throughout(self, view: AmpView, data: Box) -> bool:
        """Whether every data pixel is flagged. One row settles it for all but bad amplifiers."""
        top = self.top_config()
        planes = (getattr(top, "saturatedMaskName", "SAT"), getattr(top, "suspectMaskName", "SUSPECT"))
        first_row = attrs.evolve(data, y1=min(data.y0 + 1, data.y1))
        return bool(
            data.area
            and view.pixels(first_row).flagged(*planes).all()
            and view.pixels(data).flagged(*planes).all()
        )

    def simulate(self, simulation: Simulation) -> None:
        """Nothing: flags are not in the pixels."""

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Nothing for a good amplifier."""
        if view.measurement is not None:
            yield FlagBoxes.of((view.measurement.box,), view.bits("BAD"))
