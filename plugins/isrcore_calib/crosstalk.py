"""Crosstalk coefficients of every detector from corrected frames with bright sources."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isrcore import Crosstalk, CrosstalkMatrix
from isrcore_calib.crosstalk_fit import FEWEST_PIXELS, Regression, in_reading_order
from isrcore_calib.faults import MasterError
from isrcore_calib.inputs import InputReader, Stack
from isrcore_calib.places import place
from isrcore_calib.provenance import provenance_of
from isrcore_calib.table import Rows
from isrcore_calib.writing import replace

COLUMNS = ("detector", "amplifier", "from", "coefficient", "±", "pixels")

_log = logging.getLogger("isrcore.calibrate")


def make_crosstalk(arguments: argparse.Namespace, reader: InputReader, folder: Path) -> Rows:
    """Find the coefficients of every detector and write them, with a second table of their errors."""
    stacks = [stack for _, stack in sorted(reader.stacks.items())]
    for stack in stacks:
        _check(stack)
    return [row for stack in stacks for row in _make_one(arguments, stack)]


def _check(stack: Stack) -> None:
    """Raises `MasterError` for detectors whose amplifiers have no counterparts."""
    shapes = {amp.box.shape for amp in stack.detector.amplifiers}
    if len(shapes) > 1 or len(stack.detector.amplifiers) < 2:
        raise MasterError(
            f"detector {stack.detector.name!r} has amplifiers of shapes {sorted(shapes)}: crosstalk is only "
            "known among two or more of one shape\n  choose other detectors with --detectors"
        )


def _make_one(arguments: argparse.Namespace, stack: Stack) -> Iterator[tuple[str, ...]]:
    """One detector."""
    amplifiers, names = stack.detector.amplifiers, stack.detector.amplifier_names
    regression = Regression(len(amplifiers), arguments.bright)
    for one in sorted(stack.inputs, key=lambda one: one.digest):
        image = one.frame.image()
        regression.add([in_reading_order(image, amp) for amp in amplifiers])
    used = {one.path: one.digest for one in stack.inputs}
    stack.inputs.clear()
    linear, errors, known = regression.solve()
    _warn(stack.detector.name, names, known)
    path = place(arguments.output, arguments.kind, stack.detector.name)
    matrix = CrosstalkMatrix(names, names, linear, is_valid=known)
    rows = [
        (names[i], names[j], float(linear[i, j]), float(errors[i, j]), int(regression.pixels[i, j]))
        for i, j in np.argwhere(known & ~np.eye(len(names), dtype=np.bool_))
    ]
    told = dict(provenance_of(arguments, stack.camera, stack.detector.name, used))
    # Last the coefficients: whoever finds them finds the errors too.
    replace(
        path.with_name(f"{path.stem}_errors.ecsv"), _table(rows, {"detector": stack.detector.name, **told})
    )
    Crosstalk(matrix, {}, stack.detector.name).write(path)
    for affected, source, value, error, pixels in rows:
        yield stack.detector.name, affected, source, f"{value:.3e}", f"{error:.1e}", str(pixels)


def _warn(detector: str, names: tuple[str, ...], known: npt.NDArray[np.bool_]) -> None:
    """Say which pairs had no bright sources."""
    pairs = [f"{names[i]} from {names[j]}" for i, j in np.argwhere(~known)]
    if pairs:
        _log.warning(
            "detector %s: fewer than %d bright pixels tell of %s; these are written as not known",
            detector,
            FEWEST_PIXELS,
            ", ".join(pairs),
        )


def _table(rows: list[tuple[str, str, float, float, int]], meta: dict[str, str]) -> bytes:
    """Coefficients and errors as ECSV."""
    from astropy.table import Table

    names = ("affected", "source", "linear", "error", "pixels")
    table = Table(rows=rows or None, names=names, dtype=("U32", "U32", "f8", "f8", "i8"), meta=meta)
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue().encode()
