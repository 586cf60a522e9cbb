"""What ``isr show`` draws: files looked at by their headers, put together into pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from isrcore.camera import Detector
from isrcore.cli.faults import CommandError, reason_of
from isrcore.exposure import Exposure
from isrcore.fits import read_exposure, survey_exposure
from isrcore.paths import stem
from isrcore.raw import RawSource
from isrcore.registry import Registry

_CAMERA_CARD = "ISRCAM"


@attrs.frozen(eq=False)
class Shown:
    """One detector of one file; ``visit`` is what products of one exposure have in common."""

    path: Path
    detector: Detector
    camera: str
    is_raw: bool
    visit: tuple[Any, ...]


@attrs.frozen(eq=False)
class Subject:
    """What becomes one picture: the detectors of a raw file, or the products of one exposure."""

    parts: tuple[Shown, ...]

    @property
    def detectors(self) -> tuple[Detector, ...]:
        """The detectors, in order of their ids."""
        return tuple(part.detector for part in self.parts)

    @property
    def stem(self) -> str:
        """The name of its picture without ending: the file's, of several files what they share."""
        stems = [stem(part.path) for part in self.parts]
        if len(set(stems)) == 1:
            return stems[0]
        shared = {s.removesuffix(f"_{part.detector.name}") for s, part in zip(stems, self.parts, strict=True)}
        return shared.pop() if len(shared) == 1 else f"{stems[0]}_and_{len(stems) - 1}_more"

    def read(self, registry: Registry) -> Iterator[Exposure]:
        """The exposures, one at a time."""
        if self.parts[0].is_raw:
            yield from registry.read_raw(self.parts[0].path, [detector.name for detector in self.detectors])
        else:
            yield from (read_exposure(part.path) for part in self.parts)


def find_subjects(registry: Registry, paths: Iterable[Path], wanted: list[str | int] | None) -> list[Subject]:
    """The pictures that files make, in the order in which their first files were given.

    Raises `CommandError` with every file that cannot be used and every detector that is there twice.
    """
    groups: dict[Any, list[Shown]] = {}
    problems: list[str] = []
    for path in paths:
        try:
            for shown in _look_at(registry, path, wanted):
                groups.setdefault(path if shown.is_raw else (shown.camera, *shown.visit), []).append(shown)
        except Exception as fault:  # a reader is anybody's code; what is wrong with other files is told too
            problems.append(reason_of(fault))
    problems += [problem for parts in groups.values() for problem in _repeated(parts)]
    if not groups and not problems:
        problems.append(f"no file holds detector {', '.join(map(str, wanted or ()))}")
    if problems:
        raise CommandError("cannot show these files", problems)
    in_order = (sorted(parts, key=lambda part: part.detector.id) for parts in groups.values())
    return [Subject(tuple(parts)) for parts in in_order]


def _look_at(registry: Registry, path: Path, wanted: list[str | int] | None) -> Iterator[Shown]:
    """The detectors of a file that are wanted, from its headers."""
    if _is_product(path):
        exposure = survey_exposure(path)
        detector, visit = exposure.detector, exposure.visit
        if wanted is None or detector.name in wanted or detector.id in wanted:
            key = visit.exposure_id, str(visit.date), visit.observation_type, visit.filter
            yield Shown(path, detector, exposure.camera, False, key)
        return
    names: Any = wanted
    for exposure in registry.survey_raw(path, names):
        yield Shown(path, exposure.detector, exposure.camera, True, ())


def _is_product(path: Path) -> bool:
    """Whether isrcore wrote the file. Raises RawError when it is no complete FITS file."""
    return _CAMERA_CARD in RawSource.open(path).header


def _repeated(parts: list[Shown]) -> Iterator[str]:
    """Detectors of one exposure that more than one file holds."""
    owners: dict[str, list[str]] = {}
    for part in parts:
        owners.setdefault(part.detector.name, []).append(str(part.path))
    for name, paths in owners.items():
        if len(paths) > 1:
            yield f"{' and '.join(paths)} show detector {name!r} of one exposure; show them one at a time"
