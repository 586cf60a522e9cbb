"""Linearizers in files: FITS tables, an ECSV table, TOML."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits
from astropy.table import Table

from isrcore.atomic import replacing
from isrcore.config_toml import format_value
from isrcore.fits_columns import escape, unescape
from isrcore.fits_tables import text_column
from isrcore.geometry import Box, Section
from isrcore.linearity import LinearityCurve, LinearizerError

if TYPE_CHECKING:
    from isrcore.linearity import Linearizer

_BOX = ("BBOX_X0", "BBOX_Y0", "BBOX_DX", "BBOX_DY")
_COLUMNS = ("AMPLIFIER_NAME", "TYPE", "COEFFS", *_BOX)
_VALUES = "LOOKUP_VALUES"
_OWNER = {"DET_NAME": "detector_name", "DET_SER": "serial"}


def read_contents(path: Path) -> dict[str, Any]:
    """What a file says of a linearizer. Raises `LinearizerError` naming the file, OSError without one."""
    with path.open("rb") as stream:
        start = stream.read(6)
    try:
        if start.startswith((b"SIMPLE", b"\x1f\x8b")):
            return _read_fits(path)
        text = path.read_text(encoding="utf-8")
        if start == b"# %ECS":
            return _from_rows(Table.read(text, format="ascii.ecsv"))
        return _from_toml(tomllib.loads(text))
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        raise LinearizerError(
            f"'{path}' holds no linearizer: {fault}\n  FITS tables, ECSV or TOML are understood, see 'Files'"
        ) from fault


def _read_fits(path: Path) -> dict[str, Any]:
    """The tables of a FITS file: amplifiers, then, if there is one, the lookup table."""
    with fits.open(path) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU)]
        if not tables:
            raise ValueError("it has no table")
        contents = _from_rows(
            Table.read(tables[0], mask_invalid=False), {**hdus[0].header, **tables[0].header}
        )
        if len(tables) > 1:
            names = {name.upper(): name for name in tables[1].columns.names}
            values = np.array(tables[1].data[names[_VALUES]], np.float32)
            # A column of single numbers has one dimension.
            contents["table"] = values.reshape(len(values), -1)
    return contents


def _from_rows(table: Table, header: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The contents of a table with one row per amplifier."""
    names = {name.upper(): name for name in table.colnames}
    if missing := [name for name in _COLUMNS if name not in names]:
        raise ValueError(f"its table lacks {', '.join(missing)}; it has {', '.join(table.colnames)}")
    rows = [{name: row[names[name]] for name in _COLUMNS} for row in table]
    owner = header if header is not None else table.meta
    curves = {_text(row["AMPLIFIER_NAME"]): _curve_of(row) for row in rows}
    if len(curves) < len(rows):
        raise ValueError("two of its rows are of one amplifier")
    return {"amplifiers": curves, **{ours: _text(owner.get(key, "")) for key, ours in _OWNER.items()}}


def _text(value: Any) -> str:
    return unescape(str(value).rstrip())


def _curve_of(row: Mapping[str, Any]) -> LinearityCurve:
    """The curve of a row; a box without pixels means none."""
    x0, y0, width, height = (int(row[name]) for name in _BOX)
    box = Box.from_corner(x0, y0, width, height) if width and height else None
    numbers = row["COEFFS"]
    # ECSV has no empty text: it reads as masked.
    numbers = "" if np.ma.is_masked(numbers) else numbers
    listed = numbers.split() if isinstance(numbers, str) else np.ravel(numbers).tolist()
    return LinearityCurve(_text(row["TYPE"]), listed, box)


def _from_toml(document: dict[str, Any]) -> dict[str, Any]:
    """The contents of a TOML document."""
    tables = document.pop("amplifiers")
    contents: dict[str, Any] = {"amplifiers": {name: _curve_of_toml(t) for name, t in tables.items()}}
    for key, ours in {"detector": "detector_name", "serial": "serial", "lookup_values": "table"}.items():
        if key in document:
            contents[ours] = document.pop(key)
    if document:
        raise ValueError(f"key '{next(iter(document))}' is unknown")
    return contents


