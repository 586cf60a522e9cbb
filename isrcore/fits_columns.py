"""Values of attrs classes as columns of FITS tables, and texts that ASCII cannot hold.

Tables are made and read here: what astropy prepares of every column takes longer than all pixels of a CCD.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from isrcore.fits_parts import NewPart, make_header
from isrcore.geometry import Box

# The lines of a configuration are the same in every product of a run.
_KEPT_TEXTS = 4096

_COMMENT_LIKE = re.compile(r"(' *)/")


@attrs.frozen
class Kind:
    """How values of one type of field are stored in a column."""

    format: str
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


@lru_cache(_KEPT_TEXTS)
def escape(text: str) -> str:
    """Any text as printable ASCII.

    What FITS drops at the end is escaped: blanks, and & of a long text. So is what astropy takes for the
    beginning of a comment, a slash after a quote, and what gets lost at the start of a row of ECSV: a blank
    or #.
    """
    plain = _COMMENT_LIKE.sub(r"\1\\x2f", text.encode("unicode_escape").decode("ascii"))
    plain = rf"\x{ord(plain[0]):02x}{plain[1:]}" if plain.startswith((" ", "#")) else plain
    bare = plain.rstrip(" &")
    return bare + "".join(rf"\x{ord(letter):02x}" for letter in plain[len(bare) :])


def unescape(text: str) -> str:
    """The text that was escaped."""
    return text.encode("ascii").decode("unicode_escape")


def _decode_floats(text: str) -> tuple[float, ...]:
    """Numbers from a text with blanks between them."""
    return tuple(float(number) for number in text.split())


_KINDS = {
    "str": Kind("A", escape, unescape),
    "int": Kind("K", int, int),
    "float": Kind("D", float, float),
    "bool": Kind("L", bool, bool),
    "Box": Kind("4K", attrs.astuple, lambda numbers: Box(*(int(number) for number in numbers))),
    # As text: columns of varying length are where readers differ, and repr gives every bit back.
    "tuple[float, ...]": Kind("A", lambda numbers: " ".join(repr(float(n)) for n in numbers), _decode_floats),
}


# Numbers as they are stored, by the letter in TFORM.
_DTYPES = {"K": ">i8", "D": ">f8", "L": "u1"}


def kinds_of(row_type: type) -> dict[str, Kind]:
    """How the fields of a class are stored, by name."""
    return {field.name: _KINDS[str(field.type)] for field in attrs.fields(row_type)}


def make_table(name: str, row_type: type, rows: Sequence[Any]) -> NewPart:
    """A table with a column for each field of the rows' type."""
    kinds = kinds_of(row_type)
    columns = {column: [kind.encode(getattr(row, column)) for row in rows] for column, kind in kinds.items()}
    return _table(name, {column: kind.format for column, kind in kinds.items()}, columns, len(rows))


def make_texts(name: str, columns: Mapping[str, Iterable[str]]) -> NewPart:
    """A table of texts."""
    encoded = {column: [escape(text) for text in texts] for column, texts in columns.items()}
    return _table(name, dict.fromkeys(encoded, "A"), encoded, max(map(len, encoded.values())))


def _table(name: str, forms: Mapping[str, str], columns: Mapping[str, list[Any]], rows: int) -> NewPart:
    """A table of encoded values, by TFORM; the longest text makes the width of a column of texts."""
    widths = {column: max([1, *map(len, columns[column])]) for column, form in forms.items() if form == "A"}
    forms = {column: f"{widths.get(column, '')}{form}" for column, form in forms.items()}
    table = np.zeros(rows, np.dtype([(column, *_dtype(form)) for column, form in forms.items()]))
    for column, values in columns.items():
        if rows:
            table[column] = [b"FT"[value] for value in values] if forms[column] == "L" else values
    cards: list[tuple[str, int | str]] = [("TFIELDS", len(forms))]
    for number, (column, form) in enumerate(forms.items(), 1):
        cards += [(f"TTYPE{number}", column), (f"TFORM{number}", form)]
    header = make_header("BINTABLE", name, 8, (table.itemsize, rows), cards)
    content = table.tobytes()
    # Written, and summed, in words of four bytes.
    return NewPart(name, header, np.frombuffer(content + bytes(-len(content) % 4), ">u4").astype(np.uint32))


def read_columns(header: Header, data: bytes) -> dict[str, list[Any]]:
    """The columns of a table by name, as Python's own values."""
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


def read_rows(header: Header, data: bytes, row_type: type) -> Iterator[dict[str, Any]]:
    """The rows of a table as values of the fields of their type."""
    kinds = kinds_of(row_type)
    columns = read_columns(header, data)
    for index in range(header["NAXIS2"]):
        yield {name: kind.decode(columns[name][index]) for name, kind in kinds.items()}
