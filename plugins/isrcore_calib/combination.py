"""Combining corrected frames pixel by pixel: a clipped mean with its propagated variance, in bands of rows.

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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

_SIGMA_PER_MAD = 1.4826
_ENOUGH_FOR_SCATTER = 5

# What one band needs, per value: value, variance, ratio, deviation and two sorted copies, and the flags.
_BYTES_PER_VALUE = 32


@attrs.frozen(eq=False)
class Frame:
    """A corrected input, before scaling: image and variance, shape (2, ny, nx), in memory or in a file.

    The image is NaN where a pixel must not be used. ``scale`` multiplies the image, its square the variance.
    ``typical_variance`` is that of the scaled frame.
    """

    planes: Float32 | Path
    shape: tuple[int, int]
    scale: float = 1.0
    typical_variance: float = 1.0

    @classmethod
    def of(cls, planes: Float32, file: Path | None = None) -> Frame:
        """A frame of these planes; with ``file`` they are kept there. Raises OSError when it is full."""
        usable = np.isfinite(planes[0])
        typical = float(np.median(planes[1][usable])) if usable.any() else 1.0
        shape = (planes.shape[1], planes.shape[2])
        if file is None:
            return cls(planes, shape, typical_variance=typical)
        np.save(file, planes)
        return cls(file, shape, typical_variance=typical)

    def scaled(self, scale: float) -> Frame:
        """The frame multiplied by ``scale``; the pixels are multiplied when they are read."""
        return attrs.evolve(self, scale=scale, typical_variance=self.typical_variance * scale * scale)

    def read(self, y0: int, y1: int) -> tuple[Float32, Float32]:
        """Scaled image and variance of rows ``y0 <= y < y1``."""
        kept = np.load(self.planes, mmap_mode="r") if isinstance(self.planes, Path) else self.planes
        scale = np.float32(self.scale)
        return kept[0, y0:y1] * scale, kept[1, y0:y1] * (scale * scale)


@attrs.frozen(eq=False)
class Combined:
    """The mean of the values that were kept, its variance, and their number; shape (ny, nx).

    Image and variance are NaN where the number is zero.
    """

    image: Float32
    variance: Float32
    number: npt.NDArray[np.int16]


def combine(frames: Sequence[Frame], num_sigma: float = 3.0, memory: int = 1 << 28) -> Combined:
    """The clipped mean of the frames, with about ``memory`` bytes of working space.

    The result does not depend on the working space. Raises ValueError without frames or for frames of
    different shapes.
    """
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"frames to combine must have one shape, these have {sorted(shapes) or 'none'}")
    (shape,) = shapes
    result = Combined(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int16))
    height = max(1, memory // (len(frames) * shape[1] * _BYTES_PER_VALUE))
    typical = np.array([frame.typical_variance for frame in frames], np.float32)
    for y0 in range(0, shape[0], height):
        rows = slice(y0, min(y0 + height, shape[0]))
        values, variances = _read(frames, rows)
        band = combine_values(values, variances, typical, num_sigma)
        result.image[rows], result.variance[rows], result.number[rows] = band
    return result


def _read(frames: Sequence[Frame], rows: slice) -> tuple[Float32, Float32]:
    """Rows of all frames, each (n, rows, nx)."""
    size = (len(frames), rows.stop - rows.start, frames[0].shape[1])
    values, variances = np.empty(size, np.float32), np.empty(size, np.float32)
    for index, frame in enumerate(frames):
        values[index], variances[index] = frame.read(rows.start, rows.stop)
    return values, variances


def combine_values(
    values: Float32, variances: Float32, typical: Float32, num_sigma: float
) -> tuple[Float32, Float32, npt.NDArray[np.int16]]:
    """Mean, variance and number of the values that are kept, along the first axis.

    ``values`` and ``variances`` have shape (n, ...), NaN values are left out; ``typical`` is each frame's
    typical variance, shape (n,).
    """
    per_frame = typical.reshape(-1, *[1] * (values.ndim - 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        kept = _kept(values, variances, per_frame, np.float32(num_sigma))
        number = np.count_nonzero(kept, axis=0)
        mean = np.sum(values, axis=0, dtype=np.float64, where=kept) / number
        variance = np.sum(variances, axis=0, dtype=np.float64, where=kept) / number.astype(np.float64) ** 2
    return mean.astype(np.float32), variance.astype(np.float32), number.astype(np.int16)


def _kept(values: Float32, variances: Float32, per_frame: Float32, num_sigma: np.float32) -> npt.NDArray[Any]:
    """Which values are near the centre."""
    usable = ~np.isnan(values)
    count = np.count_nonzero(usable, axis=0)
    noise = np.sum(variances / per_frame, axis=0, dtype=np.float64, where=usable) / count
    # Noise may have driven all of a pixel's variances below zero; its median is still its best value.
    sigma = np.sqrt(np.maximum(noise, 0)).astype(np.float32)
    deviations = np.abs(values - _median(values, count))
    deviations /= np.sqrt(per_frame)
    if len(values) >= _ENOUGH_FOR_SCATTER:
        scatter = np.float32(_SIGMA_PER_MAD) * _median(deviations, count)
        sigma = np.where(count >= _ENOUGH_FOR_SCATTER, np.maximum(sigma, scatter), sigma)
    return np.asarray(deviations <= num_sigma * sigma)


def _median(values: Float32, count: npt.NDArray[np.intp]) -> Float32:
    """The median along the first axis of the ``count`` values that are not NaN; NaN where there is none."""
    ordered = values.reshape(len(values), -1).T.copy()
    ordered.sort(axis=1)
    flat = count.reshape(-1)
    low = np.take_along_axis(ordered, np.maximum(flat - 1, 0)[:, None] // 2, axis=1)
    high = np.take_along_axis(ordered, flat[:, None] // 2, axis=1)
    middle = low + (high - low) * np.float32(0.5)
    return np.asarray(middle, np.float32).reshape(values.shape[1:])
