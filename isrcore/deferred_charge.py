"""How serial registers lose charge: numbers per amplifier, and their files."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from astropy.io import fits
from astropy.table import Table

from isrcore.atomic import replacing


class DeferredChargeError(ValueError):
    """Numbers that no register can have, or a file that holds none; the message lists every fault."""


@attrs.frozen
class SerialTransfer:
    """What the serial register of one amplifier does to charge that it moves.

    Every transfer leaves the fraction ``cti`` of a pixel's charge to the pixel behind it. The traps of one
    register pixel hold at most ``trap_size`` electron; a packet of q electron reaches the fraction
    min(q/``trap_well``, 1)^``trap_power`` of them, and they let go of their charge in ``trap_emission``
    transfers (the e-folding time). Without traps their size is 0.

    The volume law is that of Massey et al. (2010, MNRAS 401, 371), with no notch.
    """

    cti: float = 0.0
    trap_size: float = 0.0
    trap_emission: float = 1.0
    trap_well: float = 1e5
    trap_power: float = 1.0

    def problems(self) -> Iterator[str]:
        """What cannot be, one sentence each."""
        for name, value in attrs.asdict(self).items():
            if not math.isfinite(value):
                yield f"{name} is {value}, it must be a finite number"
        if not 0 <= self.cti < 1:
            yield f"cti is {self.cti}, it is a fraction per transfer: 0 or more, below 1"
        if self.trap_size < 0:
            yield f"trap_size is {self.trap_size} electron, it must not be negative"
        for name in ("trap_emission", "trap_well"):
            if getattr(self, name) <= 0:
                yield f"{name} is {getattr(self, name)}, it must be positive"
        if not 0 < self.trap_power <= 1:
            yield f"trap_power is {self.trap_power}, it must be above 0 and at most 1"


#: The columns of a table: the amplifier's name, and the numbers of its register.
_COLUMNS = ("amplifier", *(field.name for field in attrs.fields(SerialTransfer)))


def _copied(amplifiers: Mapping[str, SerialTransfer]) -> dict[str, SerialTransfer]:
    return dict(amplifiers)


@attrs.frozen
class DeferredCharge:
    """The serial registers of one detector, by name of the amplifier.

    ``detector_name`` says whose they are and ``source`` where they came from, "" if unknown. Raises
    `DeferredChargeError` listing every number that cannot be.
    """

    amplifiers: Mapping[str, SerialTransfer] = attrs.field(converter=_copied)
    detector_name: str = attrs.field(default="", eq=False)
    source: str = attrs.field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse registers that cannot be."""
        faults = [
            f"amplifier {name!r}: {problem}"
            for name, transfer in self.amplifiers.items()
            for problem in transfer.problems()
        ]
        if faults:
            raise DeferredChargeError("no register is like this\n  " + "\n  ".join(faults))

    @classmethod
    def read(cls, path: str | os.PathLike[str], detector: str = "") -> DeferredCharge:
        """Read a FITS or ECSV table with one row per amplifier.

        Its columns are amplifier, cti, trap_size, trap_emission, trap_well and trap_power; the header card
        DET_NAME says whose it is. Raises `DeferredChargeError` for what is no such table, or one of another
        detector than ``detector`` ("": any).
        """
        table = _read_table(Path(path))
        owner = str(table.meta.get("DET_NAME", ""))
        faults = list(_faults(table, owner, detector))
        if faults:
            raise DeferredChargeError(f"'{path}' cannot be used\n  " + "\n  ".join(faults))
        numbers = zip(*(table[name].tolist() for name in _COLUMNS[1:]), strict=True)
        names = (str(name).strip() for name in table["amplifier"].tolist())
        rows = {name: SerialTransfer(*map(float, row)) for name, row in zip(names, numbers, strict=True)}
        return cls(rows, owner, str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a table (.fits or .ecsv), completely or not at all."""
        path = Path(path)
        if path.suffix not in (".fits", ".ecsv"):
            raise DeferredChargeError(f"cannot write registers to '{path}'; name it .fits or .ecsv")
        content = _content(self._table(), is_fits=path.suffix == ".fits")
        with replacing(path) as stream:
            stream.write(content)

    def _table(self) -> Table:
        """One row per amplifier."""
        rows = [(name, *attrs.astuple(transfer)) for name, transfer in self.amplifiers.items()]
        types = ["U32"] + ["f8"] * (len(_COLUMNS) - 1)
        meta = {"OBSTYPE": "deferredCharge", "DET_NAME": self.detector_name}
        return Table(rows=rows or None, names=_COLUMNS, dtype=types, meta=meta)


def _read_table(path: Path) -> Table:
    """The table of a file, whichever format it has."""
    with path.open("rb") as stream:
        is_fits = stream.read(6) == b"SIMPLE"
    try:
        return Table.read(path, format="fits" if is_fits else "ascii.ecsv")
    except (ValueError, KeyError, TypeError, OSError) as fault:
        raise DeferredChargeError(f"'{path}' is neither a FITS nor an ECSV table: {fault}") from fault


def _faults(table: Table, owner: str, detector: str) -> Iterator[str]:
    """Why a table is not one of registers of this detector."""
    missing = [name for name in _COLUMNS if name not in table.colnames]
    if missing:
        yield f"it has no column {', '.join(map(repr, missing))}; it needs {', '.join(_COLUMNS)}"
    elif twice := _repeated(str(name).strip() for name in table["amplifier"].tolist()):
        yield f"amplifiers are there twice: {', '.join(twice)}"
    elif any(table[name].dtype.kind not in "iuf" for name in _COLUMNS[1:]):
        yield "its columns other than 'amplifier' must hold numbers"
    if owner and detector and owner.lower() != detector.lower():
        yield f"it is of detector {owner!r}, not of {detector!r}"


def _repeated(names: Iterable[str]) -> list[str]:
    """Names that are there more than once."""
    seen = list(names)
    return sorted({name for name in seen if seen.count(name) > 1})


def _content(table: Table, is_fits: bool) -> bytes:
    """The bytes of a file."""
    if not is_fits:
        text = io.StringIO()
        table.write(text, format="ascii.ecsv")
        return text.getvalue().encode()
    unit: Any = fits.table_to_hdu(table)
    unit.name = "DEFERRED_CHARGE"
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(stream, checksum=True)
    return stream.getvalue()
