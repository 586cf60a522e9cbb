"""Masters from the frames of a repository, put into it and certified.

A master is valid from some days before its first input to as many after its last (`VALID_DAYS`), and of
several that are valid the repository takes the nearest. Without limit a master of another year, from before a
warm-up or a change of electronics, would be used without a word where a nearer one is missing; within its own
night alone a cloudy evening would leave the night without flats.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs
from astropy.time import Time, TimeDelta

from isrcore import (
    CalibrationSearch,
    Camera,
    ConfigError,
    DataRepository,
    RawFrame,
    VisitInfo,
    default_config,
    filter_names,
    sha256_of,
    split_words,
)
from isrcore_calib.faults import MasterError
from isrcore_calib.kinds import KINDS, MASTERS

_log = logging.getLogger("isrcore.calibrate")

VALID_DAYS = 30.0

#: Makes masters from files, as the command line says.
Make = Callable[[argparse.Namespace, list[Path]], int]

_SLOT = "{detector}"
# What changes no pixel of a master, or is told in other words.
_UNTOLD = frozenset(
    {"registry", "messages", "function", "verbose", "traceback", "files", "output", "overwrite", "memory"}
    | {"read_as", "threads", "night", "filter", "valid_days", "config_file", "detectors", *MASTERS}
)


def make_in(repository: DataRepository, arguments: argparse.Namespace, make: Make) -> int:
    """Make the masters that are asked for from frames of a repository, flats filter by filter.

    With -o they go there, and are not certified. Raises ConfigError when there is no such frame,
    `MasterError` when one cannot be used, or another master is in its place.
    """
    if KINDS[arguments.kind].output == "joint" and arguments.output is None:
        raise ConfigError(
            f"a table of {arguments.kind} is no calibration of a repository; say where it goes: -o"
        )
    frames = _frames(repository, arguments)
    for _, group in groupby(sorted(frames, key=lambda one: one.filter), key=_group(arguments.kind)):
        status = _Batch(repository, arguments, tuple(group)).run(make)
        if status:
            return status
    return 0


def _group(kind: str) -> Callable[[RawFrame], str]:
    """What frames of one master have in common."""
    return lambda frame: frame.filter if KINDS[kind].one_filter else ""


def _frames(repository: DataRepository, arguments: argparse.Namespace) -> list[RawFrame]:
    """The frames that are asked for."""
    camera: Camera = arguments.registry.camera(repository.camera)
    wanted = {"type": KINDS[arguments.kind].inputs, **({"night": arguments.night} if arguments.night else {})}
    filters = {name for given in arguments.filter or () for name in filter_names(given, camera)}
    ids = {detector.name: detector.id for detector in camera.detectors}
    chosen = set(arguments.detectors or ids).union(*([] if arguments.detectors else [ids.values()]))
    frames = [
        frame
        for frame in repository.raw_frames(**wanted)
        if (not filters or frame.filter in filters) and chosen & {frame.detector, ids.get(frame.detector)}
    ]
    if not frames:
        told = {**wanted, "filter": arguments.filter} if filters else wanted
        asked = ", ".join(f"{key} {' or '.join(map(str, values))}" for key, values in told.items())
        raise ConfigError(
            f"{str(repository.root)!r} has no frame of {asked}\n  see what it has: isr list {repository.root}"
        )
    if broken := sorted({frame.problem for frame in frames if frame.problem}):
        raise MasterError("\n  ".join(["frames cannot be used", *broken]))
    return frames


@attrs.frozen
class _Batch:
    """Frames of which masters are made, one for every detector."""

    repository: DataRepository
    arguments: argparse.Namespace
    frames: tuple[RawFrame, ...]

    @property
    def detectors(self) -> list[str]:
        """Names of the detectors."""
        return sorted({frame.detector for frame in self.frames})

    @property
    def files(self) -> list[Path]:
        """The raw files, each once."""
        return sorted({frame.path for frame in self.frames})

    def place(self, detector: str) -> Path:
        """Where the master of a detector goes."""
        ending = ".fits" if KINDS[self.arguments.kind].output == "frame" else ".ecsv"
        return self.repository.calibration_path(self.arguments.kind, detector, self.frames, ending)

    def run(self, make: Make) -> int:
        """Make the masters unless they are there, made of the same things; certify them."""
        masters = dict(self._masters())
        if self.arguments.output is not None:
            return make(argparse.Namespace(**{**vars(self.arguments), **masters}), self.files)
        identity = self._identity(masters)
        there = {name: self.repository.identity_of(self.place(name)) for name in self.detectors}
        if set(there.values()) == {identity}:
            print(f"{self.place(self.detectors[0])} and so on: made before of the same frames")
            return 0
        if others := [name for name, found in there.items() if found not in ("", identity)]:
            self._refuse_others(others)
        places = {"output": str(self.place(_SLOT)), "overwrite": True, "detectors": self.detectors}
        status = make(argparse.Namespace(**{**vars(self.arguments), **masters, **places}), self.files)
        if not status:
            for name in self.detectors:
                about = {"kind": self.arguments.kind, "detector": name, "identity": identity}
                self.repository.certify(self.place(name), *self._validity(), **about)
        return status

    def _refuse_others(self, detectors: Sequence[str]) -> None:
        """Raise `MasterError` unless masters made of other frames may be replaced."""
        if not self.arguments.overwrite:
            paths = "\n  ".join(str(self.place(name)) for name in detectors)
            raise MasterError(
                f"masters of other frames or settings are there\n  {paths}\n  --overwrite replaces them, and "
                "what was made with them is made anew by the next run"
            )

    def _validity(self) -> tuple[Time | None, Time | None]:
        """From when to when the masters may be used."""
        dates = sorted(frame.date for frame in self.frames if frame.date)
        if not dates:
            return None, None
        margin = TimeDelta(self.arguments.valid_days, format="jd")
        return Time(dates[0], scale="utc") - margin, Time(dates[-1], scale="utc") + margin

    def _masters(self) -> Iterator[tuple[str, str]]:
        """Masters of the repository to correct the frames with, where none is given."""
        for kind in KINDS[self.arguments.kind].masters:
            if not getattr(self.arguments, kind):
                found = [self._search(kind, name) for name in self.detectors]
                text = _as_pattern(kind, self.detectors, found)
                if text:
                    yield kind, text
                elif self._is_usual(kind):
                    _log.warning("the repository has no %s: inputs are not corrected with one", kind)

    def _is_usual(self, kind: str) -> bool:
        """Whether frames of the camera are corrected with a kind of master unless somebody says otherwise."""
        config = default_config(self.arguments.registry, self.repository.camera)
        return bool(getattr(config, f"do{kind.capitalize()}", True))

    def _search(self, kind: str, detector: str) -> CalibrationSearch:
        """The master for one detector, by the frame in the middle."""
        frame = self.frames[len(self.frames) // 2]
        visit = VisitInfo(
            exposure_id=frame.exposure,
            exposure_s=frame.exposure_s,
            dark_s=frame.dark_s,
            date=Time(frame.date, scale="utc") if frame.date else None,
            filter=frame.filter,
        )
        return self.repository.find_calibrations({kind: [kind]}, detector, visit)[0]

    def _identity(self, masters: dict[str, str]) -> str:
        """What identifies all that the masters are made of, as a SHA-256."""
        arguments = self.arguments
        given = {
            kind: getattr(arguments, kind)
            for kind in KINDS[arguments.kind].masters
            if getattr(arguments, kind)
        }
        used = [text.replace(_SLOT, name) for text in (given | masters).values() for name in self.detectors]
        file = arguments.registry.file_of(self.repository.camera)
        content = {
            "inputs": [sha256_of(path) for path in self.files],
            "masters": [sha256_of(Path(name)) if Path(name).is_file() else name for name in used],
            "detectors": self.detectors,
            # What cannot be read is told by whoever uses it.
            "config": [sha256_of(Path(file)) for file in arguments.config_file if Path(file).is_file()],
            "options": {key: repr(value) for key, value in vars(arguments).items() if key not in _UNTOLD},
            "version": importlib.metadata.version("isrcore"),
            **({"camera": file.digest} if file else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _as_pattern(kind: str, detectors: Sequence[str], found: Sequence[CalibrationSearch]) -> str:
    """Masters of several detectors as one name; empty when the repository has none of the kind.

    Raises `MasterError` with every candidate when one is there but none suits, and when their names have no
    pattern.
    """
    missing = [search for search in found if search.chosen is None]
    if len(missing) == len(found) and not any(search.rejected for search in found):
        return ""
    if missing:
        raise MasterError("\n".join(search.explain() for search in missing))
    paths = [str(search.chosen) for search in found]
    patterns = {path.replace(f"_{name}.", f"_{_SLOT}.") for path, name in zip(paths, detectors, strict=True)}
    if len(patterns) == 1:
        return patterns.pop()
    raise MasterError(
        f"the detectors' {kind}es are of different nights: {', '.join(paths)}\n"
        f"  make them together, or choose detectors with --detectors"
    )


def add_options(group: Any) -> None:
    """Options for frames of a repository."""
    words = {"type": split_words, "metavar": "A,B"}
    group.add_argument("--night", **words, help="dates of evenings, as in 2022-01-26 (default: all)")
    group.add_argument("--filter", **words, help="filters (default: all; a flat for each)")
    group.add_argument(
        "--valid-days",
        type=float,
        default=VALID_DAYS,
        metavar="N",
        help="the masters may be used from N days before their first input to N days after their last "
        f"(default: {VALID_DAYS:g})",
    )
