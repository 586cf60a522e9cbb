"""The calibration for an exposure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from isrcore import CalibrationSearch, Camera, VisitInfo
from isrcore_repository.tables import CalibrationRow


def search(
    root: Path,
    rows: Iterable[CalibrationRow],
    kind: str,
    datasets: Collection[str],
    camera: Camera,
    detector: str,
    visit: VisitInfo,
) -> CalibrationSearch:
    """The calibration for a detector of an exposure."""
    for row in rows:
        if row.kind in datasets and (not row.filter or row.filter == visit.filter):
            return CalibrationSearch(kind, root / row.path)
    return CalibrationSearch(kind)
