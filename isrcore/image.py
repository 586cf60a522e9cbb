"""Masked images: an image, a bit mask with named planes, and a variance, of one shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.geometry import Box, flip

Float32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.int32]
Pixels = npt.NDArray[Any]

# Fixed bits of behaviour §0.3; further planes take the next free bit.
_FIXED = ("BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT", "NO_DATA")
_MAX_PLANES = 31


class MaskPlaneError(LookupError):
    """A mask plane that is not there, or no room for one more."""


@attrs.frozen
class MaskPlanes:
    """Names of the bits of one mask. The nine fixed planes are always there.

    ``bits`` maps a plane's name to its bit number.
    """

    bits: Mapping[str, int] = attrs.field(factory=lambda: {name: bit for bit, name in enumerate(_FIXED)})

    def __iter__(self) -> Iterator[str]:
        """Plane names in order of their bits."""
        return iter(sorted(self.bits, key=self.bits.__getitem__))

    def value(self, *names: str) -> int:
        """The mask value with the bits of these planes set. Raises `MaskPlaneError` for an unknown one."""
        unknown = [name for name in names if name not in self.bits]
        if unknown:
            raise MaskPlaneError(f"mask has no plane {unknown[0]!r}; it has {', '.join(self)}")
        return sum(1 << self.bits[name] for name in set(names))

    def with_planes(self, names: Iterable[str]) -> MaskPlanes:
        """These planes and ``names``; new ones take the next free bits in order of their names."""
        new = sorted(set(names) - set(self.bits))
        if not new:
            return self
        free = [bit for bit in range(_MAX_PLANES) if bit not in self.bits.values()]
        if len(new) > len(free):
            raise MaskPlaneError(
                f"no bit left for mask plane {new[len(free)]!r}: an int32 mask holds {_MAX_PLANES}"
            )
        return MaskPlanes({**self.bits, **dict(zip(new, free, strict=False))})

    def remap(self, mask: Mask, source: MaskPlanes) -> Mask:
        """A mask written with ``source`` planes, rewritten with these; the same array when they agree."""
        moved = {name: bit for name, bit in source.bits.items() if self.bits.get(name) != bit}
        if not moved:
            return mask
        kept = sum(1 << bit for name, bit in source.bits.items() if name not in moved)
        result = mask & np.int32(kept)
        for name, bit in moved.items():
            result |= ((mask >> bit) & 1) << np.int32(self.bits[name])
        return result


@attrs.frozen(eq=False)
class MaskedImage:
    """Three planes of one shape (ny, nx): ``image`` uint16 when raw, else float32.

    ``mask`` is int32, ``variance`` float32. Raises ValueError, listing every fault, when shapes or types do
    not fit.
    """

    image: Pixels
    mask: Mask
    variance: Float32
    planes: MaskPlanes = attrs.field(factory=MaskPlanes)

    def __attrs_post_init__(self) -> None:
        """Check shapes and types once, here, so that nothing later needs to."""
        faults = []
        if self.image.ndim != 2:
            faults.append(f"image has {self.image.ndim} axes, it needs two")
        for name, wanted in (("mask", np.int32), ("variance", np.float32)):
            plane = getattr(self, name)
            if plane.shape != self.image.shape:
                faults.append(f"{name} has shape {plane.shape}, the image {self.image.shape}")
            if plane.dtype != wanted:
                faults.append(f"{name} is {plane.dtype}, it must be {np.dtype(wanted)}")
        if self.image.dtype not in (np.uint16, np.float32):
            faults.append(f"image is {self.image.dtype}, it must be uint16 (raw) or float32")
        if faults:
            raise ValueError("masked image does not fit together: " + "; ".join(faults))

    @classmethod
    def from_raw(cls, image: Pixels, planes: MaskPlanes | None = None) -> MaskedImage:
        """A raw image, with no flags and unit variance that take no memory."""
        mask = np.broadcast_to(np.int32(0), image.shape)
        variance = np.broadcast_to(np.float32(1), image.shape)
        return cls(image, mask, variance, planes or MaskPlanes())

    @classmethod
    def from_image(
        cls,
        image: Float32,
        mask: Mask | None = None,
        variance: Float32 | None = None,
        planes: MaskPlanes | None = None,
    ) -> MaskedImage:
        """A float image; no mask means no flags, no variance means exact."""
        flags = np.zeros(image.shape, np.int32) if mask is None else mask
        noise = np.zeros(image.shape, np.float32) if variance is None else variance
        return cls(image, flags, noise, planes or MaskPlanes())

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def is_raw(self) -> bool:
        """Whether the pixels are still the integers that were read out."""
        return bool(self.image.dtype == np.uint16)

    def window(self, box: Box) -> MaskedImage:
        """A view of the pixels in ``box``."""
        cut = box.slices
        return MaskedImage(self.image[cut], self.mask[cut], self.variance[cut], self.planes)

    def flip(self, flip_y: bool, flip_x: bool) -> MaskedImage:
        """A view with rows and/or columns in reverse order."""
        image, mask, variance = (flip(p, flip_y, flip_x) for p in (self.image, self.mask, self.variance))
        return MaskedImage(image, mask, variance, self.planes)

    def copy(self) -> MaskedImage:
        """The same pixels in memory of their own."""
        return MaskedImage(self.image.copy(), self.mask.copy(), self.variance.copy(), self.planes)

    def read_only(self) -> MaskedImage:
        """The same pixels, as views that cannot be written."""
        image, mask, variance = self.image.view(), self.mask.view(), self.variance.view()
        for view in (image, mask, variance):
            view.setflags(write=False)
        return MaskedImage(image, mask, variance, self.planes)

    def flagged(self, *names: str) -> npt.NDArray[np.bool_]:
        """Which pixels have any of these planes set (all planes when none is named)."""
        value = self.planes.value(*names) if names else -1
        return np.asarray(self.mask & np.int32(value), dtype=bool)

    def with_planes(self, planes: MaskPlanes) -> MaskedImage:
        """The same pixels with their mask written in ``planes``; views where nothing moves."""
        return attrs.evolve(self, mask=planes.remap(self.mask, self.planes), planes=planes)
