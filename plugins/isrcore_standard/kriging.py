"""Weights of the good pixels beside a run of bad ones (behaviour §2.28)."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

_Weights = npt.NDArray[np.float64]

#: Good pixels that may count: this many on each side.
SIDE = 2

# A Gaussian of ten sigma has fallen to 1e-11: pixels further from a run's end do not feel it.
_REACH = 10.0


def kriging_weights(left: int, right: int, width: int, sigma: float) -> _Weights:
    """Weights of ordinary kriging for a run of ``width`` bad pixels, shape (width, left + right).

    The good pixels are the ``left`` ones directly before and the ``right`` ones directly after the run, in
    the order of their places. It is the best linear prediction with weights of sum one (Cressie 1993,
    *Statistics for Spatial Data*, §3.2) for a scene of white noise seen through a Gaussian point spread
    function of s = ``sigma`` pixels, which has the covariance C(d) = exp(-d²/4s²). Raises ValueError
    without good pixels.
    """
    if left + right < 1:
        raise ValueError(f"no good pixel beside a run of {width}: there is nothing to weigh")
    good = np.concatenate([np.arange(-left, 0), np.arange(width, width + right)])
    system = np.ones((good.size + 1, good.size + 1))
    system[:-1, :-1] = _covariance(good[:, None] - good, sigma)
    system[-1, -1] = 0.0
    wanted = np.ones((good.size + 1, width))
    wanted[:-1] = _covariance(good[:, None] - np.arange(width), sigma)
    return np.asarray(np.linalg.solve(system, wanted)[:-1].T)


def _covariance(distance: npt.NDArray[Any], sigma: float) -> _Weights:
    return np.asarray(np.exp(-np.square(distance / (2.0 * sigma))))


@attrs.frozen(eq=False)
class WeightTable:
    """Weights for every number of good pixels and every width, in one array, one column per bad pixel.

    The four rows are the second and first good pixel to the left, the first and second to the right; absent
    ones weigh nothing. Runs wider than ``longest`` weigh as one of that width, the middle column as often
    as needed: there the far end is out of reach.
    """

    weights: _Weights
    first: npt.NDArray[np.int64]
    longest: int

    @classmethod
    def of(cls, sigma: float) -> WeightTable:
        """The table for a Gaussian of ``sigma`` pixels."""
        longest = 2 * math.ceil(_REACH * sigma) + 1
        blocks = [
            _placed(left, right, width, sigma)
            for left in range(SIDE + 1)
            for right in range(SIDE + 1)
            for width in range(1, longest + 1)
        ]
        first = np.cumsum([0] + [len(block) for block in blocks[:-1]])
        weights = np.ascontiguousarray(np.concatenate(blocks).T)
        return cls(weights, first.reshape(SIDE + 1, SIDE + 1, longest), longest)

    def columns(self, left: npt.NDArray[Any], right: npt.NDArray[Any], width: npt.NDArray[Any]) -> Any:
        """For runs with so many good pixels, the column of every bad pixel, run after run."""
        known = np.minimum(width, self.longest)
        first = np.repeat(self.first[left, right, known - 1], width)
        place = np.arange(first.size) - np.repeat(np.cumsum(width) - width, width)
        if known.size and width.max() > self.longest:
            middle = self.longest // 2
            place = np.maximum(np.minimum(place, middle), place - np.repeat(width - known, width))
        return first + place


def _placed(left: int, right: int, width: int, sigma: float) -> _Weights:
    """The weights in four columns. Mirrored runs have mirrored weights, to the last bit."""
    table = np.zeros((width, 2 * SIDE))
    if left < right:
        return _placed(right, left, width, sigma)[::-1, ::-1]
    if left:
        table[:, SIDE - left : SIDE + right] = kriging_weights(left, right, width, sigma)
    if left == right:
        table = (table + table[::-1, ::-1]) / 2
    return table


@lru_cache(maxsize=8)
def weight_table(sigma: float) -> WeightTable:
    """`WeightTable.of`, kept for the next frame."""
    return WeightTable.of(sigma)
