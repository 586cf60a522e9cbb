"""Tell how much of the variance each source of noise brought in."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Amplifier,
    Box,
    Calibrations,
    Config,
    Exposure,
    Measurement,
    Quantity,
    Step,
    field,
    stepspecs,
)
from isrcore_standard.noise_sources import SOURCES, contributions

# Rows are looked at in so many places, evenly spaced.
_STRIPS = 16

# The contributions are those to pixels whose variance lies in the middle tenth.
_MIDDLE = (0.45, 0.55)


class VarianceBudgetConfig(Config):
    """What is looked at, and what is recorded."""

    maxPixels: int = field(
        1 << 18, "Pixels of an amplifier to look at, in evenly spaced strips: more tell nothing new.",
        minimum=1,
    )  # fmt: skip
    fractions: bool = field(False, "Record what part of the total each contribution is, besides.")


_PARTS = {
    "read": "read noise",
    "poisson": "light and dark current",
    "overscan": "the overscan level",
    "bias": "the bias frame",
    "dark": "the dark frame",
    "flat": "the flat field",
    "illumination": "the illumination frame",
    "other": "all else",
}


@attrs.frozen(eq=False)
class VarianceBudgetMeasurement(Measurement):
    """The variance of a typical pixel of one amplifier and its parts, in the square of the image's unit.

    ``total`` is the mean variance of the unflagged pixels whose variance lies between the 45th and the 55th
    percentile, ``count`` their number. The parts are means over the same pixels and add up to the total:
    ``read`` noise, ``poisson`` noise of light and dark current, noise of the ``overscan`` level and of the
    frames for ``bias``, ``dark``, ``flat`` and ``illumination``, and all ``other``. NaN without a pixel.
    """

    total: float
    read: float
    poisson: float
    overscan: float
    bias: float
    dark: float
    flat: float
    illumination: float
    other: float
    count: int


class VarianceBudget(Step):
    """Follow the operations of the run from where the variance was set; nothing changes.

    What steps without operations do to variances, and what those of other plugins add, is ``other``.
    """

    spec, changes_pixels = stepspecs.VARIANCE_BUDGET, False
    ConfigClass = VarianceBudgetConfig
    quantities: ClassVar = (
        Quantity("total", "Variance of a typical pixel, in the square of the image's unit."),
        *(Quantity(name, f"Part of it: {what}.") for name, what in _PARTS.items()),
        Quantity("count", "Pixels that these are means of.", kind=int),
    )

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """One budget per amplifier."""
        found = {amp.name: self._budget(exposure, amp) for amp in exposure.detector.amplifiers}
        exposure.measured = {**exposure.measured, self.spec.name: found}
        for name, one in found.items():
            for key, value in attrs.asdict(one).items():
                self.metadata.set(f"ISR VARIANCE {name} {key.upper()}", value)
                if self.config.fractions and key not in ("total", "count"):
                    self.metadata.set(f"ISR VARIANCE {name} {key.upper()} FRACTION", _ratio(value, one.total))

    def _budget(self, exposure: Exposure, amp: Amplifier) -> VarianceBudgetMeasurement:
        """The means of the pixels whose variance is typical."""
        table = np.concatenate(list(self._tables(exposure, amp)), axis=1)
        if not table.size:
            nothing: dict[str, Any] = dict.fromkeys(("total", *SOURCES, "other"), math.nan)
            return VarianceBudgetMeasurement(**nothing, count=0)
        low, high = np.quantile(table[0], _MIDDLE, method="nearest")
        middle = table[:, (low <= table[0]) & (table[0] <= high)]
        total, *parts = middle.mean(axis=1).tolist()
        named: dict[str, Any] = dict(zip(SOURCES, parts, strict=True))
        other = total - math.fsum(parts)
        return VarianceBudgetMeasurement(**named, total=total, other=other, count=middle.shape[1])

    def _tables(self, exposure: Exposure, amp: Amplifier) -> Iterator[npt.NDArray[np.float64]]:
        """Variances and contributions of the unflagged pixels of every strip, one row each."""
        known = exposure.measured.get("variance", {}).get(amp.name)
        for box in _strips(amp.box, self.config.maxPixels):
            pixels = exposure.pixels.window(box)
            found = contributions(pixels.image, exposure.applied, box, known)
            rows = [pixels.variance, *(found[name] for name in SOURCES)]
            table = np.stack([np.broadcast_to(np.asarray(row, np.float64), box.shape) for row in rows])
            yield table[:, (pixels.mask == 0) & np.isfinite(table).all(axis=0)]


def _strips(box: Box, pixels: int) -> Iterator[Box]:
    """Rows of a box, evenly spaced, of so many pixels together; all of it where there are no more."""
    if box.area <= pixels:
        yield box
        return
    rows = max(pixels // box.width, 1)
    number = min(_STRIPS, rows)
    for part in range(number):
        start = box.y0 + (2 * part + 1) * box.height // (2 * number) - rows // (2 * number)
        yield Box(start, start + rows // number, box.x0, box.x1)


def _ratio(part: float, total: float) -> float:
    return part / total if total else math.nan
