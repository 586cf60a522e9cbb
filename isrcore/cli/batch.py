"""Everything one command line asks for: units, their configuration, their calibrations, their plans."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from isrcore.cli.calibration_files import CalibrationFiles
from isrcore.cli.faults import CommandError, indented, reason_of
from isrcore.cli.inputs import calibration_flags, expand
from isrcore.cli.settings import make_config
from isrcore.config import ConfigError
from isrcore.exposure import Exposure
from isrcore.isr import IsrTask
from isrcore.kernels.tiled import Tiled
from isrcore.plan import Plan, PlanError
from isrcore.registry import Registry, RegistryError


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
    """The units of a command line, planned.

    Raises `CommandError`, before any unit is planned, with everything wrong in arguments and configuration.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.registry: Registry = arguments.registry
        self.arguments = arguments
        problems: list[str] = []
        files = list(_collect(problems, expand, arguments.files))
        self._files = dict(self._find_calibrations(problems))
        self.units = [unit for path in (files[0] if files else ()) for unit in self._survey(path)]
        self._tasks = {task.camera: task for task in self._make_tasks(problems)}
        if problems:
            raise CommandError("cannot start", problems)
        self._curated = {name: self._curated_of(name) for name in self._tasks if name}
        self._loaded: tuple[tuple[str, str], tuple[dict[str, Any], tuple[str, ...]]] | None = None

    def _find_calibrations(self, problems: list[str]) -> Iterator[tuple[str, CalibrationFiles]]:
        """The files of every kind that was given."""
        for kind in calibration_flags(self.registry):
            texts = getattr(self.arguments, kind)
            for files in _collect(problems, CalibrationFiles.find, kind, texts) if texts else ():
                yield kind, files

    def _survey(self, path: Path) -> Iterator[Unit]:
        """The units of a file. What cannot be read is a unit with a problem, so that others go on."""
        try:
            for exposure in self.registry.survey_raw(path, self.arguments.detectors):
                yield Unit(path, exposure)
        except Exception as fault:  # a reader is anybody's code; its error is this file's, not the batch's
            yield Unit(path, problems=(reason_of(fault),))

    def _make_tasks(self, problems: list[str]) -> Iterator[IsrTask]:
        """A task for every camera; for none in particular when no file could be read."""
        for camera in sorted({unit.camera for unit in self.units if unit.exposure} or {""}):
            yield from _collect(problems, self._make_task, camera)

    def _make_task(self, camera: str) -> IsrTask:
        config = make_config(self.registry, camera, self.arguments)
        executor = Tiled(threads=getattr(self.arguments, "threads", 1))
        return IsrTask(config, camera=camera, registry=self.registry, executor=executor)

    def _curated_of(self, camera: str) -> dict[str, Any]:
        """Calibrations that ship with the camera, by kind and detector."""
        return self.registry.curated_calibrations(self.registry.camera(camera))

    @property
    def in_order(self) -> list[Unit]:
        """The units detector by detector, so that calibrations are read once and held for one detector."""
        return sorted(self.units, key=lambda unit: (unit.camera, unit.detector))

    def task(self, unit: Unit) -> IsrTask:
        """The task for the unit's camera."""
        return self._tasks[unit.camera]

    def plan_all(self) -> None:
        """Plan every unit; what stands in the way becomes the unit's problems."""
        for unit in self.in_order:
            if unit.exposure is not None:
                self._plan(unit, unit.exposure)

    def _plan(self, unit: Unit, exposure: Exposure) -> None:
        inputs, problems = self.calibrations(unit)
        try:
            unit.plan = self.task(unit).plan(exposure, **inputs)
        except PlanError as fault:
            unit.problems += fault.problems
        # Only those that a planned step would have read: others are nobody's loss.
        missing = tuple(problem for problem in problems if unit.plan is None)
        unit.problems += missing

    def calibrations(self, unit: Unit) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The inputs for a unit, and why some of those given are not among them."""
        key = unit.camera, unit.detector
        if self._loaded is None or self._loaded[0] != key:
            # Let go of the last detector's before reading the next one's.
            self._loaded = None
            self._loaded = key, self._load(*key)
        return self._loaded[1]

    def _load(self, camera: str, detector: str) -> tuple[dict[str, Any], tuple[str, ...]]:
        inputs = {
            kind: values[detector]
            for kind, values in self._curated[camera].items()
            if kind not in self._files and detector in values
        }
        problems = []
        for kind, files in self._files.items():
            try:
                inputs[kind] = files.load(detector)
            except (OSError, ValueError, LookupError) as fault:
                problems.append(str(fault.args[0] if isinstance(fault, LookupError) else fault))
        return inputs, tuple(problems)

    def file_of(self, kind: str, unit: Unit) -> Path | None:
        """The file that a unit's calibration of this kind comes from; None when the camera brings it."""
        return self._files[kind].path_of(unit.detector) if kind in self._files else None

    def read(self, unit: Unit) -> Exposure:
        """The unit's raw exposure with its pixels."""
        return next(iter(self.registry.read_raw(unit.path, [unit.detector])))

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


def _collect(problems: list[str], function: Any, *arguments: Any) -> Iterator[Any]:
    """The result of a call; or nothing, with what is wrong appended to ``problems``."""
    try:
        yield function(*arguments)
    except (CommandError, ConfigError, RegistryError) as fault:
        problems.append(str(fault))
