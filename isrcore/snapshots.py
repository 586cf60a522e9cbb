"""What a run keeps of the exposure on its way: pictures, and a copy from before bad pixels are replaced."""

from __future__ import annotations

from typing import Any

from isrcore.exposure import Exposure
from isrcore.plan import Segment
from isrcore.thumbnails import Rgb, make_thumbnail

#: The step whose segment ends for the first picture.
ASSEMBLY = "assembly"

_REPLACING = frozenset({"badRegions", "interpolation"})


class Snapshots:
    """Looks at an exposure before and after the segments of a run, as its config asks.

    ``config`` is that of an `IsrTask`. Looking changes nothing.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self._is_replaced = False
        self._assembled: Rgb | None = None
        self._flattened: Rgb | None = None
        self._copy: Exposure | None = None

    def before(self, segment: Segment, exposure: Exposure) -> None:
        """Look just before the first segment that replaces bad pixels."""
        if not self._is_replaced and not _REPLACING.isdisjoint(_names(segment)):
            self._look_before_replacing(exposure)

    def after(self, segment: Segment, exposure: Exposure) -> None:
        """Look after assembly."""
        if self._config.qa.doThumbnailOss and _names(segment)[-1] == ASSEMBLY:
            self._assembled = make_thumbnail(exposure, self._config.qa)

    def finish(self, exposure: Exposure) -> None:
        """Look at the end, if nothing replaced bad pixels."""
        if not self._is_replaced:
            self._look_before_replacing(exposure)

    def _look_before_replacing(self, exposure: Exposure) -> None:
        self._is_replaced = True
        if self._config.qa.doThumbnailFlattened:
            self._flattened = make_thumbnail(exposure, self._config.qa)
        if self._config.doSaveInterpPixels:
            self._copy = exposure.clone()

    def as_dict(self) -> dict[str, Any]:
        """Everything under its documented names; None where it was not asked for."""
        return {
            "preInterpolatedExposure": self._copy,
            "ossThumb": self._assembled,
            "outputOssThumbnail": self._assembled,
            "flattenedThumb": self._flattened,
            "outputFlattenedThumbnail": self._flattened,
        }


def _names(segment: Segment) -> list[str]:
    """The steps of a segment, in order."""
    return [planned.spec.name for planned in segment.steps]
