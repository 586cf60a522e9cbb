"""The calibration of a repository for an exposure, and why each of the others is not taken.

The question itself is `lookup`'s; here rows of the registry are put to it, and a calibration whose file is
not as it was certified is no answer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import attrs
from astropy.time import Time

from isrcore import CalibrationSearch, Camera, VisitInfo
from isrcore_repository.lookup import Calibration, Objection, Query, lookup
from isrcore_repository.tables import CalibrationRow


@attrs.frozen
class Wanted:
    """An exposure as calibrations are chosen by: detector, every name of its filter, middle."""

    detector: str
    filters: tuple[str, ...]
    date: Time | None

    @classmethod
    def of(cls, camera: Camera, detector: str, visit: VisitInfo) -> Wanted:
        """What an exposure needs."""
        names = names_of(camera, visit.filter) - {visit.filter}
        return cls(detector, (visit.filter, *sorted(names)), visit.date)


def search(
    root: Path, rows: Iterable[CalibrationRow], kind: str, datasets: Collection[str], wanted: Wanted
) -> CalibrationSearch:
    """The calibration among those that are called one of ``datasets``."""
    candidates = [_as_calibration(row) for row in rows if row.kind in datasets]
    found = lookup(
        candidates, Query(datasets, wanted.detector, wanted.filters, wanted.date), _objection(root)
    )
    rejected = tuple((one.name, why) for one, why in found.rejected)
    if found.chosen is None:
        return CalibrationSearch(kind, rejected=rejected)
    return CalibrationSearch(kind, root / found.chosen.name, found.reason, rejected)


def _as_calibration(row: CalibrationRow) -> Calibration:
    """A row as it is chosen by."""
    begin, end, taken, made = map(_as_time, (row.first, row.last, row.middle, row.made))
    return Calibration(
        row.kind, row.detector, row.filter, begin, end, taken, name=row.path, made=made, payload=row.size
    )


def _as_time(text: str | None) -> Time | None:
    return Time(text, scale="utc") if text else None


def _objection(root: Path) -> Objection:
    """What speaks against a calibration's file."""

    def object_to(one: Calibration) -> str:
        path = root / one.name
        if not path.is_file():
            return "its file is gone"
        is_same = path.stat().st_size == one.payload
        return "" if is_same else "its file is not the one that was certified"

    return object_to


def names_of(camera: Camera, name: str) -> frozenset[str]:
    """Everything the filter is called."""
    try:
        return camera.filter(name).names | {name}
    except KeyError:
        return frozenset({name})
