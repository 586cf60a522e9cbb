"""Flag the detector's known bad pixels (behaviour §2.13)."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import AmpView, FlagBoxes, Op, PixelStep, stepspecs


class DefectFlags(PixelStep):
    """Flag BAD every defect, clipped to the detector."""

    spec, per = stepspecs.DEFECTS, "detector"

    def ops(self, view: AmpView) -> Iterator[Op]:
        """All boxes at once."""
        if view.defects is not None and len(view.defects):
            yield FlagBoxes(view.defects.as_array, view.bits("BAD")).window(view.box)
