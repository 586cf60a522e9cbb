"""Everything one command line asks for: units, their configuration, their calibrations, their plans."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs

from isrcore.cli.calibration_files import CalibrationFiles, FileKind
from isrcore.cli.collecting import rare_collections
from isrcore.cli.data_ids import Selection, keys_of
from isrcore.cli.faults import CommandError, indented, reason_of
from isrcore.cli.inputs import calibration_flags
from isrcore.cli.repositories import Chooser, open_repository
from isrcore.cli.settings import make_config
from isrcore.cli.shelf import Shelf, digest_of
from isrcore.config import Config, ConfigError
from isrcore.data_repository import CalibrationSearch, RawFrame, RepositoryError
from isrcore.exposure import Exposure
from isrcore.isr import IsrTask
from isrcore.origins import shipped_with
from isrcore.paths import PathsError, expand_paths, stem
from isrcore.plan import Plan, PlanError
from isrcore.raw import RawSource
from isrcore.registry import Registry, RegistryError

_log = logging.getLogger("isrcore.repository")

_ENDINGS = (".fits", ".fits.fz", ".fits.gz", ".fit", ".fts")


@attrs.define(eq=False)
class Unit:
    """One detector of one raw file: what will be done to it, and why it cannot be done.

    ``exposure`` has everything but pixels; it is None when the file could not be read. In a repository
    ``frame`` is what it knows of the file and ``searches`` are the calibrations it found. ``inputs`` are the
    digests of the calibrations that the plan reads, by kind.
    """

    path: Path
    exposure: Exposure | None = None
    plan: Plan | None = None
    problems: tuple[str, ...] = ()
    frame: RawFrame | None = None
    searches: tuple[CalibrationSearch, ...] = ()
    inputs: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def found(self) -> dict[str, Path]:
        """Calibrations by kind that a repository found."""
        return {search.kind: search.chosen for search in self.searches if search.chosen is not None}

    @property
    def name(self) -> str:
        """What records call the exposure: its number in a repository, else the file's name."""
        return stem(self.path) if self.frame is None else str(self.frame.exposure)

    @property
    def label(self) -> str:
        """How tables and messages name the unit."""
        return f"{self.path.name}[{self.detector}]" if self.detector else self.path.name

    @property
    def detector(self) -> str:
        """The detector's name, empty when the file could not be read and no repository knows it."""
        if self.exposure is None:
            return self.frame.detector if self.frame else ""
        return self.exposure.detector.name

    @property
    def camera(self) -> str:
        """The camera's name, empty when the file could not be read."""
        return self.exposure.camera if self.exposure else ""


