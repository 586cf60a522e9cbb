"""Masters with pixels from corrected inputs: combine each detector's, bring all to one scale, write them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import numpy as np

from isrcore import Detector, write_exposure
from isrcore_calib.combination import Combined
from isrcore_calib.inputs import InputReader, Stack
from isrcore_calib.kinds import KINDS
from isrcore_calib.master import (
    Master,
    Stacked,
    exposure_levels,
    finish,
    norm_of,
    stack_inputs,
)
from isrcore_calib.places import place
from isrcore_calib.provenance import COMMAND, provenance_of
from isrcore_calib.rules import Rule
from isrcore_calib.table import Rows

FOCAL_PLANE, DETECTOR = "focal-plane", "detector"
COLUMNS = ("detector", "inputs", "left out", "level", "noise", "bad pixels", "master")

# Combining in less space would take long and save little.
_LEAST_SPACE = 1 << 24


def rule_of(arguments: argparse.Namespace) -> Rule:
    """How to combine. Raises ValueError listing what contradicts itself."""
    return Rule(arguments.combine, arguments.sigma, arguments.weighted)


def make_frames(arguments: argparse.Namespace, reader: InputReader, folder: Path) -> Rows:
    """Combine and write the master of every detector; the lines of the table.

    Flats keep the relative sensitivities of detectors unless each is to be normalised by itself: then all
    must be combined before one is written, and wait in ``folder``.
    """
    stacks = [stack for _, stack in sorted(reader.stacks.items())]
    levels = exposure_levels(stack.inputs for stack in stacks) if _is_joint(arguments, reader) else {}
    if not levels:
        return [_make_one(arguments, reader, stack) for stack in stacks]
    waiting, means = [], []
    for number, stack in enumerate(stacks):
        stacked = _combine(arguments, reader, stack, levels)
        means.append(stacked.level())
        waiting.append(_Waiting.put(stacked, folder / f"combined{number}.npz"))
    norm = norm_of(means)
    return [
        _write(arguments, reader, finish(one.take(), reader.camera, stack.detector, norm))
        for one, stack in zip(waiting, stacks, strict=True)
    ]


def _is_joint(arguments: argparse.Namespace, reader: InputReader) -> bool:
    """Whether the masters of all detectors belong together."""
    return arguments.kind == "flat" and arguments.normalize == FOCAL_PLANE and len(reader.stacks) > 1


@attrs.frozen(eq=False)
class _Waiting:
    """Combined inputs whose pixels are in a file."""

    stacked: Stacked
    file: Path

    @classmethod
    def put(cls, stacked: Stacked, file: Path) -> _Waiting:
        """Write the pixels."""
        found = stacked.combined
        np.savez(file, image=found.image, variance=found.variance, number=found.number)
        empty = np.empty((0, 0), np.float32)
        return cls(attrs.evolve(stacked, combined=Combined(empty, empty, empty.astype(np.int16))), file)

    def take(self) -> Stacked:
        """Read the pixels."""
        with np.load(self.file) as found:
            return attrs.evolve(self.stacked, combined=Combined(**found))


def _make_one(arguments: argparse.Namespace, reader: InputReader, stack: Stack) -> tuple[str, ...]:
    """Combine and write one detector's master; its line of the table."""
    stacked = _combine(arguments, reader, stack, {})
    return _write(
        arguments, reader, finish(stacked, reader.camera, stack.detector, norm_of([stacked.level()]))
    )


def space_for(reader: InputReader, detector: Detector) -> int:
    """Bytes of memory that are left for combining frames of a detector."""
    return max(reader.store.room(4 * detector.shape[0] * detector.shape[1]), _LEAST_SPACE)


def _combine(
    arguments: argparse.Namespace, reader: InputReader, stack: Stack, levels: dict[str, float]
) -> Stacked:
    """Combine one detector's inputs, in the memory that is left, and let go of them."""
    space = space_for(reader, stack.detector)
    stacked = stack_inputs(
        arguments.kind, stack.inputs, levels, rule_of(arguments), memory=space, threads=arguments.threads
    )
    stack.inputs.clear()
    return stacked


def _write(arguments: argparse.Namespace, reader: InputReader, master: Master) -> tuple[str, ...]:
    """Write a master; its line of the table."""
    path = place(arguments.output, arguments.kind, master.exposure.detector.name)
    write_exposure(
        master.exposure,
        path,
        overwrite=arguments.overwrite,
        config_text=reader.config.to_toml(),
        provenance=dict(_provenance(arguments, reader, master)),
        extra={"NINPUTS": master.number},
    )
    return _row(master, path)


def _provenance(
    arguments: argparse.Namespace, reader: InputReader, master: Master
) -> Iterator[tuple[str, str]]:
    """All that went into a master."""
    used, detector = {one.path: one.digest for one in master.inputs}, master.exposure.detector.name
    yield from provenance_of(arguments, master.exposure.camera, detector, used)
    together = sorted(reader.stacks) if _is_joint(arguments, reader) else [detector]
    yield COMMAND, shlex.join(_command(arguments, together))
    yield "combine", arguments.combine
    yield "sigma", repr(arguments.sigma)
    yield "weighted", str(arguments.weighted).lower()
    if arguments.kind == "flat":
        yield "normalize", arguments.normalize
        yield "norm", repr(master.norm)
    if arguments.kind == "fringe":
        yield "box", repr(arguments.box)
        yield "source sigma", repr(arguments.source_sigma)
    for number, one in enumerate(master.inputs, 1):
        yield f"input {number} scale", repr(one.scale)


def _command(arguments: argparse.Namespace, detectors: Sequence[str]) -> Iterator[str]:
    """The command line, without files, that makes masters of detectors that belong together again."""
    yield from ("calibrate", arguments.kind, "--combine", arguments.combine, "--sigma", repr(arguments.sigma))
    if arguments.weighted:
        yield "--weighted"
    if arguments.kind == "fringe":
        yield from ("--box", repr(arguments.box), "--source-sigma", repr(arguments.source_sigma))
    if arguments.kind == "flat":
        yield from ("--normalize", arguments.normalize)
    yield from ("--detectors", ",".join(detectors))
    if len(detectors) > 1:
        # Where the masters of the others are, one of them does not say otherwise.
        given = ((kind, getattr(arguments, kind)) for kind in KINDS[arguments.kind].masters)
        yield from (word for kind, text in given if text for word in (f"--{kind}", text))


def _row(master: Master, path: Path) -> tuple[str, ...]:
    """What the table says of a master."""
    exposure, good = master.exposure, master.number > 0
    level = np.median(exposure.image[good]) if good.any() else np.nan
    noise = np.median(np.sqrt(exposure.variance[good])) if good.any() else np.nan
    left_out, bad = f"{master.clipped_fraction:.3%}", str(np.count_nonzero(~good))
    about = exposure.detector.name, str(len(master.inputs)), left_out, f"{level:.4g}", f"{noise:.4g}"
    return (*about, bad, str(path))
