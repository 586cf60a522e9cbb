"""From overscan pixels to the level they tell."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Amplifier, Box, MaskedImage, Runs, statistics
from isrcore_standard.overscan_config import LevelConfig
from isrcore_standard.overscan_fit import Fit, fit_level
from isrcore_standard.overscan_level import OverscanLevel, Segment

Flags = npt.NDArray[np.int32]


@attrs.frozen
class Lines:
    """How the lines of an overscan run: rows or columns, the first one read out first or last."""

    is_per_row: bool
    is_reversed: bool

    @classmethod
    def of(cls, amp: Amplifier, box: Box) -> Lines:
        """Those of one of the amplifier's overscans. The readout corner is one of the assembled frame."""
        if knows_rows(box, amp):
            return cls(True, (amp.readout_corner[0] == "U") != amp.flip_y)
        return cls(False, (amp.readout_corner[1] == "R") != amp.flip_x)

    def ends_of(self, box: Box) -> tuple[int, int]:
        """First and last (exclusive) line of a box."""
        return (box.y0, box.y1) if self.is_per_row else (box.x0, box.x1)

    def in_order(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Pixels as lines, shape (lines, pixels of a line), in order of readout.

        So a fit does not depend on the corner that a frame is stored from, to the last bit.
        """
        lines = plane if self.is_per_row else plane.T
        return np.ascontiguousarray(lines[:: -1 if self.is_reversed else 1])

    def reaching(self, box: Box, other: Box) -> Box:
        """The box with the lines of another one too, and those between them."""
        start, stop = self.ends_of(box)
        first, last = self.ends_of(other)
        return self._with_ends(box, min(start, first), max(stop, last))

    def _with_ends(self, box: Box, start: int, stop: int) -> Box:
        """The box with other lines."""
        if self.is_per_row:
            return attrs.evolve(box, y0=start, y1=stop)
        return attrs.evolve(box, x0=start, x1=stop)

    def cut(self, box: Box, data: Box, count: int) -> tuple[Box, Box]:
        """The box in two, between the first ``count`` lines of the data that are read out and the others."""
        (start, stop), (first, last) = self.ends_of(data), self.ends_of(box)
        line = stop - count if self.is_reversed else start + count
        return self._with_ends(box, first, line), self._with_ends(box, line, last)


def knows_rows(box: Box, amp: Amplifier) -> bool:
    """Whether the overscan lies beside the data and reaches every row of it."""
    data = amp.raw_data_box
    return box.y0 <= data.y0 and data.y1 <= box.y1 and (box.x0 >= data.x1 or box.x1 <= data.x0)


def knows_columns(box: Box, amp: Amplifier) -> bool:
    """Whether the overscan lies above or below the data and reaches every column of it."""
    data = amp.raw_data_box
    return box.x0 <= data.x0 and data.x1 <= box.x1 and (box.y0 >= data.y1 or box.y1 <= data.y0)


@attrs.frozen
class OverscanReader:
    """Reads the level in pixels of one amplifier's overscan.

    ``saturated`` and ``suspect`` are the planes of such pixels: outliers get the first one.
    """

    config: LevelConfig
    lines: Lines
    saturated: str
    suspect: str

    def read(self, pixels: MaskedImage, boxes: tuple[Box, ...]) -> OverscanLevel:
        """The level in boxes of the raw frame, one beside the other, each fitted by itself.

        NaN where no pixel is left.
        """
        whole = Box(boxes[0].y0, boxes[-1].y1, boxes[0].x0, boxes[-1].x1)
        segments = tuple(self._segment(pixels.window(box.relative_to(whole)), box) for box in boxes)
        noisy = ("BAD", self.saturated, self.suspect)
        return OverscanLevel(whole, self.lines.is_per_row, segments, pixels, noisy)

    def _segment(self, pixels: MaskedImage, box: Box) -> Segment:
        """Reject outliers and fit what is left."""
        bits, ignored = pixels.planes.value(self.saturated), pixels.planes.value("BAD", self.saturated)
        bleeds = self._bleeds(pixels, bits)
        centre = statistics.median(pixels.image, (pixels.mask | bleeds) != 0)
        if not math.isfinite(centre):
            return Segment(box, math.nan, Fit(math.nan, 0.0), bleeds)
        outliers = bleeds | self._far(pixels.image, centre, bits)
        ignore = ((pixels.mask | outliers) & ignored != 0) | ~np.isfinite(pixels.image)
        # A whole reference, as pixels are: then what is left rounds the same whatever the pedestal.
        reference = float(math.floor(centre)) if self._takes_integers() else centre
        values = self.lines.in_order(pixels.image - np.float32(reference))
        fit = fit_level(self.config, values, self.lines.in_order(ignore), reference)
        return Segment(box, reference, fit.reversed() if self.lines.is_reversed else fit, outliers)

    def _takes_integers(self) -> bool:
        return self.config.isInt and self.config.fitType.startswith("MEDIAN")

    def _far(self, image: npt.NDArray[np.float32], centre: float, bits: int) -> Flags:
        """Flags of pixels that are no overscan: a hit, a bleed trail."""
        with np.errstate(invalid="ignore"):
            far = np.abs(image - np.float32(centre)) > self.config.maxDev
        return np.where(far, np.int32(bits), np.int32(0))

    def _bleeds(self, pixels: MaskedImage, bits: int) -> Flags:
        """Flags of trails that reach into a parallel overscan, and of pixels near them."""
        threshold, reach = self.config.bleeding()
        is_bright = (pixels.image >= np.float32(threshold)) & np.isfinite(pixels.image)
        flags = np.where(is_bright & ~pixels.flagged("BAD"), np.int32(bits), np.int32(0))
        if is_bright.any():
            Runs.of(flags, bits).flag_near(flags, bits, reach)
        return flags
