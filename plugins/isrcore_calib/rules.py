"""How the values of one pixel become one: by mean, median or clipped mean, with variance and number.

Which values are outliers is decided in one pass from quantities that an outlier cannot move much. The centre
is the median of the usable values. Value i may be ``num_sigma`` sigmas away from it, where

    sigma_i^2 = T_i * mean over j of (V_j / T_j)

with V the propagated variances of this pixel and T_i the typical variance of frame i. Frames of different
noise (flats of different levels) are thus judged each by its own, but not by the variance of the value
itself: that grows with the value, so it would excuse high outliers, condemn low ones and bias the mean.

From five usable values on, sigma_i is at least the scatter about the median, 1.4826 times the median
absolute deviation: real frames differ by more than their photon noise (twilights differ in gradient), and
that is no reason to throw most of them away. Fewer values say nothing useful about their scatter: of three,
the median absolute deviation is the distance of the nearest two, often near zero; and a standard deviation
that includes the outlier reaches (n - 1) / sqrt(n) sigmas at most, 1.15 for n = 3, 1.5 for n = 4 and 3 only
from n = 11 on, so that "three sigma" would never clip anything. For them the propagated variance decides.

The centre is noisy itself, so that of few values a little more than the nominal fraction is left out: at
three sigma 0.7 % of normal values for n = 3, not 0.3 %. That is symmetric and biases nothing.

Values of which none is near the centre (two that contradict each other) leave the pixel without an input.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore_calib.selection import medians

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Combination = tuple[Float32, Float32, npt.NDArray[np.int16]]

#: The ways to combine.
METHODS = ("mean", "median", "clipped")

_SIGMA_PER_MAD = np.float32(1.4826)
_ENOUGH_FOR_SCATTER = 5
# Variance of the median of 1, 2, ... normal values over that of their mean, from their order statistics.
_MEDIAN_NOISE = (1.0, 1.0, 1.3463, 1.1922, 1.4341, 1.2883, 1.4726, 1.3457)


@attrs.frozen
class Rule:
    """How to combine: the ``method``, one of `METHODS`; the limit of clipping; whether frames have weights.

    With weights a frame counts by the inverse of its typical variance. A median has none. Raises ValueError
    listing every fault.
    """

    method: str = "clipped"
    num_sigma: float = 3.0
    is_weighted: bool = False

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be done."""
        faults = []
        if self.method not in METHODS:
            faults.append(f"method {self.method!r} is none of {', '.join(METHODS)}")
        if not self.num_sigma > 0:
            faults.append(f"num_sigma {self.num_sigma} must be more than 0")
        if self.is_weighted and self.method == "median":
            faults.append("a median has no weights: leave them out, or combine by mean or clipped")
        if faults:
            raise ValueError("; ".join(faults))


def median_noise(count: int) -> float:
    """Variance of the median of ``count`` normal values over that of their mean, within 2 %.

    Beyond the table the asymptotic form, with the correction that fits its last values: even numbers average
    two.
    """
    if count <= len(_MEDIAN_NOISE):
        return _MEDIAN_NOISE[max(count, 1) - 1]
    return math.pi * count / (2 * count + (math.pi - 2 if count % 2 else 2.7))


