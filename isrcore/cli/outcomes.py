"""How units ended: a table for people, a file for programs."""

from __future__ import annotations

import importlib.metadata
import json
import math
import pickle
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress, groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

import attrs

from isrcore.atomic import replacing
from isrcore.cli.terminal import make_console, make_table
from isrcore.exposure import HistoryEntry
from isrcore.task import TaskError

_COLUMNS = ("exposure", "status", "steps", "flagged", "seconds", "product or reason")
_PARTS = ("read", "pixels", "write")

_STATUSES = ("ok", "skipped", "failed", "not started", "to do")

# Marks what is not for reports.
_UNTOLD = {"is_untold": True}


class Labelled(Protocol):
    """One detector of one raw file."""

    @property
    def label(self) -> str:
        """How tables and messages name it."""

    @property
    def path(self) -> Path:
        """The raw file."""

    @property
    def detector(self) -> str:
        """The detector's name, empty when unknown."""

    @property
    def camera(self) -> str:
        """The camera's name, empty when unknown."""


@attrs.frozen
class Segment:
    """Steps that ran together, tile by tile, and the seconds they took; NaN when unknown."""

    steps: tuple[str, ...]
    seconds: float

    @classmethod
    def all_of(cls, history: Iterable[HistoryEntry]) -> tuple[Segment, ...]:
        """What an exposure's history says of them."""
        runs = [list(run) for _, run in groupby(history, key=attrgetter("segment"))]
        return tuple(cls(tuple(entry.step for entry in run), run[0].seconds) for run in runs)

    def to_json(self) -> dict[str, Any]:
        """As the report says it."""
        return {"steps": self.steps, "seconds": None if math.isnan(self.seconds) else self.seconds}


@attrs.frozen
class Outcome:
    """How one unit ended: ``status`` is ok, skipped (it was done before), failed or not started.

    ``segments`` are the corrections that were applied, ``flagged`` is a fraction of the pixels. ``parts`` are
    seconds for reading, pixels and writing, as far as the unit came; the segments tell those for pixels
    apart. ``metadata`` is that of every task, ``result`` what `IsrTask.run` returned, if anybody wants it,
    and ``fault`` the error that ended the unit.
    """

    unit: str
    input: str
    detector: str
    camera: str
    status: str
    reason: str = ""
    product: Path | None = None
    segments: tuple[Segment, ...] = ()
    flagged: float = math.nan
    seconds: float = math.nan
    parts: Mapping[str, float] = attrs.field(factory=dict)
    metadata: Any = attrs.field(default=None, metadata=_UNTOLD)
    result: Any = attrs.field(default=None, metadata=_UNTOLD)
    fault: Exception | None = attrs.field(default=None, metadata=_UNTOLD)

    @classmethod
    def of(cls, unit: Labelled, status: str, **found: Any) -> Outcome:
        """The outcome of a unit."""
        return cls(unit.label, str(unit.path), unit.detector, unit.camera, status, **found)

    @property
    def steps(self) -> tuple[str, ...]:
        """The corrections that were applied, in order."""
        return tuple(step for segment in self.segments for step in segment.steps)

    def sendable(self) -> Outcome:
        """The outcome for another process: an error that would not arrive there is told as a `TaskError`.

        An exception whose constructor needs more than a message breaks only when it is unpacked.
        """
        try:
            pickle.loads(pickle.dumps(self.fault))
        except Exception:  # whatever somebody's exception does when it is packed
            return attrs.evolve(self, fault=TaskError(self.reason))
        return self

    def to_json(self) -> dict[str, Any]:
        """As the report says it; unknown numbers are null."""
        values = attrs.asdict(self, filter=lambda field, _: not field.metadata.get("is_untold")) | {
            "product": str(self.product) if self.product else None,
            "steps": self.steps,
            "segments": [segment.to_json() for segment in self.segments],
        }
        unknown = {
            key: None for key, value in values.items() if isinstance(value, float) and math.isnan(value)
        }
        return values | unknown

    def to_row(self) -> tuple[str, ...]:
        """As the table shows it, parts of the time before the last cell."""
        told = str(self.product) if self.product else self.reason.splitlines()[0] if self.reason else ""
        flagged = "" if math.isnan(self.flagged) else f"{self.flagged:.2%}"
        parts = (_number(self.parts.get(name, math.nan)) for name in _PARTS)
        about = self.unit, self.status, str(len(self.steps) or ""), flagged, _number(self.seconds)
        return (*about, *parts, told)


def _number(seconds: float) -> str:
    """Seconds; nothing when they are unknown."""
    return "" if math.isnan(seconds) else f"{seconds:.2f}"


def show_outcomes(outcomes: Sequence[Outcome], *, with_parts: bool = False) -> None:
    """Print the table, on request with the seconds of each part, and one line that counts."""
    console = make_console()
    columns = (*_COLUMNS[:-1], *_PARTS, _COLUMNS[-1])
    shown = [with_parts or column not in _PARTS for column in columns]
    table = make_table(list(compress(columns, shown)), numbers=("steps", "flagged", "seconds", *_PARTS))
    for outcome in outcomes:
        table.add_row(*compress(outcome.to_row(), shown))
    console.print(table)
    counts = {status: sum(o.status == status for o in outcomes) for status in _STATUSES}
    console.print(", ".join(f"{count} {status}" for status, count in counts.items() if count), soft_wrap=True)


def write_report(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Write the report, complete or not at all. Raises `TaskError` when that is impossible."""
    content = {
        "isrcore": importlib.metadata.version("isrcore"),
        "units": [outcome.to_json() for outcome in outcomes],
    }
    try:
        with replacing(path) as stream:
            stream.write((json.dumps(content, indent=2) + "\n").encode())
    except OSError as fault:
        raise TaskError(f"report {str(path)!r} cannot be written: {fault.strerror}; free space") from fault
