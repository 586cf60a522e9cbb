"""Files of crosstalk coefficients: TOML with matrices, tables (ECSV, FITS) of pairs, plain text."""

from __future__ import annotations

import io
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
from astropy.io import fits
from astropy.table import Table

from isrcore.atomic import replacing
from isrcore.config_toml import format_value
from isrcore.crosstalk import Crosstalk, CrosstalkError, CrosstalkMatrix
from isrcore.fits_columns import escape, unescape
from isrcore.fits_tables import make_table_hdu, rows_of

_EXTENSION = "CROSSTALK"
_ABOUT = "affected += linear * source + quadratic * source^2"
_MATRIX_KEYS = frozenset({"amplifiers", "linear", "quadratic", "valid"})
_TOP_KEYS = _MATRIX_KEYS | {"detector", "orientation", "unit", "others"}
_PLAIN = ("affected", "source", "coefficient")
_STATEMENT = re.compile(r"^\s*#\s*columns:(.*)$", re.MULTILINE)


@attrs.frozen
class _Pair:
    """A row of a table: the columns say which amplifier is affected, so there is no orientation to state."""

    affected: str
    source_detector: str
    source: str
    linear: float
    quadratic: float
    valid: bool


_COLUMNS = tuple(field.name for field in attrs.fields(_Pair))


def read_crosstalk(path: Path, detector: str, columns: str) -> Crosstalk:
    """As `Crosstalk.read`; the kind of file is told from its first bytes, TOML by its name."""
    with path.open("rb") as stream:
        start = stream.read(16)
    try:
        if start.startswith((b"SIMPLE", b"\x1f\x8b")):
            found = _from_fits(path)
        elif start.startswith(b"# %ECSV"):
            found = _from_ecsv(path)
        elif path.suffix == ".toml":
            found = _from_toml(path.read_text(encoding="utf-8"))
        else:
            found = _from_plain(path.read_text(encoding="utf-8"), columns)
        if detector and found.detector_name.lower() not in ("", detector.lower()):
            raise CrosstalkError(f"they are of detector {found.detector_name!r}, not of {detector!r}")
    except (ValueError, TypeError, KeyError) as fault:
        raise CrosstalkError(f"'{path}' gives no crosstalk coefficients: {fault}") from fault
    return attrs.evolve(found, source=str(path))


def write_crosstalk(crosstalk: Crosstalk, path: Path) -> None:
    """As `Crosstalk.write`."""
    writers: Mapping[str, Callable[[Crosstalk], bytes]] = {
        ".toml": _to_toml,
        ".ecsv": _to_ecsv,
        ".fits": _to_fits,
    }
    if path.suffix not in writers:
        raise CrosstalkError(f"cannot write crosstalk to '{path}'; name it {', '.join(writers)}")
    content = writers[path.suffix](crosstalk)
    with replacing(path) as stream:
        stream.write(content)


def _to_toml(crosstalk: Crosstalk) -> bytes:
    """The matrices, with the way round they are written."""
    head = {"unit": crosstalk.unit, "orientation": crosstalk.orientation, "detector": crosstalk.detector_name}
    lines = [f"# {_ABOUT}, in {crosstalk.unit}.", *_assignments(head), *_matrix_lines(crosstalk.matrix)]
    for name, matrix in sorted(crosstalk.others.items()):
        lines += ["", f"[others.{format_value(name)}]", *_matrix_lines(matrix)]
    return ("\n".join(lines) + "\n").encode()


