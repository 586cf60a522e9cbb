"""Crosstalk coefficients from bright sources: what they leave in the amplifiers that are read out with them.

The pixels y of an amplifier, without sky, are the sum of c_j x_j over the other amplifiers, whose pixels x_j
were read out at the same time, and noise. The c_j of all sources are solved for together, from pixels where
one of them at least is bright, and those around: the noise of x does not matter beside such signals. Every
such region has a level of its own, which is taken from x and y: what the sky is under a ghost is told by what
is beside it. Stars in y are looked for in what the
c_j found so far do not explain, so that a strong ghost is not taken for a star; the first c_j are medians of
y/x, which a few stars do not move. The weight of a frame is the inverse of the variance of its residuals, the
errors are those of least squares.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Amplifier
from isrcore_calib.sky import background, find_sources

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BOX = 64
_SOURCE_SIGMA = 5.0
_CLIP_SIGMA = 4.0
_SIGMA_PER_MAD = 1.4826
_PASSES = 3
# Pixels around bright ones that tell the level.
_AROUND = 8
#: Fewer bright pixels say nothing about a coefficient.
FEWEST_PIXELS = 20


def in_reading_order(image: Float32, amp: Amplifier) -> Float32:
    """The amplifier's pixels, those that were read out first first. Shape of its box."""
    part = image[amp.box.slices]
    up, right = amp.readout_corner[0] == "U", amp.readout_corner[1] == "R"
    return part[:: -1 if up else 1, :: -1 if right else 1]


@attrs.define(eq=False)
class Regression:
    """The sums from which the coefficients of ``number`` amplifiers follow, frame by frame.

    ``squares`` has for each affected amplifier the weighted sums of x_j x_k, ``products`` those of x_j y, and
    ``pixels`` how many bright pixels of each source were used: shapes (n, n, n), (n, n) and (n, n).
    """

    number: int
    bright: float = 5000.0
    squares: Float64 = attrs.field(init=False)
    products: Float64 = attrs.field(init=False)
    pixels: npt.NDArray[np.int64] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Start from nothing."""
        self.squares = np.zeros((self.number,) * 3)
        self.products = np.zeros((self.number,) * 2)
        self.pixels = np.zeros((self.number,) * 2, np.int64)

    def add(self, parts: Sequence[Float32]) -> None:
        """Add a frame: the amplifiers' pixels (adu) in reading order, of one shape; NaN do not count."""
        from scipy.ndimage import binary_dilation, label

        signals = [_without_sky(part) for part in parts]
        known = np.logical_and.reduce([np.isfinite(one) for one in signals])
        # NaN in a source: nobody knows what it was that disturbed the others.
        bright = [known & (np.where(known, one, 0) > self.bright) for one in signals]
        for affected in range(self.number):
            sources = [j for j in range(self.number) if j != affected]
            lit = np.logical_or.reduce([bright[j] for j in sources])
            # Where the affected amplifier is bright itself its noise drowns what it gets.
            regions = label(binary_dilation(lit, iterations=_AROUND))[0] * (known & ~bright[affected])
            self._add_affected(affected, sources, signals, bright, regions)

    def _add_affected(
        self,
        affected: int,
        sources: list[int],
        signals: list[Float32],
        bright: list[Flags],
        regions: npt.NDArray[np.int32],
    ) -> None:
        """Add what one amplifier says of its sources."""
        coefficients = _first_guess(signals, affected, sources, [bright[j] & (regions > 0) for j in sources])
        for _ in range(_PASSES):
            ghosts = sum(c * signals[j] for c, j in zip(coefficients, sources, strict=True))
            residual = np.asarray(signals[affected] - ghosts, np.float32)
            used = regions > 0
            used &= ~find_sources(residual, np.isfinite(residual), _SOURCE_SIGMA)
            used = _clipped(residual, regions, used)
            if np.count_nonzero(used) < FEWEST_PIXELS:
                return
            x = np.stack([_levelled(signals[j], regions, used) for j in sources])
            y = _levelled(signals[affected], regions, used)
            squares, products = x @ x.T, x @ y
            counts = np.array([np.count_nonzero(bright[j] & used) for j in sources])
            coefficients = _solved(squares, products, counts)
        free = y.size - np.unique(regions[used]).size - len(sources)
        variance = float(np.sum((y - coefficients @ x) ** 2)) / max(free, 1)
        place = np.ix_([affected], sources, sources)
        self.squares[place] += squares / variance
        self.products[affected, sources] += products / variance
        self.pixels[affected, sources] += counts

    def solve(self) -> tuple[Float64, Float64, Flags]:
        """Coefficients, their errors, and which are known: row = affected, column = source."""
        shape = self.number, self.number
        coefficients, errors, known = np.zeros(shape), np.zeros(shape), np.eye(self.number, dtype=np.bool_)
        for affected in range(self.number):
            good = np.flatnonzero(self.pixels[affected] >= FEWEST_PIXELS)
            if good.size:
                inverse = np.linalg.inv(self.squares[affected][np.ix_(good, good)])
                coefficients[affected, good] = inverse @ self.products[affected, good]
                errors[affected, good] = np.sqrt(np.diag(inverse))
                known[affected, good] = True
        return coefficients, errors, known


def _without_sky(part: Float32) -> Float32:
    """The pixels without the level around sources."""
    usable = np.isfinite(part)
    sky = background(part, usable, _BOX)
    sources = find_sources(part - sky, usable, _SOURCE_SIGMA)
    return np.asarray(part - background(part, usable & ~sources, _BOX), np.float32)


def _first_guess(signals: list[Float32], affected: int, sources: list[int], bright: list[Flags]) -> Float64:
    """Medians of y/x, source by source."""
    ratios = [signals[affected][where] / signals[j][where] for j, where in zip(sources, bright, strict=True)]
    return np.array([float(np.median(one)) if one.size >= FEWEST_PIXELS else 0.0 for one in ratios])


def _clipped(residual: Float32, regions: npt.NDArray[np.int32], used: Flags) -> Flags:
    """What is near the level of its region, in terms of the scatter of all."""
    kept = used.copy()
    if used.any():
        values = np.abs(_levelled(residual, regions, used))
        kept[used] = values <= _CLIP_SIGMA * _SIGMA_PER_MAD * np.median(values)
    return kept


def _levelled(values: Float32, regions: npt.NDArray[np.int32], used: Flags) -> Float64:
    """The values used, each without the mean of its region."""
    where, numbers = regions[used], values[used].astype(np.float64)
    counts = np.maximum(np.bincount(where), 1)
    means: Float64 = np.bincount(where, numbers) / counts
    return np.asarray(numbers - means[where])


def _solved(squares: Float64, products: Float64, counts: npt.NDArray[np.int64]) -> Float64:
    """Coefficients of the sources with pixels enough, 0 for the others."""
    found, good = np.zeros(len(products)), np.flatnonzero(counts >= FEWEST_PIXELS)
    if good.size:
        found[good] = np.linalg.solve(squares[np.ix_(good, good)], products[good])
    return found
