"""What the overscan of an amplifier says: measured levels, in raw coordinates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Amplifier,
    AmpView,
    Box,
    FrameStatistics,
    MaskedImage,
    Measurement,
    Operand,
    Struct,
    statistics,
)
from isrcore_standard.overscan_fit import Fit


@attrs.frozen(eq=False)
class Segment:
    """Lines of an overscan that were fitted by themselves.

    The level of every line is ``reference + fit.model``, in adu. ``box`` is the overscan it was read from,
    ``outliers`` are flags of pixels of it that are no overscan.
    """

    box: Box
    reference: float
    fit: Fit
    outliers: npt.NDArray[np.int32]

    @property
    def levels(self) -> Any:
        """The level, adu: a number, or one per line."""
        return self.reference + self.fit.model


@attrs.frozen(eq=False)
class OverscanLevel:
    """The level read from one overscan.

    ``is_per_row`` says whether lines are rows (beside the data) or columns (of a parallel overscan). The
    segments are in order of lines. ``pixels`` is the overscan of ``box`` before it is corrected; pixels with
    any of the planes ``noisy`` say nothing about noise.
    """

    box: Box
    is_per_row: bool
    segments: tuple[Segment, ...]
    pixels: MaskedImage
    noisy: tuple[str, ...]

    @property
    def lines(self) -> tuple[int, int]:
        """First and last (exclusive) line of the raw frame that the level is known for."""
        return self.ends_of(self.box)

    def ends_of(self, box: Box) -> tuple[int, int]:
        """The lines of a box."""
        return (box.y0, box.y1) if self.is_per_row else (box.x0, box.x1)

    def _joined(self, values: list[Any]) -> Any:
        """Values of every segment as one, or one per line."""
        if len(values) == 1:
            return values[0]
        sizes = [stop - start for start, stop in (self.ends_of(s.box) for s in self.segments)]
        return np.concatenate([np.broadcast_to(v, n) for v, n in zip(values, sizes, strict=True)])

    @property
    def parts(self) -> tuple[Any, Any]:
        """The level in two parts, a reference and the small rest: numbers, or one per line, adu."""
        references = self._joined([segment.reference for segment in self.segments])
        return references, self._joined([segment.fit.model for segment in self.segments])

    @cached_property
    def levels(self) -> Any:
        """The level, adu: a number, or one per line."""
        return self._joined([segment.levels for segment in self.segments])

    @property
    def variance_factor(self) -> Any:
        """Variance of the level over that of one pixel: a number, or one per line."""
        return self._joined([segment.fit.variance_factor for segment in self.segments])

    @property
    def outliers(self) -> npt.NDArray[np.int32]:
        """Flags of pixels of ``box`` that are no overscan."""
        return np.concatenate(
            [segment.outliers for segment in self.segments], axis=0 if self.is_per_row else 1
        )

    @cached_property
    def residual(self) -> MaskedImage:
        """The corrected overscan."""
        return attrs.evolve(
            self.subtracted_from(self.pixels, self.box), mask=self.pixels.mask | self.outliers
        )

    @cached_property
    def residual_sigma(self) -> float:
        """Clipped scatter (3 sigma, 3 passes) of the corrected overscan, adu (behaviour §2.9)."""
        return FrameStatistics(self.residual, *self.noisy).clipped.sigma

    def subtracted_from(self, pixels: MaskedImage, box: Box) -> MaskedImage:
        """The pixels of a box of the raw frame without the level, as the correction leaves them."""
        image = pixels.image
        for values in self.parts:
            image = image - self.along(values, box)
        return attrs.evolve(pixels, image=image)

    def along(self, values: Any, box: Box) -> Operand:
        """A value per line as an operand for ``box``: zero on lines the overscan does not know."""
        start, stop = self.ends_of(box)
        first, last = self.lines
        operand = np.zeros(stop - start, np.float32)
        values = np.broadcast_to(values, last - first)
        low, high = max(start, first), min(stop, last)
        operand[low - start : high - start] = values[low - first : high - first]
        return operand[:, None] if self.is_per_row else operand[None, :]

    def extrapolated(self, data: Box) -> tuple[Box, ...]:
        """The lines of the data before the first and behind the last pixel of a segment."""
        return tuple(box for segment in self.segments for box in self._ends(segment, data) if box.area)

    def _ends(self, segment: Segment, data: Box) -> Iterator[Box]:
        start, stop = self.ends_of(segment.box)
        leading, trailing = segment.fit.extrapolated
        for first, last in ((start, start + leading), (stop - trailing, stop)):
            yield self._with_lines(data, first, last).intersect(data)

    def _with_lines(self, box: Box, first: int, last: int) -> Box:
        """The box with other lines."""
        if self.is_per_row:
            return attrs.evolve(box, y0=first, y1=last)
        return attrs.evolve(box, x0=first, x1=last)

    @property
    def is_extrapolated(self) -> npt.NDArray[np.bool_]:
        """Which lines lie before the first or behind the last pixel of their segment."""
        found = []
        for segment in self.segments:
            start, stop = self.ends_of(segment.box)
            place = np.arange(stop - start)
            leading, trailing = segment.fit.extrapolated
            found.append((place < leading) | (place >= stop - start - trailing))
        return np.concatenate(found)


@attrs.frozen(eq=False)
class OverscanMeasurement(Measurement):
    """The offset of one amplifier: what was read first, and after it, if asked for, in the parallel overscan.

    ``amp`` is the amplifier as it was then. Noise is that of the first overscan.
    """

    overscans: tuple[OverscanLevel, ...]
    amp: Amplifier

    @property
    def first(self) -> OverscanLevel:
        """The overscan that was read first, or alone."""
        return self.overscans[0]

    @property
    def level(self) -> float:
        """The median level, adu."""
        return float(np.median(self.first.levels))

    @property
    def residual(self) -> MaskedImage:
        """The corrected overscan."""
        return self.first.residual

    @property
    def residual_sigma(self) -> float:
        """Clipped scatter (3 sigma, 3 passes) of the corrected overscan, adu: the read noise."""
        return self.first.residual_sigma

    @property
    def read_noise(self) -> float:
        """The same in electron."""
        return self.residual_sigma * self.amp.gain

    def report(self, num_sigma: float, num_iterations: int) -> Iterator[tuple[str, float, float]]:
        """Of the whole overscan, of segments, of the parallel overscan: name, median level, scatter, adu.

        The whole has no name. The scatter is that of the level from line to line, clipped as told; NaN for
        one level.
        """
        segments = self.first.segments if len(self.first.segments) > 1 else ()
        found = {"": self.first.levels}
        found |= {f"SEGMENT{number}": segment.levels for number, segment in enumerate(segments, start=1)}
        if len(self.overscans) > 1:
            found["PARALLEL"] = self.overscans[1].levels
        for name, levels in found.items():
            sigma = math.nan
            if np.size(levels) > 1:
                sigma = statistics.clipped(np.asarray(levels), num_sigma, num_iterations).sigma
            yield name, float(np.median(levels)), sigma

    def level_variance(self, view: AmpView, pixel_variance: float) -> Operand:
        """Variance of what was subtracted from the pixels of a view, adu²; that of one pixel is given.

        A number, a column or a row; a plane where two overscans each have a level per line.
        """
        found: Operand = 0.0
        for part in self.level_variances(view, pixel_variance):
            found = found + part
        return found

    def level_variances(self, view: AmpView, pixel_variance: float) -> tuple[Operand, ...]:
        """The same in parts, one per overscan: numbers, columns or rows that together make it."""
        return tuple(self._variance(level, view, pixel_variance) for level in self.overscans)

    def _variance(self, level: OverscanLevel, view: AmpView, pixel_variance: float) -> Operand:
        factor = level.variance_factor
        if np.ptp(factor) == 0:
            return float(np.max(factor)) * pixel_variance
        was, now = self.amp, view.amplifier
        is_raw = not view.is_assembled
        # Raw frames too may have been turned since, without being trimmed.
        is_turned = not is_raw or (was.flip_y, was.flip_x) != (now.flip_y, now.flip_x)
        box = now.raw_box if is_raw else was.raw_data_box
        operand = np.asarray(level.along(factor * pixel_variance, box))
        return operand[:: -1 if is_turned and was.flip_y else 1, :: -1 if is_turned and was.flip_x else 1]

    def to_struct(self) -> Struct:
        """The documented result: imageFit, overscanFit, overscanImage and edgeMask.

        ``imageFit`` is what was subtracted from the data, ``overscanFit`` what from the overscan: a number or
        one per line; with two overscans ``imageFit`` has the shape of the data. ``edgeMask`` says which lines
        of the overscan are extrapolated.
        """
        data, first = self.amp.raw_data_box, self.first
        start, stop = first.ends_of(data)
        image_fit = first.levels
        if not np.isscalar(image_fit):
            image_fit = image_fit[start - first.lines[0] : stop - first.lines[0]]
        for level in self.overscans[1:]:
            image_fit = np.asarray(first.along(first.levels, data)) + level.along(level.levels, data)
        return Struct(
            imageFit=image_fit,
            overscanFit=first.levels,
            overscanImage=first.residual,
            edgeMask=first.is_extrapolated,
        )