def _assignments(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {format_value(value)}" for key, value in values.items()]


def _matrix_lines(matrix: CrosstalkMatrix) -> Iterator[str]:
    """Source amplifiers and coefficients, a row a line."""
    yield from _assignments({"amplifiers": matrix.sources})
    arrays = {"linear": matrix.linear, "quadratic": matrix.quadratic, "valid": matrix.is_valid}
    for name, array in arrays.items():
        rows = (f"    {format_value(row)}," for row in array.tolist())
        yield "\n".join([f"{name} = [", *rows, "]"])


def _from_toml(text: str) -> Crosstalk:
    """Coefficients from TOML; unknown keys are refused."""
    table = tomllib.loads(text)
    others = table.get("others", {})
    _require_keys("", table, _TOP_KEYS, {"amplifiers", "linear", "orientation", "unit"})
    for name, part in others.items():
        _require_keys(f" of others.{name}", part, _MATRIX_KEYS, {"amplifiers", "linear"})
    _require_adu(table["unit"])
    affected, orientation = table["amplifiers"], table["orientation"]
    return Crosstalk(
        _matrix_of(table, affected, orientation),
        {name: _matrix_of(part, affected, orientation) for name, part in others.items()},
        table.get("detector", ""),
    )


def _require_keys(where: str, table: Mapping[str, Any], known: Iterable[str], needed: Iterable[str]) -> None:
    """Raise `CrosstalkError` for what is missing or nobody knows."""
    problems = [f"key {key!r}{where} is missing" for key in sorted(set(needed) - set(table))]
    problems += [f"key {key!r}{where} is unknown" for key in sorted(set(table) - set(known))]
    if problems:
        raise CrosstalkError("; ".join(problems))


def _require_adu(unit: Any) -> None:
    if unit != Crosstalk.unit:
        raise CrosstalkError(f"unit is {unit!r}; coefficients must be those of pixels in {Crosstalk.unit!r}")


def _matrix_of(table: Mapping[str, Any], affected: Sequence[str], orientation: str) -> CrosstalkMatrix:
    return CrosstalkMatrix.from_rows(
        affected,
        table["amplifiers"],
        table["linear"],
        orientation=orientation,
        quadratic=table.get("quadratic"),
        is_valid=table.get("valid"),
    )


def _pairs(crosstalk: Crosstalk) -> list[_Pair]:
    """Every coefficient, those of the diagonal too: without them one amplifier would have no row."""
    return [
        _Pair(
            affected,
            detector,
            source,
            float(matrix.linear[row, column]),
            float(matrix.quadratic[row, column]),
            bool(matrix.is_valid[row, column]),
        )
        for detector, matrix in (("", crosstalk.matrix), *sorted(crosstalk.others.items()))
        for row, affected in enumerate(matrix.affected)
        for column, source in enumerate(matrix.sources)
    ]


def _from_pairs(pairs: Sequence[_Pair], detector: str, first: Sequence[str] = ()) -> Crosstalk:
    """Coefficients from the rows of a table; pairs that are not there are zero.

    Amplifiers are in the order of ``first``, then as they come.
    """
    by_detector: dict[str, list[_Pair]] = {"": []}
    for pair in pairs:
        by_detector.setdefault(pair.source_detector, []).append(pair)
    # An amplifier that only disturbs others is one of the detector's all the same.
    names = [name for pair in by_detector[""] for name in (pair.affected, pair.source)]
    own = list(dict.fromkeys([*first, *names, *(pair.affected for pair in pairs)]))
    matrices = {"": _matrix_of_pairs(by_detector.pop(""), own, own)}
    for name, part in by_detector.items():
        matrices[name] = _matrix_of_pairs(part, own, list(dict.fromkeys(pair.source for pair in part)))
    return Crosstalk(matrices.pop(""), matrices, detector)


def _matrix_of_pairs(pairs: Sequence[_Pair], affected: list[str], sources: list[str]) -> CrosstalkMatrix:
    """A matrix; a pair that comes twice is an error."""
    linear, quadratic = np.zeros((2, len(affected), len(sources)))
    is_valid, is_known = np.ones(linear.shape, bool), np.zeros(linear.shape, bool)
    for pair in pairs:
        place = affected.index(pair.affected), sources.index(pair.source)
        if is_known[place]:
            raise CrosstalkError(f"amplifier {pair.affected!r} from {pair.source!r} is there twice")
        linear[place], quadratic[place], is_valid[place] = pair.linear, pair.quadratic, pair.valid
        is_known[place] = True
    return CrosstalkMatrix(affected, sources, linear, quadratic, is_valid)


def _to_fits(crosstalk: Crosstalk) -> bytes:
    """A table with the columns of `_Pair`."""
    table = make_table_hdu(_EXTENSION, _Pair, _pairs(crosstalk))
    table.header["DETNAME"] = escape(crosstalk.detector_name)
    table.header["PIXUNIT"] = crosstalk.unit
    table.header["COMMENT"] = _ABOUT
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(stream, checksum=True)
    return stream.getvalue()


def _from_fits(path: Path) -> Crosstalk:
    """Coefficients from a FITS table, after its checksum was verified where there is one."""
    with fits.open(path) as units:
        if _EXTENSION not in units:
            raise CrosstalkError(f"it has no table {_EXTENSION!r}")
        table = units[_EXTENSION]
        if table.verify_checksum() == 0:
            raise CrosstalkError("its checksum is wrong: the file is damaged")
        _require_columns([name.lower() for name in table.columns.names])
        _require_adu(table.header.get("PIXUNIT"))
        pairs = list(rows_of(table, _Pair))
        return _from_pairs(pairs, unescape(table.header.get("DETNAME", "")))


def _require_columns(names: Sequence[str]) -> None:
    if sorted(names) != sorted(_COLUMNS):
        raise CrosstalkError(f"it has columns {', '.join(names)}; it needs {', '.join(_COLUMNS)}")


def _to_ecsv(crosstalk: Crosstalk) -> bytes:
    """The same table as text."""
    pairs = [attrs.astuple(pair) for pair in _pairs(crosstalk)]
    columns = dict(zip(_COLUMNS, map(list, zip(*pairs, strict=True)), strict=True))
    for name in ("affected", "source_detector", "source"):
        columns[name] = [_cell(text) for text in columns[name]]
    meta = {"detector": _cell(crosstalk.detector_name), "unit": crosstalk.unit, "comments": [_ABOUT]}
    stream = io.StringIO()
    Table(columns, meta=meta).write(stream, format="ascii.ecsv")
    return stream.getvalue().encode()


def _cell(text: str) -> str:
    """A text without what means something else in a table: blanks, quotes, the start of a comment."""
    return re.sub("[ #\"']", lambda found: f"\\x{ord(found[0]):02x}", escape(text))


def _from_ecsv(path: Path) -> Crosstalk:
    """Coefficients from an ECSV table."""
    table = Table.read(path, format="ascii.ecsv")
    _require_columns(table.colnames)
    _require_adu(table.meta.get("unit"))
    texts = {name: [unescape(text or "") for text in table[name].tolist()] for name in _COLUMNS[:3]}
    numbers = {name: table[name].tolist() for name in _COLUMNS[3:]}
    rows = zip(*texts.values(), *numbers.values(), strict=True)
    return _from_pairs([_Pair(*row) for row in rows], unescape(table.meta.get("detector", "")))


def _from_plain(text: str, columns: str) -> Crosstalk:
    """Coefficients from lines of two amplifiers and a number, whose order somebody must state."""
    stated = _STATEMENT.search(text)
    order = (columns or (stated[1] if stated else "")).split()
    rows = [line.partition("#")[0].split() for line in text.splitlines()]
    problems = [] if sorted(order) == sorted(_PLAIN) else [_unstated(order)]
    for number, words in enumerate(rows, start=1):
        if len(words) not in (0, len(_PLAIN)):
            problems.append(f"line {number} has {len(words)} words, not {len(_PLAIN)}")
    if problems:
        raise CrosstalkError("\n  ".join(problems))
    named = [dict(zip(order, words, strict=True)) for words in rows if words]
    pairs = [_Pair(r["affected"], "", r["source"], float(r["coefficient"]), 0.0, True) for r in named]
    names = {name for pair in pairs for name in (pair.affected, pair.source)}
    # Such files number amplifiers, and list pairs in any order.
    numbered = sorted(names, key=int) if all(map(str.isdecimal, names)) else []
    return _from_pairs(pairs, "", numbered)


def _unstated(order: Sequence[str]) -> str:
    """What to do about columns whose meaning is not known."""
    told = f"{' '.join(order)!r} does not say" if order else "nothing says"
    return (
        f"{told} which column is which\n"
        "  add a line '# columns: affected source coefficient', in the order that holds, "
        "or pass columns=... to Crosstalk.read"
    )
