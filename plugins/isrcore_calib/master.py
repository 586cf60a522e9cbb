"""From corrected inputs to a master frame: scaling, combining, normalising, saying what it was made from."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Iterable, Mapping, Sequence

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header

from isrcore import (
    Detector,
    Exposure,
    HistoryEntry,
    MaskedImage,
    MaskPlanes,
    VisitInfo,
    statistics,
)
from isrcore_calib.combination import Combined, Frame, combine
from isrcore_calib.faults import MasterError
from isrcore_calib.rules import Rule

# Dark times this close are one dark time: scaling would only add noise of the clock.
_SAME_TIME = 0.01


@attrs.frozen(eq=False)
class Input:
    """A corrected input: where it came from, when it was taken, its pixels, its level and what it is of.

    ``level`` is that of a flat, in adu; ``kind`` its type ("bias", "flat").
    """

    path: str
    digest: str
    visit: VisitInfo
    frame: Frame
    level: float = 1.0
    kind: str = ""


@attrs.frozen
class Used:
    """An input of a master: its path, the SHA-256 of its file, and what its pixels were multiplied by."""

    path: str
    digest: str
    scale: float


@attrs.frozen(eq=False)
class Master:
    """A master frame, how many inputs each of its pixels has, and which they were.

    ``norm`` is what a flat was divided by in the end.
    """

    exposure: Exposure
    number: npt.NDArray[np.int16]
    inputs: tuple[Used, ...]
    norm: float = 1.0

    @property
    def clipped_fraction(self) -> float:
        """Fraction of the inputs' pixels that did not enter."""
        return 1 - float(np.mean(self.number)) / len(self.inputs)


@attrs.frozen(eq=False)
class Stacked:
    """Inputs of one detector, combined on a common scale; their pixels are no longer needed."""

    kind: str
    combined: Combined
    inputs: tuple[Used, ...]
    visit: VisitInfo

    def level(self) -> tuple[float, int]:
        """Mean of the pixels that have an input, and how many there are."""
        return statistics.mean(self.combined.image), int(np.count_nonzero(self.combined.number))


def make_master(
    kind: str,
    inputs: Sequence[Input],
    camera: str,
    detector: Detector,
    rule: Rule | None = None,
    *,
    memory: int = 1 << 28,
    threads: int = 1,
) -> Master:
    """Combine inputs of one detector into a master bias, dark, flat or fringe frame.

    Darks are scaled to their mean dark time when their times differ by more than 1 %; flats and fringes are
    divided by their levels, and a flat by its own mean. Pixels without an input are BAD, with value 0 (1 in a
    flat). The order of the inputs does not matter. Raises `MasterError` for darks without dark time.
    """
    stacked = stack_inputs(kind, inputs, {}, rule, memory=memory, threads=threads)
    return finish(stacked, camera, detector, norm_of([stacked.level()]))


def stack_inputs(
    kind: str,
    inputs: Sequence[Input],
    levels: Mapping[str, float],
    rule: Rule | None = None,
    *,
    memory: int = 1 << 28,
    threads: int = 1,
) -> Stacked:
    """Combine inputs on a common scale. ``levels`` (by path) are used instead of the inputs' own.

    Raises as `make_master`.
    """
    ordered = sorted(inputs, key=lambda one: one.digest)
    frames = _scaled(kind, ordered, levels)
    used = (Used(one.path, one.digest, frame.scale) for one, frame in zip(ordered, frames, strict=True))
    return Stacked(
        kind,
        combine(frames, rule, memory=memory, threads=threads),
        tuple(sorted(used, key=lambda one: (one.path, one.digest))),
        _visit(kind, [one.visit for one in ordered]),
    )


def exposure_levels(stacks: Iterable[Sequence[Input]]) -> dict[str, float]:
    """The level of each exposure over the focal plane, by path: the mean of its detectors' levels."""
    found: dict[str, list[float]] = {}
    for inputs in stacks:
        for one in inputs:
            found.setdefault(one.path, []).append(one.level)
    return {path: math.fsum(levels) / len(levels) for path, levels in found.items()}


def norm_of(levels: Sequence[tuple[float, int]]) -> float:
    """The mean over all pixels of frames with these means and numbers of pixels; 1 without any."""
    counted = [(mean, number) for mean, number in levels if number]
    number = sum(number for _, number in counted)
    return math.fsum(mean * number for mean, number in counted) / number if number else 1.0


