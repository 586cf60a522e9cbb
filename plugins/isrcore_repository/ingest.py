"""Raw files into a repository: each opened once for its headers, linked or copied, then written down.

A file is in its place before its rows are: whatever moment a program is killed at, the same command goes on
where it stopped.
"""

from __future__ import annotations

import filecmp
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from isrcore import Camera, RawError, RawListing, RegistryError
from isrcore_repository import layout
from isrcore_repository.copying import copy_whole
from isrcore_repository.repository import EmbeddedRepository
from isrcore_repository.tables import RawRow, Writer, as_text

# Files whose rows are written in one transaction: of forty CCDs each, in a few milliseconds.
_BATCH = 32


@attrs.define
class Report:
    """What became of files: ``added``, ``known`` before, and why others are not in the repository."""

    added: list[Path] = attrs.field(factory=list)
    known: list[Path] = attrs.field(factory=list)
    conflicts: list[str] = attrs.field(factory=list)
    failed: list[str] = attrs.field(factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether every file is in the repository."""
        return not self.conflicts and not self.failed


class ConflictError(ValueError):
    """A file whose exposure and detector are another file's in the repository."""


@attrs.frozen
class _New:
    """A file that has a place, and its rows."""

    file: Path
    rows: tuple[RawRow, ...]


def ingest(
    repository: EmbeddedRepository,
    files: Iterable[Path],
    *,
    copies: bool = False,
    tell: Callable[[Path], None] = lambda _: None,
) -> Report:
    """Put raw files into a repository, by symbolic link or as copies; ``tell`` hears of each when it is done.

    A file that cannot be read, is of another camera, or is another one than the repository has of its
    exposure and detector, is told of in the report; the others are not affected.
    """
    return _Ingest(repository, copies, tell).run(files)


class _Ingest:
    """One call of `ingest`."""

    def __init__(self, repository: EmbeddedRepository, copies: bool, tell: Callable[[Path], None]) -> None:
        self.repository, self.tell = repository, tell
        self.plugins, self.camera = repository.plugins, repository.plugins.camera(repository.camera)
        self.place = copy_whole if copies else _link
        self.report = Report()
        self.waiting: list[_New] = []

    def run(self, files: Iterable[Path]) -> Report:
        """Ingest files, some at a time."""
        rows = self.repository.tables.rows(RawRow)
        known = {(row.source, row.size, row.modified): self.repository.root / row.path for row in rows}
        for file in files:
            self._take(file, known)
            self.tell(file)
            if len(self.waiting) >= _BATCH:
                self._write()
        self._write()
        return self.report

    def _take(self, file: Path, known: Mapping[tuple[str, int, int], Path]) -> None:
        """Read one file and give it a place; rows wait for others."""
        try:
            source = file.resolve(strict=True)
            state = source.stat()
            place = known.get((str(source), state.st_size, state.st_mtime_ns))
            if place is not None and place.exists():
                self.report.known.append(file)
            else:
                self.waiting.append(self._placed(file, source, self.plugins.list_raw(file)))
        except ConflictError as fault:
            self.report.conflicts.append(str(fault))
        except (RawError, RegistryError) as fault:
            self.report.failed.append(str(fault))
        except OSError as fault:
            self.report.failed.append(f"{str(file)!r} cannot be ingested: {fault.strerror}")
        except Exception as fault:  # a reader is anybody's code; its error is this file's alone
            self.report.failed.append(f"{str(file)!r}: {type(fault).__name__}: {fault}")

    def _placed(self, file: Path, source: Path, listing: RawListing) -> _New:
        """Link or copy a file to where it belongs. Raises `ConflictError`, RawError or OSError."""
        exposure, night = identity(listing, self.camera)
        for name in names_for(listing, self.camera, file):
            target = self.repository.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.place(source, target) or is_same(source, target):
                return _New(file, rows_of(self.repository.root, name, listing, exposure, night))
        raise ConflictError(
            f"exposure {exposure}: {str(file)!r} and {str(target.resolve())!r} are two different files"
        )

    def _write(self) -> None:
        """Write the rows of the files that wait."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        with self.repository.tables.writing() as writer:
            for new in waiting:
                self._add(writer, new)

    def _add(self, writer: Writer, new: _New) -> None:
        """Write the rows of one file, unless another file has one of its identities."""
        detectors = [row.detector for row in new.rows]
        there = writer.rows(RawRow, exposure=[new.rows[0].exposure], detector=detectors)
        rivals = sorted({row.path for row in there} - {new.rows[0].path})
        root, place = self.repository.root, self.repository.root / new.rows[0].path
        alive = [name for name in rivals if (root / name).exists()]
        if not alive:
            self.report.added.append(new.file) if there != list(new.rows) else self.report.known.append(
                new.file
            )
            writer.add(new.rows)
            return
        with suppress(FileNotFoundError):
            place.unlink()
        if all(is_same(new.file, root / name) for name in alive):
            self.report.known.append(new.file)
            return
        others = " and ".join(repr(str((root / name).resolve())) for name in alive)
        self.report.conflicts.append(
            f"exposure {new.rows[0].exposure}: {str(new.file)!r} and {others} are two different files"
        )


def identity(listing: RawListing, camera: Camera) -> tuple[int, str]:
    """Number and night of an exposure; without a number, its date is one. Raises RawError without both."""
    if listing.camera != camera.name:
        raise RawError(
            f"{str(listing.path)!r} is of camera {listing.camera!r}, the repository of {camera.name!r}"
        )
    date = listing.visit.date
    night = "" if date is None else camera.night(date)
    if listing.visit.exposure_id:
        return listing.visit.exposure_id, night
    if date is None:
        raise RawError(f"{str(listing.path)!r} tells neither a number nor a date: nothing identifies it")
    return int("".join(letter for letter in str(date.utc.isot)[:23] if letter.isdecimal())), night


def names_for(listing: RawListing, camera: Camera, file: Path) -> Iterator[str]:
    """Paths for a file below the root: the usual one, then one for another part of the same exposure."""
    exposure, night = identity(listing, camera)
    first = listing.detectors[0]
    if len(listing.detectors) > 1 or len(camera.detectors) == 1:
        yield layout.raw_name(night, exposure, "", layout.ending_of(file))
    if len(camera.detectors) > 1:
        yield layout.raw_name(night, exposure, first, layout.ending_of(file))


def rows_of(root: Path, name: str, listing: RawListing, exposure: int, night: str) -> tuple[RawRow, ...]:
    """The rows of a file that is in its place."""
    place, visit = root / name, listing.visit
    state = place.stat()
    shared: dict[str, Any] = {
        "exposure": exposure,
        "path": name,
        "source": str(place.resolve()),
        "size": state.st_size,
        "modified": state.st_mtime_ns,
        "night": night,
        "type": visit.observation_type,
        "filter": visit.filter,
        "object_name": visit.object_name,
        "exposure_s": None if math.isnan(visit.exposure_s) else visit.exposure_s,
        "dark_s": None if math.isnan(visit.dark_s) else visit.dark_s,
        "date": as_text(visit.date),
    }
    return tuple(RawRow(detector=detector, **shared) for detector in sorted(listing.detectors))


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, or to files of the same content."""
    try:
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _link(source: Path, target: Path) -> bool:
    """Link a file; False when something is there already. A link that leads nowhere is replaced."""
    if target.is_symlink() and not target.exists():
        target.unlink(missing_ok=True)
    try:
        target.symlink_to(source)
    except FileExistsError:
        return False
    return True
