"""How much light of each wavelength comes through: curves, and their product for one detector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy import units
from astropy.io import registry
from astropy.table import Table

from isrcore.camera import Detector
from isrcore.fits_columns import escape, unescape
from isrcore.focal_plane import pixel_to_focal_plane

Numbers = npt.NDArray[np.float64]

#: Parts of the system in the order light passes them. All but the last are given in the focal plane.
PARTS = ("atmosphere", "optics", "filter", "sensor")

_UNITS = {"wavelength": units.AA, "throughput": units.one, "radius": units.mm}
# What a table says besides its columns.
_NUMBERS = ("BELOW", "ABOVE", "CENTERX", "CENTERY")
_FORMATS = {".ecsv": "ascii.ecsv", ".fits": "fits"}


class TransmissionError(ValueError):
    """A curve that cannot be one, or a file that holds none; the message lists every fault."""


def _frozen(values: Any) -> Numbers:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


@attrs.frozen(eq=False)
class TransmissionCurve:
    """The fraction of light that passes one part, 0 to 1, over wavelength and, if it varies, over radius.

    ``wavelengths`` (n,) are in Angstrom, ascending; ``throughput`` is (n,), or (m, n) with a row for each of
    the m ``radii``: distances from ``center`` (x, y), in mm in the focal plane or, of a sensor, in pixels.
    Between them it is interpolated linearly; beyond the radii it is as at the last one, below and above the
    wavelengths it is ``below`` and ``above``. ``filter`` says which filter it is of, ``source`` where it
    came from. Raises `TransmissionError` listing every fault.
    """

    wavelengths: Numbers = attrs.field(converter=_frozen)
    throughput: Numbers = attrs.field(converter=_frozen)
    radii: Numbers = attrs.field(default=(), converter=_frozen)
    center: tuple[float, float] = (0.0, 0.0)
    below: float = 0.0
    above: float = 0.0
    filter: str = ""
    source: str = ""

    def __attrs_post_init__(self) -> None:
        """Refuse what is no curve."""
        faults = list(self._shape_faults()) or list(self._value_faults())
        if faults:
            raise TransmissionError("; ".join(faults))

    def _shape_faults(self) -> Iterator[str]:
        axes = (self.radii.size, self.wavelengths.size)
        wanted = axes if self.radii.size else axes[1:]
        if self.wavelengths.ndim != 1 or self.radii.ndim != 1 or self.wavelengths.size < 2:
            yield "a transmission curve needs wavelengths in one row, two of them or more"
        elif self.throughput.shape != wanted:
            yield f"throughput has shape {self.throughput.shape}, wavelengths and radii need {wanted}"

    def _value_faults(self) -> Iterator[str]:
        for name, values in (("wavelengths", self.wavelengths), ("radii", self.radii)):
            if not (np.isfinite(values).all() and (np.diff(values) > 0).all() and (values >= 0).all()):
                yield f"{name} must ascend from zero or more"
        values = np.append(self.throughput, (self.below, self.above))
        if not ((values >= 0) & (values <= 1)).all():
            bad = values[~((values >= 0) & (values <= 1))][0]
            yield f"throughput {bad:g} is no fraction from 0 to 1: give percent the unit '%', clip noise"
        if not np.isfinite(self.center).all():
            yield f"center {self.center} is not finite"

    @property
    def varies(self) -> bool:
        """Whether the throughput depends on the place."""
        return bool(self.radii.size)

    def at(self, x: npt.ArrayLike, y: npt.ArrayLike, wavelengths: npt.ArrayLike) -> Numbers:
        """Throughput at places (any shape S) for wavelengths (n,) in Angstrom: shape S + (n,)."""
        radius = np.hypot(np.asarray(x, float) - self.center[0], np.asarray(y, float) - self.center[1])
        rows = [self._along(row, wavelengths) for row in np.atleast_2d(self.throughput)]
        if not self.varies:
            return np.broadcast_to(rows[0], (*radius.shape, rows[0].size)).copy()
        columns = np.stack(rows, axis=1)
        return np.stack([np.interp(radius, self.radii, column) for column in columns], axis=-1)

    def _along(self, row: Numbers, wavelengths: npt.ArrayLike) -> Numbers:
        """One row at other wavelengths."""
        asked = np.asarray(wavelengths, float)
        if asked.ndim != 1:
            raise ValueError(f"wavelengths have shape {asked.shape}, they must be in one row")
        found = np.interp(asked, self.wavelengths, row, left=self.below, right=self.above)
        return np.asarray(found, np.float64)

    def to_table(self) -> Table:
        """A row for every wavelength and radius, for `from_table`."""
        count = max(self.radii.size, 1)
        table = Table({"wavelength": np.tile(self.wavelengths, count)})
        if self.varies:
            table["radius"] = np.repeat(self.radii, self.wavelengths.size)
        table["throughput"] = self.throughput.ravel()
        table["wavelength"].unit = units.AA
        numbers = self.below, self.above, *self.center
        # As texts: FITS cards cut numbers to 16 digits.
        table.meta = {key: repr(float(value)) for key, value in zip(_NUMBERS, numbers, strict=True)}
        table.meta["FILTER"] = escape(self.filter)
        return table

    @classmethod
    def from_table(cls, table: Table, source: str = "") -> TransmissionCurve:
        """A curve from columns ``wavelength``, ``throughput`` and perhaps ``radius``, in any order of rows.

        A wavelength without unit is in Angstrom, a throughput without unit a fraction. Of ``table.meta``
        count ``below``, ``above``, ``centerx``, ``centery`` and ``filter``, in any case of letters. Raises
        `TransmissionError`.
        """
        missing = {"wavelength", "throughput"} - set(table.colnames)
        if missing:
            raise TransmissionError(
                f"no column {', '.join(map(repr, sorted(missing)))} among {table.colnames}"
            )
        meta = {key.upper(): value for key, value in table.meta.items()}
        try:
            below, above, x, y = (float(meta.get(key, 0)) for key in _NUMBERS)
            grid = _grid(*(_plain(table, name) for name in ("wavelength", "throughput", "radius")))
        except (units.UnitConversionError, ValueError, TypeError) as fault:
            raise TransmissionError(str(fault)) from fault
        label = unescape(str(meta.get("FILTER", "")))
        return cls(**grid, center=(x, y), below=below, above=above, filter=label, source=source)

    @classmethod
    def read(cls, path: str | Path) -> TransmissionCurve:
        """A curve from a table (.ecsv or .fits) as of `from_table`. Raises `TransmissionError` or OSError."""
        try:
            table = Table.read(path, format=_format_of(path))
            return cls.from_table(table, str(path))
        except OSError:
            raise
        except (ValueError, registry.IORegistryError) as fault:
            raise TransmissionError(f"{path} holds no transmission curve: {fault}") from fault

    def write(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write a table (.ecsv or .fits) for `read`."""
        self.to_table().write(path, format=_format_of(path), overwrite=overwrite)


