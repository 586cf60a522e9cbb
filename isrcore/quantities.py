"""What steps measure, as tables: columns that are declared, and rows that fill exactly those."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import numpy as np
from astropy.table import Column, Table

# What texts of unknown length, numbers that are unknown and whole numbers are in a table.
_DTYPES = {bool: "bool", float: "float64", int: "int64", str: "U64"}


@attrs.frozen
class Quantity:
    """One column: the attribute ``name`` of what a step measures, and what it means.

    ``kind`` is float, int, bool or str; ``unit`` is empty for plain numbers and for those in the unit of the
    image, as ``doc`` says then.
    """

    name: str
    doc: str
    unit: str = ""
    kind: type = float

    def column(self, values: Iterable[Any] = ()) -> Column:
        """The column with these values."""
        data = np.array(list(values), dtype=_DTYPES[self.kind])
        return Column(data, name=self.name, unit=self.unit or None, description=self.doc)


#: Whose row it is.
OWNER = Quantity("amplifier", "Amplifier, or the detector where a step looks at all of it.", kind=str)


#: What `Amplifier` says of levels: the columns of a step that settles them.
LEVEL_QUANTITIES = (
    Quantity("gain", "Gain.", "electron/adu"),
    Quantity("read_noise", "Read noise.", "electron"),
    Quantity("saturation", "Saturation level of the raw frame.", "adu"),
    Quantity("suspect_level", "Level of the raw frame from which pixels are suspect.", "adu"),
)


def make_catalog(quantities: Iterable[Quantity], measured: Mapping[str, Any] | None = None) -> Table:
    """A table of what was measured, a row for each amplifier (or detector) by name; none without."""
    rows = measured or {}
    columns = [
        quantity.column(getattr(row, quantity.name) for row in rows.values()) for quantity in quantities
    ]
    return Table([OWNER.column(rows), *columns])
