"""Gain and read noise of an amplifier from pairs of flats and biases (photon transfer).

The difference of two frames shows neither response nor bias structure, only noise. For flats F1, F2 of levels
S1, S2 above the biases, with k = S1/S2 and read noise r in adu,

    var(F1 - k F2) = S1 (1 + k) / g + r² (1 + k²),    var(B1 - B2) = 2 r²

(Janesick, "Photon Transfer", 2007, ch. 5; there k = 1). What a whole row of a difference shares is a drift of
the pedestal, which overscan can tell, and no read noise: it is taken off, at the cost of a degree of freedom
each. Pairs are pooled by their numbers of pixels, not by their
estimated errors: a variance that is low by chance has a small error too, and would count for more.
Rounding to whole adu adds 1/12 adu² to every frame. It is no noise of the amplifier and is taken off r²; in
the gain it cancels.

Uncertainties are those of variances of normal values, var sqrt(2/(n - 1)), propagated. Brighter-fatter
correlations lower the variance of bright flats: take flats well below half of the full well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import statistics

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Normal values further away: less than one in a million, and a hundred thousandth of the variance.
_NUM_SIGMA = 5.0
_ROUNDING = 1 / 12


@attrs.frozen
class Pair:
    """What two frames of one amplifier say: the ``variance`` of F1 - ratio F2 (adu²), from ``number`` values.

    These are one more than its degrees of freedom. ``first`` and ``second`` are the mean levels in adu;
    ``full_variance`` has the outliers in it, hits of particles for instance.
    """

    number: int
    variance: float
    ratio: float
    first: float
    second: float
    full_variance: float = math.nan

    @classmethod
    def of(cls, one: Float32, other: Float32, *, is_lit: bool) -> Pair:
        """Compare two frames (ny, nx); NaN pixels do not count. The second is brought to the first's level
        if lit.
        """
        usable = np.isfinite(one) & np.isfinite(other)
        if np.count_nonzero(usable) < 3:
            return cls(0, math.nan, 1.0, math.nan, math.nan)
        ratio = float(np.median(one[usable]) / np.median(other[usable])) if is_lit else 1.0
        difference = np.where(usable, one - ratio * other.astype(np.float64), np.nan)
        kept = _near(difference - statistics.median_rows(difference)[:, None])
        variance, number = _variance_in_rows(difference, kept)
        first, second = (float(np.mean(values[kept], dtype=np.float64)) for values in (one, other))
        return cls(number, variance, ratio, first, second, _variance_in_rows(difference, usable)[0])


def _near(values: Float64) -> npt.NDArray[np.bool_]:
    """What is no outlier."""
    found = statistics.clipped(values, _NUM_SIGMA)
    return np.asarray(np.abs(values - found.mean) <= _NUM_SIGMA * found.sigma)


def _variance_in_rows(values: Float64, kept: npt.NDArray[np.bool_]) -> tuple[float, int]:
    """The variance about the means of rows, and one more than its degrees of freedom."""
    counts = np.count_nonzero(kept, axis=1)
    means = np.sum(values, axis=1, where=kept) / np.maximum(counts, 1)
    square = float(np.sum((values - means[:, None]) ** 2, where=kept))
    free = int(counts.sum() - np.count_nonzero(counts))
    return (square / free, free + 1) if free > 0 else (math.nan, 0)


@attrs.frozen
class Transfer:
    """Gain (electron/adu) and read noise (``noise`` electron, ``noise_adu``) with their standard errors.

    NaN where there were no pairs to find them from. ``level`` (adu) is the mean of the flats. ``scatter_adu``
    is what the read noise would be with outliers: much more of it tells of hits, or of pixels that flicker.
    """

    gain: float
    gain_error: float
    noise: float
    noise_error: float
    noise_adu: float
    noise_adu_error: float
    scatter_adu: float
    level: float
    flat_pairs: int
    bias_pairs: int


def measure_transfer(flats: Sequence[Pair], biases: Sequence[Pair]) -> Transfer:
    """Gain and read noise of one amplifier from its pairs."""
    flats, biases = ([pair for pair in pairs if pair.number > 1] for pairs in (flats, biases))
    square, square_error = _read_variance(biases)
    noise_adu, scatter_adu = _noise_of(square), _noise_of(_pooled(biases, "full_variance"))
    noise_adu_error = square_error / (2 * noise_adu) if noise_adu else math.nan
    level = _mean([(pair.first + pair.second) / 2 for pair in flats], flats)
    pedestal = _mean([(pair.first + pair.second) / 2 for pair in biases], biases)
    gain, gain_error = _gain(flats, square, square_error, pedestal)
    relative = math.hypot(gain_error / gain, noise_adu_error / noise_adu) if noise_adu else math.nan
    noise = gain * noise_adu
    found = gain, gain_error, noise, noise * relative, noise_adu, noise_adu_error, scatter_adu, level
    return Transfer(*found, len(flats), len(biases))


def _mean(values: Sequence[float], pairs: Sequence[Pair]) -> float:
    """The mean of pairs' values, by their numbers of pixels; NaN without any."""
    number = sum(pair.number for pair in pairs)
    total = math.fsum(value * pair.number for value, pair in zip(values, pairs, strict=True))
    return total / number if number else math.nan


def _read_variance(biases: Sequence[Pair]) -> tuple[float, float]:
    """Read noise squared with rounding (adu²), and its error."""
    number, square = sum(pair.number for pair in biases), _pooled(biases, "variance")
    return square, square * math.sqrt(2 / (number - len(biases))) if number else math.nan


def _pooled(biases: Sequence[Pair], name: str) -> float:
    """Half of a variance of pairs, by their numbers of pixels; NaN without any."""
    number = sum(pair.number for pair in biases)
    total = math.fsum(pair.number * getattr(pair, name) for pair in biases)
    return total / number / 2 if number else math.nan


def _noise_of(square: float) -> float:
    """Read noise from its square with rounding."""
    return math.sqrt(max(square, _ROUNDING) - _ROUNDING) if math.isfinite(square) else math.nan


def _gain(flats: Sequence[Pair], square: float, square_error: float, pedestal: float) -> tuple[float, float]:
    """Gain and its error, from the ratio of sums over pairs; NaN when there is no noise of light."""
    light = math.fsum(p.number * (p.first - pedestal) * (1 + p.ratio) for p in flats)
    reading = math.fsum(p.number * (1 + p.ratio**2) for p in flats)
    noise = math.fsum(p.number * p.variance for p in flats) - square * reading
    if not (light > 0 and noise > 0):
        return math.nan, math.nan
    errors = [p.number * p.variance * math.sqrt(2 / (p.number - 1)) for p in flats]
    relative = math.hypot(*errors, square_error * reading) / noise
    # The mean of 1/x is above 1/mean by the relative variance.
    gain = light / noise * (1 - relative**2)
    return gain, gain * relative
