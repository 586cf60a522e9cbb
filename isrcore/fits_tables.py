"""Values of attrs classes as astropy's tables, for small files that astropy writes and reads as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np
from astropy.io import fits

from isrcore.fits_columns import Kind, kinds_of


def make_table_hdu(name: str, row_type: type, rows: Sequence[Any]) -> fits.BinTableHDU:
    """A table with a column for each field of the rows' type."""
    columns = [
        _column(field, kind, [getattr(row, field) for row in rows])
        for field, kind in kinds_of(row_type).items()
    ]
    return fits.BinTableHDU.from_columns(columns, nrows=len(rows), name=name)


def rows_of(hdu: Any, row_type: type) -> Iterator[Any]:
    """The rows of a table as values of their type."""
    kinds = kinds_of(row_type)
    columns = {name: hdu.data[name].tolist() for name in kinds}
    for index in range(len(hdu.data)):
        yield row_type(**{name: kind.decode(columns[name][index]) for name, kind in kinds.items()})


def text_column(name: str, texts: Iterable[str]) -> fits.Column:
    """A column of texts."""
    return _column(name, kinds_of(_Text)["text"], texts)


@attrs.frozen
class _Text:
    text: str


def _column(name: str, kind: Kind, values: Iterable[Any]) -> fits.Column:
    """A column of encoded values."""
    encoded = [kind.encode(value) for value in values]
    if kind.format != "A":
        return fits.Column(name, kind.format, array=np.array(encoded))
    width = max([1, *map(len, encoded)])
    return fits.Column(name, f"{width}A", array=np.array(encoded, dtype=f"S{width}"))
