"""The calibration for an exposure, and why each of the others is not taken.

A calibration suits when it is of the detector and, if it depends on the filter, of the filter, when the
middle of the exposure lies in its range of validity, both ends included, and when its file is as it was
certified. Of several the one nearest in time is taken, by the middle of its own frames; then the one
certified last.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import attrs
from astropy.time import Time

from isrcore import CalibrationSearch, Camera, VisitInfo
from isrcore_repository.tables import CalibrationRow, as_text


@attrs.frozen
class Wanted:
    """An exposure as calibrations are chosen by: detector, every name of its filter, middle in UTC."""

    detector: str
    filters: frozenset[str]
    date: str
    visit: VisitInfo

    @classmethod
    def of(cls, camera: Camera, detector: str, visit: VisitInfo) -> Wanted:
        """What an exposure needs."""
        return cls(detector, names_of(camera, visit.filter), as_text(visit.date), visit)


def search(
    root: Path, rows: Iterable[CalibrationRow], kind: str, datasets: Collection[str], wanted: Wanted
) -> CalibrationSearch:
    """The calibration among those that are called one of ``datasets``."""
    candidates = [row for row in rows if row.kind in datasets]
    reasons = {row.path: next(_reasons(root, row, wanted), "") for row in candidates}
    fitting = sorted((row for row in candidates if not reasons[row.path]), key=lambda row: _rank(row, wanted))
    if not fitting:
        return CalibrationSearch(kind, rejected=tuple(sorted(reasons.items())))
    chosen, *others = fitting
    reasons |= {row.path: f"{_distance(row, wanted)}, {chosen.path} is preferred" for row in others}
    del reasons[chosen.path]
    return CalibrationSearch(
        kind, root / chosen.path, _distance(chosen, wanted), tuple(sorted(reasons.items()))
    )


def _reasons(root: Path, row: CalibrationRow, wanted: Wanted) -> Iterator[str]:
    """Why a calibration does not suit."""
    if row.detector != wanted.detector:
        yield f"is of detector {row.detector!r}"
    if row.filter and row.filter not in wanted.filters:
        yield f"is of filter {row.filter!r}, the exposure of {wanted.visit.filter or 'none'!r}"
    if not wanted.date and (row.first or row.last):
        yield "the exposure has no date"
    if row.first and wanted.date < row.first:
        yield f"valid from {row.first}, the exposure is of {wanted.date}"
    if row.last and wanted.date > row.last:
        yield f"valid until {row.last}, the exposure is of {wanted.date}"
    path = root / row.path
    if not path.is_file():
        yield "its file is gone"
    elif path.stat().st_size != row.size:
        yield "its file is not the one that was certified"


def _rank(row: CalibrationRow, wanted: Wanted) -> tuple[float, float, str]:
    """The nearest first, then the one certified last."""
    return _days(row, wanted), -Time(row.made, scale="utc").mjd, row.path


def _days(row: CalibrationRow, wanted: Wanted) -> float:
    """Days between the frames of a calibration and an exposure; infinite when either is not known."""
    if not row.middle or wanted.visit.date is None:
        return math.inf
    return abs(float((Time(row.middle, scale="utc") - wanted.visit.date.utc).jd))


def _distance(row: CalibrationRow, wanted: Wanted) -> str:
    """How near a calibration is, for people."""
    days = _days(row, wanted)
    return f"{days:.1f} days away" if math.isfinite(days) else "at no known distance in time"


def names_of(camera: Camera, name: str) -> frozenset[str]:
    """Everything the filter is called."""
    try:
        return camera.filter(name).names | {name}
    except KeyError:
        return frozenset({name})
