"""The registry: an SQLite file that several processes read and write at the same time.

It holds nothing that the files do not say. Every change is one short transaction of a connection of its own,
so that a repository can be used from any process and thread.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
from astropy.time import Time

from isrcore import RepositoryError

#: Of the tables below; a registry of another one is made anew by `isr rebuild`.
SCHEMA = 1

#: Seconds to wait for another writer.
_PATIENCE_S = 60.0

_TABLES = """
CREATE TABLE raw (
    exposure INTEGER NOT NULL, detector TEXT NOT NULL, path TEXT NOT NULL, source TEXT NOT NULL,
    size INTEGER NOT NULL, modified INTEGER NOT NULL, night TEXT NOT NULL, type TEXT NOT NULL,
    filter TEXT NOT NULL, object_name TEXT NOT NULL, exposure_s REAL, dark_s REAL, date TEXT NOT NULL,
    PRIMARY KEY (exposure, detector)
) WITHOUT ROWID;
CREATE INDEX raw_source ON raw (source);
CREATE INDEX raw_night ON raw (night, type);
CREATE TABLE calibration (
    path TEXT PRIMARY KEY, kind TEXT NOT NULL, detector TEXT NOT NULL, filter TEXT NOT NULL,
    first TEXT, last TEXT, middle TEXT, exposure_s REAL, dark_s REAL, made TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT NOT NULL, identity TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX calibration_kind ON calibration (kind, detector);
CREATE TABLE dataset (
    path TEXT PRIMARY KEY, type TEXT NOT NULL, data_id TEXT NOT NULL
) WITHOUT ROWID;
"""


@attrs.frozen
class RawRow:
    """One detector of a raw file. ``path`` is below the root, ``source`` the file that is linked or itself;
    ``size`` (bytes) and ``modified`` (ns) tell whether it is still as it was.
    """

    exposure: int
    detector: str
    path: str
    source: str
    size: int
    modified: int
    night: str
    type: str
    filter: str
    object_name: str
    exposure_s: float | None
    dark_s: float | None
    date: str


@attrs.frozen
class CalibrationRow:
    """A calibration file and what it is good for. Times are ISO 8601 in UTC, None for no limit or unknown."""

    path: str
    kind: str
    detector: str
    filter: str
    first: str | None
    last: str | None
    middle: str | None
    exposure_s: float | None
    dark_s: float | None
    made: str
    size: int
    sha256: str
    identity: str = ""


@attrs.frozen
class DatasetRow:
    """A product or record; ``data_id`` is written as in file names."""

    path: str
    type: str
    data_id: str


def as_text(date: Time | None) -> str:
    """A date as ISO 8601 in UTC, to the nanosecond: such texts are in order of time. Empty for none."""
    if date is None:
        return ""
    utc = Time(date.utc, precision=9)
    return str(utc.isot)


Row = RawRow | CalibrationRow | DatasetRow
_NAMES: Mapping[type, str] = {RawRow: "raw", CalibrationRow: "calibration", DatasetRow: "dataset"}


@attrs.frozen
class Tables:
    """The registry in the file ``path``. Raises `RepositoryError` when it is missing, damaged or of another
    layout.
    """

    path: Path

    def create(self) -> None:
        """Make an empty registry, if there is none."""
        with self._connected(self.path) as database, _writing(database):
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                for statement in filter(str.strip, _TABLES.split(";")):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """One transaction: everything done in the block is there after it, or nothing."""
        with self._opened() as database, _writing(database):
            yield Writer(database)

    def rows(self, table: type[Any], /, **wanted: Collection[Any]) -> list[Any]:
        """Rows of a table, in order of its key, that have one of the values in every column named."""
        with self._opened() as database:
            return Writer(database).rows(table, **wanted)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection to the registry as it is."""
        if not self.path.is_file():
            raise RepositoryError(f"registry {str(self.path)!r} is not there; make it with 'isr rebuild'")
        with self._connected(self.path) as database:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version != SCHEMA:
                raise RepositoryError(
                    f"registry {str(self.path)!r} has layout {version}, this program writes {SCHEMA}\n"
                    "  make it anew from the files with 'isr rebuild'"
                )
            yield database

    @contextmanager
    def _connected(self, path: Path) -> Iterator[sqlite3.Connection]:
        """A connection; what SQLite says of a damaged file as an error for readers."""
        try:
            with closing(sqlite3.connect(path, timeout=_PATIENCE_S, isolation_level=None)) as database:
                # Readers see the state before a change while it is made; they never wait for writers.
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = FULL")
                yield database
        except sqlite3.Error as fault:
            raise RepositoryError(
                f"registry {str(path)!r} cannot be used: {fault}\n"
                "  if it is damaged, 'isr rebuild' makes it anew from the files"
            ) from fault


@contextmanager
def _writing(database: sqlite3.Connection) -> Iterator[None]:
    """A transaction that has the right to write from its start: it never has to give up half-way."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


@attrs.frozen
class Writer:
    """What can be done inside one transaction."""

    database: sqlite3.Connection

    def rows(self, table: type[Any], /, **wanted: Collection[Any]) -> list[Any]:
        """As `Tables.rows`."""
        columns = [field.name for field in attrs.fields(table)]
        tests = " AND ".join(f"{column} IN (SELECT value FROM json_each(?))" for column in wanted)
        values = [_as_json(chosen) for chosen in wanted.values()]
        query = f"SELECT {', '.join(columns)} FROM {_NAMES[table]}" + (f" WHERE {tests}" if tests else "")
        return [table(*row) for row in self.database.execute(f"{query} ORDER BY 1, 2", values)]

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, in place of those with the same key."""
        for row in rows:
            values = attrs.astuple(row)
            marks = ", ".join("?" * len(values))
            self.database.execute(f"INSERT OR REPLACE INTO {_NAMES[type(row)]} VALUES ({marks})", values)

    def remove(self, kind: type[Any], path: str) -> None:
        """Remove the rows of a file."""
        self.database.execute(f"DELETE FROM {_NAMES[kind]} WHERE path = ?", (path,))

    def clear(self) -> None:
        """Remove every row."""
        for name in _NAMES.values():
            self.database.execute(f"DELETE FROM {name}")


def _as_json(values: Collection[Any]) -> str:
    """Values as one parameter: there is a limit to the number of those."""
    return json.dumps(list(values))
