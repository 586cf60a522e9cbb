"""Robust statistics of a whole frame, found once and shared by the steps that need them."""

from __future__ import annotations

from functools import cached_property

from isrcore.image import MaskedImage
from isrcore.statistics import ClippedStatistics, clipped


class FrameStatistics:
    """Level and noise of the good pixels of a frame, found when first asked for and kept.

    Good are finite pixels with none of the planes ``ignored``. Steps that change only pixels that are not
    good leave the statistics as they are.
    """

    def __init__(self, pixels: MaskedImage, *ignored: str) -> None:
        self._pixels, self._ignored = pixels, ignored

    @cached_property
    def clipped(self) -> ClippedStatistics:
        """Median, and mean and sigma within three sigma in three passes (behaviour §0.5)."""
        bits = self._pixels.planes.value(*self._ignored)
        return clipped(self._pixels.image, ignore=self._pixels.mask & bits != 0)

    @property
    def median(self) -> float:
        """The median of the good pixels; NaN when there is none."""
        return self.clipped.median