def finish(stacked: Stacked, camera: str, detector: Detector, norm: float = 1.0) -> Master:
    """The master of combined inputs; a flat is divided by ``norm``."""
    kind, combined = stacked.kind, stacked.combined
    if kind == "flat":
        combined = _normalised(combined, norm)
    exposure = Exposure(
        _finished(combined, 1.0 if kind == "flat" else 0.0),
        detector,
        camera=camera,
        visit=stacked.visit,
        header=_header(kind, len(stacked.inputs)),
        unit="adu" if kind in ("bias", "dark") else "",
        facts=frozenset({"assembled", "converted"}),
        history=(HistoryEntry(f"calibrate {kind}", "calib", importlib.metadata.version("isrcore")),),
    )
    return Master(exposure, combined.number, stacked.inputs, norm if kind == "flat" else 1.0)


def measure_level(planes: npt.NDArray[np.float32], path: str) -> float:
    """The level of a flat: the clipped mean of its usable pixels, in adu.

    Raises `MasterError` for a flat without light.
    """
    level = statistics.clipped(planes[0]).mean
    if not level > 0:
        raise MasterError(f"flat {path!r} has level {level:.4g} adu, a flat needs light: leave it out")
    return level


def _scaled(kind: str, inputs: Sequence[Input], levels: Mapping[str, float]) -> list[Frame]:
    """The frames on a common scale."""
    if kind in ("flat", "fringe"):
        return [one.frame.scaled(1 / levels.get(one.path, one.level)) for one in inputs]
    if kind == "bias":
        return [one.frame for one in inputs]
    times = _dark_times(inputs)
    if max(times) <= min(times) * (1 + _SAME_TIME):
        return [one.frame for one in inputs]
    mean = math.fsum(times) / len(times)
    return [one.frame.scaled(mean / time) for one, time in zip(inputs, times, strict=True)]


def _dark_times(inputs: Sequence[Input]) -> list[float]:
    """Dark times in s. Raises `MasterError` naming every input without one."""
    wrong = [f"{one.path!r} has {one.visit.dark_s} s" for one in inputs if not one.visit.dark_s > 0]
    if wrong:
        raise MasterError("darks need a positive dark time: " + ", ".join(wrong) + "; leave them out")
    return [one.visit.dark_s for one in inputs]


def _normalised(combined: Combined, norm: float) -> Combined:
    """The frame divided by a number, in place."""
    np.divide(combined.image, np.float32(norm), out=combined.image)
    np.divide(combined.variance, np.float32(norm * norm), out=combined.variance)
    return combined


def _finished(combined: Combined, empty: float) -> MaskedImage:
    """The frame with its empty pixels filled and flagged."""
    planes, is_empty = MaskPlanes(), combined.number == 0
    combined.image[is_empty], combined.variance[is_empty] = empty, 0.0
    # Noise about zero counts may leave a mean of estimated variances below zero.
    np.maximum(combined.variance, 0, out=combined.variance)
    mask = np.zeros(combined.image.shape, np.int32)
    mask[is_empty] = planes.value("BAD")
    return MaskedImage(combined.image, mask, combined.variance, planes)


def _visit(kind: str, visits: Sequence[VisitInfo]) -> VisitInfo:
    """What the inputs have in common: mean times, the middle of their dates, the filter."""
    dates = sorted(visit.date for visit in visits if visit.date is not None)
    filters = {visit.filter for visit in visits}
    return VisitInfo(
        exposure_s=math.fsum(visit.exposure_s for visit in visits) / len(visits),
        dark_s=math.fsum(visit.dark_s for visit in visits) / len(visits),
        date=dates[0] + (dates[-1] - dates[0]) / 2 if dates else None,
        filter=filters.pop() if len(filters) == 1 else "",
        observation_type=kind,
    )


def _header(kind: str, number: int) -> Header:
    """Cards by which other programs know a master."""
    cards = [
        ("OBSTYPE", kind, "kind of frame"),
        ("IMAGETYP", f"master {kind}", "kind of frame"),
        ("NCOMBINE", number, "number of inputs"),
    ]
    return Header(cards)
