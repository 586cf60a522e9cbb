"""Defects: boxes of pixels known to be bad, their masks and their files."""

from __future__ import annotations

import io
import logging
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io import fits
from astropy.table import Table

from isrcore import footprints
from isrcore.geometry import Box, covers

_log = logging.getLogger(__name__)

_SIMPLE = ("x0", "y0", "width", "height")
_REGION = ("x", "y", "shape", "r")
_REGION_OPTIONAL = ("rotang", "component")
_STRUCTURAL = {"CHECKSUM", "DATASUM", "EXTNAME", "COMMENTS", "__SERIALIZED_COLUMNS__", "COMMENT", "HISTORY"}


class DefectsError(ValueError):
    """Something that is no defect, or a file that holds none."""


def _tupled(boxes: Iterable[Box]) -> tuple[Box, ...]:
    return tuple(boxes)


def _copied(header: Mapping[str, Any]) -> dict[str, Any]:
    return dict(header)


@attrs.frozen
class Defects:
    """Bad pixels of one detector, as boxes in its trimmed frame; boxes may overlap or leave the frame.

    Equal when the boxes are equal, in the same order. ``header`` holds what the file said about them,
    ``detector_name`` whose they are and ``source`` where they came from, "" if unknown.
    """

    boxes: tuple[Box, ...] = attrs.field(default=(), converter=_tupled)
    header: Mapping[str, Any] = attrs.field(factory=dict, converter=_copied, eq=False, repr=False)
    detector_name: str = attrs.field(default="", eq=False)
    source: str = attrs.field(default="", eq=False)

    @classmethod
    def from_iterable(
        cls, items: Iterable[Any], header: Mapping[str, Any] | None = None, detector_name: str = ""
    ) -> Defects:
        """Defects from boxes, objects with a ``box``, points (x, y) or tuples (x0, y0, width, height).

        Numbers are zero-based integers. Raises `DefectsError` naming all items that are none of these.
        """
        boxes, problems = _collected(_as_box, items, "item")
        if problems:
            raise DefectsError("not defects:\n" + "\n".join(problems))
        return cls(boxes, header or {}, detector_name)

    @classmethod
    def from_mask(cls, mask: npt.NDArray[Any], bits: int | None = None) -> Defects:
        """The flagged pixels of a mask of shape (ny, nx), tiled by boxes that do not overlap.

        ``mask`` is boolean, or an integer bit field of which ``bits`` count (default: all of them).
        """
        if mask.ndim != 2:
            raise DefectsError(f"a mask has two dimensions (ny, nx), this one has shape {mask.shape}")
        flags = mask if mask.dtype == np.bool_ else (mask if bits is None else mask & bits) != 0
        return cls(tuple(footprints.boxes_of(flags)))

    @classmethod
    def from_table(cls, table: Table, where: str = "defect table") -> Defects:
        """Defects from the rows of a region table or a simple table; ``where`` names it in errors.

        A region table has the FITS region columns X, Y, SHAPE and R; shapes other than boxes and points,
        and boxes not along the axes, are left out with a warning. A simple table has x0, y0, width and
        height. Raises `DefectsError` for other columns and for rows that are no box, all together.
        """
        names = {name.lower(): name for name in table.colnames}
        convert = _row_converter(names, where)
        rows = ({low: row[name] for low, name in names.items()} for row in table)
        found, problems = _collected(convert, rows, "row")
        if problems:
            raise DefectsError(
                f"{where} has rows that are no defects; correct or remove them:\n" + "\n".join(problems)
            )
        header = {key: value for key, value in table.meta.items() if key.upper() not in _STRUCTURAL}
        return cls(_without_skipped(found, where), header, str(header.get("DET_NAME", "")))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Defects:
        """Read a FITS table (region or simple), an ECSV table, or plain text of four integer columns.

        The kind is told from the content. Raises `DefectsError` naming file, rows and remedy.
        """
        path = Path(path)
        with path.open("rb") as stream:
            start = stream.read(16)
        if start.startswith((b"SIMPLE", b"\x1f\x8b")):
            return cls.from_table(_fits_table(path), f"'{path}'")
        text = _decoded(path)
        if text.startswith("# %ECSV"):
            return cls.from_table(_parsed_ecsv(text, path), f"'{path}'")
        return cls(_plain_boxes(text, path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a FITS region table (.fits) or a simple ECSV table (.ecsv), completely or not at all."""
        path = Path(path)
        header = {**self.header, "OBSTYPE": "defects", "DATE": _now()}
        if self.detector_name:
            header["DET_NAME"] = self.detector_name
        if path.suffix == ".fits":
            content = _fits_content(_region_table(self.as_array), header)
        elif path.suffix == ".ecsv":
            content = _ecsv_content(self.as_array, header)
        else:
            raise DefectsError(f"cannot write defects to '{path}'; name it .fits or .ecsv")
        _replace(path, content)

    @cached_property
    def as_array(self) -> npt.NDArray[np.int64]:
        """The boxes as rows (y0, y1, x0, x1), read-only, shape (N, 4)."""
        array = np.array([attrs.astuple(box) for box in self.boxes], dtype=np.int64).reshape(-1, 4)
        array.setflags(write=False)
        return array

    def covers(self, box: Box) -> bool:
        """Whether the boxes together contain every pixel of ``box``, as those of a dead amplifier do."""
        near = [bool(one.intersect(box).area) for one in self.boxes]
        return covers(self.as_array[np.array(near, dtype=bool)], box)

    def clip(self, shape: tuple[int, int]) -> Defects:
        """The parts inside a frame of ``shape`` (ny, nx)."""
        frame = Box.of_shape(shape)
        inside = (box.intersect(frame) for box in self.boxes)
        return attrs.evolve(self, boxes=tuple(box for box in inside if box.area))

    def normalize(self) -> Defects:
        """The same pixels in boxes that do not overlap, in the order of `from_mask`.

        Works on the grid of the boxes' edges: the cost does not depend on their size.
        """
        if not self.boxes:
            return self
        y, x = np.unique(self.as_array[:, :2]), np.unique(self.as_array[:, 2:])
        cells = np.zeros((y.size - 1, x.size - 1), dtype=bool)
        for box in self.boxes:
            (y0, y1), (x0, x1) = np.searchsorted(y, (box.y0, box.y1)), np.searchsorted(x, (box.x0, box.x1))
            cells[y0:y1, x0:x1] = True
        tiles = (
            Box(int(y[cell.y0]), int(y[cell.y1]), int(x[cell.x0]), int(x[cell.x1]))
            for cell in footprints.boxes_of(cells)
        )
        return attrs.evolve(self, boxes=tuple(tiles))

    def to_mask(self, shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """True on the defects in a frame of ``shape`` (ny, nx)."""
        mask = np.zeros(shape, dtype=bool)
        for box in self.clip(shape).boxes:
            mask[box.slices] = True
        return mask

    def flag(self, mask: npt.NDArray[np.int32], bit: int) -> None:
        """Set ``bit`` (its value, such as 1 for BAD) on the defects, in place; parts outside are ignored."""
        for box in self.clip((mask.shape[0], mask.shape[1])).boxes:
            mask[box.slices] |= bit

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.boxes)

    def __iter__(self) -> Iterator[Box]:
        """The boxes in order."""
        return iter(self.boxes)


def make_threshold_mask(
    image: npt.NDArray[Any], mask: npt.NDArray[np.int32], threshold: float, bit: int, grow: int = 0
) -> Defects:
    """Set ``bit`` in ``mask`` where ``image >= threshold`` and return those pixels as boxes.

    ``bit`` is the value of the plane's bit, such as 2 for SAT; ``grow`` is a Manhattan distance in
    pixels. NaN pixels, and all pixels when the threshold is NaN, stay unflagged.
    """
    flags = footprints.grow(image >= threshold, grow)
    mask[flags] |= bit
    return Defects.from_mask(flags)


def _collected(
    convert: Callable[[Any], Box | str], items: Iterable[Any], label: str
) -> tuple[list[Any], list[str]]:
    """What ``convert`` makes of the items, and the complaints of those it refused, one-based."""
    found, problems = [], []
    for number, item in enumerate(items, start=1):
        try:
            found.append(convert(item))
        except DefectsError as error:
            problems.append(f"  {label} {number}: {error}")
    return found, problems


def _as_box(item: Any) -> Box:
    item = getattr(item, "box", item)
    if isinstance(item, Box):
        return _with_pixels(item)
    try:
        numbers = [_integer(number) for number in item]
    except TypeError:
        numbers = []
    if len(numbers) == 2:
        numbers += [1, 1]
    if len(numbers) == 4:
        x0, y0, width, height = numbers
        return _box_at(x0, y0, width, height)
    return _refuse(f"{item!r} is neither a Box, an (x, y) point, (x0, y0, width, height) nor has a 'box'")


def _refuse(problem: str) -> NoReturn:
    raise DefectsError(problem)


def _integer(number: Any) -> int:
    if isinstance(number, bool | np.bool_ | str | bytes):
        _refuse(f"{number!r} is not a whole number of pixels")
    if not np.isreal(number) or number != np.floor(number) or not np.isfinite(number):
        _refuse(f"{number!r} is not a whole number of pixels")
    return int(number)


def _box_at(x0: int, y0: int, width: int, height: int) -> Box:
    if width < 1 or height < 1:
        _refuse(f"width {width} and height {height} must be at least 1")
    return Box.from_corner(x0, y0, width, height)


def _with_pixels(box: Box) -> Box:
    return box if box.area else _refuse(f"{box} has no pixels")


def _row_converter(names: Mapping[str, str], where: str) -> Callable[[Mapping[str, Any]], Box | str]:
    """How to read the rows of a table with these (lower-case) column names."""
    if set(names) == set(_SIMPLE):
        return lambda row: _box_at(*(_integer(row[name]) for name in _SIMPLE))
    if set(_REGION) <= set(names) <= {*_REGION, *_REGION_OPTIONAL}:
        return _region_box
    raise DefectsError(
        f"{where} has columns {', '.join(map(repr, names.values()))}\n"
        f"  a simple table needs {', '.join(_SIMPLE)}; a region table X, Y, SHAPE, R, "
        "and may have ROTANG and COMPONENT"
    )


def _region_box(row: Mapping[str, Any]) -> Box | str:
    """The box of a region row, or what it is instead."""
    shape = str(row["shape"]).strip().upper()
    angle = _finite(row["rotang"]) if "rotang" in row else 0.0
    if shape == "POINT":
        return _centred(row, 1, 1)
    if shape not in ("BOX", "ROTBOX"):
        return f"shape {shape!r}"
    if angle % 90:
        return f"{shape!r} at {angle} degrees"
    width, height = (_integer(side) for side in np.ravel(row["r"])[:2])
    return _centred(row, *((height, width) if angle % 180 else (width, height)))


def _centred(row: Mapping[str, Any], width: int, height: int) -> Box:
    """A box about the one-based centre of a row; a centre that fits no pixels goes up by half of one."""
    x0 = _finite(row["x"]) - 1 - (width - 1) / 2
    y0 = _finite(row["y"]) - 1 - (height - 1) / 2
    return _box_at(math.floor(x0 + 0.5), math.floor(y0 + 0.5), width, height)


def _finite(value: Any) -> float:
    number = math.nan if np.ma.is_masked(value) else float(value)
    return number if math.isfinite(number) else _refuse(f"{value} is no finite number")


def _without_skipped(found: list[Box | str], where: str) -> tuple[Box, ...]:
    skipped = [f"row {n} ({item})" for n, item in enumerate(found, start=1) if isinstance(item, str)]
    if skipped:
        _log.warning(
            "%s: left out %d regions that are no boxes along the axes: %s",
            where,
            len(skipped),
            ", ".join(skipped),
        )
    return tuple(item for item in found if isinstance(item, Box))


def _fits_table(path: Path) -> Table:
    with fits.open(path, checksum=False) as units:
        tables = [unit for unit in units if isinstance(unit, fits.BinTableHDU)]
        if len(tables) != 1:
            raise DefectsError(
                f"'{path}' has {len(tables)} tables, defects are one; "
                "choose one and pass it to 'Defects.from_table'"
            )
        return Table.read(tables[0])


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DefectsError(f"'{path}' is neither FITS nor text; give a defect file") from error


def _parsed_ecsv(text: str, path: Path) -> Table:
    try:
        return Table.read(text, format="ascii.ecsv")
    except (ValueError, KeyError, TypeError) as error:
        raise DefectsError(f"'{path}' is no valid ECSV table: {error}") from error


def _plain_boxes(text: str, path: Path) -> tuple[Box, ...]:
    """The boxes of legacy text: x0, y0, width and height on each line, ``#`` starts a comment."""
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    found, problems = _collected(_plain_box, lines, "line")
    if problems:
        raise DefectsError(
            f"'{path}' has lines that are no defects; each needs four integers x0 y0 width height:\n"
            + "\n".join(problems)
        )
    return tuple(box for box in found if box is not None)


def _plain_box(words: list[str]) -> Any:
    if not words:
        return None
    try:
        x0, y0, width, height = (int(word) for word in words)
    except ValueError:
        _refuse(f"{' '.join(words)!r} is not four integers")
    return _box_at(x0, y0, width, height)


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _sizes(array: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return array[:, 3] - array[:, 2], array[:, 1] - array[:, 0]


def _region_table(array: npt.NDArray[np.int64]) -> Table:
    width, height = _sizes(array)
    return Table(
        {
            "X": (array[:, 2] + array[:, 3] + 1) / 2,
            "Y": (array[:, 0] + array[:, 1] + 1) / 2,
            "SHAPE": np.where((width == 1) & (height == 1), "POINT", "BOX").astype("U5"),
            "R": np.stack([width, height], axis=1).astype(np.float64),
            "ROTANG": np.zeros(len(array)),
            "COMPONENT": np.arange(len(array), dtype=np.int32),
        }
    )


def _fits_content(table: Table, header: Mapping[str, Any]) -> bytes:
    unit = fits.table_to_hdu(table)
    unit.name = "DEFECTS"
    for key, value in header.items():
        # Named so from the start, long keys do not make astropy warn.
        unit.header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(stream, checksum=True)
    return stream.getvalue()


def _ecsv_content(array: npt.NDArray[np.int64], header: Mapping[str, Any]) -> bytes:
    columns = (array[:, 2], array[:, 0], *_sizes(array))
    table = Table(dict(zip(_SIMPLE, columns, strict=True)), meta=dict(header))
    for column in table.columns.values():
        column.unit = "pix"
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue().encode()


def _replace(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` so that no reader ever sees part of it."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
