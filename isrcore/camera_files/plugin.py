"""The plugin that a camera file is."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from astropy.io.fits import Header

from isrcore.atomic import replacing
from isrcore.camera import Camera, CameraError, merge_tables
from isrcore.camera_files.cards import Condition, failing, is_card, parse_card, parse_conditions
from isrcore.camera_files.files import CameraFile
from isrcore.camera_files.geometry import DetectorTable, parse_detector
from isrcore.camera_files.layouts import Layout
from isrcore.camera_files.reading import header_of, read_raw
from isrcore.camera_files.tables import Table
from isrcore.camera_files.visits import VisitTable, parse_visit
from isrcore.config_toml import Document, locate_keys
from isrcore.defects import Defects
from isrcore.exposure import Exposure, VisitInfo
from isrcore.geometry import Section
from isrcore.hookspecs import hookimpl
from isrcore.raw import RawSource

_CONFIG = "config."


@attrs.frozen(eq=False)
class FileCamera:
    """A camera that one file describes: a plugin like those that are packages.

    ``tables`` are files that the file names. ``camera`` is what it is without a raw file; when only raw files
    know the geometry, its detectors have shape (0, 0).
    """

    file: CameraFile
    camera: Camera
    detectors: tuple[DetectorTable, ...]
    layouts: Mapping[str, Layout]
    recognise: tuple[Condition, ...]
    require: tuple[Condition, ...]
    visit: VisitTable
    config: Mapping[str, Any]
    defects: Mapping[str, Defects]
    tables: tuple[str, ...]

    def copy_to(self, folder: Path) -> None:
        """Write the file and the tables of defects that it names into a folder.

        Raises `CameraError` for a table that lies elsewhere than beside or below the file.
        """
        here = self.file.path.parent
        for name in self.tables:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise CameraError(
                    f"camera file {str(self.file.path)!r} cannot be copied: it names the table {name!r}\n"
                    "  put that beside the file"
                )
        contents = {name: (here / name).read_bytes() for name in self.tables}
        for name, content in {**contents, self.file.path.name: self.file.text.encode()}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name) as stream:
                stream.write(content)

    @hookimpl
    def isr_cameras(self) -> list[Camera]:
        """The camera."""
        return [self.camera]

    @hookimpl
    def isr_read_raw(self, source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
        """Files whose headers are as ``raw.recognise`` says. Raises `RawError`."""
        return None if self.unlike(source) else read_raw(self, source, detectors)

    def unlike(self, source: RawSource) -> list[str]:
        """Why a file is none of this camera; empty when it is one."""
        return failing(self.recognise, header_of(source))

    def read_visit(self, header: Header) -> VisitInfo:
        """The visit, from the cards that the file names. Raises `HeaderFault`."""
        return self.visit.read(header)

    @hookimpl
    def isr_raw_writer(self, camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
        """Files that the camera file recognises, laid out as it says."""
        from isrcore.camera_files.writing import writer_of

        return writer_of(self) if camera.name == self.camera.name else None

    @hookimpl
    def isr_curated_calibrations(self, camera: Camera) -> Mapping[str, Any]:
        """The defects of the file."""
        is_ours = camera.name == self.camera.name and self.defects
        return {"defects": dict(self.defects)} if is_ours else {}

    @hookimpl
    def applyOverrides(self, config: Any, camera: Camera) -> None:
        """The values of the table ``config``. Raises `ConfigError` listing all that are wrong."""
        if camera.name == self.camera.name:
            lines = locate_keys(self.file.text).items()
            places = {key.removeprefix(_CONFIG): line for key, line in lines if key.startswith(_CONFIG)}
            document = Document(Path(self.file.path.name), dict(self.config), places)
            config.load_document(document, f"camera file {str(self.file.path)!r}", "camera")


def load_camera_file(file: str | Path | CameraFile) -> FileCamera:
    """The plugin that a camera file is: ``Registry({..., plugin.file.plugin: plugin})`` takes it.

    Raises `CameraError` listing everything wrong with the file.
    """
    read = file if isinstance(file, CameraFile) else CameraFile.read(file)
    problems: list[str] = []
    try:
        table = tomllib.loads(read.text)
    except tomllib.TOMLDecodeError as fault:
        raise CameraError(f"camera file {str(read.path)!r} is no TOML: {fault}") from fault
    found = _parse(read, Table(table, "", problems))
    if problems or found is None:
        lines = (f"  - {problem}".replace("\n", "\n    ") for problem in dict.fromkeys(problems))
        raise CameraError("\n".join([f"camera file {str(read.path)!r} cannot be used", *lines]))
    return found


def _parse(file: CameraFile, top: Table) -> FileCamera | None:
    """The plugin; None, or what is right of it, when there are problems."""
    raw = top.table("raw")
    detectors = tuple(_detectors(top, raw))
    recognise = parse_conditions(raw.table("recognise"))
    if not recognise:
        raw.complain("recognise", "is missing: name a card and its value, as in INSTRUME = 'MYCAM'")
    require = parse_conditions(raw.table("require"))
    visit = parse_visit(raw.table("visit"), list(raw.tables("observation_types")))
    raw.close()
    _check_top(top)
    config = top.table("config").values
    told = top.table("defects").values
    top.close()
    if top.problems:
        return None
    try:
        layouts = {table.name: table.nominal() for table in detectors}
        camera = Camera.from_table(top.values, tuple(layout.detector for layout in layouts.values()))
        found = dict(_defects(file, camera, Table(told, "defects", top.problems)))
    except ValueError as fault:
        top.problems.append(str(fault))
        return None
    tables = tuple(name for name in told.values() if isinstance(name, str))
    return FileCamera(file, camera, detectors, layouts, recognise, require, visit, config, found, tables)


def _detectors(top: Table, raw: Table) -> Iterator[DetectorTable]:
    """The detectors, with HDUs from the table ``raw``."""
    shared = top.table("detector").values
    binning = raw.table("binning") if is_card(raw.take_any("binning")) else None
    if binning is None and "binning" in raw:
        raw.complain("binning", "names no card; write it like { card = 'CCDSUM' }")
    card = None if binning is None else parse_card(binning)
    hdus = raw.table("hdus")
    told = {key: _hdu(hdus, key) for key in hdus.values}
    names = []
    for own in top.tables("detectors"):
        merged = Table(merge_tables(shared, own.values), own.place, top.problems)
        table = parse_detector(merged, told, card)
        names.append(table.name)
        yield table
    if not names:
        top.complain("detectors", "there is none; write [[detectors]]")
    for key in sorted(told.keys() - set(names)):
        hdus.complain(key, f"there is no detector of that name, there are {', '.join(names)}")


def _hdu(table: Table, key: str) -> Any:
    """The HDU of a detector, or those of its amplifiers by name."""
    value = table.take_any(key)
    if isinstance(value, Mapping):
        inner = table.table(key)
        return {name: _hdu(inner, name) for name in inner.values}
    if value == "primary":
        return 0
    if not isinstance(value, int | str) or isinstance(value, bool):
        table.complain(key, f"is {value!r}, it must be 'primary', an EXTNAME or a number (0 is the primary)")
    return value


def _check_top(top: Table) -> None:
    """Complain of values at the top of the file that no camera has."""
    top.take("name", str, ...)
    top.take("description", str, "")
    top.take("field_to_mm", list, [])
    top.take("longitude_deg", float, 0.0)
    for one in top.tables("filters"):
        one.take("name", str, ...)
        one.take("short_name", str, "")
        one.take("band", str, "")
        one.take("wavelength_nm", float, 0.0)
        one.texts("aliases")
        one.close()


def _defects(file: CameraFile, camera: Camera, table: Table) -> Iterator[tuple[str, Defects]]:
    """Defects by detector: sections of the assembled image, or the name of a table beside the file."""
    names = [detector.name for detector in camera.detectors]
    for key, value in table.values.items():
        if key not in names:
            table.complain(key, f"there is no detector of that name, there are {', '.join(names)}")
        elif isinstance(value, str):
            yield key, Defects.read(file.path.parent / value)
        elif isinstance(value, list) and all(isinstance(one, str) for one in value):
            boxes = [Section.parse(one).box for one in value]
            yield key, Defects.from_iterable(boxes)
        else:
            table.complain(key, f"is {value!r}, it must be sections or the name of a table of defects")