def _curve_of_toml(table: dict[str, Any]) -> LinearityCurve:
    """The curve of one amplifier; its box is a FITS section."""
    box = Section.parse(table.pop("box")).box if "box" in table else None
    return LinearityCurve(**table, box=box)


def write_contents(linearizer: Linearizer, path: Path) -> None:
    """Write a linearizer in the format that the name asks for, completely or not at all."""
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise LinearizerError(f"cannot write a linearizer to '{path}'; name it {', '.join(_WRITERS)}")
    content = writer(linearizer)
    with replacing(path) as stream:
        stream.write(content)


def _fits_content(linearizer: Linearizer) -> bytes:
    curves = list(linearizer.amplifiers.values())
    longest = max([1, *(len(curve.coeffs) for curve in curves)])
    padded = np.full((len(curves), longest), np.nan)
    for row, curve in zip(padded, curves, strict=True):
        row[: len(curve.coeffs)] = curve.coeffs
    columns = [
        text_column("AMPLIFIER_NAME", linearizer.amplifiers),
        text_column("TYPE", [curve.type for curve in curves]),
        fits.Column("COEFFS", f"{longest}D", array=padded),
        *(
            fits.Column(name, "K", array=np.array(numbers), unit="pix")
            for name, numbers in zip(_BOX, _boxes(linearizer), strict=True)
        ),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, nrows=len(curves), name="LINEARITY")
    hdu.header.update({key: escape(getattr(linearizer, ours)) for key, ours in _OWNER.items()})
    hdus = [fits.PrimaryHDU(), hdu]
    if linearizer.table is not None:
        shape = linearizer.table.shape
        values = fits.Column(_VALUES, f"{shape[1]}E", array=linearizer.table, unit="adu")
        hdus.append(fits.BinTableHDU.from_columns([values], nrows=shape[0], name=_VALUES))
    stream = io.BytesIO()
    fits.HDUList(hdus).writeto(stream, checksum=True)
    return stream.getvalue()


def _boxes(linearizer: Linearizer) -> Iterator[list[int]]:
    """Corner and size of the amplifiers' boxes, number by number."""
    boxes = [curve.box or Box(0, 0, 0, 0) for curve in linearizer.amplifiers.values()]
    yield [box.x0 for box in boxes]
    yield [box.y0 for box in boxes]
    yield [box.width for box in boxes]
    yield [box.height for box in boxes]


def _ecsv_content(linearizer: Linearizer) -> bytes:
    if linearizer.table is not None:
        raise LinearizerError("a lookup table does not fit into ECSV; name the file .fits or .toml")
    curves = linearizer.amplifiers.values()
    columns: dict[str, Any] = {
        "AMPLIFIER_NAME": [escape(name) for name in linearizer.amplifiers],
        "TYPE": [curve.type for curve in curves],
        # As text: people can write it, and repr gives every bit back.
        "COEFFS": [" ".join(map(repr, curve.coeffs)) for curve in curves],
        **dict(zip(_BOX, _boxes(linearizer), strict=True)),
    }
    owner = {key: escape(getattr(linearizer, ours)) for key, ours in _OWNER.items()}
    stream = io.StringIO()
    Table(columns, meta=owner).write(stream, format="ascii.ecsv")
    return stream.getvalue().encode()


def _toml_content(linearizer: Linearizer) -> bytes:
    lines = [f"detector = {format_value(linearizer.detector_name)}"]
    lines.append(f"serial = {format_value(linearizer.serial)}")
    if linearizer.table is not None:
        rows = ",\n  ".join(format_value(row) for row in linearizer.table.tolist())
        lines.append(f"lookup_values = [\n  {rows},\n]")
    for name, curve in linearizer.amplifiers.items():
        lines += ["", f"[amplifiers.{format_value(name)}]", f"type = {format_value(curve.type)}"]
        lines.append(f"coeffs = {format_value(curve.coeffs)}")
        if curve.box is not None:
            lines.append(f"box = {format_value(curve.box.to_section())}")
    return "\n".join([*lines, ""]).encode()


_WRITERS: Mapping[str, Callable[[Linearizer], bytes]] = {
    ".fits": _fits_content,
    ".ecsv": _ecsv_content,
    ".toml": _toml_content,
}
