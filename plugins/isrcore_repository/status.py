"""``isr status``: what became of every science frame."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from isrcore import DatasetError, RawFrame
from isrcore_repository.repository import PRODUCT, EmbeddedRepository
from isrcore_repository.tables import DatasetRow
from isrcore_repository.terminal import show_table

_COLUMNS = ("exposure", "detector", "night", "filter", "status", "product or reason")
_REPORT = "isr_report.json"
_METADATA = "isr_metadata"


def show_status(repository: EmbeddedRepository) -> None:
    """Print a line for every detector of every science frame, and how many there are of each status."""
    rows = list(unit_states(repository))
    show_table(_COLUMNS, rows, numbers=("exposure",))
    counts = Counter(row[4] for row in rows)
    print(", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no science frames")


def unit_states(repository: EmbeddedRepository) -> Iterator[tuple[str, ...]]:
    """The lines of the table.

    A unit is skipped when the last run found it finished, ok when its product is there and its last run did
    not fail, failed when it did, and not started when it has not been run.
    """
    last = _last_run(repository)
    products = {row.data_id: row.path for row in repository.tables.rows(DatasetRow, type=[PRODUCT])}
    for frame in repository.raw_frames(type=["science"]):
        about = str(frame.exposure), frame.detector, frame.night, frame.filter
        yield (*about, *_state(repository, frame, last, products))


def _state(
    repository: EmbeddedRepository,
    frame: RawFrame,
    last: Mapping[tuple[str, ...], Mapping[str, Any]],
    products: Mapping[str, str],
) -> tuple[str, str]:
    """Status of one unit, and its product or the reason why there is none."""
    name = f"detector={frame.detector},exposure={frame.exposure}"
    product = products.get(name, "")
    if frame.problem:
        return "failed", frame.problem
    told = last.get((*frame.path.parts[-2:], frame.detector), {})
    if told.get("status") == "skipped":
        return "skipped", f"{product}: {told['reason']}"
    metadata = _metadata(repository, frame)
    if metadata.get("status") == "failed":
        return "failed", str(metadata.get("reason", "")).splitlines()[0]
    if product and (repository.root / product).is_file():
        return "ok", product
    return "not started", ""


def _last_run(repository: EmbeddedRepository) -> dict[tuple[str, ...], dict[str, Any]]:
    """How units ended in the last run, by night, file and detector; nothing when none ended."""
    try:
        report = json.loads((repository.root / _REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {(*Path(unit["input"]).parts[-2:], unit["detector"]): unit for unit in report["units"]}


def _metadata(repository: EmbeddedRepository, frame: RawFrame) -> dict[str, Any]:
    """What the task's metadata say of the unit's last run."""
    try:
        stored = repository.get(_METADATA, exposure=frame.exposure, detector=frame.detector)
    except DatasetError:
        return {}
    values = stored.get("isr", {})
    return {key: value[-1] if isinstance(value, list) else value for key, value in values.items()}
