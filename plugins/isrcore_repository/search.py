"""The calibration of a repository for an exposure, and why each of the others is not taken.

The question itself is `lookup`'s; here rows of the registry are put to it, and a calibration whose file is
not as it was certified, or not there, is no answer. Imported registries are asked in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import attrs
from astropy.time import Time

from isrcore import CalibrationSearch, Camera, RepositoryError, VisitInfo, filter_names
from isrcore_repository.imported import file_of, imported
from isrcore_repository.lookup import Calibration, CalibrationIndex, Found, Objection, Policy, Query
from isrcore_repository.moments import moments_of
from isrcore_repository.tables import CalibrationRow

#: How many candidates a search tells of; an imported registry has a thousand.
MOST_TOLD = 20


@attrs.frozen
class Wanted:
    """An exposure as calibrations are chosen by: detector, every name of its filter, middle, and the rule."""

    detector: str
    filters: tuple[str, ...]
    date: Time | None
    policy: Policy = Policy.NEAREST
    fallback: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, camera: Camera, detector: str, visit: VisitInfo, policy: str = "nearest", fallback: str = ""
    ) -> Wanted:
        """What an exposure needs. Raises `RepositoryError` for a policy that is none."""
        names = {*filter_names(visit.filter, camera)} - {visit.filter}
        others = tuple(sorted(filter_names(fallback, camera)))
        return cls(detector, (visit.filter, *sorted(names)), visit.date, _policy(policy), others)


def search(
    root: Path, rows: Iterable[CalibrationRow], kind: str, datasets: Collection[str], wanted: Wanted
) -> CalibrationSearch:
    """The calibration among those that are called one of ``datasets``."""
    certified = tuple(row for row in rows if row.kind in datasets)
    index = _index_of(certified, tuple(imported(root, wanted.detector, datasets)))
    about = wanted.detector, wanted.filters, wanted.date, wanted.policy, wanted.fallback
    found = index.find(Query(datasets, *about), _objection(root))
    rejected = tuple(_told(found))
    if found.chosen is None:
        return CalibrationSearch(kind, rejected=rejected)
    return CalibrationSearch(kind, _path_of(root, found.chosen), found.reason, rejected, found.is_fallback)


def _told(found: Found) -> Iterator[tuple[str, str]]:
    """The candidates that come nearest, and how many others there are."""
    yield from ((one.name, why) for one, why in found.nearest(MOST_TOLD))
    if found.refused > MOST_TOLD:
        yield f"{found.refused - MOST_TOLD} more", "further away"


def _path_of(root: Path, one: Calibration) -> Path | None:
    """The file of a calibration."""
    return root / one.name if isinstance(one.payload, int) else file_of(root, one.payload[0])


def _policy(name: str) -> Policy:
    """The policy of a name. Raises `RepositoryError`."""
    try:
        return Policy(name)
    except ValueError as fault:
        known = ", ".join(policy.value for policy in Policy)
        raise RepositoryError(
            f"there is no policy {name!r} to choose calibrations by; know {known}"
        ) from fault


# One for each detector and kind: exposures of a night ask for the same ones again and again.
@lru_cache(maxsize=1024)
def _index_of(rows: tuple[CalibrationRow, ...], others: tuple[Calibration, ...]) -> CalibrationIndex:
    """Rows as they are chosen by, and calibrations of an imported registry."""
    return CalibrationIndex([*_as_calibrations(rows), *others])


def _as_calibrations(rows: Sequence[CalibrationRow]) -> Iterator[Calibration]:
    """Rows as they are chosen by."""
    columns = zip(*((row.first, row.last, row.middle, row.made) for row in rows), strict=True)
    times = zip(*map(moments_of, columns), strict=True)
    for row, (begin, end, taken, made) in zip(rows, times, strict=True):
        yield Calibration(
            row.kind, row.detector, row.filter, begin, end, taken, name=row.path, made=made, payload=row.size
        )


def _objection(root: Path) -> Objection:
    """What speaks against a calibration's file."""

    def object_to(one: Calibration) -> str:
        if not isinstance(one.payload, int):
            is_here = file_of(root, one.payload[0]) is not None
            return "" if is_here else f"its file is not in the repository: imported/{one.payload[0]}"
        path = root / one.name
        if not path.is_file():
            return "its file is gone"
        is_same = path.stat().st_size == one.payload
        return "" if is_same else "its file is not the one that was certified"

    return object_to
