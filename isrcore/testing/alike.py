"""Where two results differ, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

from isrcore.exposure import Exposure
from isrcore.image import MaskedImage

#: Sums in another order may round otherwise: a few roundings to float32, of 6e-8 each, of the largest number.
ROUNDING = 1e-6


def breach_of_same(first: MaskedImage, second: MaskedImage, *, exactly: bool = False) -> str:
    """How two images differ: "image at (3, 4) is 1.5, not 2"; empty when they are the same.

    Flags are compared to the bit, by plane name; image and variance too with ``exactly``, else within
    `ROUNDING` of the largest number in the plane. NaN equals NaN.
    """
    if first.shape != second.shape:
        return f"shape {second.shape}, not {first.shape}"
    for name in ("image", "variance"):
        one, other = getattr(first, name), getattr(second, name)
        wrong = ~_is_near(one, other, 0.0 if exactly else ROUNDING)
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            return f"{name} at {where} is {other[where]!s}, not {one[where]!s}"
    for plane in sorted(set(first.planes) | set(second.planes)):
        one, other = (
            pixels.flagged(plane) if plane in set(pixels.planes) else np.zeros(pixels.shape, bool)
            for pixels in (first, second)
        )
        if (one != other).any():
            where = tuple(int(i) for i in np.argwhere(one != other)[0])
            return f"plane {plane!r} at {where} is {'set' if other[where] else 'not set'}"
    return ""


def _is_near(one: Any, other: Any, tolerance: float) -> Any:
    """Which numbers agree, NaN with NaN."""
    finite = np.abs(one[np.isfinite(one)], dtype=np.float64)
    largest = float(finite.max()) if finite.size else 0.0
    with np.errstate(invalid="ignore"):
        near = np.abs(one.astype(np.float64) - other) <= tolerance * largest
    return near | (one == other) | ((one != one) & (other != other))


def differences(first: Any, second: Any, name: str = "it") -> str:
    """Where two values differ, in words; empty when they do not. Arrays by pixel, NaN equals NaN."""
    if isinstance(first, np.ndarray) or isinstance(second, np.ndarray):
        return "" if _are_same_arrays(first, second) else f"{name} differs"
    if isinstance(first, Header):
        return "" if repr(first) == repr(second) else f"{name} differs"
    if isinstance(first, Mapping):
        if first.keys() != second.keys():
            return f"{name} has {sorted(map(str, second))}, not {sorted(map(str, first))}"
        return _first(differences(first[key], second[key], f"{key}") for key in first)
    if isinstance(first, list | tuple) and len(first) == len(second):
        return _first(differences(*pair, name) for pair in zip(first, second, strict=True))
    if attrs.has(type(first)) and type(first) is type(second):
        fields = attrs.fields(type(first))
        kept = [field.name for field in fields if not (isinstance(first, Exposure) and field.name[0] == "_")]
        return _first(differences(getattr(first, key), getattr(second, key), key) for key in kept)
    are_same = first is second or first == second or (first != first and second != second)
    return "" if are_same else f"{name} differs"


def _first(found: Any) -> str:
    return next(filter(None, found), "")


def _are_same_arrays(first: Any, second: Any) -> bool:
    one, other = np.asarray(first), np.asarray(second)
    return bool(one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
