"""How amplifiers depart from proportionality: the curves that bring them back, checked but without pixels."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.camera import Detector
from isrcore.geometry import Box
from isrcore.image import Float32
from isrcore.kernels.tables import LookupTable


class LinearizerError(RuntimeError, ValueError):
    """A linearizer that contradicts itself or is of another detector; the message lists every reason."""


def _without_padding(numbers: Iterable[Any]) -> tuple[float, ...]:
    """The numbers without NaN at their end, which tables and cameras pad with."""
    found = [float(number) for number in numbers]
    while found and math.isnan(found[-1]):
        found.pop()
    return tuple(found)


@attrs.frozen
class LinearityCurve:
    """How one amplifier is made proportional; x is the pixel, x' the corrected one, both in adu.

    By ``type``, with coefficients ``coeffs``:

    * None, Proportional: x' = x; none needed.
    * Squared: x' = x + c0 x²; c0.
    * Polynomial: x' = x + c0 x² + c1 x³ + ...; c0, c1, ...
    * LookupTable: x' = x + T[row, x + offset cut off]; row, offset.
    * Spline: x' = x - S(x); nodes, then as many values.
    * DoubleSpline: x' = y - S2(y), y = x - S1(x); two numbers of nodes, nodes and values of S1, those of S2.

    NaN after the last coefficient is padding. ``box``, if known, is the amplifier's in the trimmed detector.
    """

    type: str = "None"
    coeffs: tuple[float, ...] = attrs.field(default=(), converter=_without_padding)
    box: Box | None = None

    def problems(self) -> Iterator[str]:
        """Why the coefficients are none for this type, one sentence each."""
        check = _CHECKS.get(self.type)
        if check is None:
            yield f"its type {self.type!r} is unknown; known are {', '.join(map(repr, LINEARITY_TYPES))}"
        elif not all(map(math.isfinite, self.coeffs)) and self.type not in _LINEAR:
            yield f"coefficients of type {self.type!r} must be finite, they are {self.coeffs}"
        else:
            yield from check(self.type, self.coeffs)

    @property
    def is_straight(self) -> bool:
        """Whether it changes nothing: its type says so, or all coefficients of powers are zero."""
        return self.type in _LINEAR or (self.type in _POWERS and not any(self.coeffs))

    @property
    def splines(self) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
        """Nodes and values of each spline, in order; none for other types."""
        if self.type == "Spline":
            half = len(self.coeffs) // 2
            return ((self.coeffs[:half], self.coeffs[half:]),)
        if self.type != "DoubleSpline":
            return ()
        first, second = (int(number) for number in self.coeffs[:2])
        ends = np.cumsum((2, first, first, second, second)).tolist()
        parts = [self.coeffs[start:stop] for start, stop in pairwise(ends)]
        return ((parts[0], parts[1]), (parts[2], parts[3]))


def _accept(type: str, coeffs: Sequence[float]) -> Iterator[str]:
    """Anything will do."""
    return iter(())


def _check_powers(type: str, coeffs: Sequence[float]) -> Iterator[str]:
    """One or more factors of powers; a square has one."""
    if not coeffs:
        yield f"type {type!r} needs coefficients, it has none that is a number"
    elif type == "Squared" and any(coeffs[1:]):
        yield f"type 'Squared' has one coefficient, not {len(coeffs)}: use 'Polynomial' for more"


def _check_lookup(type: str, coeffs: Sequence[float]) -> Iterator[str]:
    """A row and an offset."""
    if len(coeffs) < 2 or any(coeffs[2:]):
        yield f"type 'LookupTable' has two coefficients, row and offset, not {len(coeffs)}"
    elif coeffs[0] != int(coeffs[0]):
        yield f"the row of the lookup table must be a whole number, not {coeffs[0]}"


def _check_spline(type: str, coeffs: Sequence[float]) -> Iterator[str]:
    """Nodes and as many values."""
    if len(coeffs) < 4 or len(coeffs) % 2:
        yield f"type 'Spline' needs two or more nodes and as many values, it has {len(coeffs)} coefficients"
    else:
        yield from _check_nodes(coeffs[: len(coeffs) // 2])


def _check_double_spline(type: str, coeffs: Sequence[float]) -> Iterator[str]:
    """Two numbers of nodes, then two splines."""
    counts = [int(number) for number in coeffs[:2]]
    if len(counts) < 2 or min(counts) < 2 or len(coeffs) != 2 + 2 * sum(counts):
        yield (
            "type 'DoubleSpline' needs two numbers of nodes, each two or more, then nodes and values of both "
            f"splines; it has {len(coeffs)} coefficients, the first are {coeffs[:2]}"
        )
    else:
        yield from _check_nodes(coeffs[2 : 2 + counts[0]])
        yield from _check_nodes(coeffs[2 + 2 * counts[0] :][: counts[1]])


def _check_nodes(nodes: Sequence[float]) -> Iterator[str]:
    if any(after <= before for before, after in pairwise(nodes)):
        yield f"nodes of a spline must increase, they are {', '.join(map(str, nodes))}"


_CHECKS: Mapping[str, Callable[[str, Sequence[float]], Iterator[str]]] = {
    "None": _accept,
    "Proportional": _accept,
    "Squared": _check_powers,
    "Polynomial": _check_powers,
    "LookupTable": _check_lookup,
    "Spline": _check_spline,
    "DoubleSpline": _check_double_spline,
}
_LINEAR = ("None", "Proportional")
_POWERS = ("Squared", "Polynomial")

#: Every type of `LinearityCurve`.
LINEARITY_TYPES = tuple(_CHECKS)


def _as_dict(curves: Mapping[str, LinearityCurve]) -> dict[str, LinearityCurve]:
    """A dictionary of its own."""
    return dict(curves)


def _as_table(rows: Any) -> Float32 | None:
    """A table of its own, read-only, in float32."""
    if rows is None:
        return None
    table = np.array(rows, np.float32)
    table.setflags(write=False)
    return table


def _equal_tables(one: Float32 | None, other: Float32 | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one, other)


@attrs.frozen
class Linearizer:
    """The curves of a detector's amplifiers, by name, and the lookup table that some of them read.

    ``table`` has shape (rows, columns), in adu. ``detector_name`` and ``serial`` say whose it is ("" if
    unknown). ``overrides`` tells that it may differ from the types and coefficients of the camera's
    description, as one that was measured later. Raises `LinearizerError` with everything that is wrong.
    """

    amplifiers: Mapping[str, LinearityCurve] = attrs.field(converter=_as_dict)
    table: Float32 | None = attrs.field(
        default=None, converter=_as_table, eq=attrs.cmp_using(eq=_equal_tables), repr=False
    )
    detector_name: str = ""
    serial: str = ""
    overrides: bool = attrs.field(default=False, eq=False)
    source: str = attrs.field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse what cannot be applied to any detector."""
        problems = [
            f"amplifier {name!r}: {problem}"
            for name, curve in self.amplifiers.items()
            for problem in curve.problems()
        ]
        problems += self._table_problems()
        if problems:
            raise LinearizerError("\n  ".join([f"{self.label} cannot be used", *problems]))

    @property
    def label(self) -> str:
        """How messages name it."""
        return "linearizer" + (f" {self.source!r}" if self.source else "")

    @classmethod
    def of(cls, detector: Detector, table: npt.ArrayLike | None = None) -> Self:
        """What the camera's description says of a detector, and the table that its lookups read."""
        curves = {
            amp.name: LinearityCurve(amp.linearity_type, amp.linearity_coeffs, amp.box)
            for amp in detector.amplifiers
        }
        return cls(curves, table, detector.name, detector.serial)

    @classmethod
    def given(cls, value: Any, detector: Detector) -> Linearizer:
        """The linearizer that somebody gives for a detector, who may also give the lookup table alone.

        Raises `LinearizerError` with every reason why it is none, or not for this detector.
        """
        linearizer = value if isinstance(value, Linearizer) else cls.of(detector, value)
        linearizer.check(detector)
        return linearizer

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read FITS tables (.fits, .fits.gz), an ECSV table (.ecsv) or TOML (.toml).

        Raises `LinearizerError`, which is a ValueError and a RuntimeError, naming file, reasons and remedy.
        """
        from isrcore.linearity_files import read_contents

        return cls(**read_contents(Path(path)), overrides=True, source=str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write what `read` reads, completely or not at all. A lookup table does not fit into ECSV."""
        from isrcore.linearity_files import write_contents

        write_contents(self, Path(path))

    def check(self, detector: Detector) -> None:
        """Raise `LinearizerError` with every reason why it is not for this detector."""
        problems = list(self.problems(detector))
        if problems:
            raise LinearizerError("\n  ".join([f"{self.label} is not for {detector.name!r}", *problems]))

    def problems(self, detector: Detector) -> Iterator[str]:
        """Why it is not for this detector, one sentence each (behaviour §2.11)."""
        if self.detector_name not in ("", detector.name):
            yield f"it is of detector {self.detector_name!r}, not {detector.name!r}"
        if self.serial and detector.serial and self.serial != detector.serial:
            yield f"it is of serial number {self.serial!r}, the detector has {detector.serial!r}"
        yield from self._name_problems(detector)
        for amp in detector.amplifiers:
            box = self.amplifiers[amp.name].box if amp.name in self.amplifiers else None
            if box is not None and box != amp.box:
                theirs, ours = box.to_section(), amp.box.to_section()
                yield f"its amplifier {amp.name!r} is at {theirs}, that of the detector at {ours}"
        if not self.overrides:
            yield from self.differences(detector)

    def _name_problems(self, detector: Detector) -> Iterator[str]:
        """Amplifiers that only one of the two has."""
        ours, its = detector.amplifier_names, tuple(self.amplifiers)
        if len(ours) != len(its):
            yield f"it has {len(its)} amplifiers, the detector {len(ours)}"
        if missing := [name for name in ours if name not in its]:
            yield f"it lacks the detector's {', '.join(map(repr, missing))}"
        if strange := [name for name in its if name not in ours]:
            yield f"the detector has no {', '.join(map(repr, strange))}"

    def differences(self, detector: Detector) -> Iterator[str]:
        """Where it contradicts the camera's description, which says nothing where the type is None."""
        for amp in detector.amplifiers:
            curve, said = self.amplifiers.get(amp.name), _without_padding(amp.linearity_coeffs)
            if curve is None or amp.linearity_type == "None":
                continue
            if curve.type != amp.linearity_type:
                yield f"amplifier {amp.name!r} is {curve.type!r}, the detector says {amp.linearity_type!r}"
            elif curve.coeffs != said:
                yield f"amplifier {amp.name!r} has coefficients {curve.coeffs}, the detector says {said}"

    @cached_property
    def lookup(self) -> LookupTable:
        """The table as operations read it. Raises LookupError without one."""
        if self.table is None:
            raise LookupError(f"{self.label} has no lookup table")
        return LookupTable.of(self.table)

    def _table_problems(self) -> Iterator[str]:
        """What is wrong with the table, or with the rows that amplifiers read of it."""
        rows = {name: curve.coeffs[0] for name, curve in self.amplifiers.items() if _has_row(curve)}
        if self.table is None:
            for name in rows:
                yield f"amplifier {name!r}: type 'LookupTable' needs a table, there is none"
        elif not rows and not any(curve.type == "LookupTable" for curve in self.amplifiers.values()):
            yield "there is a lookup table, but no amplifier is of type 'LookupTable'"
        elif complaint := _shape_problem(self.table):
            yield complaint
        else:
            # Strictly less: a row as large as the number of rows is one too far (behaviour §9, fault 36).
            for name, row in rows.items():
                if not 0 <= row < len(self.table):
                    yield f"amplifier {name!r}: row {row:g} is not among the table's {len(self.table)} rows"


def _has_row(curve: LinearityCurve) -> bool:
    """Whether a curve names a row of the table."""
    return curve.type == "LookupTable" and not any(curve.problems())


def _shape_problem(table: Float32) -> str:
    """What is wrong with a lookup table, "" for nothing."""
    if table.ndim != 2 or not table.size:
        return f"a lookup table has rows and columns, this one has shape {table.shape}"
    if table.shape[0] > table.shape[1]:
        return f"the lookup table of shape {table.shape} has more rows than columns: transpose it"
    if not np.isfinite(table).all():
        return f"{np.count_nonzero(~np.isfinite(table))} entries of the lookup table are not finite"
    return ""
