"""How much charge the brighter-fatter effect has moved, tile by tile (behaviour §2.15).

T is the charge a pixel should hold, S the charge that moves it. Charge collects during the exposure, so that
half of S is there on average: its potential is P = ½ K ⋆ S with the kernel K. All arithmetic is float32, on
tiles that stay in cache and do not depend on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Box, map_bands

Plane = npt.NDArray[np.float32]
Weights = npt.NDArray[np.float64]
Part = tuple[slice, slice]

#: Pixels on a side of a tile, at most: with a kernel of 17 a quarter of a megabyte per plane.
TILE = 234

_MIDDLE, _AFTER, _BEFORE = slice(1, -1), slice(2, None), slice(None, -2)

# Along rows' and along columns' numbers: the neighbours with the next higher and the next lower one.
_NEIGHBOURS: tuple[tuple[Part, Part], ...] = (
    ((_AFTER, _MIDDLE), (_BEFORE, _MIDDLE)),
    ((_MIDDLE, _AFTER), (_MIDDLE, _BEFORE)),
)


@attrs.frozen
class Ends:
    """Which sides of a tile nothing passes, because the detector ends there; first and last by axis."""

    y: tuple[bool, bool] = (False, False)
    x: tuple[bool, bool] = (False, False)


def shift_by_gradients(charge: Plane, potential: Plane, ends: Ends, out: Plane) -> None:
    """∇T·∇P + T ∇²P with central differences, for all pixels but the outermost.

    The correction of Coulton et al. (2018, AJ 155, 258) to first order in the size of a pixel.
    """
    curvature, slope, other = (np.empty(out.shape, np.float32) for _ in range(3))
    np.multiply(potential[_MIDDLE, _MIDDLE], np.float32(-4), out=curvature)
    out[...] = 0
    for after, before in _NEIGHBOURS:
        np.add(potential[after], potential[before], out=other)
        curvature += other
        np.subtract(potential[after], potential[before], out=other)
        np.subtract(charge[after], charge[before], out=slope)
        slope *= other
        out += slope
    # Two differences over two pixels each.
    out *= np.float32(0.25)
    curvature *= charge[_MIDDLE, _MIDDLE]
    out += curvature


def shift_by_transfers(charge: Plane, potential: Plane, ends: Ends, out: Plane) -> None:
    """What pixels get back from their neighbours, T ΔP through every side, for all but the outermost.

    T is that of the pixel whose side had moved inwards: what landed beyond it was on its way there. What one
    pixel gets the other gives, so that no charge is made or lost.
    """
    turned = charge.T, potential.T, out.T
    out[...] = 0
    for (t, p, target), (first, last) in zip(
        ((charge, potential, out), turned), (ends.y, ends.x), strict=True
    ):
        flow = p[1:, _MIDDLE] - p[:-1, _MIDDLE]
        # Both ways at once: choosing pixel by pixel takes twice as long.
        gained = np.maximum(flow, 0)
        gained *= t[:-1, _MIDDLE]
        np.minimum(flow, 0, out=flow)
        flow *= t[1:, _MIDDLE]
        flow += gained
        if first:
            flow[0] = 0
        if last:
            flow[-1] = 0
        target += flow[1:]
        target -= flow[:-1]


@attrs.frozen
class Rule:
    """One form of the correction.

    ``shift`` computes it on a tile. S is the charge found so far if it ``follows``; else the charge that was
    measured. ``reaches_edges`` tells that charge outside the detector is taken to be at the level of the
    frame, so that every pixel is corrected.
    """

    shift: Callable[[Plane, Plane, Ends, Plane], None]
    follows: bool
    reaches_edges: bool


#: The form that the original applies by default.
GRADIENTS = Rule(shift_by_gradients, follows=True, reaches_edges=False)

#: The form that neither makes nor loses charge.
TRANSFERS = Rule(shift_by_transfers, follows=False, reaches_edges=True)


@attrs.frozen(eq=False)
class Settled:
    """Charge to add to every pixel, and how the iteration ended.

    ``difference`` is Σ|T - previous T| of the last of ``iterations``.
    """

    shift: Plane
    difference: float
    iterations: int
    is_converged: bool


@attrs.frozen(eq=False)
class Field:
    """The potential of charge, by Fourier transforms of windows of one size at most."""

    half: tuple[int, int]
    size: tuple[int, int]
    spectrum: npt.NDArray[np.complex64]

    @classmethod
    def of(cls, kernel: Weights, window: tuple[int, int]) -> Field:
        """The field of a kernel in windows of up to this shape."""
        from scipy import fft

        size = fft.next_fast_len(window[0], True), fft.next_fast_len(window[1], True)
        # The kernel weighs charge at (y + dy, x + dx): turned by 180 degrees that is a convolution.
        spectrum = (0.5 * fft.rfft2(kernel[::-1, ::-1], size)).astype(np.complex64)
        return cls((kernel.shape[0] // 2, kernel.shape[1] // 2), size, spectrum)

    def potential(self, charge: Plane) -> Plane:
        """½ K ⋆ S where all of the kernel is on the window: half a kernel less on every side."""
        from scipy import fft

        spectrum = fft.rfft2(charge, self.size)
        spectrum *= self.spectrum
        found: Any = fft.irfft2(spectrum, self.size, overwrite_x=True)
        (y, x), (ny, nx) = self.half, charge.shape
        return np.asarray(found[2 * y : ny, 2 * x : nx])


@attrs.frozen(eq=False)
class Tile:
    """Pixels that are worked on together."""

    number: int
    box: Box
    ends: Ends
    field: Field

    def around(self, y: int = 0, x: int = 0) -> Part:
        """The pixels, and so many rows and columns on every side."""
        return slice(self.box.y0 - y, self.box.y1 + y), slice(self.box.x0 - x, self.box.x1 + x)


@attrs.frozen(eq=False)
class Sensor:
    """A detector whose pixels push charge around: which kernel acts where, and by which rule.

    ``regions`` pairs boxes of the image with kernels, all of one shape, odd on both sides.
    """

    shape: tuple[int, int]
    regions: tuple[tuple[Box, Weights], ...]
    rule: Rule

    @property
    def frame(self) -> tuple[int, int]:
        """Rows and columns along every edge whose correction takes charge beyond the detector."""
        ky, kx = self.regions[0][1].shape
        return ky // 2 + 1, kx // 2 + 1

    def correct(self, charge: Plane, max_iterations: int, threshold: float, threads: int = 1) -> Settled:
        """The shift that corrects measured charge; it ends once ``difference`` is below the threshold."""
        return self._settle(charge, (int(self.rule.follows), 1), max_iterations, threshold, threads)

    def disturb(self, charge: Plane, max_iterations: int, threshold: float, threads: int = 1) -> Settled:
        """The shift that led from charge as it should be: it leaves the charge less the shift.

        T is known then, and so is S if it follows; else S is the charge that is left.
        """
        return self._settle(charge, (int(self.rule.follows) - 1, 0), max_iterations, threshold, threads)

    def _settle(
        self, charge: Plane, weights: tuple[int, int], max_iterations: int, threshold: float, threads: int
    ) -> Settled:
        """Find the shift that follows from itself: S and T are the charge plus weight times shift."""
        work = _Work(self, charge, weights)
        difference, done = math.inf, 0
        while done < max_iterations and not difference < threshold:
            difference, done = work.iterate(threads), done + 1
        return Settled(work.shift, difference, done, difference < threshold)

    def tiles(self, padding: tuple[int, int]) -> tuple[Tile, ...]:
        """The pixels that are corrected, in an image with so many rows and columns more on every side."""
        (y, x), (ny, nx) = self.frame, self.shape
        # A kernel can be larger than the detector: then nothing is left.
        inner = Box(y, max(ny + 2 * padding[0] - y, y), x, max(nx + 2 * padding[1] - x, x))
        placed = [(box.shift(*padding).intersect(inner), kernel) for box, kernel in self.regions]
        pieces = [(piece, kernel) for box, kernel in placed for piece in _pieces(box)]
        height, width = (max((piece.shape[axis] for piece, _ in pieces), default=1) for axis in (0, 1))
        window = height + 2 * y, width + 2 * x
        fields = {id(kernel): Field.of(kernel, window) for _, kernel in self.regions}
        return tuple(
            Tile(number, piece, _ends(piece, inner), fields[id(kernel)])
            for number, (piece, kernel) in enumerate(pieces)
        )


def _pieces(box: Box) -> Iterator[Box]:
    """Boxes of about one size, of at most `TILE` pixels a side, that make up a box."""
    if box.area:
        rows, columns = (np.linspace(0, n, 1 + math.ceil(n / TILE)).astype(int).tolist() for n in box.shape)
        for y0, y1 in pairwise(rows):
            for x0, x1 in pairwise(columns):
                yield Box(y0, y1, x0, x1).shift(box.y0, box.x0)


def _ends(piece: Box, inner: Box) -> Ends:
    """The sides that a piece shares with all that is corrected."""
    return Ends((piece.y0 == inner.y0, piece.y1 == inner.y1), (piece.x0 == inner.x0, piece.x1 == inner.x1))


class _Work:
    """One iteration after the other on the charge of a sensor."""

    def __init__(self, sensor: Sensor, charge: Plane, weights: tuple[int, int]) -> None:
        """Only differences of the potential count: charge less its level leaves room for digits."""
        self._sensor, (self._of_source, self._of_charge) = sensor, weights
        self._padding = sensor.frame if sensor.rule.reaches_edges else (0, 0)
        self._level = np.mean(charge, dtype=np.float64).astype(np.float32)
        self._excess: Plane = charge - self._level
        if any(self._padding):
            self._excess = np.pad(self._excess, [(side, side) for side in self._padding])
        self._old, self._new = np.zeros_like(self._excess), np.zeros_like(self._excess)
        self._tiles = sensor.tiles(self._padding)
        # Charge that does not change keeps its potential.
        self._kept: dict[int, Plane] = {}

    @property
    def shift(self) -> Plane:
        """What the last iteration found."""
        (y, x), (ny, nx) = self._padding, self._sensor.shape
        return self._old[y : y + ny, x : x + nx]

    def iterate(self, threads: int) -> float:
        """Compute the shift that follows from the last one; returns the sum of all differences."""
        differences = map_bands(self._tiles, lambda: self._step, threads)
        self._old, self._new = self._new, self._old
        return math.fsum(differences)

    def _step(self, tile: Tile) -> float:
        """The new shift of one tile, and how far it is from the old one."""
        target = self._new[tile.around()]
        charge = self._plus(self._of_charge, tile.around(1, 1)) + self._level
        self._sensor.rule.shift(charge, self._potential(tile), tile.ends, target)
        change = target - self._old[tile.around()]
        return float(np.abs(change, out=change).sum(dtype=np.float64))

    def _potential(self, tile: Tile) -> Plane:
        """The potential of a tile and one pixel around it."""
        found = self._kept.get(tile.number)
        if found is None:
            found = tile.field.potential(self._plus(self._of_source, tile.around(*self._sensor.frame)))
            if not self._of_source:
                self._kept[tile.number] = found = found.copy()
        return found

    def _plus(self, weight: int, part: Part) -> Plane:
        """Charge, less its level, plus ``weight`` times the shift."""
        excess, shift = self._excess[part], self._old[part]
        return excess + shift if weight > 0 else excess - shift if weight < 0 else excess
