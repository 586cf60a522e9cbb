"""How much of each fringe frame is in an image: fluxes at random positions and their solution."""

from __future__ import annotations

import math

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import statistics

Float64 = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Standard deviation of a normal distribution over its interquartile range, as the original rounds it.
_SIGMA_PER_IQR = 0.74

# No fringes make fluxes that scatter more than this many times as much as those of the image they are in.
_EXCESS = 2.0


@attrs.frozen(eq=False)
class Positions:
    """Where fluxes are measured: columns ``x`` and rows ``y``, counted from 0; drawn from ``area`` pixels."""

    x: Integers
    y: Integers
    area: int

    @classmethod
    def draw(cls, shape: tuple[int, int], num: int, margin: int, seed: int) -> Positions:
        """Random ones, the same for the same seed (0 to 2**32 - 1) on any machine (behaviour §2.19)."""
        ny, nx = shape
        # The legacy generator: its numbers are promised never to change.
        rng = np.random.RandomState(seed)
        x = rng.randint(margin, nx - margin, num)
        y = rng.randint(margin, ny - margin, num)
        return cls(x, y, (nx - 2 * margin) * (ny - 2 * margin))

    def repetition(self, side: int, count: int) -> float:
        """By how much fewer than ``count`` independent measurements boxes of this side are worth.

        Boxes at random positions share pixels, and the noise of these, in proportion to their density.
        """
        return 1.0 + count * side**2 / self.area


@attrs.frozen(eq=False)
class Solution:
    """Amplitudes of fringe frames, their uncertainties, and what they were found from.

    ``rms`` is the robust scatter of the residuals, NaN with no position; ``count`` the positions used.
    Frames that cannot be told apart have amplitudes, of least squares, but no uncertainties: NaN.
    """

    amplitudes: Float64
    sigmas: Float64
    rms: float
    count: int


def solve(science: Float64, fringes: Float64, clip: float, iterations: int) -> Solution:
    """Find a with science = fringes · a, by least squares without constant, from most of the positions.

    ``science`` has shape (positions,), ``fringes`` (positions, frames). Fluxes ``clip`` widths or more from
    their median do not count, nor do positions with one that is not finite; then up to ``iterations`` times
    residuals of more than ``clip`` widths are left out (behaviour §2.19). When no more positions are left
    than there are frames all amplitudes are zero (§9 fault 22); and so are absurd ones, as a frame gets that
    has no flux at almost any position.
    """
    fluxes = np.column_stack([fringes, science])
    # A position counts where all frames have a flux (fault 24).
    fluxes = finite = fluxes[np.isfinite(fluxes).all(axis=1)]
    if len(fluxes):
        fluxes = fluxes[np.all([_is_near(column, clip) for column in fluxes.T], axis=0)]
    rms, count = math.nan, -1
    for _ in range(iterations):
        if len(fluxes) < fluxes.shape[1] or len(fluxes) == count:
            break
        count = len(fluxes)
        residual = fluxes[:, -1] - fluxes[:, :-1] @ _least_squares(fluxes)
        rms = _SIGMA_PER_IQR * statistics.interquartile_range(residual)
        fluxes = fluxes[abs(residual) <= clip * rms]
    found = _solution(fluxes, rms)
    if found.count and np.std(finite[:, :-1] @ found.amplitudes) > _EXCESS * np.std(finite[:, -1]):
        return _solution(fluxes[:0], math.nan)
    return found


def _is_near(values: Float64, clip: float) -> npt.NDArray[np.bool_]:
    """Which values are closer to their median than ``clip`` widths."""
    first, middle, third = statistics.quartiles(values)
    return np.asarray(abs(values - middle) < clip * _SIGMA_PER_IQR * (third - first))


def _least_squares(fluxes: Float64) -> Float64:
    """The amplitudes; those of least norm where frames cannot be told apart."""
    return np.asarray(np.linalg.lstsq(fluxes[:, :-1], fluxes[:, -1])[0])


def _solution(fluxes: Float64, rms: float) -> Solution:
    """The solution from the fluxes that are left."""
    count, frames = len(fluxes), fluxes.shape[1] - 1
    if count <= frames:
        return Solution(np.zeros(frames), np.full(frames, math.nan), math.nan, 0)
    # Frames may differ in scale by any factor.
    scale = np.sqrt(np.square(fluxes[:, :-1]).mean(axis=0))
    scale[scale == 0] = 1.0
    normal = (fluxes[:, :-1] / scale).T @ (fluxes[:, :-1] / scale)
    is_sound = np.linalg.matrix_rank(normal, hermitian=True) == frames
    variances = np.diag(np.linalg.inv(normal)) if is_sound else np.full(frames, math.nan)
    return Solution(_least_squares(fluxes), rms * np.sqrt(variances) / scale, rms, count)
