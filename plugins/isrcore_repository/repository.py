"""A folder of FITS files and one registry as a repository."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import attrs
from astropy.time import Time

from isrcore import (
    CalibrationSearch,
    DatasetError,
    FolderRepository,
    RawFrame,
    Registry,
    RepositoryError,
    VisitInfo,
    read_exposure,
)
from isrcore_repository import layout
from isrcore_repository.cameras import with_own_camera
from isrcore_repository.certificates import BY_FILTER, adopt, certify, is_certified
from isrcore_repository.search import Wanted, search
from isrcore_repository.tables import CalibrationRow, DatasetRow, RawRow, Tables

#: Versions of the layout that this program understands.
LAYOUT = 1

# What a frame and its row both say.
_TOLD = ("exposure", "detector", "night", "type", "filter", "object_name", "exposure_s", "dark_s", "date")

#: What a task calls its product.
PRODUCT = "postISRCCD"


@attrs.frozen
class EmbeddedRepository:
    """The repository in the folder ``root``, about ``dataId``.

    Raw frames, calibrations and products have places of their own (see `layout`); all else that a task
    stores is a file of the folder ``record``. A file is written before its row: what a killed program leaves
    is found by `rebuild`, and a row whose file is gone or cut off is never handed out.
    """

    root: Path = attrs.field(converter=Path)
    dataId: Mapping[str, Any] = attrs.field(factory=dict, converter=dict)
    _plugins: Registry | None = attrs.field(default=None, eq=False, repr=False)

    @classmethod
    def open(cls, root: str | Path, plugins: Registry | None = None) -> EmbeddedRepository:
        """The repository in a folder. Raises `RepositoryError` when there is none of this layout."""
        found = cls(root, plugins=None if plugins is None else with_own_camera(Path(root), plugins))
        if found._settings["layout"] != LAYOUT:
            raise RepositoryError(
                f"repository {str(root)!r} has layout {found._settings['layout']}, this program knows "
                f"{LAYOUT}; use the version of isrcore that made it"
            )
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, which find plugins themselves."""
        return {"root": self.root, "dataId": self.dataId}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As `__getstate__`."""
        self.__init__(state["root"], state["dataId"])  # type: ignore[misc]

    @property
    def _settings(self) -> dict[str, Any]:
        """What the repository's own file says. Raises `RepositoryError`."""
        path = self.root / layout.MARKER
        try:
            found = tomllib.loads(path.read_text(encoding="utf-8"))
            return {"layout": int(found["layout"]), "camera": str(found["camera"])}
        except FileNotFoundError as fault:
            raise RepositoryError(
                f"{str(self.root)!r} is no repository; make one with 'isr init {self.root} --camera NAME'"
            ) from fault
        except (OSError, ValueError, KeyError) as fault:
            raise RepositoryError(f"{str(path)!r} cannot be read: {fault!r}; restore it") from fault

    @property
    def camera(self) -> str:
        """The camera's name."""
        return str(self._settings["camera"])

    @property
    def plugins(self) -> Registry:
        """The plugins that read the camera's files: those given or installed, and its own camera file."""
        return self._plugins or _installed(self.root)

    @property
    def tables(self) -> Tables:
        """The registry."""
        return Tables(self.root / layout.REGISTRY)

    def at(self, **dataId: Any) -> EmbeddedRepository:
        """The same repository, about one thing in it: a data reference."""
        return attrs.evolve(self, dataId={**self.dataId, **dataId})

    def raw_frames(self, **wanted: Collection[Any]) -> list[RawFrame]:
        """Raw frames, see `DataRepository.raw_frames`."""
        rows = self.tables.rows(RawRow, **wanted)
        # Forty detectors are in one file.
        problems = {row.path: self._problem(row) for row in {row.path: row for row in rows}.values()}
        return [self._frame(row, problems[row.path]) for row in rows]

    def _frame(self, row: RawRow, problem: str) -> RawFrame:
        """A row as a frame."""
        told = {name: getattr(row, name) for name in _TOLD}
        known = {name: value for name, value in told.items() if value is not None}
        return RawFrame(path=self.root / row.path, problem=problem, **known)

    def _problem(self, row: RawRow) -> str:
        """Why a raw file is not what was ingested, empty when it is."""
        path = self.root / row.path
        try:
            state = path.stat()
        except OSError:
            return f"raw file {str(path)!r} is gone (it was {row.source!r}); ingest it again"
        if (state.st_size, state.st_mtime_ns) != (row.size, row.modified):
            return f"raw file {str(path)!r} changed after it was ingested; ingest it again"
        return ""

    def find_calibrations(
        self,
        wanted: Mapping[str, Collection[str]],
        detector: str,
        visit: VisitInfo,
        policy: str = "nearest",
        fallback: str = "",
    ) -> tuple[CalibrationSearch, ...]:
        """The calibrations for a detector of an exposure, see `DataRepository.find_calibrations`."""
        every = frozenset[str]().union(*wanted.values())
        rows = self.tables.rows(CalibrationRow, kind=every, detector=[detector])
        about = Wanted.of(self.plugins.camera(self.camera), detector, visit, policy, fallback)
        return tuple(search(self.root, rows, kind, names, about) for kind, names in wanted.items())

    def calibration_path(self, kind: str, detector: str, frames: Collection[RawFrame], ending: str) -> Path:
        """Where a new calibration goes: named by the first night of its frames, and their filter."""
        night = min((frame.night for frame in frames), default="")
        filters = {frame.filter for frame in frames} if kind in BY_FILTER else set()
        name = layout.calibration_name(kind, night, detector, filters)
        return self._place(name + ending)

    def certify(self, path: Path, first: Time | None, last: Time | None, **about: str) -> None:
        """Let a file be found as a calibration, see `DataRepository.certify`."""
        row = certify(self.root, path, first, last, **about)
        with self.tables.writing() as writer:
            writer.add([row])

    def identity_of(self, path: Path) -> str:
        """What a certified calibration was made of, see `DataRepository.identity_of`."""
        rows = self.tables.rows(CalibrationRow, path=[str(path.relative_to(self.root))])
        return rows[0].identity if rows and is_certified(self.root, path) else ""

    def certify_file(self, path: Path, first: Time | None, last: Time | None, **about: str) -> CalibrationRow:
        """As `certify` of any file: one from elsewhere is copied in, under its own name."""
        place = path.resolve()
        if not place.is_relative_to(self.root.resolve()):
            place = adopt(self.root.resolve(), path, **about)
        here = self.root / place.relative_to(self.root.resolve())
        self.certify(here, first, last, **about)
        row: CalibrationRow = self.tables.rows(CalibrationRow, path=[str(here.relative_to(self.root))])[0]
        return row

    def product_path(self, exposure: int, detector: str, ending: str = ".fits") -> Path:
        """Where the product of an exposure's detector goes."""
        return self.root / (self._product_name({"exposure": exposure, "detector": detector}) + ending)

    def _place(self, name: str) -> Path:
        """A path below the root, with its folder."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def add_product(self, path: Path, exposure: int, detector: str) -> None:
        """Let a product that has been written be found."""
        self._add(PRODUCT, path, {"exposure": exposure, "detector": detector})

    def _product_name(self, data_id: Mapping[str, Any]) -> str:
        """The path, without ending, of a product."""
        exposure, detector = _unit_of(data_id, PRODUCT)
        rows = self.tables.rows(RawRow, exposure=[exposure])
        return layout.product_name(rows[0].night if rows else "", exposure, detector)

    def _add(self, dataset: str, path: Path, data_id: Mapping[str, Any]) -> None:
        """Add the row of a file, unless it is there."""
        row = DatasetRow(str(path.relative_to(self.root)), dataset, layout.as_words(data_id))
        if row not in self.tables.rows(DatasetRow, path=[row.path]):
            with self.tables.writing() as writer:
                writer.add([row])

    @property
    def _files(self) -> FolderRepository:
        """The folder, in which datasets are named by their paths without ending."""
        return FolderRepository(self.root)

    def get(self, datasetType: str, immediate: bool = True, **dataId: Any) -> Any:
        """The dataset: raw exposure, product, record or calibration. Raises `DatasetError`.

        Where there is no record for a whole data id, the one kept for a part of it is taken.
        """
        here = {**self.dataId, **dataId}
        if datasetType == layout.RAW:
            return self._read_raw(here)
        for name in self._names(datasetType, here):
            if self._files.datasetExists(name):
                return self._files.get(name)
        return self._read_calibration(datasetType, here)

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

        Raises `DatasetExistsError` as `Repository.put` says, `RepositoryError` for raw frames.
        """
        here = {**self.dataId, **dataId}
        if datasetType == layout.RAW:
            raise RepositoryError("raw frames are not put into a repository: ingest their files")
        name = next(self._names(datasetType, here))
        try:
            self._files.put(obj, name, doBackup=doBackup, mustBeNew=mustBeNew)
        finally:
            # Also when it was there already: whoever wrote it may have been killed before the row.
            path = self._files.path_of(name, obj)
            if path.is_file():
                self._add(datasetType, path, here)

    def datasetExists(self, datasetType: str, **dataId: Any) -> bool:
        """Whether there is such a dataset, complete; calibrations are those that `get` would find."""
        here = {**self.dataId, **dataId}
        if datasetType == layout.RAW:
            return any(not frame.problem for frame in self._frames_of(here))
        if self._files.datasetExists(next(self._names(datasetType, here))):
            return True
        return datasetType != PRODUCT and self._is_found(datasetType, here)

    def path_of(self, datasetType: str, obj: Any, **dataId: Any) -> Path:
        """The file that `put` writes an object to."""
        return self._files.path_of(next(self._names(datasetType, {**self.dataId, **dataId})), obj)

    def _names(self, dataset: str, data_id: Mapping[str, Any]) -> Iterator[str]:
        """Paths, without ending, of files that may hold a dataset; the one for the whole data id first."""
        if dataset == PRODUCT:
            yield self._product_name(data_id)
            return
        for size in range(len(data_id), -1, -1):
            for part in combinations(sorted(data_id.items()), size):
                yield layout.record_name(dataset, dict(part))

    def _frames_of(self, data_id: Mapping[str, Any]) -> list[RawFrame]:
        """The frame that a data id names, if it is there."""
        exposure, detector = _unit_of(data_id, layout.RAW)
        return self.raw_frames(exposure=[exposure], detector=[detector])

    def _frame_of(self, data_id: Mapping[str, Any]) -> RawFrame:
        """The frame that a data id names. Raises `DatasetError` when it is not there, or not as it was."""
        frames = self._frames_of(data_id)
        if not frames or frames[0].problem:
            problem = frames[0].problem if frames else f"there is none in {str(self.root)!r}"
            raise DatasetError(f"no dataset 'raw' for {dict(data_id)}: {problem}")
        return frames[0]

    def _read_raw(self, data_id: Mapping[str, Any]) -> Any:
        """A raw exposure."""
        frame = self._frame_of(data_id)
        return next(iter(self.plugins.read_raw(frame.path, [frame.detector])))

    def _is_found(self, kind: str, data_id: Mapping[str, Any]) -> bool:
        """Whether a calibration is there for a data id, certified or shipped with the camera."""
        try:
            found = self._calibration_for(kind, data_id).chosen
        except DatasetError:
            return False
        return found is not None or str(data_id["detector"]) in self._shipped(kind)

    def _shipped(self, kind: str) -> Mapping[str, Any]:
        """The calibrations of a kind that ship with the camera, by detector."""
        found = self.plugins.curated_calibrations(self.plugins.camera(self.camera)).get(kind, {})
        return dict(found)

    def _calibration_for(self, kind: str, data_id: Mapping[str, Any]) -> CalibrationSearch:
        """The calibration for the exposure of a data id, whose ``filter`` and ``dateObs`` come first."""
        frame = self._frame_of(data_id)
        date = data_id.get("dateObs", frame.date)
        visit = VisitInfo(
            exposure_id=frame.exposure,
            exposure_s=frame.exposure_s,
            dark_s=frame.dark_s,
            date=Time(date, scale="utc") if date else None,
            filter=str(data_id.get("filter", frame.filter)),
        )
        return self.find_calibrations({kind: [kind]}, frame.detector, visit)[0]

    def _read_calibration(self, kind: str, data_id: Mapping[str, Any]) -> Any:
        """A certified calibration, else the camera's own.

        Raises `DatasetError` with every candidate and why it was refused.
        """
        if not {"exposure", "visit"} & data_id.keys():
            raise DatasetError(
                f"no dataset {kind!r} for {dict(data_id) or 'no data id'} in {str(self.root)!r}"
            )
        found, shipped = self._calibration_for(kind, data_id), self._shipped(kind)
        if found.chosen is None and str(data_id["detector"]) in shipped:
            return shipped[str(data_id["detector"])]
        if found.chosen is None:
            raise DatasetError(f"no dataset {kind!r} for {dict(data_id)}\n{found.explain()}")
        reader = self.plugins.readers.get(kind)
        detector = str(data_id["detector"])
        return read_exposure(found.chosen) if reader is None else reader(found.chosen, detector)


@cache
def _installed(root: Path) -> Registry:
    """The plugins that are installed, and the camera of a repository; finding them takes a while."""
    return with_own_camera(root, Registry.discover())


def _unit_of(data_id: Mapping[str, Any], dataset: str) -> tuple[int, str]:
    """Exposure and detector. Raises `DatasetError` for a data id without them."""
    try:
        return int(data_id.get("exposure", data_id.get("visit"))), str(data_id["detector"])
    except (KeyError, TypeError, ValueError) as fault:
        raise DatasetError(
            f"dataset {dataset!r} needs exposure (a number) and detector, got {dict(data_id)}"
        ) from fault
