"""What steps measure, as tables: columns that are declared, and rows that fill exactly those."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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


class Catalogs(Mapping[str, Table]):
    """Tables by dataset that ``make`` makes when somebody looks at them, once.

    Making them takes as long as a step, and few who correct many exposures look at them.
    """

    def __init__(self, make: Callable[[], Mapping[str, Table]]) -> None:
        self._make: Callable[[], Mapping[str, Table]] | None = make
        self._made: Mapping[str, Table] = {}

    @property
    def _tables(self) -> Mapping[str, Table]:
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made

    def __getitem__(self, name: str) -> Table:
        """The table of a dataset."""
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        """The datasets."""
        return iter(self._tables)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._tables)

    def __repr__(self) -> str:
        """The tables."""
        return repr(dict(self._tables))

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes get the tables."""
        return dict, (dict(self._tables),)


def make_catalog(quantities: Iterable[Quantity], measured: Mapping[str, Any] | None = None) -> Table:
    """A table of what was measured, a row for each amplifier (or detector) by name; none without."""
    rows = measured or {}
    columns = [
        quantity.column(getattr(row, quantity.name) for row in rows.values()) for quantity in quantities
    ]
    return Table([OWNER.column(rows), *columns])
