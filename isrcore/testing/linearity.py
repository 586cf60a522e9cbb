"""Hypothesis strategies for linearizers, and for the operations that follow their curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from isrcore.camera import Detector
from isrcore.image import Float32
from isrcore.kernels.ops import Lookup, Piecewise, Polynomial
from isrcore.kernels.tables import LineTable, LookupTable
from isrcore.linearity import LINEARITY_TYPES, LinearityCurve, Linearizer

# Pixels up to here are bent by a few percent.
_FULL = 65536.0


@st.composite
def linearizers(draw: st.DrawFn, detector: Detector, types: Sequence[str] = LINEARITY_TYPES) -> Linearizer:
    """Linearizers of a detector, every amplifier with a type of its own: what departs by some percent.

    Curves rise with the signal throughout, but lookup tables may leap by a few adu.
    """
    rows = len(detector.amplifiers)
    curves = {}
    for row, amp in enumerate(detector.amplifiers):
        kind = draw(st.sampled_from(types))
        box = draw(st.sampled_from([None, amp.box]))
        curves[amp.name] = LinearityCurve(kind, draw(coefficients(kind, rows - 1 - row)), box)
    has_table = any(curve.type == "LookupTable" for curve in curves.values())
    return Linearizer(
        curves,
        draw(lookup_values(rows)) if has_table else None,
        draw(st.sampled_from(["", detector.name])),
        draw(st.sampled_from(["", detector.serial])),
        source=draw(st.sampled_from(["", "a linearizer"])),
    )


@st.composite
def coefficients(draw: st.DrawFn, kind: str, row: int = 0) -> tuple[float, ...]:
    """Coefficients of a type of curve; ``row`` is that of a lookup table."""
    if kind == "LookupTable":
        return float(row), draw(st.sampled_from([0.0, 0.5, -10.5, 3.0]))
    if kind in ("Squared", "Polynomial"):
        count = 1 if kind == "Squared" else draw(st.integers(1, 3))
        return tuple(draw(st.floats(-0.03, 0.03)) / _FULL ** (power + 1) for power in range(count))
    if kind == "Spline":
        return sum(draw(splines()), ())
    if kind == "DoubleSpline":
        first, second = draw(splines()), draw(splines())
        return float(len(first[0])), float(len(second[0])), *first[0], *first[1], *second[0], *second[1]
    return draw(st.sampled_from([(), (1.0,)]))


@st.composite
def splines(draw: st.DrawFn) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes from near zero on, not evenly spaced, and values of up to 100 adu."""
    steps = draw(st.lists(st.integers(2000, 12000), min_size=1, max_size=8))
    start = draw(st.sampled_from([0, 50, -300]))
    nodes = np.cumsum([start, *steps]).astype(float).tolist()
    return tuple(nodes), tuple(draw(st.floats(-100, 100)) for _ in nodes)


@st.composite
def lookup_values(draw: st.DrawFn, rows: int) -> Float32:
    """Lookup tables of this many rows, some too short for most pixels."""
    columns = draw(st.sampled_from([rows, 40, 3000, 70000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    slope = rng.uniform(-0.02, 0.02, (rows, 1)) * np.arange(columns)
    return (slope + rng.uniform(-2, 2, (rows, columns))).astype(np.float32)


def polynomials(shape: tuple[int, int]) -> st.SearchStrategy[Polynomial]:
    """`Polynomial` on a rectangle of ``shape``, for pixels of some hundreds, forwards."""
    sizes = (1e-4, 1e-7, 1e-10)
    return st.integers(1, 3).flatmap(
        lambda count: st.builds(Polynomial, st.tuples(*(_factors(shape, size) for size in sizes[:count])))
    )


@st.composite
def _factors(draw: st.DrawFn, shape: tuple[int, int], size: float) -> Any:
    """A number, column, row or plane of factors between minus and plus ``size``."""
    part = draw(st.sampled_from([(1, 1), (shape[0], 1), (1, shape[1]), shape]))
    if part == (1, 1):
        return draw(st.floats(-size, size))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.uniform(-size, size, part).astype(np.float32)


@st.composite
def line_tables(draw: st.DrawFn, rows: int) -> LineTable:
    """Lines that rise, for pixels of some hundreds."""
    count, start = draw(st.integers(1, 40)), draw(st.integers(-5, 5))
    step = draw(st.floats(0.5, 50, width=32))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    points = step * (start + np.arange(count + 1))
    return LineTable.through(start, step, points + rng.uniform(-0.1, 0.1, (rows, count + 1)) * step)


@st.composite
def curve_ops(draw: st.DrawFn, shape: tuple[int, int]) -> Lookup | Piecewise:
    """`Lookup` and `Piecewise` on a rectangle of ``shape``, forwards and backwards."""
    rows = draw(st.integers(1, 3))
    flags = {"inverted": draw(st.booleans()), "skips_variance": draw(st.booleans())}
    if draw(st.booleans()):
        lines = draw(line_tables(rows))
        return Piecewise(lines, draw(_firsts(lines, rows, shape)), **flags)
    table, offset = LookupTable.of(draw(lookup_values(rows))), draw(st.sampled_from([0.0, 0.5, -10.5]))
    return Lookup(table, draw(_firsts(table, rows, shape)), offset, draw(st.integers(0, 2)), 3, **flags)


@st.composite
def _firsts(draw: st.DrawFn, table: LookupTable | LineTable, rows: int, shape: tuple[int, int]) -> Any:
    """The first entry of a row of the table, or of one row per column."""
    places = [table.first(row) for row in range(rows)]
    if draw(st.booleans()):
        return draw(st.sampled_from(places))
    chosen = [draw(st.sampled_from(places)) for _ in range(shape[1])]
    return np.array([chosen], np.float32)
