"""Crosstalk coefficients: how much of the signal of an amplifier shows up in others, as frozen values."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.camera import Detector

Coefficients = npt.NDArray[np.float64]

ROW_AFFECTED = "row = affected, column = source"
ROW_SOURCE = "row = source, column = affected"

#: The ways round in which matrices of coefficients are written (behaviour §9 fault 30).
ORIENTATIONS = (ROW_AFFECTED, ROW_SOURCE)


class CrosstalkError(ValueError):
    """Coefficients that contradict themselves or do not fit, or a file that holds none."""


def _names(names: Iterable[Any]) -> tuple[str, ...]:
    return tuple(str(name) for name in names)


def _frozen(values: Any) -> Any:
    array = np.array(values)
    array.setflags(write=False)
    return array


def _numbers(values: Any) -> Coefficients:
    # Not -0.0: what is nothing is written alike.
    array: Coefficients = _frozen(np.asarray(values, np.float64) + 0.0)
    return array


_ARRAY: Mapping[str, Any] = {"eq": attrs.cmp_using(eq=np.array_equal), "repr": False}


@attrs.frozen(unsafe_hash=False)
class CrosstalkMatrix:
    """What amplifiers get from others: a pixel x of a source adds linear·x + quadratic·x² to the affected.

    Row = affected amplifier, column = source amplifier, for all arrays; they have the shape (affected,
    sources). ``linear`` has no unit, ``quadratic`` is per adu (None: zero), ``is_valid`` says which
    coefficients are known (None: all): the others count as zero. Raises `CrosstalkError` listing every fault.
    """

    orientation: ClassVar[str] = ROW_AFFECTED

    affected: tuple[str, ...] = attrs.field(converter=_names)
    sources: tuple[str, ...] = attrs.field(converter=_names)
    linear: Coefficients = attrs.field(converter=_numbers, **_ARRAY)
    quadratic: Coefficients = attrs.field(
        default=None, converter=attrs.converters.optional(_numbers), **_ARRAY
    )
    is_valid: npt.NDArray[np.bool_] = attrs.field(
        default=None, converter=attrs.converters.optional(_frozen), **_ARRAY
    )

    def __attrs_post_init__(self) -> None:
        """Fill in what was left out, refuse what cannot be, and forget what is not known."""
        shape = len(self.affected), len(self.sources)
        for name, default in (
            ("quadratic", _numbers(np.zeros(shape))),
            ("is_valid", _frozen(np.ones(shape, bool))),
        ):
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        problems = list(self._problems(shape))
        if problems:
            raise CrosstalkError("crosstalk coefficients cannot be used\n  " + "\n  ".join(problems))
        for name in ("linear", "quadratic"):
            object.__setattr__(self, name, _numbers(np.where(self.is_valid, getattr(self, name), 0.0)))

    def _problems(self, shape: tuple[int, int]) -> Iterator[str]:
        """What contradicts itself, one sentence each."""
        for what, names in (("affected amplifiers", self.affected), ("source amplifiers", self.sources)):
            if not names:
                yield f"there are no {what}"
            if len(set(names)) < len(names):
                yield f"{what} repeat: {', '.join(names)}"
        arrays = {name: getattr(self, name) for name in ("linear", "quadratic", "is_valid")}
        misfits = {name: array.shape for name, array in arrays.items() if array.shape != shape}
        for name, found in misfits.items():
            yield f"{name} has shape {found}, the amplifiers make it {shape}"
        if self.is_valid.dtype != np.bool_:
            yield f"is_valid is {self.is_valid.dtype}, it must be bool"
        elif not misfits:
            yield from self._unknown()

    def _unknown(self) -> Iterator[str]:
        """Coefficients that are said to be known and are no numbers."""
        for name in ("linear", "quadratic"):
            for row, column in np.argwhere(self.is_valid & ~np.isfinite(getattr(self, name))):
                where = f"amplifier {self.affected[row]!r} from {self.sources[column]!r}"
                yield f"the {name} coefficient of {where} is no finite number; is_valid says that it is known"

    @classmethod
    def from_rows(
        cls,
        affected: Sequence[str],
        sources: Sequence[str],
        linear: npt.ArrayLike,
        *,
        orientation: str,
        quadratic: npt.ArrayLike | None = None,
        is_valid: npt.ArrayLike | None = None,
    ) -> Self:
        """From matrices written in either of the `ORIENTATIONS`, which the caller states."""
        if orientation not in ORIENTATIONS:
            raise CrosstalkError(
                f"orientation is {orientation!r}; say {ROW_AFFECTED!r} or {ROW_SOURCE!r}, whichever holds"
            )
        arrays = (None if a is None else np.asarray(a) for a in (linear, quadratic, is_valid))
        if orientation == ROW_SOURCE:
            arrays = (None if a is None else a.T for a in arrays)
        return cls(affected, sources, *arrays)

    @property
    def is_coupled(self) -> npt.NDArray[np.bool_]:
        """Which coefficients are not zero, linear or quadratic."""
        coupled: npt.NDArray[np.bool_] = (self.linear != 0) | (self.quadratic != 0)
        return coupled

    def ordered(self, affected: Sequence[str], sources: Sequence[str]) -> CrosstalkMatrix:
        """The coefficients for amplifiers in this order. Raises `CrosstalkError` when they are others.

        Amplifiers that are numbered 1 to n, as in plain tables, are taken to be those at these places.
        """
        rows = _places(self.affected, affected, "affected amplifiers")
        columns = _places(self.sources, sources, "source amplifiers")
        arrays = (array[np.ix_(rows, columns)] for array in (self.linear, self.quadratic, self.is_valid))
        return CrosstalkMatrix(affected, sources, *arrays)


def _places(names: Sequence[str], wanted: Sequence[str], what: str) -> list[int]:
    """Where the wanted names are; numbers that nobody has as names count the wanted ones from 1."""
    numbers = _names(range(1, len(wanted) + 1))
    if set(names) != set(wanted) and set(names) == set(numbers):
        wanted = numbers
    if set(names) != set(wanted):
        raise CrosstalkError(
            f"{what} of the crosstalk coefficients are {', '.join(names)}, "
            f"those of the detector {', '.join(wanted)}"
        )
    return [list(names).index(name) for name in wanted]


def _copied(others: Mapping[str, CrosstalkMatrix]) -> dict[str, CrosstalkMatrix]:
    return dict(others)


@attrs.frozen(unsafe_hash=False)
class Crosstalk:
    """Crosstalk coefficients of one detector: between its amplifiers, and from those of ``others``.

    Row = affected amplifier, column = source amplifier; what was written the other way round is turned when
    it is read (`CrosstalkMatrix.from_rows`). Coefficients are those of pixels in adu, offset subtracted, and
    the diagonal is zero. ``others`` has a matrix by the name of the source detector. ``detector_name`` says
    whose they are and ``source`` where they came from, "" if unknown. Raises `CrosstalkError` listing every
    fault.
    """

    orientation: ClassVar[str] = ROW_AFFECTED
    unit: ClassVar[str] = "adu"

    matrix: CrosstalkMatrix
    others: Mapping[str, CrosstalkMatrix] = attrs.field(factory=dict, converter=_copied)
    detector_name: str = ""
    source: str = attrs.field(default="", eq=False)

    def __attrs_post_init__(self) -> None:
        """Refuse amplifiers that disturb themselves, and matrices for other amplifiers."""
        problems = list(self._problems())
        if problems:
            raise CrosstalkError("crosstalk coefficients cannot be used\n  " + "\n  ".join(problems))

    def _problems(self) -> Iterator[str]:
        """What contradicts itself, one sentence each."""
        own = self.matrix
        if own.affected != own.sources:
            yield f"affected amplifiers are {', '.join(own.affected)}, sources {', '.join(own.sources)}"
        else:
            for place in np.flatnonzero(own.is_coupled.diagonal()):
                yield f"amplifier {own.affected[place]!r} disturbs itself: the diagonal must be zero"
        for name, matrix in sorted(self.others.items()):
            if matrix.affected != own.affected:
                theirs = ", ".join(matrix.affected)
                yield f"coefficients for detector {name!r} are those of amplifiers {theirs}"
        for name in {"", self.detector_name} & self.others.keys():
            yield f"{name!r} is no name of another detector"

    @classmethod
    def of(cls, value: Any, detector: Detector) -> Crosstalk:
        """Coefficients for a detector from whatever gives them.

        That is a `Crosstalk`, an array (row = affected amplifier, column = source, both in the detector's
        order), or a mapping from affected to source to coefficient, in which what is missing is zero. Raises
        TypeError for anything else, `CrosstalkError` for what does not fit the detector.
        """
        names = detector.amplifier_names
        if isinstance(value, cls):
            return value.for_detector(detector)
        if isinstance(value, np.ndarray):
            return cls(CrosstalkMatrix(names, names, value))
        if isinstance(value, Mapping):
            return cls(_from_nested(value, names))
        raise TypeError(
            f"crosstalk coefficients are a {type(value).__name__!r}; give a Crosstalk, an array of "
            f"{len(names)} rows (affected amplifiers) and columns (sources), or a mapping of mappings"
        )

    def for_detector(self, detector: Detector) -> Crosstalk:
        """The coefficients in the order of the detector's amplifiers. Raises `CrosstalkError` if not its own.

        Amplifiers numbered 1 to n are those at these places of the detector's description.
        """
        if self.detector_name not in ("", detector.name) and detector.name != "unnamed":
            raise CrosstalkError(f"they are of detector {self.detector_name!r}, not of {detector.name!r}")
        names = detector.amplifier_names
        others = {name: m.ordered(names, m.sources) for name, m in self.others.items()}
        return attrs.evolve(self, matrix=self.matrix.ordered(names, names), others=others)

    @classmethod
    def read(cls, path: str | os.PathLike[str], detector: str = "", *, columns: str = "") -> Crosstalk:
        """Read a TOML, ECSV or FITS file that `write` wrote, or plain text of one pair of amplifiers a line.

        ``detector`` is the name of the detector they are wanted for: a file that names another is refused.
        Plain text has three columns. What they are it says in a comment, ``# columns: affected source
        coefficient``, or the caller in ``columns``: two amplifiers cannot be told apart by their looks.
        Raises `CrosstalkError` naming file and fault, OSError for what cannot be read.
        """
        from isrcore.crosstalk_files import read_crosstalk

        return read_crosstalk(Path(path), detector, columns)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write a file that `read` reads: .toml, .ecsv or .fits, completely or not at all."""
        from isrcore.crosstalk_files import write_crosstalk

        write_crosstalk(self, Path(path))


def _from_nested(value: Mapping[Any, Any], names: Sequence[str]) -> CrosstalkMatrix:
    """A matrix from a mapping of mappings: affected, then source."""
    linear = np.zeros((len(names), len(names)))
    for affected, row in value.items():
        if not isinstance(row, Mapping):
            raise TypeError(
                f"crosstalk coefficients of amplifier {affected!r} are a {type(row).__name__!r}; "
                "give a mapping from source amplifier to coefficient"
            )
        for source, coefficient in row.items():
            unknown = [name for name in (affected, source) if name not in names]
            if unknown:
                raise CrosstalkError(
                    f"the detector has no amplifier {unknown[0]!r}, it has {', '.join(names)}"
                )
            linear[names.index(affected), names.index(source)] = coefficient
    return CrosstalkMatrix(names, names, linear)
