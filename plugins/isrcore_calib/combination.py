"""Combining corrected frames in bands of rows, as a `Rule` says, in bounded memory and on several threads.

The result is that of numpy on the full stack. It depends neither on the order in which frames are given
(they are combined in an order of their own) nor on bands, memory or threads (every pixel is combined by
itself, in the same operations).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import map_bands, row_bands, statistics
from isrcore_calib.rules import PixelCombiner, Rule

Float32 = npt.NDArray[np.float32]

# What combining needs per value: value, variance, deviation, their sorted copy, flags as bytes and as bits.
_BYTES_PER_VALUE = 24
# Values of a few thousand pixels stay in cache; fewer would cost more in calls than the cache saves.
_CACHE_BYTES, _FEWEST_PIXELS, _MOST_PIXELS = 1 << 22, 1 << 10, 1 << 14
_MOST_ROWS = 64


@attrs.frozen(eq=False)
class Frame:
    """A corrected input, before scaling: image and variance, shape (2, ny, nx), in memory or in a file.

    The image is NaN where a pixel must not be used. ``scale`` multiplies the image, its square the variance.
    ``typical_variance`` is that of the scaled frame. Frames of one ``key`` have equal pixels.
    """

    planes: Float32 | Path
    shape: tuple[int, int]
    scale: float = 1.0
    typical_variance: float = 1.0
    key: bytes = b""

    @classmethod
    def of(cls, planes: Float32, file: Path | None = None, key: bytes = b"") -> Frame:
        """A frame of these planes; with ``file`` they are kept there. Raises OSError when it is full.

        Without a ``key`` it gets one from its pixels.
        """
        planes = np.ascontiguousarray(planes, np.float32)
        typical = statistics.lower_median(planes[1], ignore=~np.isfinite(planes[0]))
        frame = cls(
            planes,
            (planes.shape[1], planes.shape[2]),
            typical_variance=typical if typical > 0 else 1.0,
            key=key or hashlib.blake2b(planes.view(np.uint8).data, digest_size=16).digest(),
        )
        return frame if file is None else frame.stored(file)

    def stored(self, file: Path) -> Frame:
        """The frame with its planes in a file. Raises OSError when it is full."""
        assert isinstance(self.planes, np.ndarray)
        with file.open("wb") as stream:
            stream.write(self.planes.data)
        return attrs.evolve(self, planes=file)

    def scaled(self, scale: float) -> Frame:
        """The frame multiplied by ``scale``; the pixels are multiplied when they are read."""
        typical = self.typical_variance * scale * scale
        return attrs.evolve(self, scale=self.scale * scale, typical_variance=typical)

    def image(self) -> Float32:
        """The whole scaled image, shape (ny, nx)."""
        number = self.shape[0] * self.shape[1]
        if isinstance(self.planes, Path):
            image = np.fromfile(self.planes, np.float32, number).reshape(self.shape)
        else:
            image = self.planes[0]
        return np.asarray(image * np.float32(self.scale))

    def read(self, rows: slice) -> Float32:
        """Image and variance of rows, before scaling, shape (2, rows * nx)."""
        if not isinstance(self.planes, Path):
            return self.planes[:, rows].reshape(2, -1)
        (ny, nx), number = self.shape, (rows.stop - rows.start) * self.shape[1]
        # Not mapped into memory: mapped pages count as memory of the process.
        places = ((plane * ny + rows.start) * nx * 4 for plane in range(2))
        return np.stack([np.fromfile(self.planes, np.float32, number, offset=place) for place in places])


@attrs.frozen(eq=False)
class Combined:
    """The combined values, their variance, and the number of inputs that entered; shape (ny, nx).

    Image and variance are NaN where the number is zero.
    """

    image: Float32
    variance: Float32
    number: npt.NDArray[np.int16]


def combine(
    frames: Sequence[Frame], rule: Rule | None = None, *, memory: int = 1 << 28, threads: int = 1
) -> Combined:
    """The frames combined by ``rule`` (default: the clipped mean), with about ``memory`` bytes of work space.

    Raises ValueError without frames or for frames of different shapes.
    """
    shapes = {frame.shape for frame in frames}
    if len(shapes) != 1:
        raise ValueError(f"frames to combine must have one shape, these have {sorted(shapes) or 'none'}")
    (shape,) = shapes
    # Sums of floating-point numbers depend on their order.
    ordered = sorted(frames, key=lambda frame: (frame.key, frame.scale, frame.typical_variance))
    result = Combined(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int16))
    space = memory // threads // len(frames)
    bands = row_bands(shape[0], _rows_at_once(ordered, space // 2))
    width = min(_pixels_at_once(len(frames), space // 2), bands[0].stop * shape[1])
    map_bands(bands, lambda: _band_combiner(ordered, rule or Rule(), width, result), threads)
    return result


def _rows_at_once(frames: Sequence[Frame], space: int) -> int:
    """Rows of a band; those of files are read into ``space`` bytes per frame."""
    in_files = any(isinstance(frame.planes, Path) for frame in frames)
    # Planes of a file are read one by one, then put together.
    return max(1, min(_MOST_ROWS, space // (16 * frames[0].shape[1]))) if in_files else _MOST_ROWS


def _pixels_at_once(number: int, space: int) -> int:
    """Pixels of a chunk that stays in cache, in ``space`` bytes per frame."""
    in_cache = max(_FEWEST_PIXELS, min(_MOST_PIXELS, _CACHE_BYTES // (_BYTES_PER_VALUE * number)))
    return max(1, min(in_cache, space // _BYTES_PER_VALUE))


def _band_combiner(
    frames: Sequence[Frame], rule: Rule, width: int, result: Combined
) -> Callable[[slice], None]:
    """A function that combines a band into the result, with work space of its own."""
    typical = np.array([frame.typical_variance for frame in frames], np.float32)
    combiner = PixelCombiner(typical, rule, width)

    def combine_band(rows: slice) -> None:
        bands = [frame.read(rows) for frame in frames]
        image, variance, number = (getattr(result, name)[rows].reshape(-1) for name in _PLANES)
        for pixels in row_bands(image.size, width):
            for index, (frame, band) in enumerate(zip(frames, bands, strict=True)):
                _scale(band[:, pixels], frame.scale, combiner.values[index], combiner.variances[index])
            image[pixels], variance[pixels], number[pixels] = combiner(pixels.stop - pixels.start)

    return combine_band


_PLANES = ("image", "variance", "number")


def _scale(band: Float32, scale: float, values: Float32, variances: Float32) -> None:
    """Image and variance of a frame on the common scale, into the start of two rows."""
    factor, pixels = np.float32(scale), band.shape[1]
    np.multiply(band[0], factor, out=values[:pixels])
    np.multiply(band[1], factor * factor, out=variances[:pixels])
