"""Levels and noises of columns, and the runs of columns that have one level.

Rows are analysed as the columns of the transposed image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
Image = npt.NDArray[Any]

# Columns that are worked on at a time, and the most rows that are looked at: more tell no more.
_CHUNK = 128
_MOST_ROWS = 2048

# A level that differs by this many of its errors is another one: by chance once in two million columns.
SIGNIFICANT = 5.0

# Levels wander a little from column to column also where nothing happens; in units of the pixel noise.
WANDER = 0.05

# Columns that a level is compared with.
_MEMORY = 8


@attrs.frozen(eq=False)
class Profile:
    """Of every column its level, the noise of its pixels and the error of its level, in adu.

    Cosmic rays and stars do not count: pixels more than five times the noise from the median are left out.
    """

    level: Numbers
    noise: Numbers
    error: Numbers

    def __len__(self) -> int:
        """The number of columns."""
        return len(self.level)

    def minus(self, other: Profile) -> Profile:
        """The difference of levels, with the noise of this one."""
        return Profile(self.level - other.level, self.noise, np.hypot(self.error, other.error))


def measure(image: Image) -> Profile:
    """The profile of an image (ny, nx)."""
    thin = image[:: max(1, len(image) // _MOST_ROWS)]
    parts = [_measure(thin[:, x : x + _CHUNK]) for x in range(0, image.shape[1], _CHUNK)]
    level, noise = (np.concatenate(found) for found in zip(*parts, strict=True))
    return Profile(level, noise, noise / math.sqrt(max(len(thin), 1)))


def _measure(columns: Image) -> tuple[Numbers, Numbers]:
    """Level and noise of some columns."""
    pixels = np.nan_to_num(columns.astype(np.float64))
    centre = np.median(pixels, axis=0)
    noise = _noise(np.diff(pixels, axis=0)) if len(pixels) > 1 else np.zeros(pixels.shape[1])
    kept = np.abs(pixels - centre) <= 5 * noise + 1
    count = np.maximum(kept.sum(axis=0), 1)
    return np.where(kept, pixels, 0).sum(axis=0) / count, noise


def _noise(steps: Numbers) -> Numbers:
    """The noise of pixels from the steps between neighbours, without those that jump."""
    # The median of integers is too coarse for small noises; it only tells what jumps.
    rough = np.median(np.abs(steps), axis=0) / 0.6745
    kept = np.abs(steps) <= 5 * rough + 1
    count = np.maximum(kept.sum(axis=0), 1)
    return np.asarray(np.sqrt(np.where(kept, steps**2, 0).sum(axis=0) / count / 2))


@attrs.frozen
class Run:
    """Columns ``start <= x < stop`` of one level, its error, and the noise of a pixel."""

    start: int
    stop: int
    level: float
    noise: float
    error: float

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.stop - self.start

    def is_below(self, other: Run) -> bool:
        """Whether the level is lower beyond doubt."""
        error = math.hypot(self.error, other.error) + WANDER * self.noise
        return other.level - self.level > SIGNIFICANT * error


def find_runs(profile: Profile) -> list[Run]:
    """The profile cut wherever the level changes beyond doubt."""
    cuts, start = [0], 0
    for x in range(1, len(profile)):
        first = max(start, x - _MEMORY)
        before = profile.level[first:x]
        error = math.hypot(profile.error[x], profile.error[first:x].mean() / math.sqrt(len(before)))
        error = math.hypot(error, WANDER * min(profile.noise[x], profile.noise[x - 1]))
        if abs(profile.level[x] - before.mean()) > SIGNIFICANT * error:
            cuts.append(x)
            start = x
    return [run_of(profile, a, b) for a, b in zip(cuts, [*cuts[1:], len(profile)], strict=True)]


def run_of(profile: Profile, start: int, stop: int) -> Run:
    """Some columns as one run."""
    part = slice(start, stop)
    error = float(np.median(profile.error[part])) / math.sqrt(stop - start)
    return Run(
        start, stop, float(np.median(profile.level[part])), float(np.median(profile.noise[part])), error
    )


def merged(runs: Sequence[Run]) -> list[tuple[int, int]]:
    """Runs that touch as one range."""
    ranges: list[tuple[int, int]] = []
    for run in sorted(runs, key=lambda run: run.start):
        if ranges and ranges[-1][1] == run.start:
            ranges[-1] = ranges[-1][0], run.stop
        else:
            ranges.append((run.start, run.stop))
    return ranges
