"""Images of products as HDUs: plain, compressed without loss, or rounded before compression."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.io import fits
from astropy.io.fits import Header

from isrcore.fits_parts import NewPart, make_header
from isrcore.fits_planes import is_fast
from isrcore.image import Pixels

#: Ways to compress: how many steps floats are rounded to within the noise of a tile; None not to round.
COMPRESSIONS: dict[str, int | None] = {"lossless": None, "lossy16": 16, "lossy4": 4}
#: No compression.
PLAIN = "none"

# Rows per tile for Rice: one tile per row would spend its time in calls, few tiles its memory. gzip, which
# astropy runs at its slowest level, searches all of a tile for repetition: for sky, one row at a time takes a
# quarter of the time that 64 rows take, and makes files a tenth larger.
_TILE_ROWS = {"RICE_1": 64, "GZIP_2": 1}

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


def make_plane_hdu(
    name: str,
    plane: Pixels,
    header: Header,
    compression: str,
    stored: type[np.int16 | np.int32] | None = None,
) -> Any:
    """An image HDU, of integers of another type if ``stored`` says so.

    Integers never lose a bit. Of floats that are rounded NaN stays NaN, and infinity becomes NaN.
    """
    if compression == PLAIN:
        return _make_plain(name, plane, header, stored)
    if stored is not None and plane.dtype != stored:
        plane = plane.astype(stored)
        plane.setflags(write=False)
    steps = COMPRESSIONS[compression]
    options: dict[str, Any] = {"compression_type": "RICE_1", "quantize_level": 0.0}
    if steps is None or plane.dtype.kind != "f":
        # Compressed bytes hold the time of day; ZDATASUM, the sum of the pixels themselves, does not.
        plain = fits.ImageHDU(plane, header, name=name)
        plain.add_datasum()
        header["DATASUM"] = plain.header["DATASUM"]
        options["compression_type"] = "GZIP_2" if plane.dtype.kind == "f" else "RICE_1"
    else:
        plane = _without_infinity(plane)
        header["ISRLOSSY"] = (steps, "pixels are rounded to steps of noise / this")
        options |= {"quantize_level": float(steps), "quantize_method": 2, "dither_seed": _SEED_FROM_PIXELS}
    rows = min(_TILE_ROWS[options["compression_type"]], plane.shape[0])
    return fits.CompImageHDU(plane, header, name=name, tile_shape=(rows, plane.shape[1]), **options)


def _make_plain(name: str, plane: Pixels, header: Header, stored: type[np.int16 | np.int32] | None) -> Any:
    """An image HDU that is not compressed."""
    if not is_fast(plane):
        return fits.ImageHDU(plane, header, name=name)
    bits = 8 * np.dtype(stored or plane.dtype).itemsize * (-1 if plane.dtype.kind == "f" else 1)
    whole = make_header("IMAGE", name, bits, plane.shape[::-1])
    whole.extend(header)
    return NewPart(name, whole, plane, stored)


def _without_infinity(plane: Pixels) -> Pixels:
    """The plane with NaN for infinity, which cfitsio reads as NaN in rounded images and astropy does not."""
    if not np.isinf(plane).any():
        return plane
    return np.where(np.isinf(plane), np.float32(np.nan), plane)
