"""A table of gain and read noise, an amplifier a row, from corrected flats and biases."""

from __future__ import annotations

import argparse
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from isrcore import Detector
from isrcore_calib.faults import MasterError
from isrcore_calib.inputs import InputReader, Stack
from isrcore_calib.master import Input
from isrcore_calib.photon_transfer import Pair, Transfer, measure_transfer
from isrcore_calib.places import place
from isrcore_calib.provenance import provenance_of
from isrcore_calib.table import Rows
from isrcore_calib.writing import replace

COLUMNS = (
    "detector",
    "amplifier",
    "gain",
    "±",
    "read noise",
    "± ",
    "adu",
    "with outliers",
    "flat pairs",
    "bias pairs",
)

_UNITS = {
    "gain": "electron / adu",
    "gain_error": "electron / adu",
    "noise": "electron",
    "noise_error": "electron",
    "noise_adu": "adu",
    "noise_adu_error": "adu",
    "scatter_adu": "adu",
    "level": "adu",
}

_log = logging.getLogger("isrcore.calibrate")


def make_gains(arguments: argparse.Namespace, reader: InputReader, folder: Path) -> Rows:
    """Measure every amplifier and write one table; its lines."""
    stacks = [stack for _, stack in sorted(reader.stacks.items())]
    _check(stacks)
    found = [row for stack in stacks for row in _measure(stack)]
    used = {one.path: one.digest for stack in stacks for one in stack.inputs}
    content = _table(found, dict(provenance_of(arguments, stacks[0].camera, "", used)))
    replace(place(arguments.output, arguments.kind, ""), content)
    return [_row(*line) for line in found]


def _check(stacks: Sequence[Stack]) -> None:
    """Two biases at least: without read noise there is no gain. Raises `MasterError`."""
    kinds = [one.kind for one in stacks[0].inputs]
    if kinds.count("bias") < 2:
        raise MasterError(
            f"gain needs two biases or more, there are {kinds.count('bias')}, and {kinds.count('flat')} flats"
            "\n  give pairs of biases, and pairs of flats of equal exposure time"
        )
    if kinds.count("flat") < 2:
        _log.warning("there is no pair of flats: read noise is found in adu only, and no gain")


def _measure(stack: Stack) -> Iterator[tuple[Detector, str, Transfer]]:
    """Every amplifier of a detector."""
    pairs: dict[str, dict[str, list[Pair]]] = {
        name: {"flat": [], "bias": []} for name in stack.detector.amplifier_names
    }
    for one, other in pairs_of(stack.inputs):
        images = one.frame.image(), other.frame.image()
        for amp in stack.detector.amplifiers:
            parts = (image[amp.box.slices] for image in images)
            pairs[amp.name][one.kind].append(Pair.of(*parts, is_lit=one.kind == "flat"))
    for name, found in pairs.items():
        yield stack.detector, name, measure_transfer(found["flat"], found["bias"])


def pairs_of(inputs: Iterable[Input]) -> Iterator[tuple[Input, Input]]:
    """Frames of one type, filter and exposure time, in pairs of those taken one after the other.

    Every frame is in one pair at most, so that pairs are independent.
    """
    groups: dict[tuple[str, str, float], list[Input]] = {}
    for one in inputs:
        groups.setdefault((one.kind, one.visit.filter, one.visit.exposure_s), []).append(one)
    for group in groups.values():
        ordered = sorted(group, key=_when)
        yield from zip(ordered[::2], ordered[1::2], strict=False)


def _when(one: Input) -> tuple[float, str]:
    """By date where there is one; frames without are in the order of their content."""
    return (one.visit.date.mjd if one.visit.date is not None else 0.0), one.digest


def _table(found: Sequence[tuple[Detector, str, Transfer]], meta: dict[str, str]) -> bytes:
    """The measurements as ECSV."""
    from astropy.table import Table

    columns: dict[str, list[object]] = {
        "detector": [detector.name for detector, _, _ in found],
        "amplifier": [amplifier for _, amplifier, _ in found],
    }
    for field in attrs.fields(Transfer):
        columns[field.name] = [getattr(transfer, field.name) for _, _, transfer in found]
    table = Table(columns, meta=meta)
    for name, unit in _UNITS.items():
        table[name].unit = unit
    stream = io.StringIO()
    table.write(stream, format="ascii.ecsv")
    return stream.getvalue().encode()


def _row(detector: Detector, amplifier: str, found: Transfer) -> tuple[str, ...]:
    """A line of the table on the terminal."""
    noises = found.noise, found.noise_error, found.noise_adu, found.scatter_adu
    numbers = found.gain, found.gain_error, *noises
    told = (f"{number:.4g}" for number in numbers)
    return (detector.name, amplifier, *told, str(found.flat_pairs), str(found.bias_pairs))
