"""Binned images and small pictures of them (behaviour §2.33)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from isrcore.exposure import Exposure
from isrcore.footprints import grow
from isrcore.frame_statistics import FrameStatistics
from isrcore.image import Float32, MaskedImage
from isrcore.qa import IsrQaConfig

Rgb = npt.NDArray[np.uint8]

_WHITE = 255.0

# Slope of the stretch at black, in units of white per Q and range.
_SLOPE = 0.1

# Planes whose pixels say nothing of the sky.
_IGNORED = ("BAD", "INTRP")


def bin_image(pixels: MaskedImage, binning: int | tuple[int, int]) -> MaskedImage:
    """The means of blocks of ``binning`` pixels, a number or (rows, columns).

    Rows and columns that do not fill a block are left out. Variances are those of the means, flags are
    those of any pixel of the block; a block with a pixel that is no number is no number. Raises ValueError
    for blocks larger than the image, or of no pixel.
    """
    by, bx = (binning, binning) if isinstance(binning, int) else binning
    ny, nx = pixels.shape
    if not (1 <= by <= ny and 1 <= bx <= nx):
        raise ValueError(f"cannot bin {by} x {bx} pixels of an image of shape {pixels.shape}")
    shape = ny // by, by, nx // bx, bx
    image, mask, variance = (
        plane[: shape[0] * by, : shape[2] * bx].reshape(shape)
        for plane in (pixels.image, pixels.mask, pixels.variance)
    )
    flags = np.bitwise_or.reduce(np.bitwise_or.reduce(mask, axis=1), axis=-1)
    noise = _block_means(variance) / np.float32(by * bx)
    return MaskedImage(_block_means(image), flags, noise, pixels.planes)


def _block_means(blocks: npt.NDArray[np.generic]) -> Float32:
    """Means over the second and last of four axes, summed in float64 row of blocks by row of blocks."""
    found = np.empty((blocks.shape[0], blocks.shape[2]), np.float32)
    # The mean of infinities of both signs is no number.
    with np.errstate(invalid="ignore", over="ignore"):
        for row, block in enumerate(blocks):
            found[row] = block.mean(axis=(0, 2), dtype=np.float64)
    return found


def make_thumbnail(exposure: Exposure, qa: IsrQaConfig | None) -> Rgb | None:
    """A small grey picture of the image, (ny, nx, 3) uint8, row 0 first; None without ``qa``.

    Black is ``thumbnailStdev`` sigmas below the median of the binned image; brightness follows the inverse
    hyperbolic sine of Lupton et al. (2004, PASP 116, 133), with scale ``thumbnailRange`` and softening
    ``thumbnailQ``. Saturated areas, grown by ``thumbnailSatBorder``, are as bright as the brightest pixel
    that is not flagged; what is no number is black.
    """
    if qa is None:
        return None
    binned = bin_image(exposure.pixels, min(qa.thumbnailBinning, *exposure.shape))
    good = FrameStatistics(binned, "SAT", *_IGNORED).clipped
    low = good.median - qa.thumbnailStdev * good.sigma
    heights = binned.image - np.float32(low)
    if qa.thumbnailSatBorder:
        is_good = ~binned.flagged("SAT", *_IGNORED) & np.isfinite(heights)
        saturated = grow(binned.flagged("SAT"), qa.thumbnailSatBorder)
        heights[saturated] = heights.max(where=is_good, initial=-np.inf) if is_good.any() else np.inf
    grey = _stretched(heights, qa.thumbnailRange, qa.thumbnailQ)
    return np.repeat(grey[:, :, None], 3, axis=2)


def _stretched(heights: Float32, scale: float, softening: float) -> Rgb:
    """Brightness of heights above black."""
    with np.errstate(invalid="ignore"):
        curve = np.arcsinh(heights * np.float32(softening / scale))
    curve *= np.float32(_WHITE * _SLOPE / math.asinh(_SLOPE * softening))
    grey: Rgb = np.clip(np.nan_to_num(curve, nan=0.0, posinf=_WHITE), 0, _WHITE).astype(np.uint8)
    return grey
