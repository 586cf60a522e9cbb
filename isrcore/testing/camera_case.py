"""The camera that a conformance check looks at, with the plugins around it and its raw files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from isrcore.camera import Camera, Detector
from isrcore.camera_files import is_camera_file, load_camera_file
from isrcore.config import Config
from isrcore.isr_config import default_config, isr_config
from isrcore.registry import Registry

if TYPE_CHECKING:
    from isrcore.testing.raw_files import RawFiles


def find_camera(camera: str, registry: Registry) -> tuple[Camera, Registry]:
    """The camera of a name, or of a file (``*.toml``), and the plugins with it.

    Raises RegistryError and CameraError.
    """
    if not is_camera_file(camera):
        return registry.camera(camera), registry
    loaded = load_camera_file(camera)
    return loaded.camera, registry.with_camera_file(loaded.file)


@attrs.define(eq=False, slots=False)
class CameraCase:
    """A camera under test: ``registry`` holds its plugin and the steps, ``raw`` are real raw files of it."""

    camera: Camera
    registry: Registry
    raw: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls, camera: str, registry: Registry | None = None, raw: str | Path | Iterable[str | Path] = ()
    ) -> CameraCase:
        """The camera of that name, by default of the installed plugins, or of a camera file.

        Raises RegistryError and CameraError.
        """
        found, known = find_camera(camera, registry or Registry.discover())
        files = [raw] if isinstance(raw, str | Path) else raw
        return cls(found, known, tuple(Path(file) for file in files))

    @property
    def label(self) -> str:
        """How messages name the camera."""
        return f"camera {self.camera.name!r}"

    @property
    def plugin_name(self) -> str:
        """The name of the plugin that brings the camera."""
        return self.registry.camera_owners[self.camera.name]

    @property
    def plugin(self) -> Any:
        """The plugin that brings the camera: mostly a module."""
        return self.registry.plugin(self.plugin_name)

    @cached_property
    def alone(self) -> Registry:
        """The camera's plugin without any other."""
        return Registry({self.plugin_name: self.plugin})

    @cached_property
    def files(self) -> RawFiles:
        """Raw files of the camera, written when somebody asks."""
        from isrcore.testing.raw_files import RawFiles

        return RawFiles(self)

    def fresh_config(self) -> Config:
        """The config for this camera before any plugin's overrides."""
        return isr_config(self.registry, self.camera.name)()

    @cached_property
    def config(self) -> Config:
        """The config that a run has when the user says nothing."""
        return default_config(self.registry, self.camera.name)

    def layouts(self) -> Iterator[Detector]:
        """One detector, the first, of every kind: those that differ in where pixels are, not in levels."""
        seen = set()
        for detector in self.camera.detectors:
            gathers = [(amp.raw_box, amp.gather(), *_overscans(amp)) for amp in detector.amplifiers]
            key = detector.shape, detector.raw_shape, tuple(gathers)
            if key not in seen:
                seen.add(key)
                yield detector


def _overscans(amp: Any) -> tuple[Any, ...]:
    return amp.serial_overscan_box, amp.parallel_overscan_box, amp.prescan_box
