"""Models of the overscan level: a number, or a number per line (behaviour §2.5)."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import statistics

FIT_TYPES = ("MEAN", "MEANCLIP", "MEDIAN", "MEDIAN_PER_ROW", "MEAN_PER_ROW")

# Variance of a median over that of a mean of the same number of normal deviates, for large numbers.
_MEDIAN_FACTOR = math.pi / 2
# Half the interquartile range of a normal distribution is 0.6745 sigma; behaviour §2.5 rounds 1/1.349.
_SIGMA_PER_IQR = 0.74

Lines = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Fit:
    """``model`` is the level (a number, or one per line) from the reference, adu.

    ``variance_factor`` times the variance of one pixel is the variance of the level.
    """

    model: float | Lines
    variance_factor: Any


def fit_level(
    config: Any, values: npt.NDArray[np.float32], ignore: npt.NDArray[np.bool_], reference: float
) -> Fit:
    """Fit lines of overscan pixels, shape (lines, pixels of a line), counted from ``reference`` (adu).

    ``config`` has ``fitType``, ``isInt`` and ``numSigmaClip``; whole counts need an integer reference. The
    model is NaN when no pixel is left. Pixels that are no number must be ignored.
    """
    if config.fitType.endswith("_PER_ROW"):
        return _fit_lines(config, values, ignore, reference)
    count = max(int(np.count_nonzero(~ignore)), 1)
    if config.fitType == "MEAN":
        return Fit(statistics.mean(values, ignore), 1 / count)
    if config.fitType == "MEANCLIP":
        found = statistics.clipped(values, config.numSigmaClip, ignore=ignore)
        return Fit(found.mean, 1 / max(found.count, 1))
    if config.isInt:
        whole = _truncated(values, ignore, reference)
        return Fit(statistics.tie_median(whole, ignore), _MEDIAN_FACTOR / count)
    return Fit(statistics.median(values, ignore), _MEDIAN_FACTOR / count)


def _truncated(
    values: npt.NDArray[np.float32], ignore: npt.NDArray[np.bool_], reference: float
) -> npt.NDArray[np.int32]:
    """Pixels truncated towards zero adu, again counted from the reference; ignored ones are zero."""
    origin = np.float32(reference)
    return np.where(ignore, np.float32(0), np.trunc(values + origin) - origin).astype(np.int32)


def _fit_lines(
    config: Any, values: npt.NDArray[np.float32], ignore: npt.NDArray[np.bool_], reference: float
) -> Fit:
    """One level per line from pixels near the line's median; empty lines take their neighbours'."""
    lines = statistics.OrderedRows.of(values, ignore)
    # Rejecting a good pixel now and then does not widen a level's distribution: count before rejecting.
    variance = 1 / np.maximum(lines.count, 1)
    kept = lines.within(*_limits(lines, values, config.numSigmaClip))
    if config.fitType == "MEAN_PER_ROW":
        return Fit(_filled(kept.mean()), variance)
    if config.isInt:
        return Fit(_filled(kept.shifted_to_whole(reference).tie_median()), _MEDIAN_FACTOR * variance)
    return Fit(_filled(kept.quantile(0.5)), _MEDIAN_FACTOR * variance)


def _limits(
    lines: statistics.OrderedRows, values: npt.NDArray[np.float32], num_sigma: float
) -> tuple[Lines, Lines]:
    """The median of every line, and how far from it a pixel may be: sigmas from its interquartile range.

    A line whose sigma is more than twice the usual one is judged by the usual one (behaviour §2.5, NEW).
    """
    low, middle, high = _quartiles(lines, values)
    sigma = _SIGMA_PER_IQR * (high - low)
    usual = statistics.median(sigma)
    return middle, num_sigma * np.where(sigma > 2 * usual, usual, sigma)


def _quartiles(lines: statistics.OrderedRows, values: npt.NDArray[np.float32]) -> tuple[Lines, Lines, Lines]:
    """The quartiles of every line, of pixels that count (§9 fault 13)."""
    return lines.quantile(0.25), lines.quantile(0.5), lines.quantile(0.75)


def _filled(model: Lines, reach: int = 5) -> Lines:
    """Each run of lines without a level gets the median of the levels within ``reach`` lines of it.

    NaN when no line has one.
    """
    known = np.isfinite(model)
    result = model.copy()
    unknown = np.flatnonzero(~known)
    for run in np.split(unknown, np.flatnonzero(np.diff(unknown) > 1) + 1):
        if run.size and known.any():
            near = slice(max(run[0] - reach, 0), run[-1] + reach + 1)
            result[run] = np.median(model[near][known[near]])
    return result
