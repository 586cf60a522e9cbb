"""Which columns get no light, and where one amplifier ends and the next begins."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import attrs
import numpy as np

from isrcore_inspect.profiles import SIGNIFICANT, Profile, Run, find_runs, merged, run_of

# Fewer columns of one level are an edge, or bad columns.
_LEAST = 3

# No camera reads more overscan than this part of a row.
_MOST = 0.25

# Columns of light that a range is compared with.
_NEAR = 16

# A column with less than this part of the light next to it is partly lit.
_PARTLY = 0.93

# Gains, and so noises in adu, of amplifiers differ less than by this factor.
_NOISY = 2.0

# Numbers of amplifiers that share a row, most first.
_AMPLIFIERS = (16, 8, 4, 3, 2)

# A step is a seam when it is this many times as high as steps are usually.
_SEAM = 8.0


@attrs.frozen
class Axis:
    """Columns (or rows) of an image: ranges that are ``lit``, in the ``dark``, and ``edges`` between.

    ``strips`` are parts of the dark of one level each: what an overscan may be. ``seams`` are first columns
    of amplifiers that follow others.
    """

    size: int
    lit: tuple[tuple[int, int], ...]
    strips: tuple[Run, ...] = ()
    dark: tuple[tuple[int, int], ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    seams: tuple[int, ...] = ()

    @property
    def width(self) -> int:
        """The number of lit columns."""
        return sum(stop - start for start, stop in self.lit)

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """The lit columns of each amplifier."""
        cuts = [
            (start, stop, [seam for seam in self.seams if start < seam < stop]) for start, stop in self.lit
        ]
        found = [pair for a, b, seams in cuts for pair in zip([a, *seams], [*seams, b], strict=True)]
        return tuple(found)


def analyse(light: Profile, dark: Profile | None) -> Axis:
    """Strips and seams by a frame with light and, if there is one, a frame without.

    Where there is one the pedestals of amplifiers do not matter: what differs between the two is light.
    """
    size = len(light)
    response = light if dark is None else light.minus(dark)
    quiet = _quiet(light)
    groups = [pair for pair in quiet if _is_dark(response, pair, quiet)]
    # Faint light has hardly more noise than none, and amplifiers differ: then the level tells.
    lowest = _lowest(find_runs(response), size)
    groups += [pair for pair in lowest if not groups or _is_likely(pair, groups, light)]
    groups = _joined(groups)
    lit, scraps = _lit(_widened(groups, response), size)
    strips = [strip for pair in groups for strip in _split(light, dark, *pair)]
    bare = _without(groups, merged(strips))
    margins = _without(_widened(groups, response), groups)
    return Axis(
        size,
        lit,
        tuple(strips),
        tuple(groups),
        tuple(sorted([*scraps, *bare, *margins])),
        _seams(light, dark, lit),
    )


def _quiet(light: Profile) -> list[tuple[int, int]]:
    """Ranges of columns whose pixels have as little noise as any: no light makes noise there."""
    noise = light.noise
    windows = np.lib.stride_tricks.sliding_window_view(noise, _LEAST + 1)
    floors = np.median(windows, axis=1)
    floor = float(np.min(floors[floors > 0], initial=np.inf))
    relative = light.error / np.maximum(noise, 1e-9)
    fitting = noise <= floor * (1.1 + SIGNIFICANT * relative)
    cuts = np.flatnonzero(np.diff(fitting, prepend=False, append=False))
    pairs = [(int(start), int(stop)) for start, stop in zip(cuts[::2], cuts[1::2], strict=True)]
    return [pair for pair in pairs if _LEAST <= pair[1] - pair[0] <= _MOST * len(noise)]


def _is_likely(pair: tuple[int, int], groups: Sequence[tuple[int, int]], light: Profile) -> bool:
    """Whether a range is where overscans are: at an edge, in the middle or beside others, and as quiet."""
    floor = min(float(np.median(light.noise[a:b])) for a, b in groups)
    size = len(light)
    bounds = {0, size, *(x for group in groups for x in group)}
    is_near = any(abs(x - y) <= _LEAST for x in pair for y in bounds)
    is_central = pair[0] - _LEAST <= size // 2 <= pair[1] + _LEAST
    return (is_near or is_central) and float(np.median(light.noise[slice(*pair)])) < _NOISY * floor


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that touch or overlap as one."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(stop, found[-1][1])
        else:
            found.append((start, stop))
    return found


def _is_dark(response: Profile, pair: tuple[int, int], others: Sequence[tuple[int, int]]) -> bool:
    """Whether a range is below the light on either side of it; there must be some."""
    covered = np.zeros(len(response), dtype=bool)
    for start, stop in others:
        covered[start:stop] = True
    here = run_of(response, *pair)
    sides = [np.flatnonzero(~covered[: pair[0]])[::-1], pair[1] + np.flatnonzero(~covered[pair[1] :])]
    near = [side[:_NEAR] for side in sides if len(side) >= _LEAST]
    lights = [(np.median(response.level[side]), np.median(response.error[side])) for side in near]
    return bool(lights) and all(
        level - here.level > SIGNIFICANT * math.hypot(error, here.error) for level, error in lights
    )


def _lowest(runs: Sequence[Run], size: int) -> list[tuple[int, int]]:
    """Runs lower than what is beside them, and narrow ones beside those that are lower than the light."""
    fitting = [_LEAST <= run.width <= _MOST * size for run in runs]
    found = {i for i in range(len(runs)) if fitting[i] and _is_lowest(runs, i)}
    # Overscans of two amplifiers lie side by side, and only one of them is the lower one.
    beside = {j for i in found for j in (i - 1, i + 1) if 0 <= j < len(runs)} - found
    found |= {j for j in beside if fitting[j] and _is_below_light(runs, j, found | beside, size)}
    return merged([runs[i] for i in found])


def _is_lowest(runs: Sequence[Run], i: int) -> bool:
    """Whether a run is lower than those beside it; there must be one."""
    beside = [runs[j] for j in (i - 1, i + 1) if 0 <= j < len(runs)]
    return bool(beside) and all(runs[i].is_below(other) for other in beside)


def _is_below_light(runs: Sequence[Run], i: int, found: set[int], size: int) -> bool:
    """Whether a run is no wider than an eighth and lower than the light next to it and its neighbours."""
    if runs[i].width > size / 8:
        return False
    lit = [run for j, run in enumerate(runs) if j not in found and run.width >= _LEAST]
    near = sorted(lit, key=lambda run: min(abs(run.start - runs[i].stop), abs(runs[i].start - run.stop)))
    return bool(near) and runs[i].is_below(near[0])


def _widened(groups: Sequence[tuple[int, int]], response: Profile) -> list[tuple[int, int]]:
    """Ranges with the few columns beside them that are partly lit."""
    found = []
    for start, stop in groups:
        dark = float(np.median(response.level[start:stop]))
        while start > 0 and _is_partly_lit(response, start, -1, dark, stop - start):
            start -= 1
        while stop < len(response) and _is_partly_lit(response, stop, 1, dark, stop - start):
            stop += 1
        found.append((start, stop))
    return found


def _is_partly_lit(response: Profile, edge: int, step: int, dark: float, width: int) -> bool:
    """Whether the column at an edge has none of the levels of the light behind it."""
    away = np.arange(edge + 3, edge + 19) if step > 0 else np.arange(edge - 20, edge - 4)
    there = away[(away >= 0) & (away < len(response))]
    if len(there) < _LEAST:
        return False
    # Light varies little from one column to the next.
    bright = float(np.median(response.level[there]))
    column = edge if step > 0 else edge - 1
    return float(response.level[column]) - dark < _PARTLY * (bright - dark)


def _lit(
    groups: Sequence[tuple[int, int]], size: int
) -> tuple[tuple[tuple[int, int], ...], list[tuple[int, int]]]:
    """What is left between ranges: data, and scraps too narrow to be any."""
    left = _without([(0, size)], groups)
    lit = tuple(pair for pair in left if pair[1] - pair[0] > _LEAST)
    return lit, [pair for pair in left if pair not in lit]


def _split(light: Profile, dark: Profile | None, start: int, stop: int) -> Iterator[Run]:
    """A range without light as strips of one level each; columns unlike their neighbours are left out."""
    cuts = {start, stop}
    for profile in [light] if dark is None else [light, dark]:
        part = Profile(profile.level[start:stop], profile.noise[start:stop], profile.error[start:stop])
        cuts |= {start + run.start for run in find_runs(part)}
    ordered = sorted(cuts)
    for a, b in pairwise(ordered):
        if b - a >= _LEAST:
            yield run_of(light, a, b)


def _without(ranges: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts of ranges that no other covers; others may be wider."""
    left = []
    for start, stop in ranges:
        inside = sorted((max(a, start), min(b, stop)) for a, b in others if a < stop and b > start)
        bounds = [start, *(x for pair in inside for x in pair), stop]
        left += [(a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if b > a]
    return left


def _seams(light: Profile, dark: Profile | None, lit: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """First columns of amplifiers that follow another in the lit columns, which they share equally.

    They show as steps of the light, by other gains, or of the pedestal, in a frame without light.
    """
    columns = [x for start, stop in lit for x in range(start, stop)]
    for count in _AMPLIFIERS:
        if len(columns) % count or len(columns) // count < 4 * _LEAST:
            continue
        seams = [columns[k * len(columns) // count] for k in range(1, count)]
        inside = [seam for seam in seams if all(seam != start for start, _ in lit)]
        profiles = [light] if dark is None else [light, dark]
        if inside and all(any(_is_step(one, x) for one in profiles) for x in inside):
            return tuple(inside)
    return ()


def _is_step(profile: Profile, x: int) -> bool:
    """Whether the level jumps in front of a column, by far more than anywhere near."""
    window = slice(max(x - 48, 0), x + 48)
    steps = np.abs(np.diff(profile.level[window]))
    usual = float(np.median(steps)) / 0.6745
    error = math.hypot(profile.error[x - 1], profile.error[x])
    step = abs(_fitted(profile, x, 1) - _fitted(profile, x, -1))
    return step > _SEAM * max(usual, error)


def _fitted(profile: Profile, x: int, side: int) -> float:
    """The level at an edge by a line through the columns on one side of it."""
    places = np.arange(x, x + 8) if side > 0 else np.arange(x - 8, x)
    levels = profile.level[places]
    _, level = np.polyfit(places - (x - 0.5), levels, 1)
    return float(level)
