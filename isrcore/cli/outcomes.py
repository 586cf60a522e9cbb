"""How units ended: a table for people, a file for programs."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from isrcore.cli.batch import Unit
from isrcore.cli.terminal import make_console, make_table
from isrcore.task import TaskError

_COLUMNS = ("exposure", "status", "steps", "flagged", "seconds", "product or reason")


@attrs.frozen
class Outcome:
    """How one unit ended: ``status`` is ok, failed or not started.

    ``steps`` are the corrections that were applied, ``flagged`` is a fraction of the pixels.
    """

    unit: str
    input: str
    detector: str
    camera: str
    status: str
    reason: str = ""
    product: Path | None = None
    steps: tuple[str, ...] = ()
    flagged: float = math.nan
    seconds: float = math.nan

    @classmethod
    def of(cls, unit: Unit, status: str, **found: Any) -> Outcome:
        """The outcome of a unit."""
        return cls(unit.label, str(unit.path), unit.detector, unit.camera, status, **found)

    def to_json(self) -> dict[str, Any]:
        """As the report says it; unknown numbers are null."""
        values = attrs.asdict(self) | {"product": str(self.product) if self.product else None}
        unknown = {
            key: None for key, value in values.items() if isinstance(value, float) and math.isnan(value)
        }
        return values | unknown

    def to_row(self) -> tuple[str, ...]:
        """As the table shows it."""
        told = str(self.product) if self.product else self.reason.splitlines()[0] if self.reason else ""
        flagged = "" if math.isnan(self.flagged) else f"{self.flagged:.2%}"
        seconds = "" if math.isnan(self.seconds) else f"{self.seconds:.2f}"
        return self.unit, self.status, str(len(self.steps) or ""), flagged, seconds, told


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Print the table and one line that counts."""
    console = make_console()
    table = make_table(_COLUMNS, numbers=("steps", "flagged", "seconds"))
    for outcome in outcomes:
        table.add_row(*outcome.to_row())
    console.print(table)
    counts = {status: sum(o.status == status for o in outcomes) for status in ("ok", "failed", "not started")}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items() if count), soft_wrap=True)


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the report, complete or not at all. Raises `TaskError` when that is impossible."""
    content = {
        "isrcore": importlib.metadata.version("isrcore"),
        "units": [outcome.to_json() for outcome in outcomes],
    }
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=2)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as fault:
        raise TaskError(f"report {str(path)!r} cannot be written: {fault.strerror}; free space") from fault
    finally:
        temporary.unlink(missing_ok=True)
