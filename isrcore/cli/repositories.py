"""Raw files and calibrations that a repository finds, where others are named one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import attrs

from isrcore.camera import Camera
from isrcore.cli.data_ids import Selection, keys_of_frame
from isrcore.cli.faults import CommandError
from isrcore.cli.inputs import calibration_flags
from isrcore.data_repository import CalibrationSearch, DataRepository, RawFrame
from isrcore.exposure import Exposure
from isrcore.registry import Registry

# Keys that name frames so closely that a bias may be meant.
_EXACT = frozenset({"type", "visit", "file"})


def open_repository(registry: Registry, texts: Iterable[str]) -> DataRepository | None:
    """The repository that is given instead of files, None when files are.

    Raises `CommandError` for a repository among other things, or one that cannot be searched.
    """
    given = list(texts)
    found = {text: registry.open_repository(text) for text in given if not Path(text).is_file()}
    opened = {text: repository for text, repository in found.items() if repository is not None}
    if not opened:
        return None
    text, repository = next(iter(opened.items()))
    if len(given) > 1:
        raise CommandError("cannot start", [f"{text!r} is a repository: give it alone, and choose with --id"])
    if not isinstance(repository, DataRepository):
        kind = type(repository).__name__
        raise CommandError("cannot start", [f"{text!r} is a {kind}, which cannot be searched for frames"])
    return repository


@attrs.frozen
class Chooser:
    """Frames and calibrations of a repository, for a command."""

    repository: DataRepository
    registry: Registry

    @property
    def camera(self) -> Camera:
        """The camera of all its frames."""
        return self.registry.camera(self.repository.camera)

    def frames(self, wanted: Collection[Selection], detectors: Collection[Any] | None) -> list[RawFrame]:
        """The frames that are asked for: science frames, unless a type, visit or file is named.

        Raises `CommandError`, saying what there is, when there is none.
        """
        chosen = [_with_type(selection) for selection in wanted or (Selection({}),)]
        every = self.repository.raw_frames()
        camera = self.camera
        found = [frame for frame in every if _is_wanted(frame, camera, chosen, detectors)]
        if not found:
            there = Counter(frame.type or "unknown" for frame in every)
            told = ", ".join(f"{count} {kind}" for kind, count in sorted(there.items())) or "nothing"
            asked = " or ".join(map(str, chosen))
            root = str(self.repository.root)
            raise CommandError("cannot start", [f"{root!r} has no frame with {asked}; it has {told}"])
        return found

    def searches(
        self, exposure: Exposure, given: Collection[str], policy: str, fallback: str
    ) -> tuple[CalibrationSearch, ...]:
        """The calibrations for an exposure, of every kind that a step may read and that is not given."""
        kinds = (kind for kind in calibration_flags(self.registry) if kind not in given)
        wanted = {kind: self.registry.datasets(kind) for kind in kinds}
        about = exposure.detector.name, exposure.visit
        return self.repository.find_calibrations(wanted, *about, policy, fallback)


def _with_type(selection: Selection) -> Selection:
    """The selection, of science frames when nothing says what kind of frame is meant."""
    if _EXACT & selection.values.keys():
        return selection
    return Selection({**selection.values, "type": ("science",)})


def _is_wanted(
    frame: RawFrame, camera: Camera, chosen: Iterable[Selection], detectors: Collection[Any] | None
) -> bool:
    """Whether a frame is asked for."""
    keys = keys_of_frame(frame, camera)
    if detectors is not None and keys["detector"].union(keys["ccd"]).isdisjoint(detectors):
        return False
    return any(selection.accepts(keys) for selection in chosen)
