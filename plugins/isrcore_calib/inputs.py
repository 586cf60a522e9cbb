"""Reading and correcting the raw frames a master is made of, each file once."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from isrcore import Config, Detector, Exposure, IsrTask, Registry, read_exposure
from isrcore_calib.combination import Frame
from isrcore_calib.correction import KINDS, make_config, planes_of, remove_shot_noise
from isrcore_calib.master import Input, MasterError, measure_level
from isrcore_calib.places import place

_log = logging.getLogger("isrcore.calibrate")


Check = Callable[[argparse.Namespace, str, Iterable[str]], None]


@attrs.define(eq=False)
class Stack:
    """The corrected inputs of one detector."""

    detector: Detector
    inputs: list[Input] = attrs.field(factory=list)


class InputReader:
    """Corrects raw files one after the other, keeping what fits into memory there and the rest in a folder.

    ``check`` is called with the arguments, every new detector's name and those before it, before any of its
    pixels is corrected.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path, check: Check) -> None:
        self.registry: Registry = arguments.registry
        self.arguments, self.kind = arguments, str(arguments.kind)
        self.folder, self.check = folder, check
        self.stacks: dict[str, Stack] = {}
        self.camera = ""
        self._task: IsrTask | None = None
        # The other half is for combining.
        self._room = arguments.memory // 2
        self._paths: dict[str, Path] = {}
        self._loaded: dict[str, Exposure] = {}
        self._loaded_for = ""

    @property
    def config(self) -> Config:
        """The configuration that the inputs were corrected with."""
        config: Config = self.task.config
        return config

    @property
    def task(self) -> IsrTask:
        """The task that corrects inputs of the camera."""
        if self._task is None:
            given = [kind for kind in KINDS[self.kind] if getattr(self.arguments, kind)]
            arguments = self.arguments
            config = make_config(
                self.registry, self.camera, self.kind, given, arguments.config_file, arguments.config
            )
            self._task = IsrTask(config, camera=self.camera, registry=self.registry)
        return self._task

    def read(self, path: Path) -> None:
        """Correct every detector of a file. Raises `MasterError` when it does not go with those before."""
        exposures = self.registry.read_raw(path, self.arguments.detectors)
        digest, seen = self._digest(path), set[str]()
        for raw in exposures:
            seen.add(raw.detector.name)
            self._check(path, raw)
            self._add(path, digest, raw)
        self._check_detectors(path, seen)

    def _digest(self, path: Path) -> str:
        """The SHA-256 of a file. Raises `MasterError` for a second file of the same content."""
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        twin = self._paths.setdefault(digest, path)
        if twin != path:
            raise MasterError(
                f"{str(twin)!r} and {str(path)!r} are the same frame"
                "\n  give it once: counted twice it would pretend to have less noise"
            )
        return digest

    def _check(self, path: Path, raw: Exposure) -> None:
        """Refuse what cannot be combined with the files before."""
        self.camera = self.camera or raw.camera
        if raw.camera != self.camera:
            raise MasterError(
                f"{str(path)!r} is of camera {raw.camera!r}, the files before it of {self.camera!r}"
                "\n  make one master per camera"
            )
        told = raw.visit.observation_type
        if told not in ("", self.kind):
            _log.warning("%s says it is a %s, not a %s", path, told, self.kind)
        first = next((one for stack in self.stacks.values() for one in stack.inputs), None)
        if self.kind == "flat" and first and raw.visit.filter != first.visit.filter:
            raise MasterError(
                f"flat {str(path)!r} has filter {raw.visit.filter!r}, {first.path!r} has "
                f"{first.visit.filter!r}\n  make one master per filter"
            )

    def _add(self, path: Path, digest: str, raw: Exposure) -> None:
        """Correct one exposure and keep it."""
        name = raw.detector.name
        if name not in self.stacks:
            self.check(self.arguments, name, self.stacks)
        exposure: Exposure = self.task.run(raw, **self._masters(name)).exposure
        if self.kind == "bias":
            remove_shot_noise(exposure)
        planes = planes_of(exposure, self.config)
        level = measure_level(planes, str(path)) if self.kind == "flat" else 1.0
        stack = self.stacks.setdefault(name, Stack(exposure.detector))
        self._room -= planes.nbytes
        file = None if self._room >= 0 else self.folder / f"{name}_{len(stack.inputs)}.npy"
        try:
            frame = Frame.of(planes, file)
        except OSError as fault:
            raise MasterError(
                f"corrected inputs cannot be kept in {str(self.folder.parent)!r}: {fault}"
                "\n  free space there, or allow more --memory"
            ) from fault
        stack.inputs.append(Input(str(path), digest, raw.visit, frame, level))

    def _masters(self, detector: str) -> dict[str, Any]:
        """Inputs of the correction; masters are kept for one detector at a time."""
        if self._loaded_for != detector:
            self._loaded, self._loaded_for = {}, detector
            self._loaded = dict(self._read_masters(detector))
        return self._loaded

    def _read_masters(self, detector: str) -> Iterator[tuple[str, Any]]:
        curated = self.registry.curated_calibrations(self.registry.camera(self.camera))
        for kind, values in curated.items():
            if kind not in KINDS and detector in values:
                yield kind, values[detector]
        for kind in KINDS[self.kind]:
            text = getattr(self.arguments, kind)
            if text:
                yield kind, read_exposure(place(text, kind, detector))

    def _check_detectors(self, path: Path, seen: set[str]) -> None:
        """Refuse a file with other detectors than the files before."""
        if seen != set(self.stacks):
            raise MasterError(
                f"{str(path)!r} has detectors {', '.join(sorted(seen))}, the files before it "
                f"{', '.join(sorted(self.stacks))}\n  name those to use with --detectors"
            )
