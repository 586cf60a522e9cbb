"""Images of products as HDUs: plain, compressed without loss, or rounded before compression."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from isrcore.image import Pixels

#: Ways to compress: how many steps floats are rounded to within the noise of a tile; None not to round.
COMPRESSIONS: dict[str, int | None] = {"lossless": None, "lossy16": 16, "lossy4": 4}
#: No compression.
PLAIN = "none"

# Rows per compressed tile: one tile per row would spend its time in calls, few tiles its memory.
_TILE_ROWS = 64

# Random numbers in rounding start from the pixels, so that the same pixels make the same file.
_SEED_FROM_PIXELS = -1


def choose_compression(compress: bool | str | None, suffix: str) -> str:
    """The name of a compression: from a name or a truth value, or from the name of the file.

    Raises ValueError for a name that is none.
    """
    if compress is None:
        compress = suffix == ".fz"
    if isinstance(compress, bool):
        return "lossless" if compress else PLAIN
    if compress not in (PLAIN, *COMPRESSIONS):
        known = ", ".join(map(repr, (PLAIN, *COMPRESSIONS)))
        raise ValueError(f"there is no compression {compress!r}; choose one of {known}")
    return compress


def make_plane_hdu(name: str, plane: Pixels, header: Header, compression: str) -> Any:
    """An image HDU.

    Integers never lose a bit. Of floats that are rounded NaN stays NaN, and infinity becomes NaN.
    """
    plain = fits.ImageHDU(plane, header, name=name)
    if compression == PLAIN:
        return plain
    steps = COMPRESSIONS[compression]
    options: dict[str, Any] = {"tile_shape": (min(_TILE_ROWS, plane.shape[0]), plane.shape[1])}
    if steps is None or plane.dtype.kind != "f":
        # Compressed bytes hold the time of day; ZDATASUM, the sum of the pixels themselves, does not.
        plain.add_datasum()
        header["DATASUM"] = plain.header["DATASUM"]
        method = "GZIP_2" if plane.dtype.kind == "f" else "RICE_1"
        options |= {"compression_type": method, "quantize_level": 0.0}
    else:
        plane = _without_infinity(plane)
        header["ISRLOSSY"] = (steps, "pixels are rounded to steps of noise / this")
        options |= {"compression_type": "RICE_1", "quantize_level": float(steps)}
        options |= {"quantize_method": 2, "dither_seed": _SEED_FROM_PIXELS}
    return fits.CompImageHDU(plane, header, name=name, **options)


def _without_infinity(plane: Pixels) -> Pixels:
    """The plane with NaN for infinity, which cfitsio reads as NaN in rounded images and astropy does not."""
    if not np.isinf(plane).any():
        return plane
    return np.where(np.isinf(plane), np.float32(np.nan), plane)
