"""From corrected inputs to a master frame: scaling, combining, normalising, saying what it was made from."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence

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
    TaskError,
    VisitInfo,
    statistics,
)
from isrcore_calib.combination import Combined, Frame, combine

# Dark times this close are one dark time: scaling would only add noise of the clock.
_SAME_TIME = 0.01


class MasterError(TaskError):
    """Inputs of which no master can be made; the message says which and why."""


@attrs.frozen(eq=False)
class Input:
    """A corrected input: where it came from, when it was taken, its pixels and, for flats, its level."""

    path: str
    digest: str
    visit: VisitInfo
    frame: Frame
    level: float = 1.0


@attrs.frozen(eq=False)
class Master:
    """A master frame and how many inputs each of its pixels has."""

    exposure: Exposure
    number: npt.NDArray[np.int16]
    inputs: tuple[Input, ...]

    @property
    def clipped_fraction(self) -> float:
        """Fraction of the inputs' pixels that did not enter."""
        return 1 - float(np.mean(self.number)) / len(self.inputs)


def make_master(
    kind: str,
    inputs: Sequence[Input],
    camera: str,
    detector: Detector,
    *,
    num_sigma: float = 3.0,
    memory: int = 1 << 28,
) -> Master:
    """Combine inputs of one detector into a master bias, dark or flat.

    Darks are scaled to their mean dark time when their times differ by more than 1 %; flats are divided by
    their levels, and the result by its own mean. Pixels without an input are BAD, with value 0 (1 in a flat).
    The order of the inputs does not matter. Raises `MasterError` for darks without dark time and flats
    without light.
    """
    ordered = sorted(inputs, key=lambda one: one.path)
    combined = combine(_scaled(kind, ordered), num_sigma, memory)
    if kind == "flat":
        combined = _normalised(combined)
    exposure = Exposure(
        _finished(combined, 1.0 if kind == "flat" else 0.0),
        detector,
        camera=camera,
        visit=_visit(kind, [one.visit for one in ordered]),
        header=_header(kind, len(ordered)),
        unit="" if kind == "flat" else "adu",
        facts=frozenset({"assembled", "converted"}),
        history=(HistoryEntry(f"calibrate {kind}", "calib", importlib.metadata.version("isrcore")),),
    )
    return Master(exposure, combined.number, tuple(ordered))


def measure_level(planes: npt.NDArray[np.float32], path: str) -> float:
    """The level of a flat: the clipped mean of its usable pixels, in adu.

    Raises `MasterError` for a flat without light.
    """
    level = statistics.clipped(planes[0]).mean
    if not level > 0:
        raise MasterError(f"flat {path!r} has level {level:.4g} adu, a flat needs light: leave it out")
    return level


def _scaled(kind: str, inputs: Sequence[Input]) -> list[Frame]:
    """The frames on a common scale."""
    if kind == "flat":
        return [one.frame.scaled(1 / one.level) for one in inputs]
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


def _normalised(combined: Combined) -> Combined:
    """The frame divided by its mean over pixels that have an input."""
    level = statistics.mean(combined.image)
    return attrs.evolve(
        combined,
        image=combined.image / np.float32(level),
        variance=combined.variance / np.float32(level * level),
    )


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
