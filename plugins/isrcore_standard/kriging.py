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
    """Weights for every kind of run: how many good pixels it has at its left and right, and its width.

    Runs wider than ``longest``, an odd number, weigh as one of that width, the middle pixel as often as
    needed: there the far end is out of reach.
    """

    weights: tuple[_Weights, ...]
    longest: int

    @classmethod
    def of(cls, sigma: float) -> WeightTable:
        """The table for a Gaussian of ``sigma`` pixels."""
        longest = 2 * math.ceil(_REACH * sigma) + 1
        sides = range(SIDE + 1)
        kinds = ((left, right, width) for left in sides for right in sides for width in range(1, longest + 1))
        return cls(tuple(np.ascontiguousarray(_placed(*kind, sigma).T) for kind in kinds), longest)

    def kinds(self, left: npt.NDArray[Any], right: npt.NDArray[Any], width: npt.NDArray[Any]) -> Any:
        """The kind of every run, a small number."""
        sides = ((SIDE + 1) * left + right).astype(np.int64)
        # Short numbers are sorted in no time.
        return (sides * self.longest + np.minimum(width, self.longest) - 1).astype(np.int16)

    def of_kind(self, kind: int) -> _Weights:
        """The weights of a kind of run, shape (4, width).

        The rows are the second and first good pixel to the left, the first and second to the right; absent
        ones weigh nothing.
        """
        return self.weights[kind]


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
