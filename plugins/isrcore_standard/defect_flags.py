"""Flag the detector's known bad pixels (behaviour §2.13)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from isrcore import AmpView, Defects, FlagBoxes, Op, PixelStep, stepspecs


def read_defects(path: Path, detector: str) -> Defects:
    """The defects in a table, whichever detector it is of. Raises DefectsError."""
    return Defects.read(path)


class DefectFlags(PixelStep):
    """Flag BAD every defect, clipped to the detector."""

    spec, per = stepspecs.DEFECTS, "detector"
    readers: ClassVar = {"defects": read_defects}

    def ops(self, view: AmpView) -> Iterator[Op]:
        """All boxes at once."""
        if view.defects is not None and len(view.defects):
            yield FlagBoxes(view.defects.as_array, view.bits("BAD")).window(view.box)
