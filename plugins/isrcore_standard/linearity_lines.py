"""Spline curves as tables of short lines, fine enough that float32 sees no difference."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from isrcore import LineTable

Values = npt.NDArray[np.float64]
Splines = tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

# Lines may be off by this part of the range of the nodes: a quarter of what float32 resolves at its end.
_TOLERANCE = 2.0**-26
# In the one step where a spline ends and its slope breaks off: a sixteenth of an adu of 65536.
_TOLERANCE_AT_ENDS = 2.0**-20

# Curves that need more steps are as rough as noise, and tables would leave the processor's cache.
_FEWEST, _MOST = 2**8, 2**16


@lru_cache(maxsize=128)
def lines_of(curves: tuple[Splines, ...]) -> LineTable:
    """The lines of several curves, one row each: x less the value of each of its splines in turn."""
    bent = [[_Spline(*spline) for spline in splines] for splines in curves]
    start = min(spline.start for splines in bent for spline in splines)
    stop = max(float(_ends_of(splines).max()) for splines in bent)
    count = _FEWEST
    while count < _MOST and _misses(bent, start, stop, count):
        count *= 2
    first, step, points = _grid(start, stop, count)
    return LineTable.through(first, step, np.stack([_corrected(splines, points) for splines in bent]))


def _grid(start: float, stop: float, count: int, parts: int = 1) -> tuple[int, float, Values]:
    """Number of the first step, size of a step, and where steps begin and end, each in ``parts`` parts.

    Steps are counted from zero, so that a curve that sets in there does so where lines meet.
    """
    step = (stop - start) / count
    first, last = math.floor(start / step), math.ceil(stop / step)
    return first, step, np.arange(first * parts, last * parts + 1) * np.float64(step / parts)


class _Spline:
    """S(x) through nodes, after Akima (1970, J. ACM 17, 589), constant beyond the nodes.

    It is zero at the first node, and at zero signal: there a node is put in when the first one is above.
    """

    def __init__(self, nodes: tuple[float, ...], values: tuple[float, ...]) -> None:
        from scipy.interpolate import Akima1DInterpolator

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


def _ends_of(splines: list[_Spline]) -> Values:
    """Pixels at which a spline begins or ends."""
    ends = []
    for number, spline in enumerate(splines):
        seen = np.array([spline.start, spline.stop])
        x = seen
        # Splines see what earlier ones left. Steps shrink by the slope of those, a few percent.
        for _ in range(20 if number else 0):
            x = seen + x - _corrected(splines[:number], x)
        ends.append(x)
    return np.concatenate(ends)


def _misses(bent: list[list[_Spline]], start: float, stop: float, count: int) -> bool:
    """Whether a curve leaves its lines too far behind with ``count`` steps."""
    first, step, points = _grid(start, stop, count, parts=2)
    for splines in bent:
        values, ends = _corrected(splines, points), _ends_of(splines)
        gaps = np.abs(values[1::2] - (values[:-1:2] + values[2::2]) / 2)
        # Where lines meet at an end nothing is broken.
        ends = ends[~np.isclose(ends / step, np.rint(ends / step), rtol=0, atol=1e-6)]
        broken = np.floor(ends / step).astype(int) - first
        at_ends = np.abs(_corrected(splines, ends) - np.interp(ends, points[::2], values[::2]))
        worst_at_ends = max([*gaps[broken], *at_ends], default=0.0)
        gaps[broken] = 0
        if max(gaps.max() / _TOLERANCE, worst_at_ends / _TOLERANCE_AT_ENDS) > stop - start:
            return True
    return False
