"""A folder as a repository: one file per dataset, in forms that people and other programs can read.

Configs, metadata and package versions are TOML, tables ECSV, exposures FITS, thumbnails PNG. Every file is
there complete or not at all, and writers take turns.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations, count
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.table import Table

from isrcore.atomic import remove_unfinished, replacing
from isrcore.config import Config
from isrcore.config_toml import format_value
from isrcore.exposure import Exposure
from isrcore.fits import read_exposure, write_exposure
from isrcore.pictures import read_png, write_png
from isrcore.repository import DatasetError, DatasetExistsError
from isrcore.task import Metadata

_FIRST = ("exposure", "visit")
_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")


@attrs.frozen
class _Form:
    """How one kind of object is kept in files."""

    ending: str
    is_mine: Callable[[Any], bool]
    write: Callable[[Any, Path], None]
    read: Callable[[Path], Any]


@attrs.frozen
class FolderRepository:
    """Datasets in the folder ``root``, about ``dataId``.

    A dataset about nothing in particular is the file ``isr_config.toml``; those about something are in a
    folder, ``isr_metadata/1038843_ccd00.toml``, named by the values of the data id: visit or exposure first,
    the others in alphabetical order of their keys. Where there is none for a whole data id, `get` takes what
    is kept for a part of it, so that ``flat/ccd00_r.fits`` serves every visit in that filter. Configs and
    metadata come back as plain tables: which class they are of is for the reader to say.
    """

    root: Path = attrs.field(converter=Path)
    dataId: Mapping[str, Any] = attrs.field(factory=dict, converter=dict)

    def at(self, **dataId: Any) -> FolderRepository:
        """The same folder, about one thing in it: a data reference."""
        return attrs.evolve(self, dataId={**self.dataId, **dataId})

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        """The dataset. Raises `DatasetError` when it is not there or damaged."""
        for path, form in self._candidates(datasetType, dataId):
            if path.is_file():
                try:
                    return form.read(path)
                except (ValueError, OSError) as fault:
                    raise DatasetError(f"dataset {datasetType!r}, file {str(path)!r}: {fault}") from fault
        wanted = {**self.dataId, **dataId}
        raise DatasetError(f"no dataset {datasetType!r} for {wanted or 'no data id'} in {str(self.root)!r}")

    def put(
        self,
        obj: Any,
        datasetType: str,
        *,
        doBackup: bool = False,
        mustBeNew: bool = False,
        **dataId: Any,
    ) -> None:
        """Store a dataset; a backup is named ``file~1``, ``file~2`` and so on.

        Raises `DatasetExistsError` as `Repository.put` says, TypeError for what no form is known for, OSError
        when the folder cannot be written.
        """
        form = next((form for form in _FORMS if form.is_mine(obj)), None)
        if form is None:
            raise TypeError(
                f"dataset {datasetType!r}: a folder cannot keep a {type(obj).__name__}, only Config, "
                "Exposure, Metadata by task, Table, texts by name and uint8 pictures"
            )
        path = self._path(datasetType, {**self.dataId, **dataId}, form)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._turn():
            if mustBeNew and path.exists():
                raise DatasetExistsError(f"dataset {datasetType!r} is there already: {str(path)!r}")
            if doBackup and path.exists():
                _keep(path)
            remove_unfinished(path)
            form.write(obj, path)

    def datasetExists(self, datasetType: str, **dataId: Any) -> bool:
        """Whether the dataset's file is there."""
        values = {**self.dataId, **dataId}
        return any(self._path(datasetType, values, form).is_file() for form in _FORMS)

    def path_of(self, datasetType: str, obj: Any, **dataId: Any) -> Path:
        """The file that `put` writes an object to."""
        return self._path(
            datasetType, {**self.dataId, **dataId}, next(form for form in _FORMS if form.is_mine(obj))
        )

    def _candidates(self, dataset: str, data_id: Mapping[str, Any]) -> Iterator[tuple[Path, _Form]]:
        keys = {**self.dataId, **data_id}
        parts = [dict(part) for size in range(len(keys), -1, -1) for part in combinations(keys.items(), size)]
        return ((self._path(dataset, part, form), form) for part in parts for form in _FORMS)

    def _path(self, dataset: str, values: Mapping[str, Any], form: _Form) -> Path:
        keys = sorted(values, key=lambda key: (key not in _FIRST, key))
        words = "_".join(_UNSAFE.sub("-", str(values[key])) for key in keys)
        return self.root / (f"{dataset}/{words}{form.ending}" if words else dataset + form.ending)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait until no other process writes here; a process that dies gives its turn away."""
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _keep(path: Path) -> None:
    """Give the file a second name that nothing has yet."""
    for number in count(1):
        try:
            os.link(path, path.with_name(f"{path.name}~{number}"))
        except FileExistsError:
            continue
        return


def _write_text(text: str, path: Path) -> None:
    with replacing(path) as stream:
        stream.write(text.encode())


def _write_texts(texts: Mapping[str, str], path: Path) -> None:
    _write_text("".join(_line(name, text) for name, text in texts.items()), path)


def _write_metadata(metadata: Mapping[str, Metadata], path: Path) -> None:
    tables = (
        f"[{format_value(name)}]\n" + "".join(_line(key, items.values(key)) for key in items) + "\n"
        for name, items in metadata.items()
    )
    _write_text("".join(tables), path)


def _line(key: str, value: Any) -> str:
    return f"{format_value(key)} = {format_value(_plain(value))}\n"


def _plain(value: Any) -> Any:
    """Numbers, texts and lists of those."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    value = value.item() if isinstance(value, np.generic) else value
    return value if isinstance(value, bool | int | float | str | None) else str(value)


def _read_table(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _write_ecsv(table: Table, path: Path) -> None:
    text = io.StringIO()
    table.write(text, format="ascii.ecsv")
    _write_text(text.getvalue(), path)


def _read_ecsv(path: Path) -> Table:
    return Table.read(path, format="ascii.ecsv")


def _write_fits(exposure: Exposure, path: Path) -> None:
    write_exposure(exposure, path, overwrite=True)


def _write_picture(rgb: Any, path: Path) -> None:
    write_png(path, rgb)


def _is_mapping_of(kind: type) -> Callable[[Any], bool]:
    return lambda obj: isinstance(obj, Mapping) and all(isinstance(value, kind) for value in obj.values())


_FORMS = (
    _Form(".toml", lambda obj: isinstance(obj, Config), Config.save, _read_table),
    _Form(".toml", _is_mapping_of(Metadata), _write_metadata, _read_table),
    _Form(".toml", _is_mapping_of(str), _write_texts, _read_table),
    _Form(".ecsv", lambda obj: isinstance(obj, Table), _write_ecsv, _read_ecsv),
    _Form(".fits", lambda obj: isinstance(obj, Exposure), _write_fits, read_exposure),
    _Form(".png", lambda obj: getattr(obj, "dtype", None) == np.uint8, _write_picture, read_png),
)
