"""Joining operations of neighbouring amplifiers into one over the full width.

Half-width strips of a frame cost about twice as much per pixel as whole rows. Joining changes no result:
every pixel meets the same operation with the same operands, only in wider calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.lib.stride_tricks import as_strided

from isrcore.geometry import Box, Gather
from isrcore.kernels.ops import Op
from isrcore.kernels.reference import Placed, RowBlock


def join_gathers(gathers: Iterable[Gather]) -> tuple[Gather, ...]:
    """Moves with neighbours that stay neighbours made one."""
    joined: list[Gather] = []
    for gather in gathers:
        last = joined[-1] if joined else None
        if last is not None and _stay_neighbours(last, gather):
            joined[-1] = Gather(_both(last.raw_box, gather.raw_box), _both(last.box, gather.box))
        else:
            joined.append(gather)
    return tuple(joined)


def _stay_neighbours(left: Gather, right: Gather) -> bool:
    """Whether two unflipped moves are side by side before and after."""
    flips = left.flip_x or left.flip_y or right.flip_x or right.flip_y
    return not flips and _touch(left.raw_box, right.raw_box) and _touch(left.box, right.box)


def join_placed(placed: Sequence[Placed]) -> list[Placed]:
    """The same operation of several amplifiers, with those side by side made one where possible."""
    joined: list[Placed] = []
    for one in sorted(map(simplified, placed), key=lambda p: (p.box.y0, p.box.x0)):
        both = _join(joined[-1], one) if joined else None
        if both is None:
            joined.append(one)
        else:
            joined[-1] = both
    return joined


def _touch(left: Box, right: Box) -> bool:
    """Whether ``right`` begins where ``left`` ends, in the same rows."""
    return left.x1 == right.x0 and (left.y0, left.y1) == (right.y0, right.y1)


def _both(left: Box, right: Box) -> Box:
    """The box of two neighbours."""
    return attrs.evolve(left, x1=right.x1)


def _join(left: Placed, right: Placed) -> Placed | None:
    """One operation for two neighbours, None when they cannot share one."""
    a, b = left.op, right.op
    if type(a) is not type(b) or a.is_known or not _touch(left.box, right.box) or not _agree(a, b):
        return None
    operands = {}
    for name in a.operands:
        operands[name] = _join_operands(getattr(a, name), getattr(b, name), left.box.width, right.box.width)
    if any(operand is None for operand in operands.values()):
        return None
    return Placed(attrs.evolve(a, **operands), _both(left.box, right.box))


def _agree(a: Op, b: Op) -> bool:
    """Whether everything but the operands is equal."""
    names = [field.name for field in attrs.fields(type(a)) if field.name not in a.operands]
    return all(getattr(a, name) == getattr(b, name) for name in names)


def _join_operands(a: Any, b: Any, width_a: int, width_b: int) -> Any:
    """An operand for both, None when there is none that takes no memory of the size of a plane."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        parts = tuple(_join_operands(p, q, width_a, width_b) for p, q in zip(a, b, strict=True))
        return None if any(part is None for part in parts) else parts
    if _is_row(a) and _is_row(b):
        if np.isscalar(a) and np.isscalar(b) and a == b:
            return a
        return np.concatenate((_row(a, width_a), _row(b, width_b)), axis=1)
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return _join_views(a, b)
    return None


def simplified(placed: Placed) -> Placed:
    """The same operation with columns that hold one value as that number."""
    op = placed.op
    changes = {name: _simple(getattr(op, name)) for name in op.operands}
    return attrs.evolve(placed, op=attrs.evolve(op, **changes)) if changes else placed


def _simple(operand: Any) -> Any:
    """A number for a column of one value; anything else as it is."""
    if isinstance(operand, np.ndarray) and operand.shape[1] == 1 and (operand == operand[0]).all():
        return operand[0, 0]
    return operand


def expanded(placed: Placed, rows: int) -> Placed:
    """The same operation with rows repeated to the height of a band: whole bands cost half of row by row."""
    op = placed.op
    changes = {name: _repeated(getattr(op, name), rows) for name in op.operands}
    return attrs.evolve(placed, op=attrs.evolve(op, **changes)) if changes else placed


def _repeated(operand: Any, rows: int) -> Any:
    """A row as a block of equal rows; anything else as it is."""
    if isinstance(operand, tuple):
        return tuple(_repeated(part, rows) for part in operand)
    if isinstance(operand, np.ndarray) and operand.shape[0] == 1 and operand.shape[1] > 1:
        return RowBlock(np.repeat(operand, rows, axis=0))
    return operand


def _is_row(operand: Any) -> bool:
    """Whether an operand is the same in every row of several."""
    return bool(np.isscalar(operand)) or (isinstance(operand, np.ndarray) and operand.shape[0] == 1)


def _row(operand: Any, width: int) -> Any:
    """A number or row as a float32 row."""
    return np.broadcast_to(np.asarray(operand, np.float32), (1, width))


def _join_views(a: Any, b: Any) -> Any:
    """The view of both, when they are neighbours in one array; else None."""
    is_one = a.base is not None and a.base is b.base and a.strides == b.strides and a.shape[0] == b.shape[0]
    follows = a.ctypes.data + a.shape[1] * a.strides[1] == b.ctypes.data
    if not (is_one and follows and a.shape[1] > 1 and b.shape[1] > 1):
        return None
    return as_strided(a, (a.shape[0], a.shape[1] + b.shape[1]), a.strides, writeable=False)
