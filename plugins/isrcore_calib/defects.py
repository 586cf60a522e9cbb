"""Tables of defects, one per detector, from corrected flats and darks."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from isrcore import Defects, Detector
from isrcore_calib.bad_pixels import Bounds, find_in_dark, find_in_flat
from isrcore_calib.faults import MasterError
from isrcore_calib.frames import rule_of, space_for
from isrcore_calib.inputs import InputReader, Stack
from isrcore_calib.master import Stacked, stack_inputs
from isrcore_calib.places import place
from isrcore_calib.provenance import provenance_of
from isrcore_calib.table import Rows

COLUMNS = ("detector", "flats", "darks", "boxes", "bad in flats", "bad in darks", "fraction", "file")

_log = logging.getLogger("isrcore.calibrate")


def make_defects(arguments: argparse.Namespace, reader: InputReader, folder: Path) -> Rows:
    """Find the defects of every detector and write them; lines of the table."""
    stacks = [stack for _, stack in sorted(reader.stacks.items())]
    _check([one.kind for one in stacks[0].inputs])
    return [_make_one(arguments, reader, stack) for stack in stacks]


def _check(kinds: Sequence[str]) -> None:
    """Say what cannot be found. Raises `MasterError` for a single frame of a kind."""
    lone = [kind for kind in ("flat", "dark") if kinds.count(kind) == 1]
    if lone:
        raise MasterError(
            f"there is one {' and one '.join(lone)}: a pixel hit by a particle would pass for a defect"
            "\n  give three or more of each, or none"
        )
    for kind, what in (("flat", "dead and low pixels"), ("dark", "hot pixels")):
        if kind not in kinds:
            _log.warning("there are no %ss: %s are not looked for", kind, what)


def _make_one(arguments: argparse.Namespace, reader: InputReader, stack: Stack) -> tuple[str, ...]:
    """One detector's table; its line."""
    detector, inputs = stack.detector, list(stack.inputs)
    masks = {}
    for kind in ("flat", "dark"):
        if any(one.kind == kind for one in inputs):
            masks[kind] = _find(_stack(arguments, reader, stack, kind), detector, bounds_of(arguments))
    stack.inputs.clear()
    mask = np.logical_or.reduce(list(masks.values()))
    used = {one.path: one.digest for one in inputs}
    path = place(arguments.output, arguments.kind, detector.name)
    told = dict(provenance_of(arguments, stack.camera, detector.name, used)) if path.suffix == ".ecsv" else {}
    found = Defects(Defects.from_mask(mask).boxes, told, detector.name)
    found.write(path)
    numbers = [str(sum(one.kind == kind for one in inputs)) for kind in ("flat", "dark")]
    bad = [str(np.count_nonzero(masks[kind])) if kind in masks else "-" for kind in ("flat", "dark")]
    return (detector.name, *numbers, str(len(found)), *bad, f"{mask.mean():.3%}", str(path))


def bounds_of(arguments: argparse.Namespace) -> Bounds:
    """What is bad."""
    return Bounds(arguments.response, arguments.column, arguments.hot)


def _stack(arguments: argparse.Namespace, reader: InputReader, stack: Stack, kind: str) -> Stacked:
    """The inputs of one kind, combined."""
    chosen = [one for one in stack.inputs if one.kind == kind]
    space = space_for(reader, stack.detector)
    return stack_inputs(kind, chosen, {}, rule_of(arguments), memory=space, threads=arguments.threads)


def _find(stacked: Stacked, detector: Detector, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Bad pixels of a combined flat or dark."""
    image = stacked.combined.image
    if stacked.kind == "flat":
        return find_in_flat(image, detector, bounds)
    return find_in_dark(image, stacked.visit.dark_s, detector, bounds)
