"""Calibrations that an imported registry of the original program tells of.

``imported/NAME.sqlite3`` is the registry as it was; the files it names are looked for beside it, as they were
at home, also compressed. Of what is not there the registry's word stays: such a calibration is a candidate
that is refused because its file is missing, so that nobody wonders why another one was taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path, PurePosixPath

from isrcore import Camera, RepositoryError
from isrcore_repository.copying import copy_whole
from isrcore_repository.legacy_registry import read_legacy_registry
from isrcore_repository.lookup import Calibration

FOLDER = "imported"
_ENDINGS = ("", ".fz", ".gz")


def import_registry(root: Path, camera: Camera, source: Path) -> tuple[int, int]:
    """Copy a registry into the repository at ``root``; link the files it names that lie beside it.

    How many files it names, and how many are in the repository now. Raises `RepositoryError`, before anything
    is done, for another file, another camera's, and when another registry of that name is there.
    """
    found = read_legacy_registry(source)
    detectors = {detector.name for detector in camera.detectors}
    if strange := sorted({one.detector for one in found} - detectors):
        raise RepositoryError(
            f"{str(source)!r} is about detector {strange[0]!r}, camera {camera.name!r} has none\n"
            "  import it into a repository of the camera that it is of"
        )
    place = root / FOLDER / f"{source.stem}.sqlite3"
    if place.exists() and place.read_bytes() != source.read_bytes():
        raise RepositoryError(f"{str(place)!r} is there already, and another one; remove it or rename yours")
    place.parent.mkdir(exist_ok=True)
    files = sorted({one.payload[0] for one in found})
    for name in files:
        _link(root, source.resolve().parent, name)
    # Last: a registry that is there has been imported whole.
    copy_whole(source, place)
    return len(files), sum(file_of(root, name) is not None for name in files)


def _link(root: Path, home: Path, name: str) -> None:
    """Link a file of the registry, if it is at home and not here."""
    there = _first_of(home, name)
    if there is not None and file_of(root, name) is None:
        place = root / FOLDER / there.relative_to(home)
        place.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # a second import at the same time
            place.symlink_to(there)


def file_of(root: Path, name: str) -> Path | None:
    """The file that a registry calls ``name``, None when it is not in the repository."""
    return _first_of(root / FOLDER, name)


def _first_of(folder: Path, name: str) -> Path | None:
    """A file below a folder, plain or compressed; names that lead out of it are nobody's."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts:
        return None
    paths = (folder / f"{name}{ending}" for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), None)


def imported(root: Path, detector: str, kinds: Iterable[str]) -> Iterator[Calibration]:
    """What imported registries say of a detector's calibrations of some kinds."""
    for path in sorted((root / FOLDER).glob("*.sqlite3")):
        state = path.stat()
        known = _by_key(path, state.st_mtime_ns, state.st_size)
        for kind in sorted(kinds):
            yield from known.get((kind, detector), ())


@lru_cache(maxsize=4)
def _by_key(path: Path, modified: int, size: int) -> dict[tuple[str, str], list[Calibration]]:
    """A registry's calibrations by kind and detector, read again only when it is another one."""
    groups: dict[tuple[str, str], list[Calibration]] = {}
    for one in read_legacy_registry(path):
        groups.setdefault((one.kind, one.detector), []).append(one)
    return groups
