"""Interpolation over bad pixels as its definition says it, row by row: slow, and nothing of isrcore in it.

Imported by laws and golden tests, which compare the fast one with it.
"""

from __future__ import annotations

import math

import numpy as np


def plain(pixels, bad, level, sigma=1.0):
    """Image and variance (float64) with the ``bad`` pixels replaced; ``level`` is (value, variance)."""
    image, variance = pixels.image.astype(np.float64), pixels.variance.astype(np.float64)
    for y, start, stop in runs_of(bad):
        fill_run((image[y], variance[y]), bad[y], slice(start, stop), level, sigma)
    return image, variance


def runs_of(bad):
    """Row, first pixel and end of every run of bad pixels."""
    for y, row in enumerate(bad):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            yield y, start, stop


def fill_run(row, bad, run, level, sigma):
    """Replace one run in a row (image, variance)."""
    seen, inner = sources(row, bad, run, level)
    row[0][run], row[1][run] = level
    for x in inner:
        weights = weights_at(x, sorted(seen), sigma)
        row[0][x] = sum(w * seen[place][0] for place, w in weights.items())
        row[1][x] = sum(w**2 * seen[place][1] for place, w in weights.items())


def sources(row, bad, run, level):
    """The pixels that count for a run, by place, with (value, variance); and which of the run they fill."""
    lefts, rights = good_beside(bad, run.start - 1, -1), good_beside(bad, run.stop, 1)
    seen = {x: (row[0][x], row[1][x]) for x in lefts + rights}
    inner = list(range(run.start, run.stop))
    if not seen:
        inner = []
    elif len(inner) > 6 and not lefts:
        inner = inner[-6:]
        seen |= {inner[0] - 2: level, inner[0] - 1: level}
    elif len(inner) > 6 and not rights:
        inner = inner[:6]
        seen |= {inner[-1] + 1: level, inner[-1] + 2: level}
    return seen, inner


def good_beside(bad, first, step):
    """Places of up to two good pixels from ``first`` on."""
    found = []
    for x in (first, first + step):
        if not 0 <= x < bad.size or bad[x]:
            break
        found.append(x)
    return found


def weights_at(x, places, sigma):
    """Ordinary kriging: covariance exp(-(d / 2 sigma)²), weights of sum one."""
    n = len(places)
    system, wanted = np.ones((n + 1, n + 1)), np.ones(n + 1)
    system[n, n] = 0
    for i, one in enumerate(places):
        wanted[i] = math.exp(-(((one - x) / (2 * sigma)) ** 2))
        for j, other in enumerate(places):
            system[i, j] = math.exp(-(((one - other) / (2 * sigma)) ** 2))
    return dict(zip(places, np.linalg.solve(system, wanted)[:n], strict=True))
