"""``isr list``: raw frames, calibrations and products as tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import groupby
from typing import Any

from isrcore import RawFrame
from isrcore_repository.repository import PRODUCT, EmbeddedRepository
from isrcore_repository.tables import CalibrationRow, DatasetRow
from isrcore_repository.terminal import show_table

_FRAMES = ("exposure", "night", "type", "filter", "seconds", "object", "detectors", "file")
_CALIBRATIONS = ("kind", "detector", "filter", "from", "to", "file")


def list_content(repository: EmbeddedRepository, wanted: Mapping[str, Collection[Any]]) -> None:
    """Print what a repository has of what is wanted: raw frames by file, calibrations, products."""
    frames = repository.raw_frames(**wanted)
    show_table(_FRAMES, _frame_rows(repository, frames), numbers=("exposure", "seconds"))
    keys = {"type": "kind", "filter": "filter", "detector": "detector"}
    asked = {keys[key]: values for key, values in wanted.items() if key in keys}
    calibrations = repository.tables.rows(CalibrationRow, **asked) if "night" not in wanted else []
    if calibrations:
        print()
        show_table(_CALIBRATIONS, map(_calibration_row, calibrations))
    products = repository.tables.rows(DatasetRow, type=[PRODUCT])
    counts = f"{len(frames)} raw frames, {len(calibrations)} calibrations"
    print(f"\n{counts}" if wanted else f"\n{counts}, {len(products)} products")


def _frame_rows(repository: EmbeddedRepository, frames: list[RawFrame]) -> Iterator[tuple[str, ...]]:
    """One row for every file."""
    for path, group in groupby(frames, key=lambda frame: frame.path):
        those = list(group)
        first, name = those[0], str(path.relative_to(repository.root))
        detectors = ", ".join(frame.detector for frame in those)
        shown = detectors if len(those) <= 4 else f"{len(those)} detectors"
        told = first.type, first.filter, f"{first.exposure_s:g}", first.object_name, shown
        yield str(first.exposure), first.night, *told, f"{name} ({first.problem})" if first.problem else name


def _calibration_row(row: CalibrationRow) -> tuple[str, ...]:
    limits = (row.first or "")[:19], (row.last or "")[:19]
    return row.kind, row.detector, row.filter, *limits, row.path
