"""Measure level, noise and flatness of the sky (behaviour §2.30; §9 fault 26)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Box,
    Calibrations,
    Exposure,
    FlatnessConfig,
    FrameStatistics,
    IsrQaConfig,
    Measurement,
    Quantity,
    Step,
    stepspecs,
)


@attrs.frozen(eq=False)
class BackgroundMeasurement(Measurement):
    """Median and clipped sigma of the sky in the unit of the image; relative flatness of ``cells``.

    ``peak_to_peak`` and ``rms`` are of (cell - m)/m, with m the median of the cells; NaN without a finite
    cell, or where m is zero. ``cells`` has shape (rows, columns), NaN for a cell without a good pixel.
    """

    level: float
    sigma: float
    peak_to_peak: float
    rms: float
    cells: tuple[tuple[float, ...], ...]


class Background(Step):
    """Measure the pixels without BAD, saturated, DETECTED and UNMASKEDNAN, and write header cards.

    Interpolated pixels keep the flags of what was wrong with them, so they do not count. Cells of the grid
    are clipped to the image. A number that cannot be had gives a card without value.
    """

    spec, changes_pixels = stepspecs.BACKGROUND, False
    quantities: ClassVar = (
        Quantity("level", "Median of the sky, in the unit of the image."),
        Quantity("sigma", "Clipped standard deviation of the sky, in the unit of the image."),
        Quantity("peak_to_peak", "Largest difference of cells, relative to their median."),
        Quantity("rms", "Standard deviation of cells, relative to their median."),
    )

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Measure the whole frame and the cells, then write everything down."""
        qa = getattr(self.top_config(), "qa", None) or IsrQaConfig()
        statistics = exposure.statistics(*self._ignored(), threads=self.threads)
        whole = statistics.clip(qa.flatness.clipSigma, qa.flatness.nIter)
        rows = list(_grid(exposure.shape, qa.flatness))
        cells = tuple(tuple(self._cell(exposure, box, qa.flatness) for box in row) for row in rows)
        found = BackgroundMeasurement(whole.median, whole.sigma, *_flatness(cells), cells)
        exposure.measured = {**exposure.measured, self.spec.name: {exposure.detector.name: found}}
        for key, value in _cards(found, qa.flatness).items():
            self.metadata.set(key, value)
            _write_card(exposure, key, value)
        if qa.saveStats:
            self._record_amplifiers(exposure, qa.flatness)

    def _ignored(self) -> tuple[str, ...]:
        """Planes of pixels that do not show the sky."""
        saturated = str(getattr(self.top_config(), "saturatedMaskName", "SAT"))
        return "BAD", saturated, "DETECTED", "UNMASKEDNAN"

    def _statistics(self, exposure: Exposure, box: Box) -> FrameStatistics:
        return FrameStatistics(exposure.pixels.window(box), *self._ignored())

    def _cell(self, exposure: Exposure, box: Box, flatness: FlatnessConfig) -> float:
        """The mean of a cell, clipped if so configured."""
        found = self._statistics(exposure, box)
        return found.clip(flatness.clipSigma, flatness.nIter).mean if flatness.doClip else found.mean

    def _record_amplifiers(self, exposure: Exposure, flatness: FlatnessConfig) -> None:
        """Level and noise of every amplifier, for the metadata."""
        for amp in exposure.detector.amplifiers:
            found = self._statistics(exposure, amp.box).clip(flatness.clipSigma, flatness.nIter)
            self.metadata.set(f"ISR BACKGROUND {amp.name} MEDIAN", found.median)
            self.metadata.set(f"ISR BACKGROUND {amp.name} STDEV", found.sigma)


def _grid(shape: tuple[int, int], flatness: FlatnessConfig) -> Iterator[list[Box]]:
    """Rows of cells; the last ones, which may stick out by up to half their size, end with the image.

    Cells are an even number of pixels wide and high, so an odd mesh leaves lines between them.
    """
    half_y, half_x = flatness.meshY // 2, flatness.meshX // 2
    for y in range(0, (shape[0] + half_y) // flatness.meshY * flatness.meshY, flatness.meshY):
        columns = range(0, (shape[1] + half_x) // flatness.meshX * flatness.meshX, flatness.meshX)
        yield [Box(y, min(y + 2 * half_y, shape[0]), x, min(x + 2 * half_x, shape[1])) for x in columns]


def _flatness(cells: tuple[tuple[float, ...], ...]) -> tuple[float, float]:
    """Peak to peak and population standard deviation of the cells, relative to their median."""
    values = np.array(cells, np.float64)
    values = values[np.isfinite(values)]
    middle = float(np.median(values)) if values.size else math.nan
    if not middle:
        return math.nan, math.nan
    relative = (values - middle) / middle
    return (float(np.ptp(relative)), float(relative.std())) if values.size else (math.nan, math.nan)


def _cards(found: BackgroundMeasurement, flatness: FlatnessConfig) -> dict[str, float | int | str]:
    """The header's cards by keyword."""
    return {
        "SKYLEVEL": found.level,
        "SKYSIGMA": found.sigma,
        "FLATNESS_PP": found.peak_to_peak,
        "FLATNESS_RMS": found.rms,
        "FLATNESS_NGRIDS": f"{len(found.cells[0]) if found.cells else 0}x{len(found.cells)}",
        "FLATNESS_MESHX": flatness.meshX,
        "FLATNESS_MESHY": flatness.meshY,
    }


def _write_card(exposure: Exposure, key: str, value: float | int | str) -> None:
    """Put a card into the header; FITS has no NaN, so such a card has no value."""
    is_number = isinstance(value, str) or math.isfinite(value)
    exposure.header[key if len(key) <= 8 else f"HIERARCH {key}"] = value if is_number else None
