"""Tasks that keep a record of how they were run: config, schemas, metadata and versions, in a repository.

What is stored is never replaced silently: it must be equal to what would be stored now, or the caller says
what to do about it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from astropy.table import Table

from isrcore.config import Config
from isrcore.repository import DatasetExistsError, Repository
from isrcore.task import Metadata, Struct, Task, TaskError
from isrcore.versions import package_versions, version_differences

_ADVICE = {
    "config": "choose another output, or replace what is stored (clobber = True, --clobber-config)",
    "schema": "choose another output, or replace what is stored (clobber = True, --clobber-config)",
    "package versions": "choose another output, replace what is stored (clobber = True, --clobber-versions) "
    "or do without (--no-versions)",
}


class CmdLineTask(Task):
    """A task whose runs leave a record. ``butler`` and ``dataRef`` are any `Repository`."""

    @classmethod
    def _getConfigName(cls) -> str | None:
        """The dataset that keeps the config; None for none."""
        return f"{cls._DefaultName}_config" if cls._DefaultName else None

    @classmethod
    def _getMetadataName(cls) -> str | None:
        """The dataset that keeps the metadata; None for none."""
        return f"{cls._DefaultName}_metadata" if cls._DefaultName else None

    @classmethod
    def parseAndRun(
        cls,
        args: Sequence[str] | None = None,
        config: Config | None = None,
        log: logging.Logger | None = None,
        doReturnResults: bool = False,
    ) -> Struct:
        """Parse an argument list (default: that of the process) and run the task on every unit it names.

        ``config`` takes the place of the camera's defaults. Returns a Struct of ``argumentParser``,
        ``parsedCmd``, ``taskRunner`` (None when only something was shown) and ``resultList``: for each unit
        a Struct of ``exitStatus`` (0 or 1), ``unit``, ``reason``, ``metadata`` by task, and ``result``, what
        `run` returned if ``doReturnResults``. Raises SystemExit with the number of failed units (at most
        255) as status, 1 when nothing could be started, 2 for wrong usage; not for failures with --noExit.
        """
        raise TypeError(f"{cls.__name__} has no command line: override parseAndRun")

    def writeConfig(self, butler: Repository, clobber: bool = False, doBackup: bool = True) -> None:
        """Store the config, or check that the one that is stored is equal.

        ``clobber`` replaces it, keeping the one before as ``file~1``, ``file~2`` ... if ``doBackup``. Its
        dataset is ``isr_config``. Raises `TaskError` with every difference, or when what is stored cannot be
        read; what is stored then stays.
        """
        name = self._getConfigName()
        if name is not None:
            record = _Record(butler, name, "config", self.config, self.config.compare_stored)
            record.write(clobber, doBackup)

    def writeSchemas(self, butler: Repository, clobber: bool = False, doBackup: bool = True) -> None:
        """Store the empty catalogs of `getAllSchemaCatalogs`, or check that stored ones are the same.

        Datasets are the catalogs' with ``_schema``; ``clobber`` and ``doBackup`` are as for `writeConfig`.
        Columns are compared by name, order, type, unit and description. All are compared before the first is
        written. Raises `TaskError` with every difference.
        """
        catalogs = self.getAllSchemaCatalogs()
        records = [
            _Record(butler, f"{name}_schema", "schema", catalog, _schema_comparison(catalog))
            for name, catalog in sorted(catalogs.items())
        ]
        found = [line for record in records for line in ([] if clobber else record.differences())]
        if found:
            raise TaskError(_report("schemas", "schema", found))
        for record in records:
            record.write(clobber, doBackup)

    def writeMetadata(self, dataRef: Repository) -> None:
        """Store the metadata of every task in the tree; a failure is a warning, the work itself is done.

        The dataset is ``isr_metadata``, for the data id of ``dataRef``.
        """
        self._storeMetadata(dataRef, self.getFullMetadata())

    def _storeMetadata(self, dataRef: Repository, metadata: Mapping[str, Metadata]) -> None:
        """As `writeMetadata`, of metadata taken earlier: the task may be at work again."""
        name = self._getMetadataName()
        try:
            if name is not None:
                dataRef.put(metadata, name)
        except Exception as fault:  # whatever a repository raises: products matter more than metadata
            self.log.warning("metadata of %s cannot be stored: %s", dict(dataRef.dataId), fault)

    def writePackageVersions(
        self, butler: Repository, clobber: bool = False, doBackup: bool = True, dataset: str = "packages"
    ) -> None:
        """Store the versions of Python and its packages, or check them against those stored.

        Packages that are only known now are added, those only known before stay. ``clobber`` replaces all,
        with a backup if ``doBackup``; ``dataset`` is where they are. Raises `TaskError` with every package
        that has another version, or when what is stored cannot be read.
        """
        present = package_versions()

        def compare(stored: Mapping[str, str]) -> list[str]:
            return list(version_differences(stored, present))

        _Record(butler, dataset, "package versions", present, compare).write(clobber, doBackup)
        stored = dict(butler.get(dataset))
        if not present.keys() <= stored.keys():
            butler.put({**stored, **present}, dataset)


class _Record:
    """One dataset that is written once and compared ever after."""

    def __init__(
        self, butler: Repository, name: str, what: str, value: Any, compare: Callable[[Any], list[str]]
    ) -> None:
        self.butler, self.name, self.what, self.value, self.compare = butler, name, what, value, compare

    def write(self, clobber: bool, do_backup: bool) -> None:
        """Store the value, or raise `TaskError` with what differs from the stored one."""
        if clobber:
            self.butler.put(self.value, self.name, doBackup=do_backup)
            return
        try:
            if not self.butler.datasetExists(self.name):
                self.butler.put(self.value, self.name, mustBeNew=True)
                return
        except DatasetExistsError:
            # Somebody stored one between our look and our writing: it is compared like any other.
            pass
        found = self.differences()
        if found:
            raise TaskError(_report(self.name, self.what, found))

    def differences(self) -> list[str]:
        """What differs from the stored value; nothing when none is stored."""
        return self.compare(self._stored()) if self.butler.datasetExists(self.name) else []

    def _stored(self) -> Any:
        """The stored value. Raises what the repository raises, as a `TaskError` that says what to do."""
        try:
            return self.butler.get(self.name)
        except Exception as fault:
            raise TaskError(
                f"the stored {self.what} {self.name!r} cannot be read: {fault}\n  {_ADVICE[self.what]}"
            ) from fault


def _report(name: str, what: str, found: list[str]) -> str:
    lines = [f"{name}: the {what} differs from what is stored", *(f"  - {line}" for line in found)]
    return "\n".join([*lines, f"  {_ADVICE[what]}"])


def _schema_comparison(mine: Table) -> Callable[[Table], list[str]]:
    return lambda theirs: list(_schema_differences(mine, theirs))


def _schema_differences(mine: Table, theirs: Table) -> Iterator[str]:
    """Columns that are not in both, and those that differ in type, unit or description."""
    for name in [*mine.colnames, *(name for name in theirs.colnames if name not in mine.colnames)]:
        if name not in theirs.colnames or name not in mine.colnames:
            yield f"column {name!r}: only {'here' if name in mine.colnames else 'there'}"
            continue
        for aspect in ("dtype", "unit", "description"):
            here, there = getattr(mine[name], aspect), getattr(theirs[name], aspect)
            if aspect == "dtype" and here.kind == there.kind == "U":
                continue
            if here != there:
                yield f"column {name!r}: {aspect} is {here} here, {there} there"
    if list(mine.colnames) != list(theirs.colnames) and set(mine.colnames) == set(theirs.colnames):
        yield f"columns are in order {', '.join(mine.colnames)} here, {', '.join(theirs.colnames)} there"
