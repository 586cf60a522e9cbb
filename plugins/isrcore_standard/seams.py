"""Seams between amplifiers: where they are, how the sky jumps at them, and what levels all of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Amplifier, Box, Config, MaskedImage, statistics

Numbers = npt.NDArray[np.float64]


@attrs.frozen
class Seam:
    """Where the pixels of two amplifiers touch; ``second`` lies to the right of ``first``, or above it.

    The seam runs along the pixels ``start`` to ``stop``; they are rows when ``is_vertical``, else columns.
    """

    first: Amplifier
    second: Amplifier
    is_vertical: bool
    start: int
    stop: int

    def windows(self, length: int) -> Iterator[tuple[int, int]]:
        """Equal parts of the seam of about this length; pixels that two of them would share are left out.

        Seen from either end they are the same.
        """
        size = self.stop - self.start
        number = max(1, (2 * size + length) // (2 * length))
        for part in range(number):
            yield self.start - (-part * size // number), self.start + (part + 1) * size // number

    def side(self, is_second: bool, start: int, stop: int, near: int, far: int) -> Box:
        """Pixels of one side, from ``near`` to ``far`` pixels away from the seam as far as they go."""
        box = (self.second if is_second else self.first).box
        low, high = (box.x0, box.x1) if self.is_vertical else (box.y0, box.y1)
        if is_second:
            across = min(low + near, high), min(low + far, high)
        else:
            across = max(high - far, low), max(high - near, low)
        return Box(start, stop, *across) if self.is_vertical else Box(*across, start, stop)

    def oriented(self, plane: npt.NDArray[Any], is_second: bool) -> npt.NDArray[Any]:
        """Pixels of one side as lines along the seam, the nearest first."""
        lines = plane.T if self.is_vertical else plane
        return lines if is_second else lines[::-1]


@attrs.frozen
class Jump:
    """How much higher the sky is on the first side of a seam, and the variance of that."""

    height: float
    variance: float


def find_seams(amplifiers: Sequence[Amplifier]) -> tuple[Seam, ...]:
    """All seams, in order of their places."""
    found = []
    for first, second in permutations(amplifiers, 2):
        a, b = first.box, second.box
        if a.x1 == b.x0 and max(a.y0, b.y0) < min(a.y1, b.y1):
            found.append(Seam(first, second, True, max(a.y0, b.y0), min(a.y1, b.y1)))
        if a.y1 == b.y0 and max(a.x0, b.x0) < min(a.x1, b.x1):
            found.append(Seam(first, second, False, max(a.x0, b.x0), min(a.x1, b.x1)))
    return tuple(sorted(found, key=lambda seam: (seam.first.box, seam.second.box)))


def measure_jump(pixels: MaskedImage, seam: Seam, config: Config) -> Jump | None:
    """The jump of the sky at a seam: the mean of its windows'; None when none has enough good pixels.

    Windows further than ``sigmaClip`` widths from their median do not count. Where windows scatter more than
    they should, the variance grows with them.
    """
    found = [
        jump
        for start, stop in seam.windows(config.windowLength)
        if (jump := _window_jump(pixels, seam, start, stop, config)) is not None
    ]
    if not found:
        return None
    heights, variances = np.array([(jump.height, jump.variance) for jump in found]).T
    distances = np.abs(heights - np.median(heights))
    width = np.maximum(1.4826 * np.median(distances), np.sqrt(variances))
    kept = distances <= config.sigmaClip * width
    heights, weights = heights[kept], 1 / variances[kept]
    height = float(np.sum(weights * heights) / np.sum(weights))
    excess = np.sum(weights * (heights - height) ** 2) / max(heights.size - 1, 1)
    return Jump(height, float(max(excess, 1.0) / np.sum(weights)))


def _window_jump(pixels: MaskedImage, seam: Seam, start: int, stop: int, config: Config) -> Jump | None:
    """The jump in one window."""
    near, far = config.edgeInset, config.edgeInset + config.windowDepth
    edges = []
    for is_second in (False, True):
        part = pixels.window(seam.side(is_second, start, stop, near, far))
        image = seam.oriented(part.image, is_second)
        bad = seam.oriented(part.mask, is_second) != 0
        bad = bad | ~np.isfinite(image)
        if bad.all() or bad.mean() > 1 - config.minFraction:
            return None
        edge = _edge(image, bad, config)
        if edge is None:
            return None
        edges.append(edge)
    (first, first_variance), (second, second_variance) = edges
    return Jump(first - second, first_variance + second_variance)


def _edge(image: npt.NDArray[Any], bad: npt.NDArray[np.bool_], config: Config) -> tuple[float, float] | None:
    """Level of the sky at the seam beside lines of pixels, and its variance.

    A straight line through the clipped means of the lines, or their mean when no slope is asked for.
    """
    means, counts, variance = _line_means(image, bad, config.sigmaClip)
    places = config.edgeInset + 0.5 + np.arange(len(means))
    total = float(counts.sum())
    if np.count_nonzero(counts) < (2 if config.gradient else 1) or not total:
        return None
    centre, height = float(counts @ places / total), float(counts @ means / total)
    # The last place of a float32 pixel: noise-free skies are not known better.
    least = float(np.spacing(np.float32(np.abs(means).max()))) ** 2
    share = 1 / total
    if config.gradient:
        spread = float(counts @ (places - centre) ** 2)
        height -= centre * float(counts @ ((places - centre) * means)) / spread
        share += centre**2 / spread
    return height, max(variance * share, least)


def _line_means(
    image: npt.NDArray[Any], bad: npt.NDArray[np.bool_], num_sigma: float
) -> tuple[Numbers, Numbers, float]:
    """Mean of every line, its pixels, and the variance of one; all are clipped at one width."""
    lines = statistics.OrderedRows.of(image, bad)
    middle = lines.quantile(0.5)
    widths = statistics.SIGMA_PER_IQR * (lines.quantile(0.75) - lines.quantile(0.25))
    kept = lines.within(middle, np.full(len(middle), num_sigma * np.nanmedian(widths)))
    means = np.nan_to_num(kept.mean())
    rank = np.arange(image.shape[1]) - kept.start[:, None]
    counts_here = (rank >= 0) & (rank < kept.count[:, None])
    rest = np.where(counts_here, kept.values, means[:, None]) - means[:, None]
    free = max(int(kept.count.sum()) - int(np.count_nonzero(kept.count)), 1) * _variance_within(num_sigma)
    return means, kept.count.astype(np.float64), float(np.sum(rest**2)) / free


def _variance_within(num_sigma: float) -> float:
    """Variance of normal deviates no further than so many sigma from their mean, of sigma one."""
    density = math.exp(-(num_sigma**2) / 2) / math.sqrt(2 * math.pi)
    return 1 - 2 * num_sigma * density / math.erf(num_sigma / math.sqrt(2))


@attrs.frozen
class Levels:
    """Offsets of amplifiers, and standard deviations of these."""

    offsets: Numbers
    sigmas: Numbers


def level(areas: Numbers, pairs: Sequence[tuple[int, int]], jumps: Sequence[Jump], weighted: bool) -> Levels:
    """The offsets o with o[a] - o[b] = jump of every pair, by least squares, of mean zero weighted by area.

    Pairs must connect all amplifiers. ``weighted``: by the variances of the jumps, else all alike.
    """
    variances = np.array([jump.variance for jump in jumps])
    weights = np.min(variances) / variances if weighted else np.ones(len(jumps))
    number = len(areas)
    design = np.zeros((len(pairs), number))
    for row, (first, second) in enumerate(pairs):
        design[row, first], design[row, second] = 1, -1
    # Normal equations with a multiplier for the mean.
    normal = np.zeros((number + 1, number + 1))
    normal[:number, :number] = design.T @ (weights[:, None] * design)
    normal[number, :number] = normal[:number, number] = areas / areas.sum()
    solution = np.linalg.inv(normal)[:number, :number] @ (design.T * weights)
    offsets = solution @ np.array([jump.height for jump in jumps])
    return Levels(offsets, np.sqrt(solution**2 @ variances))
