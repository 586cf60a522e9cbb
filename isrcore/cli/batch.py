"""Everything one command line asks for: units, their configuration, their calibrations, their plans."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import attrs

from isrcore.cli.calibration_files import CalibrationFiles, FileKind
from isrcore.cli.data_ids import Selection, keys_of
from isrcore.cli.faults import CommandError, indented, reason_of
from isrcore.cli.inputs import calibration_flags
from isrcore.cli.settings import make_config
from isrcore.cli.shelf import Shelf
from isrcore.config import Config, ConfigError
from isrcore.exposure import Exposure
from isrcore.filters import filter_names
from isrcore.isr import IsrTask
from isrcore.kernels.tiled import Tiled
from isrcore.paths import PathsError, expand_paths, stem
from isrcore.plan import Plan, PlanError
from isrcore.raw import RawSource
from isrcore.registry import Registry, RegistryError

_ENDINGS = (".fits", ".fits.fz", ".fits.gz", ".fit", ".fts")


@attrs.define(eq=False)
class Unit:
    """One detector of one raw file: what will be done to it, and why it cannot be done.

    ``exposure`` has everything but pixels; it is None when the file could not be read.
    """

    path: Path
    exposure: Exposure | None = None
    plan: Plan | None = None
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """How tables and messages name the unit."""
        return f"{self.path.name}[{self.detector}]" if self.detector else self.path.name

    @property
    def detector(self) -> str:
        """The detector's name, empty when the file could not be read."""
        return self.exposure.detector.name if self.exposure else ""

    @property
    def camera(self) -> str:
        """The camera's name, empty when the file could not be read."""
        return self.exposure.camera if self.exposure else ""


class Batch:
    """The units of a command line, planned. ``task_class`` runs them, from ``base`` if a config is given.

    Raises `CommandError`, before any unit is planned, with everything wrong in arguments and configuration.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        task_class: type[IsrTask] = IsrTask,
        base: Config | None = None,
    ) -> None:
        self.registry: Registry = arguments.registry
        self.arguments, self.task_class, self.base = arguments, task_class, base
        problems: list[str] = []
        files = list(_collect(problems, expand_paths, arguments.files))
        self.files = dict(self._find_calibrations(problems))
        wanted = [one for words in arguments.id for one in _collect(problems, Selection.parse, words)]
        paths = [path for text in (files[0] if files else ()) for path in _inside(text)]
        self.units = [unit for path in paths for unit in self._survey(path) if self._is_chosen(unit, wanted)]
        self._tasks = dict(self._make_tasks(problems))
        if problems:
            raise CommandError("cannot start", problems)
        self._shelf = Shelf(self.registry, self.files)

    def unmatched(self) -> list[Selection]:
        """What was asked for with --id and fits no unit."""
        wanted = map(Selection.parse, self.arguments.id)
        return [one for one in wanted if not any(self._is_chosen(unit, [one]) for unit in self.units)]

    def _is_chosen(self, unit: Unit, wanted: list[Selection]) -> bool:
        """Whether the unit is asked for; all are when nothing is said, and what cannot be read is told of."""
        if not wanted or unit.exposure is None:
            return True
        filters = filter_names(unit.exposure.visit.filter, self.registry.cameras.get(unit.camera))
        keys = keys_of(unit.exposure, stem(unit.path), filters)
        return any(selection.accepts(keys) for selection in wanted)

    def _find_calibrations(self, problems: list[str]) -> Iterator[tuple[str, CalibrationFiles]]:
        """The files of every kind that was given."""
        for kind in calibration_flags(self.registry):
            texts, about = getattr(self.arguments, kind), FileKind.of(kind, self.registry)
            for files in _collect(problems, CalibrationFiles.find, about, texts) if texts else ():
                yield kind, files

    def _survey(self, path: Path) -> Iterator[Unit]:
        """The units of a file. What cannot be read is a unit with a problem, so that others go on."""
        try:
            for exposure in self.registry.survey_raw(path, self.arguments.detectors):
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
        executor = Tiled(threads=getattr(self.arguments, "threads", 1))
        return self.task_class(config, camera=camera, registry=self.registry, executor=executor)

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
        for (camera, detector), units in groupby(self.in_order, key=owner):
            for unit in units:
                if unit.exposure is not None:
                    self._plan(unit, unit.exposure, *self._shelf.load(camera, detector, kinds))

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
        except PlanError as fault:
            # Only those that a planned step would have read: others are nobody's loss.
            unit.problems += fault.problems + problems

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


def owner(unit: Unit) -> tuple[str, str]:
    """Whose calibrations a unit needs."""
    return unit.camera, unit.detector


def _collect(problems: list[str], function: Any, *arguments: Any) -> Iterator[Any]:
    """The result of a call; or nothing, with what is wrong appended to ``problems``."""
    try:
        yield function(*arguments)
    except (CommandError, ConfigError, PathsError, RegistryError) as fault:
        problems.append(str(fault))
