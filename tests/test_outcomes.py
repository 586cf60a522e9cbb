"""What reports say of units."""

from __future__ import annotations

import json
import math
from pathlib import Path

import attrs

from isrcore.cli.outcomes import Outcome, Segment
from isrcore.exposure import HistoryEntry


@attrs.frozen
class Unit:
    label: str = "a[b]"
    path: Path = Path("a")
    detector: str = "b"
    camera: str = "c"


def test_steps_of_a_segment_are_told_together() -> None:
    entries = [("bias", 1, 0.5), ("dark", 1, 0.5), ("interpolation", 2, 0.25), ("", 3, math.nan)]
    history = [HistoryEntry(step, segment=number, seconds=seconds) for step, number, seconds in entries]
    outcome = Outcome.of(Unit(), "ok", segments=Segment.all_of(history))
    told = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert told["segments"] == [
        {"steps": ["bias", "dark"], "seconds": 0.5},
        {"steps": ["interpolation"], "seconds": 0.25},
        {"steps": [""], "seconds": None},
    ]
    assert told["seconds"] is None
