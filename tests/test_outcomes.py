"""What reports say of units."""

from __future__ import annotations

import math

from isrcore.cli.outcomes import Segment
from isrcore.exposure import HistoryEntry


def test_steps_of_a_segment_are_told_together() -> None:
    entries = [("bias", 1, 0.5), ("dark", 1, 0.5), ("interpolation", 2, 0.25), ("", 3, math.nan)]
    history = [HistoryEntry(step, segment=number, seconds=seconds) for step, number, seconds in entries]
    assert [segment.to_json() for segment in Segment.all_of(history)] == [
        {"steps": ("bias", "dark"), "seconds": 0.5},
        {"steps": ("interpolation",), "seconds": 0.25},
        {"steps": ("",), "seconds": None},
    ]
