"""Spline curves as tables of short lines, fine enough that float32 sees no difference."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.interpolate import Akima1DInterpolator

from isrcore import LineTable

Values = npt.NDArray[np.float64]
Splines = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

# Lines may be off by this part of the range of the nodes: 0.06 thousandths of an adu of 65536.
_TOLERANCE = 2.0**-30

# Curves that need more steps are as rough as noise, and tables would leave the processor's cache.
_FEWEST, _MOST = 2**8, 2**16


@lru_cache(maxsize=128)
def lines_of(curves: tuple[Splines, ...]) -> LineTable:
    """The lines of several curves, one row each: x less the value of each of its splines in turn."""
    bent = [[_Spline(*spline) for spline in splines] for splines in curves]
    start = min(spline.start for splines in bent for spline in splines)
    stop = max(_end_of(splines) for splines in bent)
    count = _FEWEST
    while count < _MOST and _misses(bent, start, stop, count):
        count *= 2
    step = (stop - start) / count
    first, last = math.floor(start / step), math.ceil(stop / step)
    points: Values = np.arange(first, last + 1) * np.float64(step)
    return LineTable.through(first, step, np.stack([_corrected(splines, points) for splines in bent]))


class _Spline:
    """S(x) through nodes, after Akima (1970, J. ACM 17, 589), constant beyond the nodes.

    It is zero at the first node, and at zero signal: there a node is put in when the first one is above.
    """

    def __init__(self, nodes: tuple[float, ...], values: tuple[float, ...]) -> None:
        heights = [value - values[0] for value in values]
        places = list(nodes)
        if places[0] > 0:
            places, heights = [0.0, *places], [0.0, *heights]
        self.start, self.stop, self.end = places[0], places[-1], heights[-1]
        self._curve = Akima1DInterpolator(places, heights)

    def __call__(self, x: Values) -> Values:
        """The values at x."""
        found: Values = self._curve(np.clip(x, self.start, self.stop))
        return found


def _corrected(splines: list[_Spline], x: Values) -> Values:
    """What becomes of pixels."""
    for spline in splines:
        x = x - spline(x)
    return x


def _end_of(splines: list[_Spline]) -> float:
    """The least pixel from which on the correction stays the same."""
    end = -math.inf
    for spline in reversed(splines):
        # The spline sees pixels as it gets them; before its correction they were larger by its value.
        end = max(end + spline.end, spline.stop)
    return end


def _misses(bent: list[list[_Spline]], start: float, stop: float, count: int) -> bool:
    """Whether a curve leaves its lines too far behind in the middle of one of ``count`` steps."""
    points = np.linspace(start, stop, 2 * count + 1)
    return any(_largest_gap(_corrected(splines, points)) > _TOLERANCE * (stop - start) for splines in bent)


def _largest_gap(values: Values) -> float:
    """How far every second value is from the line between its neighbours, at most."""
    return float(np.abs(values[1::2] - (values[:-1:2] + values[2::2]) / 2).max())
