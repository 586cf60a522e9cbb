"""What a calibration was made from, as texts by name."""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path

from isrcore import sha256_of
from isrcore_calib.kinds import KINDS
from isrcore_calib.places import place

#: The entry by which `isr replay` makes a master again.
COMMAND = "command"


def provenance_of(
    arguments: argparse.Namespace, camera: str, detector: str, inputs: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The version, a camera file, the masters that corrected the inputs and the inputs, with SHA-256.

    ``detector`` is the one it is of, "" for all.
    """
    yield "isrcore", importlib.metadata.version("isrcore")
    if file := arguments.registry.file_of(camera):
        yield "camera", str(file.path)
        yield "camera digest", file.digest
    for kind in KINDS[arguments.kind].masters:
        given = getattr(arguments, kind)
        if given:
            master = place(given, kind, detector) if detector else Path(given)
            yield kind, str(master)
            if master.is_file():
                yield f"{kind} digest", sha256_of(master)
    for number, (path, digest) in enumerate(sorted(inputs.items()), 1):
        yield f"input {number}", path
        yield f"input {number} sha256", digest
