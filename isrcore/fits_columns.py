"""Values of attrs classes as columns of FITS tables, and texts that ASCII cannot hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from isrcore.geometry import Box


@attrs.frozen
class _Kind:
    """How values of one type of field are stored in a column."""

    format: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def escape(text: str) -> str:
    """Any text as printable ASCII. What FITS drops at the end is escaped: blanks, and & of a long text."""
    plain = text.encode("unicode_escape").decode("ascii")
    bare = plain.rstrip(" &")
    return bare + "".join(rf"\x{ord(letter):02x}" for letter in plain[len(bare) :])


def unescape(text: str) -> str:
    """The text that was escaped."""
    return text.encode("ascii").decode("unicode_escape")


def _decode_floats(text: str) -> tuple[float, ...]:
    """Numbers from a text with blanks between them."""
    return tuple(float(number) for number in text.split())


_KINDS = {
    "str": _Kind("A", escape, unescape),
    "int": _Kind("K", int, int),
    "float": _Kind("D", float, float),
    "bool": _Kind("L", bool, bool),
    "Box": _Kind("4K", attrs.astuple, lambda numbers: Box(*(int(number) for number in numbers))),
    # As text: columns of varying length are where readers differ, and repr gives every bit back.
    "tuple[float, ...]": _Kind(
        "A", lambda numbers: " ".join(repr(float(n)) for n in numbers), _decode_floats
    ),
}


# Numbers as they are stored, by the letter in TFORM.
_DTYPES = {"K": ">i8", "D": ">f8", "L": "u1"}


def _column(name: str, kind: _Kind, values: Iterable[Any]) -> fits.Column:
    """A column of encoded values."""
    encoded = [kind.encode(value) for value in values]
    if kind.format != "A":
        return fits.Column(name, kind.format, array=np.array(encoded))
    width = max([1, *map(len, encoded)])
    return fits.Column(name, f"{width}A", array=np.array(encoded, dtype=f"S{width}"))


def make_table(name: str, row_type: type, rows: Sequence[Any]) -> fits.BinTableHDU:
    """A table with a column for each field of the rows' type."""
    columns = [
        _column(field.name, _KINDS[str(field.type)], [getattr(row, field.name) for row in rows])
        for field in attrs.fields(row_type)
    ]
    return fits.BinTableHDU.from_columns(columns, nrows=len(rows), name=name)


def read_columns(header: fits.Header, data: bytes) -> dict[str, list[Any]]:
    """The columns of a table by name, as Python's own values; data of any other kind are a `KeyError`.

    astropy prepares much for every column that is not needed here.
    """
    numbers = range(1, header["TFIELDS"] + 1)
    formats = [(header[f"TTYPE{n}"], *_dtype(header[f"TFORM{n}"])) for n in numbers]
    table = np.frombuffer(data, np.dtype(formats), count=header["NAXIS2"])
    return {name: _values(table[name]) for name, *_ in formats}


def _dtype(form: str) -> tuple[str, tuple[int, ...]]:
    """Type and shape of a value of a column, by its TFORM."""
    count, code = int(form[:-1] or "1"), form[-1]
    if code == "A":
        return f"S{count}", ()
    return _DTYPES[code], () if count == 1 else (count,)


def _values(column: npt.NDArray[Any]) -> list[Any]:
    """Values of a column; blanks at the end of a text do not count."""
    if column.dtype.kind == "S":
        return [text.decode("ascii").rstrip() for text in column.tolist()]
    values: list[Any] = (column == ord("T") if column.dtype == np.uint8 else column).tolist()
    return values


def read_rows(header: fits.Header, data: bytes, row_type: type) -> Iterator[dict[str, Any]]:
    """The rows of a table as values of the fields of their type."""
    kinds = {field.name: _KINDS[str(field.type)] for field in attrs.fields(row_type)}
    columns = read_columns(header, data)
    for index in range(header["NAXIS2"]):
        yield {name: kind.decode(columns[name][index]) for name, kind in kinds.items()}


def text_column(name: str, texts: Iterable[str]) -> fits.Column:
    """A column of texts."""
    return _column(name, _KINDS["str"], texts)
