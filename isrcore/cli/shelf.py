"""The calibrations of one detector at a time: those given on the command line, else the camera's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from isrcore.cli.calibration_files import CalibrationFiles
from isrcore.registry import Registry


class Shelf:
    """Calibrations by camera and detector; the last detector's are kept."""

    def __init__(self, registry: Registry, files: Mapping[str, CalibrationFiles]) -> None:
        self._registry, self._files = registry, files
        self._owner: tuple[Any, ...] = ()
        self._loaded: dict[str, Any] = {}

    def load(
        self, camera: str, detector: str, kinds: Collection[str] | None = None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The inputs for a detector, and why some of those given are not among them.

        Of products that are not of these ``kinds`` (None: all are wanted) only the headers are read, with
        zeros for pixels: enough for planning.
        """
        if self._owner != (camera, detector, kinds):
            # Let go of the last detector's before reading the next one's.
            self._loaded.clear()
            self._owner = camera, detector, kinds
        inputs = self._curated_for(camera, detector)
        problems: list[str] = []
        for kind, files in self._files.items():
            try:
                inputs[kind] = self._given(kind, files, detector, kinds is None or kind in kinds)
            except (OSError, ValueError, LookupError) as fault:
                problems.append(str(fault.args[0] if isinstance(fault, LookupError) else fault))
        return inputs, tuple(problems)

    def _given(self, kind: str, files: CalibrationFiles, detector: str, is_wanted: bool) -> Any:
        """A detector's calibration from files, read once."""
        if kind in self._loaded:
            return self._loaded[kind]
        read = files.load if is_wanted else files.survey
        self._loaded[kind] = read(detector, self._registry)
        return self._loaded[kind]

    def files_of(self, kind: str, detector: str) -> tuple[Path, ...]:
        """The files that a detector's calibration of this kind comes from; none when the camera brings it."""
        return self._files[kind].paths_of(detector) if kind in self._files else ()

    def _curated_for(self, camera: str, detector: str) -> dict[str, Any]:
        """Calibrations that ship with the camera and for which no files were given."""
        shipped = self._registry.curated_calibrations(self._registry.camera(camera))
        return {
            kind: values[detector]
            for kind, values in shipped.items()
            if kind not in self._files and detector in values
        }
