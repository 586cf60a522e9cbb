"""How a new calibration differs from the one before, and whether that is more than was to be expected."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Amplifier, Defects, Exposure
from isrcore_calib.faults import MasterError

Flags = npt.NDArray[np.bool_]

_SIGMA_PER_MAD = 1.4826
# A level below this many sigmas of a pixel is no level to compare with: that of a bias is as good as zero.
_LEAST_LEVEL = 10.0


@attrs.frozen
class ComparisonBounds:
    """How large differences may be.

    ``noise``: the median difference of an amplifier, in sigmas of one pixel's difference as the variances
    say. ``relative``: the same relative to the old level; where there is one, a difference must be beyond
    both to count. ``scatter``: the scatter of the differences over that expected from the variances.
    ``defects``: the fraction of pixels that are bad in one only.
    """

    noise: float = 0.5
    relative: float = 0.02
    scatter: float = 1.5
    defects: float = 0.001


@attrs.frozen
class Finding:
    """How one amplifier differs, or one table of defects (``amplifier`` is then "").

    ``difference`` is the median of new - old in the unit of the frames, ``in_noise`` and ``relative`` the
    same in units of the expected noise and of the old level (NaN without one), ``scatter`` the ratio of
    scatter to expected noise, ``appeared`` and ``gone`` are numbers of bad pixels. ``beyond`` says which
    bounds do not hold, a sentence each.
    """

    detector: str
    amplifier: str
    difference: float = np.nan
    in_noise: float = np.nan
    relative: float = np.nan
    scatter: float = np.nan
    appeared: int = 0
    gone: int = 0
    beyond: tuple[str, ...] = ()


def compare_masters(
    new: Exposure, old: Exposure, bounds: ComparisonBounds | None = None
) -> tuple[Finding, ...]:
    """What changed from one master to the next, amplifier by amplifier.

    A finding whose ``beyond`` is not empty is a change that somebody should look at. Raises `MasterError` for
    masters of different detectors, shapes, units, filters or kinds.
    """
    _require_alike(new, old)
    limits = bounds or ComparisonBounds()
    return tuple(_compare(new, old, amp, limits) for amp in old.detector.amplifiers)


def compare_defects(
    new: Defects,
    old: Defects,
    shape: tuple[int, int] | None = None,
    bounds: ComparisonBounds | None = None,
) -> tuple[Finding, ...]:
    """Which pixels became bad or good. Without ``shape`` the fraction is that of the area with defects.

    Raises `MasterError` for defects of different detectors.
    """
    names = {one.detector_name for one in (new, old)} - {""}
    if len(names) > 1:
        raise MasterError(f"defects of detectors {' and '.join(sorted(names))} cannot be compared")
    extent = shape or _extent(new, old)
    finding = _changed(min(names, default=""), "", new.to_mask(extent), old.to_mask(extent))
    size, limits = extent[0] * extent[1], bounds or ComparisonBounds()
    return (attrs.evolve(finding, beyond=tuple(_defects_beyond(finding, size, limits))),)


def _extent(*several: Defects) -> tuple[int, int]:
    """The smallest frame that holds all boxes."""
    boxes = [box for one in several for box in one.boxes]
    return max((box.y1 for box in boxes), default=1), max((box.x1 for box in boxes), default=1)


def _require_alike(new: Exposure, old: Exposure) -> None:
    told = {
        "detector": (new.detector.name, old.detector.name),
        "shape": (new.shape, old.shape),
        "unit": (new.unit, old.unit),
        "filter": (new.visit.filter, old.visit.filter),
        "kind": (new.visit.observation_type, old.visit.observation_type),
    }
    faults = [f"{what} {one!r}, the old one {other!r}" for what, (one, other) in told.items() if one != other]
    if faults:
        raise MasterError("masters cannot be compared: the new one has " + "; ".join(faults))


def _compare(new: Exposure, old: Exposure, amp: Amplifier, bounds: ComparisonBounds) -> Finding:
    """One amplifier."""
    place = amp.box.slices
    bad = [one.pixels.flagged("BAD")[place] | ~np.isfinite(one.image[place]) for one in (new, old)]
    good = ~(bad[0] | bad[1])
    finding = _changed(new.detector.name, amp.name, *bad)
    if not good.any():
        return attrs.evolve(finding, beyond=("no pixel is good in both",))
    before = old.image[place][good].astype(np.float64)
    differences = new.image[place][good] - before
    variance = new.variance[place][good].astype(np.float64) + old.variance[place][good]
    noise, level = float(np.sqrt(np.median(variance))), float(np.median(before))
    difference = float(np.median(differences))
    found = attrs.evolve(
        finding,
        difference=difference,
        in_noise=_over(difference, noise),
        relative=difference / abs(level) if abs(level) > _LEAST_LEVEL * noise else np.nan,
        scatter=_over(float(_SIGMA_PER_MAD * np.median(np.abs(differences - difference))), noise),
    )
    return attrs.evolve(found, beyond=tuple(_beyond(found, good.size, bounds)))


def _changed(detector: str, amplifier: str, new: Flags, old: Flags) -> Finding:
    """How many pixels are bad in one only."""
    appeared, gone = (int(np.count_nonzero(flags)) for flags in (new & ~old, old & ~new))
    return Finding(detector, amplifier, appeared=appeared, gone=gone)


def _over(value: float, noise: float) -> float:
    """A value in units of the noise; any difference of frames without noise is infinite."""
    return value / noise if noise > 0 else (0.0 if value == 0 else float(np.copysign(np.inf, value)))


def _beyond(found: Finding, size: int, bounds: ComparisonBounds) -> Iterator[str]:
    """What is more than was allowed."""
    # Written so that what is no number is never taken for small.
    is_small = abs(found.relative) <= bounds.relative if np.isfinite(found.relative) else False
    if not (abs(found.in_noise) <= bounds.noise or is_small):
        told = f" and {found.relative:+.2%}" if np.isfinite(found.relative) else ""
        yield f"the level changed by {found.in_noise:+.3g} sigma{told}"
    if not found.scatter <= bounds.scatter:
        yield f"the scatter is {found.scatter:.3g} times what is expected"
    yield from _defects_beyond(found, size, bounds)


def _defects_beyond(found: Finding, size: int, bounds: ComparisonBounds) -> Iterator[str]:
    changed = found.appeared + found.gone
    if changed > bounds.defects * size:
        yield f"{found.appeared} pixels became bad, {found.gone} good: {changed / size:.2%}"
