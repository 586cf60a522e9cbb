"""The calibrations of one detector at a time: those given, found in a repository, else the camera's own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from isrcore.cli.calibration_files import CalibrationFiles, FileKind
from isrcore.cli.digests import known_sha256
from isrcore.registry import Registry

_NONE_FOUND: Mapping[str, Path] = {}


class Shelf:
    """Calibrations by camera and detector; those of the last unit are kept.

    ``files`` are given for all units; what a repository has ``found`` for one unit is said with each call.
    """

    def __init__(self, registry: Registry, files: Mapping[str, CalibrationFiles]) -> None:
        self._registry, self._files = registry, files
        self._owner: tuple[Any, ...] = ()
        self._loaded: dict[tuple[str, Path | None], Any] = {}

    def load(
        self,
        camera: str,
        detector: str,
        kinds: Collection[str] | None = None,
        found: Mapping[str, Path] = _NONE_FOUND,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The inputs for a detector, and why some of those given are not among them.

        Of products that are not of these ``kinds`` (None: all are wanted) only the headers are read, with
        zeros for pixels: enough for planning.
        """
        # Let go of what the last unit had and this one has not before more is read.
        same = self._owner == (camera, detector, kinds)
        kept = {(kind, found.get(kind)) for kind in self._kinds(found)} if same else set()
        self._loaded = {key: value for key, value in self._loaded.items() if key in kept}
        self._owner = camera, detector, kinds
        inputs = self._curated_for(camera, detector, found)
        problems: list[str] = []
        for kind in self._kinds(found):
            try:
                is_wanted = kinds is None or kind in kinds
                inputs[kind] = self._given(kind, found.get(kind), detector, is_wanted)
            except (OSError, ValueError, LookupError) as fault:
                problems.append(str(fault.args[0] if isinstance(fault, LookupError) else fault))
        return inputs, tuple(problems)

    def _kinds(self, found: Mapping[str, Path]) -> list[str]:
        """Kinds for which there is a file."""
        return [*self._files, *(kind for kind in found if kind not in self._files)]

    def _of_kind(self, kind: str, found: Path | None) -> CalibrationFiles:
        """The files of a kind. Raises `CommandError` when one that was found is gone."""
        if kind in self._files or found is None:
            return self._files[kind]
        return CalibrationFiles.find(FileKind.of(kind, self._registry), [str(found)])

    def _given(self, kind: str, found: Path | None, detector: str, is_wanted: bool) -> Any:
        """A detector's calibration from files, read once."""
        if (kind, found) not in self._loaded:
            files = self._of_kind(kind, found)
            read = files.load if is_wanted else files.survey
            self._loaded[kind, found] = read(detector, self._registry)
        return self._loaded[kind, found]

    def files_of(self, kind: str, detector: str, found: Mapping[str, Path] = _NONE_FOUND) -> tuple[Path, ...]:
        """The files that a detector's calibration of this kind comes from; none when the camera brings it."""
        if kind not in self._kinds(found):
            return ()
        return self._of_kind(kind, found.get(kind)).paths_of(detector)

    def _curated_for(self, camera: str, detector: str, found: Mapping[str, Path]) -> dict[str, Any]:
        """Calibrations that ship with the camera and for which no files were given or found."""
        shipped = self._registry.curated_calibrations(self._registry.camera(camera))
        there = self._kinds(found)
        return {
            kind: values[detector]
            for kind, values in shipped.items()
            if kind not in there and detector in values
        }


def digest_of(value: Any, files: Sequence[Path]) -> str:
    """What identifies a calibration, or several: their own digests, else those of their files."""
    values = value if isinstance(value, list) else [value]
    return ", ".join(filter(None, (_digest_of(*pair) for pair in zip_longest(values, files))))


def _digest_of(value: Any, file: Path | None) -> str:
    return getattr(value, "digest", "") or (known_sha256(file) if file else "")
