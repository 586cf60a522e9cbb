"""Reading and correcting the raw frames a master is made of, each file once."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from isrcore import Config, Detector, Exposure, IsrTask, Registry, read_exposure, sha256_of
from isrcore_calib.correction import make_config, planes_of, remove_shot_noise
from isrcore_calib.faults import MasterError
from isrcore_calib.kinds import KINDS, MASTERS
from isrcore_calib.master import Input, measure_level
from isrcore_calib.places import place
from isrcore_calib.sky import SkyOptions, remove_sky
from isrcore_calib.store import Store

_log = logging.getLogger("isrcore.calibrate")


Check = Callable[[argparse.Namespace, str, Iterable[str]], None]


@attrs.define(eq=False)
class Stack:
    """The corrected inputs of one detector of a camera."""

    detector: Detector
    camera: str
    inputs: list[Input] = attrs.field(factory=list)


class InputReader:
    """Corrects raw files one after the other, keeping what fits into memory there and the rest in a folder.

    ``check`` is called with the arguments, every new detector's name and those before it, before any of its
    pixels is corrected.
    """

    def __init__(self, arguments: argparse.Namespace, folder: Path, check: Check) -> None:
        self.registry: Registry = arguments.registry
        self.arguments, self.kind = arguments, KINDS[arguments.kind]
        self.store, self.check = Store(folder, arguments.memory), check
        self.stacks: dict[str, Stack] = {}
        self.camera = ""
        self._task: IsrTask | None = None
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
            arguments = self.arguments
            given = [kind for kind in self.kind.masters if getattr(arguments, kind)]
            config = make_config(
                self.registry, self.camera, self.kind.name, given, arguments.config_file, arguments.config
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
        digest = sha256_of(path)
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
        first = next((one for stack in self.stacks.values() for one in stack.inputs), None)
        if self.kind.one_filter and first and raw.visit.filter != first.visit.filter:
            raise MasterError(
                f"{self.kind.name} {str(path)!r} has filter {raw.visit.filter!r}, {first.path!r} has "
                f"{first.visit.filter!r}\n  make one master per filter"
            )

    def _type_of(self, path: Path, raw: Exposure) -> str:
        """What an input is. Raises `MasterError` when that must be known and the frame does not say."""
        told, wanted = raw.visit.observation_type, self.kind.inputs
        # Observatories qualify their types: "sky,flat", "dome flat".
        fitting = [one for one in wanted if one in told]
        if fitting:
            return fitting[0]
        if len(wanted) > 1:
            raise MasterError(
                f"{str(path)!r} says it is a {told or 'frame of no type'!r}; {self.kind.name} is made from "
                f"{' and '.join(wanted)} frames\n  leave it out, or correct its header"
            )
        if told:
            _log.warning("%s says it is a %s, not a %s", path, told, wanted[0])
        return wanted[0]

    def _add(self, path: Path, digest: str, raw: Exposure) -> None:
        """Correct one exposure and keep it."""
        name, told = raw.detector.name, self._type_of(path, raw)
        if name not in self.stacks:
            self.check(self.arguments, name, self.stacks)
        exposure: Exposure = self.task.run(raw, **self._masters(name)).exposure
        if self.kind.name == "bias":
            remove_shot_noise(exposure)
        planes = planes_of(exposure, self.config)
        is_scaled = told == "flat" and self.kind.name in ("flat", "defects")
        level = measure_level(planes, str(path)) if is_scaled else 1.0
        if self.kind.name == "fringe":
            level = remove_sky(planes, SkyOptions(self.arguments.box, self.arguments.source_sigma), str(path))
        # Files of one content are refused: one key stands for one frame.
        frame = self.store.keep(planes, bytes.fromhex(digest))
        stack = self.stacks.setdefault(name, Stack(exposure.detector, raw.camera))
        stack.inputs.append(Input(str(path), digest, raw.visit, frame, level, told))

    def _masters(self, detector: str) -> dict[str, Any]:
        """Inputs of the correction; masters are kept for one detector at a time."""
        if self._loaded_for != detector:
            self._loaded, self._loaded_for = {}, detector
            self._loaded = dict(self._read_masters(detector))
        return self._loaded

    def _read_masters(self, detector: str) -> Iterator[tuple[str, Any]]:
        curated = self.registry.curated_calibrations(self.registry.camera(self.camera))
        for kind, values in curated.items():
            if kind not in MASTERS and detector in values:
                yield kind, values[detector]
        for kind in self.kind.masters:
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