class Batch:
    """The units of a command line, planned. ``task_class`` runs them, from ``base`` if a config is given.

    Raises `CommandError`, before any unit is planned, with everything wrong in arguments and configuration.
    """

    @rare_collections()
    def __init__(
        self,
        arguments: argparse.Namespace,
        task_class: type[IsrTask] = IsrTask,
        base: Config | None = None,
    ) -> None:
        self.registry: Registry = arguments.registry
        self.arguments, self.task_class, self.base = arguments, task_class, base
        problems: list[str] = []
        opened = list(_collect(problems, open_repository, self.registry, arguments.files))
        self.repository = opened[0] if opened else None
        # A repository knows its camera, also one that a file describes.
        self.registry = getattr(self.repository, "plugins", self.registry)
        self.files = dict(self._find_calibrations(problems))
        self.wanted = [one for words in arguments.id for one in _collect(problems, Selection.parse, words)]
        self.units = (
            [] if problems else [unit for units in _collect(problems, self._find_units) for unit in units]
        )
        self._tasks = dict(self._make_tasks(problems))
        if problems:
            raise CommandError("cannot start", problems)
        if self.repository is not None:
            self._search(Chooser(self.repository, self.registry))
        self._shelf = Shelf(self.registry, self.files)

    def _find_units(self) -> list[Unit]:
        """The units that are asked for, of files or of a repository."""
        if self.repository is not None:
            return list(self._units_of(Chooser(self.repository, self.registry)))
        paths = [path for text in expand_paths(self.arguments.files) for path in _inside(text)]
        return [unit for path in paths for unit in self._survey(path) if self._is_chosen(unit, self.wanted)]

    def _units_of(self, chooser: Chooser) -> Iterator[Unit]:
        """The units of a repository."""
        frames = chooser.frames(self.wanted, self.arguments.detectors)
        for path, group in groupby(frames, key=lambda frame: frame.path):
            by_name = {frame.detector: frame for frame in group}
            broken = [
                Unit(path, problems=(one.problem,), frame=one) for one in by_name.values() if one.problem
            ]
            for unit in broken or self._survey(path, list(by_name)):
                unit.frame = unit.frame or by_name.get(unit.detector)
                yield unit

    def _search(self, chooser: Chooser) -> None:
        """Find the calibrations for every unit of a repository, as its configuration says."""
        policy = getattr(self.arguments, "policy", "nearest")
        for unit in self.units:
            if unit.exposure is not None and unit.camera in self._tasks:
                fallback = getattr(self._tasks[unit.camera].config, "fallbackFilterName", None) or ""
                unit.searches = chooser.searches(unit.exposure, self.files, policy, fallback)

    def unmatched(self) -> list[Selection]:
        """What was asked for with --id and fits no unit."""
        return [one for one in self.wanted if not any(self._is_chosen(unit, [one]) for unit in self.units)]

    def _is_chosen(self, unit: Unit, wanted: list[Selection]) -> bool:
        """Whether the unit is asked for; all are when nothing is said, and what cannot be read is told of."""
        if not wanted or unit.exposure is None:
            return True
        keys = keys_of(unit.exposure, stem(unit.path), self.registry.cameras.get(unit.camera))
        return any(selection.accepts(keys) for selection in wanted)

    def _find_calibrations(self, problems: list[str]) -> Iterator[tuple[str, CalibrationFiles]]:
        """The files of every kind that was given."""
        for kind in calibration_flags(self.registry):
            texts, about = getattr(self.arguments, kind), FileKind.of(kind, self.registry)
            for files in _collect(problems, CalibrationFiles.find, about, texts) if texts else ():
                yield kind, files

    def _survey(self, path: Path, detectors: list[Any] | None = None) -> Iterator[Unit]:
        """The units of a file. What cannot be read is a unit with a problem, so that others go on."""
        try:
            for exposure in self.registry.survey_raw(path, detectors or self.arguments.detectors):
                yield Unit(path, exposure)
        except Exception as fault:  # a reader is anybody's code; its error is this file's, not the batch's
            yield Unit(path, problems=(reason_of(fault),))

    def _make_tasks(self, problems: list[str]) -> Iterator[tuple[str, IsrTask]]:
        """A task for every camera; for none in particular when no file could be read."""
        for camera in sorted({unit.camera for unit in self.units if unit.exposure} or {""}):
            for task in _collect(problems, self._make_task, camera):
                # A task may be for one camera alone; then other cameras' files have none.
                if camera in ("", task.camera):
                    yield task.camera, task

    def _make_task(self, camera: str) -> IsrTask:
        config = make_config(self.registry, camera, self.arguments, self.task_class, self.base)
        return self.task_class(config, camera=camera, registry=self.registry)

    @property
    def tasks(self) -> dict[str, IsrTask]:
        """The task of every camera."""
        return dict(self._tasks)

    @property
    def sources(self) -> tuple[RawSource, ...]:
        """The raw files, as far as their headers could be read."""
        paths = dict.fromkeys(unit.path for unit in self.units if unit.exposure is not None)
        return tuple(RawSource.open(path) for path in paths)

    @property
    def configs(self) -> dict[str, Config]:
        """The configuration by camera."""
        return {name: task.config for name, task in self._tasks.items()}

    @property
    def in_order(self) -> list[Unit]:
        """The units detector by detector, so that calibrations are read once and held for one detector."""
        return sorted(self.units, key=owner)

    def plan_all(self, *, headers_only: bool = False) -> None:
        """Plan every unit; what stands in the way becomes the unit's problems.

        With ``headers_only`` no pixels of calibrations are read: what is damaged shows later.
        """
        kinds = () if headers_only else None
        with rare_collections() if headers_only else nullcontext():
            for unit in self.in_order:
                if unit.exposure is not None:
                    loaded = self._shelf.load(unit.camera, unit.detector, kinds, unit.found)
                    self._plan(unit, unit.exposure, *loaded)

    def _plan(
        self, unit: Unit, exposure: Exposure, inputs: dict[str, Any], problems: tuple[str, ...]
    ) -> None:
        """Plan one unit."""
        if unit.camera not in self._tasks:
            name = self.task_class.__name__
            unit.problems += (f"it is of camera {unit.camera!r}, which {name} is not for: use another task",)
            return
        try:
            unit.plan = self._tasks[unit.camera].plan(exposure, **inputs)
            unit.inputs = dict(self._digests(unit, unit.plan, inputs))
            _tell_fallbacks(unit)
        except PlanError as fault:
            # Only those that a planned step would have read: others are nobody's loss.
            unit.problems += fault.problems + problems + tuple(_explained(fault, unit.searches))

    def _digests(self, unit: Unit, plan: Plan, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """The digest of every calibration that a plan reads."""
        kinds = frozenset[str]().union(*(planned.spec.kinds for planned in plan.steps))
        for kind in sorted(kinds & inputs.keys()):
            files = self._shelf.files_of(kind, unit.detector, unit.found)
            yield kind, digest_of(inputs[kind], files) or shipped_with(unit.camera)

    def refused(self) -> str:
        """Why units cannot be processed, units with the same reasons together; empty when all can."""
        reasons: dict[tuple[str, ...], list[str]] = {}
        for unit in self.units:
            if unit.problems:
                reasons.setdefault(unit.problems, []).append(unit.label)
        return "\n".join(
            "\n".join([f"{', '.join(labels)} cannot be processed", *map(indented, problems)])
            for problems, labels in reasons.items()
        )


def _inside(path: Path) -> list[Path]:
    """The FITS files of a folder, by name; a file itself."""
    if not path.is_dir():
        return [path]
    return sorted({file for ending in _ENDINGS for file in path.glob(f"*{ending}") if file.is_file()})


def owner(unit: Unit) -> tuple[Any, ...]:
    """Whose calibrations a unit needs, and which of a repository's those are."""
    return unit.camera, unit.detector, sorted(unit.found.items())


def _tell_fallbacks(unit: Unit) -> None:
    """Warn of calibrations of another filter that a unit uses."""
    for search in unit.searches:
        if search.is_fallback and search.kind in unit.inputs:
            _log.warning("%s: %s is %s, %s", unit.label, search.kind, search.chosen, search.reason)


def _explained(fault: PlanError, searches: Iterable[CalibrationSearch]) -> Iterator[str]:
    """What a repository says of calibrations that a plan lacks."""
    for search in searches:
        # A plan's problem names the calibration that it is about.
        if any(f"calibration '{search.kind}'" in problem for problem in fault.problems):
            yield search.explain()


def _collect(problems: list[str], function: Any, *arguments: Any) -> Iterator[Any]:
    """The result of a call; or nothing, with what is wrong appended to ``problems``."""
    try:
        yield function(*arguments)
    except (CommandError, ConfigError, PathsError, RegistryError, RepositoryError) as fault:
        problems.append(str(fault))
