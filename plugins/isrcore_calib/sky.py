"""Taking stars and sky out of a science frame, so that fringes and noise are left."""

from __future__ import annotations

import attrs
import numpy as np
import numpy.typing as npt

from isrcore_calib.faults import MasterError

Float32 = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]

_SIGMA_PER_MAD = 1.4826
# Sources are looked for in means of 5 x 5 pixels; their wings go on as long as these are above 2.5 sigma
# (crests of a wave are at 1.4), and four pixels further.
_SMOOTHING, _WING_SIGMA, _GROWTH = 5, 2.5, 4
_PASSES = 3


@attrs.frozen
class SkyOptions:
    """How sky and sources are told apart from fringes.

    The sky is a surface through the medians of boxes of ``box`` pixels, larger than the fringes are wide;
    ``num_sigma`` is the significance of sources in smoothed frames.
    """

    box: int = 256
    num_sigma: float = 5.0


def remove_sky(planes: Float32, options: SkyOptions, path: str) -> float:
    """Subtract the sky from the image and make sources NaN, in place; returns the level of the sky (adu).

    ``planes`` are image and variance, shape (2, ny, nx). Raises `MasterError` for a frame without sky.
    """
    image = planes[0]
    usable = np.isfinite(image)
    sources = ~usable
    for _ in range(_PASSES):
        # Each pass sees a sky in which there is less light of sources.
        sky = background(image, ~sources, options.box)
        sources = ~usable | find_sources(image - sky, usable, options.num_sigma)
    level = float(np.median(sky[usable])) if usable.any() else 0.0
    if not level > 0:
        raise MasterError(
            f"science frame {path!r} has a sky of {level:.4g} adu, fringes need more: leave it out"
        )
    image -= background(image, ~sources, options.box)
    image[sources] = np.nan
    return level


def background(image: Float32, usable: Flags, box: int) -> Float32:
    """A surface through the medians of usable pixels in boxes, linear between and beyond their middles."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = (_edges(side, box) for side in image.shape)
    levels = np.full((len(rows) - 1, len(columns) - 1), np.nan)
    for i in range(levels.shape[0]):
        for j in range(levels.shape[1]):
            part = slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1])
            chosen = image[part][usable[part]]
            levels[i, j] = np.median(chosen) if chosen.size else np.nan
    # A box full of sources says nothing: the next one speaks for it.
    unknown = np.isnan(levels)
    if unknown.all():
        return np.zeros(image.shape, np.float32)
    levels = levels[tuple(distance_transform_edt(unknown, return_distances=False, return_indices=True))]
    down, along = _weights(rows), _weights(columns)
    return np.asarray((down @ levels) @ along.T, np.float32)


def _edges(side: int, box: int) -> npt.NDArray[np.intp]:
    """Where boxes of about ``box`` pixels begin and end."""
    return np.linspace(0, side, max(1, round(side / box)) + 1).astype(np.intp)


def _weights(edges: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """How much each box counts at each pixel, shape (pixels, boxes)."""
    middles, pixels = (edges[:-1] + edges[1:] - 1) / 2, np.arange(edges[-1])
    weights = np.zeros((pixels.size, middles.size), np.float32)
    if middles.size == 1:
        weights[:] = 1
        return weights
    left = np.clip(np.searchsorted(middles, pixels) - 1, 0, middles.size - 2)
    share = (pixels - middles[left]) / (middles[left + 1] - middles[left])
    weights[pixels, left], weights[pixels, left + 1] = 1 - share, share
    return weights


def find_sources(residual: Float32, usable: Flags, num_sigma: float) -> Flags:
    """Pixels with light of sources in a frame without sky."""
    from scipy.ndimage import binary_dilation, binary_propagation, uniform_filter

    smooth = uniform_filter(np.where(usable, residual, np.float32(0)), _SMOOTHING, mode="nearest")
    sigma = _SIGMA_PER_MAD * float(np.median(np.abs(smooth[usable]))) if usable.any() else 0.0
    wings = smooth > _WING_SIGMA * sigma
    sources = binary_propagation(smooth > num_sigma * sigma, mask=wings, structure=np.ones((3, 3)))
    return np.asarray(binary_dilation(sources, np.ones((3, 3), np.bool_), iterations=_GROWTH))
