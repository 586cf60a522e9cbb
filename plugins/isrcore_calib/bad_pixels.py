"""Pixels that differ from those around them: dead ones and low columns in flats, hot ones in darks.

What to expect of a pixel is found in two steps: the median along its column (31 rows) has no bad pixels left
but still the bad columns; the median of that along the row (31 columns) has no bad columns either, and
follows vignetting and dust. A pixel is bad that differs from the expectation by more than a bound of its own,
a stretch of a column whose median does by more than a lower one: 31 pixels say more than one. Both must also
be beyond six sigma of the scatter, found from the median absolute deviation.
"""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Detector
from isrcore_calib.selection import running_medians

Float32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_WINDOW = 31
_NUM_SIGMA = 6.0
_SIGMA_PER_MAD = 1.4826
# Pixels beside a bad stretch of their column belong to it when they are half as far off, or three sigma.
_NEARLY = 0.5


@attrs.frozen
class Bounds:
    """How far off is bad.

    ``response`` is that of pixels, ``column`` that of columns (relative to those around them), ``rate`` what
    hot pixels add (electron/s); hot columns add a fifth of it.
    """

    response: float = 0.2
    column: float = 0.05
    rate: float = 0.2


def find_in_flat(image: Float32, detector: Detector, bounds: Bounds) -> Flags:
    """Pixels of a combined flat with too much or too little response; NaN counts as bad. Shape (ny, nx)."""
    found = ~np.isfinite(image)
    for amp in detector.amplifiers:
        part = image[amp.box.slices]
        along, around = _expected(part)
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(around > 0, around, np.float32(np.nan)).astype(np.float32)
            off, column_off = part / scale - np.float32(1), along / scale - np.float32(1)
        found[amp.box.slices] |= _outliers(off, column_off, bounds.response, bounds.column)
    return found


def find_in_dark(image: Float32, dark_s: float, detector: Detector, bounds: Bounds) -> Flags:
    """Pixels of a combined dark (adu) with too much charge, or NaN because they saturate. Shape (ny, nx)."""
    found = ~np.isfinite(image)
    for amp in detector.amplifiers:
        part = image[amp.box.slices]
        along, around = _expected(part)
        bound = bounds.rate * dark_s / amp.gain
        # What is darker than its surroundings is no defect of darks.
        off, column_off = (np.maximum(values - around, 0) for values in (part, along))
        noises = _scatter(part - around), _scatter(along - around)
        found[amp.box.slices] |= _outliers(off, column_off, bound, bound / 5, noises)
    return found


def _expected(image: Float32) -> tuple[Float32, Float32]:
    """Medians along columns, and of those along rows."""
    usable = np.isfinite(image)
    middle = np.median(image[usable]) if usable.any() else 0.0
    along = running_medians(np.where(usable, image, np.float32(middle)), _WINDOW)
    return along, running_medians(np.ascontiguousarray(along.T), _WINDOW).T


def _scatter(values: Float32) -> float:
    """Sigma from the median absolute deviation; 0 where nothing counts."""
    usable = values[np.isfinite(values)]
    return float(_SIGMA_PER_MAD * np.median(np.abs(usable - np.median(usable)))) if usable.size else 0.0


def _outliers(
    off: Float32,
    column_off: Float32,
    bound: float,
    column_bound: float,
    noises: tuple[float, float] | None = None,
) -> Flags:
    """What is off by more than the bounds and six sigma, and what belongs to such stretches of columns."""
    from scipy.ndimage import binary_closing, binary_propagation

    noise, column_noise = noises or (_scatter(off), _scatter(column_off))
    alone = np.abs(off) > max(bound, _NUM_SIGMA * noise)
    stretches = np.abs(column_off) > max(column_bound, _NUM_SIGMA * column_noise)
    nearly = np.abs(off) > max(_NEARLY * column_bound, _NUM_SIGMA * _NEARLY * noise)
    upright = np.zeros((3, 3), np.bool_)
    upright[:, 1] = True
    # Medians are off beyond the ends of a stretch too, where half of their pixels are: pixels say where it
    # ends. Within it some look good by chance. A lone bad pixel is no reason to look at its neighbours.
    grown = binary_propagation(stretches & nearly, structure=upright, mask=nearly)
    closed = binary_closing(grown, np.ones((_WINDOW // 2, 1), np.bool_)) & stretches
    return np.asarray(alone | grown | closed)
