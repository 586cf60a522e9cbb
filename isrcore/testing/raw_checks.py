"""Checks of a camera's reader on real raw files."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from isrcore.camera import Amplifier
from isrcore.exposure import Exposure
from isrcore.geometry import Box
from isrcore.testing.camera_case import CameraCase
from isrcore.testing.faults import Fault, NotApplicable, Refuted, checks
from isrcore.testing.header_checks import damages_of, keywords, survey
from isrcore.testing.raw_files import Outline
from isrcore.testing.reader_checks import differing_visit
from isrcore.testing.search import search

# Damaged headers tried for each real file, and HDUs that get them: the first detector tells the visit.
_EXAMPLES, _PARTS = 15, 3

# Light in an overscan: a line beside the data is this part of the light in the data above the rest of it.
_PART = 0.2
# And this many standard errors.
_ERRORS = 10.0


def _files(case: CameraCase) -> tuple[Path, ...]:
    if not case.raw:
        raise NotApplicable("no raw file was given: raw = Path('frame.fits'), or --isr-raw FILE")
    return case.raw


@checks("real raw files are read: by headers alone, and with their pixels")
def check_raw(case: CameraCase) -> Iterator[Fault]:
    """Listing, survey and reading agree; exposure time and filter are known."""
    for path in _files(case):
        listed = case.alone.list_raw(path)
        surveyed = list(case.alone.survey_raw(path))
        # One detector is enough: mosaics do not fit into memory.
        first = next(iter(case.alone.read_raw(path, [surveyed[0].detector.name])))
        names = tuple(one.detector.name for one in surveyed)
        if names != listed.detectors:
            yield Fault(
                "a file has other detectors by its headers alone",
                f"{path.name}: {listed.detectors} when listed, {names} when surveyed",
                "let the reader use the source that it is given, not open the file itself",
            )
        for name, before, after in differing_visit(surveyed[0].visit, first.visit):
            yield Fault(
                f"{name} differs between reading the headers and reading the pixels",
                f"{path.name}: {before!r} and {after!r}",
                "let the visit depend on headers alone",
            )
        yield from _visit_faults(case, path, first)


def _visit_faults(case: CameraCase, path: Path, exposure: Exposure) -> Iterator[Fault]:
    """What every real frame states and the reader does not find."""
    if math.isnan(exposure.visit.exposure_s):
        yield Fault(
            "the exposure time of a real frame is not found",
            f"{path.name}: exposure_s is NaN",
            "read the card that holds it: read_sections(..., visit=my_visit)",
        )
    name, known = exposure.visit.filter, case.camera.filters
    # No glass in the beam is no glass that the camera lacks.
    is_glass = name.lower() not in ("", "none")
    if is_glass and known and not any(name in one.names for one in known):
        yield Fault(
            f"missing filter: a real frame was taken through {name!r}, which the camera does not have",
            f"{path.name}: filter {name!r}; the camera has {', '.join(one.name for one in known)}",
            f"add a filter with {name!r} among its name, short_name and aliases",
        )


@checks("damaged headers of real files give a value or one clear error that names the file")
def check_raw_headers(case: CameraCase) -> Iterator[Fault]:
    """Every card of real headers dropped, and other changes as Hypothesis chooses them."""
    for path in _files(case):
        outline = Outline.read(path)
        found = list(_dropped(case, outline, keywords(outline)))
        if not found:
            choices = st.tuples(st.sampled_from(keywords(outline)), st.integers(0, 6))
            try:
                search(choices, _EXAMPLES)(partial(_bears, case, outline))()
            except Refuted as refuted:
                found = [refuted.fault]
        yield from (attrs.evolve(fault, example=f"{path.name}, {fault.example}") for fault in found)


def _bears(case: CameraCase, outline: Outline, choice: tuple[str, int]) -> None:
    """The law: a card changed in one of its ways breaks nothing."""
    damage = next(islice(damages_of(outline, choice[0], _PARTS), choice[1], None), None)
    found = damage and survey(case, outline, damage.headers, first_only=True)
    if damage and isinstance(found, Fault):
        raise Refuted(attrs.evolve(found, example=f"{damage.change}: {found.example}"))


def _dropped(case: CameraCase, outline: Outline, names: Sequence[str]) -> Iterator[Fault]:
    """Faults when these cards are not there: all at once, then by halves where that is not simply borne.

    Real headers have hundreds of cards, of which a reader looks at ten.
    """
    changed = {}
    for place, header in enumerate(outline.headers[:_PARTS]):
        changed[place] = header.copy()
        for name in names:
            changed[place].remove(name, ignore_missing=True, remove_all=True)
    found = survey(case, outline, changed, first_only=True)
    if len(names) == 1 and isinstance(found, Fault):
        yield attrs.evolve(found, example=f"{names[0]} dropped: {found.example}")
    elif len(names) > 1 and not isinstance(found, tuple):
        half = len(names) // 2
        yield from _dropped(case, outline, names[:half])
        yield from _dropped(case, outline, names[half:])


@checks("overscans of real frames hold no light")
def check_overscans(case: CameraCase) -> Iterator[Fault]:
    """The lines at both ends of an overscan are like the rest of it."""
    for path in _files(case):
        surveyed = list(case.alone.survey_raw(path))
        for name in (surveyed[0].detector.name, surveyed[-1].detector.name):
            exposure = next(iter(case.alone.read_raw(path, [name])))
            if "assembled" in exposure.facts:
                continue
            for amp in exposure.detector.amplifiers:
                yield from _light(path, exposure, amp)


def _light(path: Path, exposure: Exposure, amp: Amplifier) -> Iterator[Fault]:
    """Lines of an amplifier's overscans that hold light."""
    for name, axis in (("serial_overscan_box", 0), ("parallel_overscan_box", 1)):
        box: Box = getattr(amp, name)
        pixels = exposure.image[box.slices].astype(np.float64)
        if min(pixels.shape) < 3:
            continue
        lines = np.median(pixels, axis=axis)
        level, scatter = float(np.median(lines)), _scatter(pixels)
        light = float(np.median(exposure.image[amp.raw_data_box.slices])) - level
        limit = max(_PART * light, _ERRORS * scatter / math.sqrt(pixels.shape[axis]))
        for end, what in ((0, "first"), (-1, "last")):
            if lines[end] - level > limit:
                kind = "column" if axis == 0 else "row"
                yield Fault(
                    f"amplifier {amp.name!r} of detector {exposure.detector.name!r}: the {what} {kind} of "
                    f"{name} holds light",
                    f"{path.name}: {name} = {box.to_section()!r} has {lines[end]:.1f} adu there, {level:.1f} "
                    f"elsewhere, and the data {level + light:.1f}",
                    f"move the edge of {name} by the {kind}s that see light, or raw_data_box with it",
                )


def _scatter(pixels: npt.NDArray[np.float64]) -> float:
    """The scatter of pixels, by their quartiles."""
    low, high = np.percentile(pixels, [25, 75])
    return float(high - low) / 1.349
