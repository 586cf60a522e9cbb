"""The calibration registry of the original program, ``calibRegistry.sqlite3``, as values to choose from.

Its dates were written in the time of a machine in US Central time, winter and summer; here they are UTC. It
does not say when the frames of a calibration were taken: of several that are valid the latest version is
taken, then the one whose range begins last.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from isrcore import RepositoryError
from isrcore_repository.lookup import Calibration
from isrcore_repository.moments import moments_of

KINDS = ("bias", "dark", "flat", "fringe")

#: What the registry calls the filter of a calibration that has none.
_NO_FILTER = "NONE"
_ZONE = "America/Chicago"


def read_legacy_registry(path: str | Path) -> list[Calibration]:
    """The calibrations in a registry, one for every file and CCD, in order of kind and row.

    ``detector`` is ccd00 for extension 1 and so on, ``name`` the file's, ``payload`` its path below the root
    of calibrations and the extension. Raises `RepositoryError` when the file is no such registry.
    """
    source = Path(path)
    if not source.is_file():
        raise RepositoryError(f"there is no registry {str(source)!r}; check the path")
    try:
        with closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return [one for kind in KINDS for one in _of_kind(database, kind)]
    except (sqlite3.Error, ValueError, TypeError) as fault:
        raise RepositoryError(
            f"{str(source)!r} is no calibration registry of the original: {fault}\n"
            f"  it needs tables {', '.join(KINDS)} with validStart, validEnd and registered as ISO 8601"
        ) from fault


def _of_kind(database: sqlite3.Connection, kind: str) -> Iterable[Calibration]:
    """The calibrations of one table."""
    rows = database.execute(
        "SELECT path, extension, version, filter, validStart, validEnd, registered "  # kind is one of ours
        f"FROM {kind} ORDER BY id"
    ).fetchall()
    dates = moments_of([_in_utc(text) for row in rows for text in row[-3:]])
    for place, (file, extension, version, name, *_) in enumerate(rows):
        begin, end, made = dates[3 * place : 3 * place + 3]
        yield Calibration(
            kind=kind,
            detector=f"ccd{extension - 1:02}",
            filter="" if name == _NO_FILTER else name,
            begin=begin,
            end=end,
            version=int(version),
            name=Path(file).name.removesuffix(".fits"),
            made=made,
            payload=(file, int(extension)),
        )


@cache
def _in_utc(text: str) -> str:
    """A date in US Central time as one in UTC; of an hour that came twice, in autumn, the first."""
    local = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(_ZONE))
    return local.astimezone(UTC).replace(tzinfo=None).isoformat()