def _format_of(path: str | Path) -> str:
    suffix = Path(path).suffix
    if suffix not in _FORMATS:
        raise TransmissionError(f"{path}: transmission curves are .ecsv or .fits tables")
    return _FORMATS[suffix]


def _plain(table: Table, name: str) -> Numbers:
    """A column in our unit, which it has already if it has none; without values if it is not there."""
    if name not in table.colnames:
        return np.empty(0)
    wanted = _UNITS[name]
    unit = table[name].unit or wanted
    # Radii of a sensor are pixels, and stay so.
    unit = wanted if name == "radius" and unit == units.pix else unit
    values = units.Quantity(np.asarray(table[name], float), unit).to_value(wanted)
    return np.asarray(values, np.float64)


def _grid(wavelength: Numbers, throughput: Numbers, radius: Numbers) -> dict[str, Any]:
    """Columns as the axes and the table of a curve. Raises `TransmissionError` for a grid with gaps."""
    if not radius.size:
        order = np.argsort(wavelength)
        return {"wavelengths": wavelength[order], "throughput": throughput[order]}
    radii, wavelengths = np.unique(radius), np.unique(wavelength)
    if radii.size * wavelengths.size != throughput.size:
        raise TransmissionError(
            f"{throughput.size} rows do not give every one of {radii.size} radii each of "
            f"{wavelengths.size} wavelengths once"
        )
    order, shape = np.lexsort((wavelength, radius)), (radii.size, wavelengths.size)
    if not (wavelength[order].reshape(shape) == wavelengths).all():
        raise TransmissionError("some radii lack wavelengths that others have")
    return {"wavelengths": wavelengths, "throughput": throughput[order].reshape(shape), "radii": radii}


@attrs.frozen(eq=False)
class SystemTransmission:
    """The product of all that light passes on its way into the pixels of one detector.

    ``curves`` are by part, a subset of ``atmosphere``, ``optics``, ``filter`` (places in the focal plane, mm)
    and ``sensor`` (pixels of the trimmed detector); a part that is not there lets everything pass. Raises
    ValueError for another part.
    """

    detector: Detector
    curves: Mapping[str, TransmissionCurve]

    def __attrs_post_init__(self) -> None:
        """Refuse parts nobody knows the place of."""
        unknown = sorted(set(self.curves) - set(PARTS))
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no part of the system; parts are {', '.join(PARTS)}")

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that are in, in the order light passes them."""
        return tuple(part for part in PARTS if part in self.curves)

    @property
    def wavelengths(self) -> Numbers:
        """Every wavelength at which a part is known, ascending, in Angstrom."""
        return np.unique(np.concatenate([np.empty(0), *(c.wavelengths for c in self.curves.values())]))

    def throughput(self, x: npt.ArrayLike, y: npt.ArrayLike, wavelengths: npt.ArrayLike) -> Numbers:
        """Throughput at pixels (any shape S) for wavelengths (n,) in Angstrom: shape S + (n,), 0 to 1.

        Raises `CameraError` when a part varies over the focal plane and the detector has no place there.
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        found = (self._part_at(part, x, y, wavelengths) for part in self.parts)
        everything = np.ones((*x.shape, np.asarray(wavelengths).size))
        return reduce(np.multiply, found, everything)

    def _part_at(self, part: str, x: Numbers, y: Numbers, wavelengths: npt.ArrayLike) -> Numbers:
        """The throughput of one part at pixels."""
        curve = self.curves[part]
        if curve.varies and part != "sensor":
            x, y = pixel_to_focal_plane(self.detector, x, y)
        return curve.at(x, y, wavelengths)