class PixelCombiner:
    """Combines up to ``width`` pixels of frames at a time, in memory of its own.

    ``typical`` is each frame's typical variance, shape (n,). The results for a pixel do not depend on those
    beside it.
    """

    def __init__(self, typical: Float32, rule: Rule, width: int) -> None:
        self.rule, number = rule, len(typical)
        self._inverse = (1 / typical).astype(np.float32)[:, None]
        self._inverse_root = np.sqrt(self._inverse)
        self._weights = 1 / typical.astype(np.float64) if rule.is_weighted else None
        self.values, self.variances, self._deviations = np.empty((3, number, width), np.float32)
        self._work = np.empty((number + 1, width), np.float32)

    def __call__(self, pixels: int) -> Combination:
        """Combine the first ``pixels`` columns of ``values`` and ``variances``; both are overwritten.

        Values that are not finite do not count.
        """
        values, variances = self.values[:, :pixels], self.variances[:, :pixels]
        with np.errstate(invalid="ignore", divide="ignore"):
            usable = np.isfinite(values)
            count, missing = _number(usable), None
            if not usable.all():
                missing = count
                np.copyto(values, np.float32(np.nan), where=~usable)
                _clear(variances, usable)
            if self.rule.method == "median":
                return self._median(values, variances, count, missing)
            if self.rule.method == "clipped":
                usable = self._kept(values, variances, count, missing)
            return self._mean(values, variances, usable)

    def _median(
        self, values: Float32, variances: Float32, count: Counts, missing: Counts | None
    ) -> Combination:
        """The median, with the variance of the mean raised by what a median is noisier."""
        factors = np.array([median_noise(number) for number in range(len(values) + 1)])
        variance = _total(variances) / count.astype(np.float64) ** 2 * factors[count]
        return _finished(medians(values, missing, self._work), variance, count)

    def _kept(self, values: Float32, variances: Float32, count: Counts, missing: Counts | None) -> Flags:
        """Which values are near the centre."""
        deviations = self._deviations[:, : values.shape[1]]
        np.multiply(variances, self._inverse, out=deviations)
        # Noise may have driven all of a pixel's variances below zero; its median is still its best value.
        sigma = np.sqrt(np.maximum(_total(deviations) / count, 0)).astype(np.float32)
        np.subtract(values, medians(values, missing, self._work), out=deviations)
        np.abs(deviations, out=deviations)
        deviations *= self._inverse_root
        if len(values) >= _ENOUGH_FOR_SCATTER:
            scatter = _SIGMA_PER_MAD * medians(deviations, missing, self._work)
            sigma = np.where(count >= _ENOUGH_FOR_SCATTER, np.maximum(sigma, scatter), sigma)
        return np.asarray(deviations <= np.float32(self.rule.num_sigma) * sigma)

    def _mean(self, values: Float32, variances: Float32, kept: Flags) -> Combination:
        """Mean of the values kept, and what of it is noise."""
        number = _number(kept)
        if not kept.all():
            _clear(values, kept)
            _clear(variances, kept)
        if self._weights is None:
            return _finished(
                _total(values) / number, _total(variances) / number.astype(np.float64) ** 2, number
            )
        weights = self._weights
        total = _total(kept, weights)
        return _finished(_total(values, weights) / total, _total(variances, weights**2) / total**2, number)


def _number(flags: Flags) -> Counts:
    """How many flags of each column are set."""
    # The sum in small integers takes a quarter of the time of numpy's own count.
    return np.asarray(np.add.reduce(flags, axis=0, dtype=np.uint16), np.int64)


def _clear(values: Float32, kept: Flags) -> None:
    """Set to zero what is not kept, in place."""
    # As bits, all ones or none: ten times faster than with a mask, and NaN times zero would be NaN.
    bits = np.negative(kept.view(np.int8), dtype=np.int32)
    whole = values.view(np.int32)
    np.bitwise_and(whole, bits, out=whole)


def _total(rows: npt.NDArray[Any], weights: Float64 | None = None) -> Float64:
    """The sum of the rows in float64, one after the other: numpy's own order depends on the shape."""
    total = np.zeros(rows.shape[1])
    for number, row in enumerate(rows):
        total += row if weights is None else np.multiply(row, weights[number], dtype=np.float64)
    return total


def _finished(image: npt.NDArray[np.floating], variance: Float64, number: Counts) -> Combination:
    """In the types of a master."""
    return image.astype(np.float32), variance.astype(np.float32), number.astype(np.int16)


def combine_values(values: Float32, variances: Float32, typical: Float32, rule: Rule) -> Combination:
    """Image, variance and number of inputs of pixels given at once.

    ``values`` and ``variances`` have shape (n, ...), NaN values are left out; ``typical`` is each frame's
    typical variance, shape (n,).
    """
    shape, pixels = values.shape[1:], math.prod(values.shape[1:])
    combiner = PixelCombiner(typical, rule, pixels)
    combiner.values[:], combiner.variances[:] = (array.reshape(-1, pixels) for array in (values, variances))
    image, variance, number = combiner(pixels)
    return image.reshape(shape), variance.reshape(shape), number.reshape(shape)
