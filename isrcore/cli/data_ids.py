"""Choosing units: ``--id visit=1038843^1038844 ccd=0..3`` (behaviour §5.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from isrcore.camera import Camera
from isrcore.cli.faults import CommandError
from isrcore.data_repository import RawFrame
from isrcore.exposure import Exposure
from isrcore.filters import filter_names
from isrcore.paths import stem

_RANGE = re.compile(r"(\d+)\.\.(\d+)(?::(\d+))?")

#: What a unit can be chosen by. Numbers are compared as numbers, everything else as text.
KEYS = ("camera", "ccd", "date", "detector", "file", "filter", "night", "object", "type", "visit")
_NUMBERS = frozenset({"ccd", "visit"})


@attrs.frozen
class Selection:
    """Values that are wanted, by key: a unit must have one of each key's."""

    values: Mapping[str, tuple[Any, ...]]

    @classmethod
    def parse(cls, words: Iterable[str]) -> Selection:
        """The selection of one ``--id``. Raises `CommandError` with everything that is wrong in its words."""
        values: dict[str, tuple[Any, ...]] = {}
        problems = []
        for word in words:
            key, equals, text = word.partition("=")
            if not equals or not text:
                problems.append(f"{word!r} is not of the form key=value, as in visit=1038843")
            elif key not in KEYS:
                problems.append(f"{key!r} is no key of a data id; those are {', '.join(KEYS)}")
            elif key in values:
                problems.append(f"key {key!r} is given twice; separate its values with ^")
            else:
                values[key] = tuple(_values(key, text, problems))
        if problems:
            raise CommandError("--id cannot be used", problems)
        return cls(values)

    def accepts(self, keys: Mapping[str, frozenset[Any]]) -> bool:
        """Whether a unit with these keys, each of which may have several names, is wanted."""
        return all(not keys.get(key, frozenset()).isdisjoint(wanted) for key, wanted in self.values.items())

    def __str__(self) -> str:
        """As it could be given."""
        return " ".join(f"{key}={'^'.join(map(str, wanted))}" for key, wanted in self.values.items()) or "all"


def _values(key: str, text: str, problems: list[str]) -> Iterator[Any]:
    """The values of one key; what is no number where one is needed is a problem."""
    for part in text.split("^"):
        found = _RANGE.fullmatch(part)
        texts: Sequence[Any] = _range(found, problems) if found else [part]
        for value in texts:
            if key not in _NUMBERS:
                yield str(value)
            elif str(value).isdecimal():
                yield int(value)
            else:
                problems.append(f"{key} is a number, got {value!r}")


def _range(found: re.Match[str], problems: list[str]) -> Sequence[int]:
    """The numbers from a first to a last one, both included."""
    first, last, stride = int(found[1]), int(found[2]), int(found[3] or 1)
    if stride == 0 or first > last:
        problems.append(f"{found[0]!r} is no range: write first..last or first..last:step, first <= last")
        return []
    return range(first, last + 1, stride)


def keys_of(exposure: Exposure, file: str, camera: Camera | None = None) -> dict[str, frozenset[Any]]:
    """What the unit of an exposure can be chosen by; without its camera, one name of its filter, no night."""
    visit, detector = exposure.visit, exposure.detector
    date = "" if visit.date is None else str(visit.date.utc.iso)[:10]
    found: dict[str, Iterable[Any]] = {
        "camera": [exposure.camera],
        "ccd": [detector.id],
        "date": [date],
        "detector": [detector.name],
        "file": [file],
        "filter": {visit.filter, *filter_names(visit.filter, camera)},
        "night": [camera.night(visit.date)] if camera and visit.date is not None else [],
        "object": [visit.object_name],
        "type": [visit.observation_type],
        "visit": [visit.exposure_id],
    }
    return {key: frozenset(values) for key, values in found.items()}


def keys_of_frame(frame: RawFrame, camera: Camera) -> dict[str, frozenset[Any]]:
    """What a frame of a repository can be chosen by: the same as `keys_of` of its exposure."""
    names = {detector.name: detector.id for detector in camera.detectors}
    found: dict[str, Iterable[Any]] = {
        "camera": [camera.name],
        "ccd": [names[frame.detector]] if frame.detector in names else [],
        "date": [frame.date[:10]],
        "detector": [frame.detector],
        "file": [stem(frame.path)],
        "filter": {frame.filter, *filter_names(frame.filter, camera)},
        "night": [frame.night],
        "object": [frame.object_name],
        "type": [frame.type],
        "visit": [frame.exposure],
    }
    return {key: frozenset(values) for key, values in found.items()}
