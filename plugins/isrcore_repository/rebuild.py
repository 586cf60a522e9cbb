"""The registry made anew from the files: what is in no file is nowhere."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs

from isrcore import RawError, RegistryError, RepositoryError
from isrcore_repository import layout
from isrcore_repository.certificates import ENDING, read_certificate
from isrcore_repository.ingest import identity, rows_of
from isrcore_repository.repository import PRODUCT, EmbeddedRepository
from isrcore_repository.tables import CalibrationRow, DatasetRow, RawRow, Row, Tables

# Seconds after which an unfinished file is nobody's any more.
_ABANDONED_S = 3600.0


@attrs.define
class Found:
    """Rows for every file, and what is wrong with the files that have none."""

    rows: list[Row] = attrs.field(factory=list)
    problems: list[str] = attrs.field(factory=list)


def rebuild(repository: EmbeddedRepository, tell: Callable[[Path], None] = lambda _: None) -> Found:
    """Write a row for every whole file, and none for others. A registry that is damaged is put aside.

    What other processes add meanwhile stays.
    """
    found = survey(repository, tell)
    _put_aside(repository.tables)
    repository.tables.create()
    seen = {row.path for row in found.rows}
    with repository.tables.writing() as writer:
        late = [
            row
            for kind in (RawRow, CalibrationRow, DatasetRow)
            for row in writer.rows(kind)
            if row.path not in seen and (repository.root / row.path).exists()
        ]
        writer.clear()
        writer.add([*(row for row in late if _is_sound(repository, row)), *found.rows])
    return found


def _is_sound(repository: EmbeddedRepository, row: Any) -> bool:
    """Whether a row of a file that was not there a moment ago may stay."""
    if isinstance(row, CalibrationRow):
        return (repository.root / f"{row.path}{ENDING}").exists()
    return True


def survey(repository: EmbeddedRepository, tell: Callable[[Path], None] = lambda _: None) -> Found:
    """What the files say."""
    found, known = Found(), _known(repository)
    _remove_abandoned(repository.root)
    for read, folder in ((_raw, layout.RAW), (_calibration, layout.CALIB)):
        # Of two files of one exposure the one that the registry knew stays: the other was never taken in.
        paths = _files(repository.root / folder)
        for path in sorted(paths, key=lambda path: str(path.relative_to(repository.root)) not in known):
            try:
                found.rows += read(repository, path, found.rows)
            except (RawError, RegistryError, RepositoryError, OSError) as fault:
                found.problems.append(f"{path.relative_to(repository.root)}: {fault}")
            tell(path)
    found.rows += _datasets(repository.root)
    return found


def _known(repository: EmbeddedRepository) -> set[str]:
    """The raw files that the registry knows; none when it is damaged."""
    try:
        return {row.path for row in repository.tables.rows(RawRow)}
    except (RepositoryError, sqlite3.Error):
        return set()


def _files(folder: Path) -> Iterator[Path]:
    """Files in a folder and those below, by name, without unfinished files and files of unfinished work."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return (path for path in paths if not any(name[0] == "." for name in path.relative_to(folder).parts))


def _raw(repository: EmbeddedRepository, path: Path, before: list[Row]) -> tuple[RawRow, ...]:
    """The rows of a raw file. Raises RawError, also for a second file of one identity."""
    listing = repository.plugins.list_raw(path)
    exposure, night = identity(listing, repository.plugins.camera(repository.camera))
    name = str(path.relative_to(repository.root))
    rows = rows_of(repository.root, name, listing, exposure, night)
    taken = {(row.exposure, row.detector): row.path for row in before if isinstance(row, RawRow)}
    for row in rows:
        if (row.exposure, row.detector) in taken:
            rival = taken[row.exposure, row.detector]
            raise RawError(
                f"exposure {exposure}, detector {row.detector!r} is in {rival} already; remove one"
            )
    return rows


def _calibration(repository: EmbeddedRepository, path: Path, _: list[Row]) -> tuple[CalibrationRow, ...]:
    """The row of a calibration. Raises `RepositoryError` for one without certificate."""
    is_certificate = path.name.endswith(ENDING) and path.with_suffix("").exists()
    return () if is_certificate else (read_certificate(repository.root, path),)


def _datasets(root: Path) -> Iterator[DatasetRow]:
    """Rows of products and records, by their names."""
    for path in _files(root / layout.PRODUCTS):
        if layout.ending_of(path) and "_" in path.name:
            words = layout.as_words(layout.product_id(path))
            yield DatasetRow(str(path.relative_to(root)), PRODUCT, words)
    for path in _files(root / layout.RECORD):
        words = path.name.rpartition(".")[0]
        # Backups, as in file.toml~1, are nobody's dataset.
        if "~" not in path.name:
            yield DatasetRow(str(path.relative_to(root)), layout.plain(path.parent.name), words)


def _put_aside(tables: Tables) -> None:
    """Rename a registry that cannot be used, so that a new one can be made."""
    try:
        tables.rows(DatasetRow)
    except RepositoryError:
        for ending in ("", "-wal", "-shm"):
            path = tables.path.with_name(tables.path.name + ending)
            if path.exists():
                path.replace(path.with_name(f"{path.name}.damaged"))


def _remove_abandoned(root: Path) -> None:
    """Remove unfinished files, and folders of unfinished work, of programs that were killed long ago."""
    for path in root.rglob(".*.part"):
        if time.time() - _last_change_s(path) > _ABANDONED_S:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _last_change_s(path: Path) -> float:
    """When a file, or anything in a folder, was last written; now, when somebody is taking files away."""
    with suppress(FileNotFoundError):
        return max(one.stat().st_mtime for one in (path, *path.rglob("*")))
    return time.time()
