"""Running the segments of a plan: measure, collect operations, execute them in one pass."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.calibrations import Calibrations
from isrcore.exposure import Exposure, HistoryEntry
from isrcore.geometry import Box, Gather, do_tile
from isrcore.image import Mask, MaskedImage, MaskPlanes
from isrcore.kernels.joining import join_gathers, join_placed
from isrcore.kernels.memory import PlanePool
from isrcore.kernels.ops import Divide, Op, SetVariance, Subtract
from isrcore.kernels.reference import Placed, Work, execute
from isrcore.kernels.tiled import Executor
from isrcore.ledger import Applied
from isrcore.plan import PlannedStep, Segment
from isrcore.step import AmpView, GatherStep, PixelStep, Step


@attrs.frozen(eq=False)
class Conditions:
    """How segments are run.

    ``in_place`` lets a segment write the pixels the exposure came with, if they are float32 already and
    nothing moves; otherwise it gets new ones from ``memory``. ``amplifiers`` restricts pixel steps to some.
    With ``keeps_operations`` the exposure keeps those on image and variance, and with them the calibrations,
    for later steps.
    """

    executor: Executor
    memory: PlanePool
    in_place: bool = False
    amplifiers: frozenset[str] | None = None
    keeps_operations: bool = False


def run_segment(
    segment: Segment, exposure: Exposure, calibrations: Calibrations, conditions: Conditions
) -> None:
    """Run one segment on the exposure and record facts, unit and history."""
    started = time.perf_counter()
    if segment.is_pixelwise:
        _Pass(segment, exposure, calibrations, conditions).run()
    else:
        _run_alone(segment.steps[0].step, exposure, calibrations, conditions)
    seconds = time.perf_counter() - started
    for planned in segment.steps:
        exposure.facts = exposure.facts | planned.spec.provides
        exposure.unit = planned.spec.unit_out or exposure.unit
        exposure.history += (_entry(planned, calibrations, seconds),)
        planned.step.finish(exposure)


def _run_alone(step: Step, exposure: Exposure, calibrations: Calibrations, conditions: Conditions) -> None:
    """Run a step that looks at the whole exposure, on a copy of pixels that are somebody else's."""
    if step.changes_pixels and not (conditions.in_place or exposure.pixels.is_raw):
        exposure.pixels = exposure.pixels.copy()
    step.run(exposure, calibrations)


def undo_segment(
    segment: Segment, exposure: Exposure, calibrations: Calibrations, conditions: Conditions
) -> None:
    """Run the inverse operations of a segment, last first, in place, and take its facts away.

    Image and variance return, mask bits stay. Raises NotInvertible for a step that loses what it replaces.
    """
    _Pass(segment, exposure, calibrations, conditions).undo()
    for planned in segment.steps:
        exposure.facts -= planned.spec.provides
        exposure.unit = planned.unit
        entry = _entry(planned, calibrations, math.nan)
        exposure.history += (attrs.evolve(entry, step=f"undo {planned.spec.name}"),)


def _entry(planned: PlannedStep, calibrations: Calibrations, seconds: float) -> HistoryEntry:
    """The record of one step."""
    kinds = calibrations.used_by(planned.spec)
    digests = (calibrations.digest(kind) for kind in kinds)
    return HistoryEntry(
        step=planned.spec.name,
        plugin=planned.step.plugin,
        version=planned.step.version,
        segment=planned.segment,
        calibration=", ".join(planned.calibrations),
        digest=", ".join(filter(None, digests)),
        seconds=seconds,
    )


class _Pass:
    """One pixelwise segment being prepared and run."""

    def __init__(
        self, segment: Segment, exposure: Exposure, calibrations: Calibrations, conditions: Conditions
    ) -> None:
        self.segment, self.exposure, self.calibrations = segment, exposure, calibrations
        self.conditions = conditions
        self.source = exposure.pixels
        self.in_place = conditions.in_place and not self.source.is_raw
        # With each operation, whose it is: the step's index in the segment, the operation's in the step.
        self.placed: list[tuple[tuple[int, int], Placed]] = []
        self.gathers: tuple[Gather, ...] = ()
        self.shape = exposure.shape
        self.measured: dict[str, dict[str, Any]] = {step: dict(by) for step, by in exposure.measured.items()}

    def run(self) -> None:
        """Measure and collect, then execute, then hand the exposure its new pixels."""
        self._prepare()
        if self.conditions.keeps_operations:
            self.exposure.applied += tuple(self._applied())
        work = self._work()
        counts = self.conditions.executor(work)
        whose = [(owner, placed.op) for (owner, _), placed in self.placed]
        counted = [(*pair, counts[own]) for pair, own in zip(whose, work.counters, strict=True)]
        for index, planned in enumerate(self.segment.steps):
            _record(planned.step, [(op, n) for owner, op, n in counted if owner == index])
        self.exposure.pixels = work.target
        self.exposure.forget_statistics()
        self.exposure.measured = self.measured

    def undo(self) -> None:
        """Execute the inverse operations, last first, on the exposure's own pixels."""
        self._prepare()
        inverses = tuple(attrs.evolve(p, op=p.op.inverse()) for _, p in reversed(self.placed))
        self.conditions.executor(Work(self.source, inverses))
        self.exposure.forget_statistics()

    def _prepare(self) -> None:
        """Ask every step, in order, for its measurements and operations."""
        for index, planned in enumerate(self.segment.steps):
            if isinstance(planned.step, GatherStep):
                self._move(planned.step)
            elif isinstance(planned.step, PixelStep):
                self._collect(index, planned, planned.step)

    def _applied(self) -> Iterator[Applied]:
        """What happens to image and variance, and whose doing it is."""
        for (owner, _), placed in self.placed:
            if not placed.op.keeps_image or isinstance(placed.op, SetVariance):
                yield Applied(self.segment.steps[owner].spec.name, placed.op, placed.box)

    def _move(self, step: GatherStep) -> None:
        """Take the pixels to another geometry; operations so far go with them."""
        self.gathers = step.gathers(self.exposure.detector)
        applied = self.exposure.applied
        before = ((one.step, Placed(one.op, one.box).through(g)) for one in applied for g in self.gathers)
        self.exposure.applied = tuple(Applied(name, p.op, p.box) for name, p in before if p is not None)
        moved = ((owner, p.through(gather)) for owner, p in self.placed for gather in self.gathers)
        self.placed = [(owner, p) for owner, p in moved if p is not None]
        self.exposure.detector, self.shape = step.target(self.exposure.detector)

    def _collect(self, index: int, planned: PlannedStep, step: PixelStep) -> None:
        """Let a step measure every amplifier, then say its operations."""
        views = list(self._views(planned, step))
        found = {view.name: step.measure(view) for view in views}
        self.measured[planned.spec.name] = {name: m for name, m in found.items() if m is not None}
        for view in views:
            ready = attrs.evolve(view, measurement=found[view.name])
            self.placed += [((index, k), Placed(op, view.box)) for k, op in enumerate(step.ops(ready))]

    def _views(self, planned: PlannedStep, step: PixelStep) -> Iterator[AmpView]:
        """What the step sees: one view per amplifier, or one of the whole detector."""
        whole = AmpView(
            exposure=self.exposure,
            calibrations=self.calibrations,
            amp=None,
            box=Box.of_shape(self.shape),
            facts=planned.facts,
            unit=planned.unit,
            pixels_in=self._pixels,
            measurements=self.measured,
        )
        wanted = self.conditions.amplifiers
        for view in (whole,) if step.per == "detector" else whole.split():
            if view.amp is None or wanted is None or view.amp.name in wanted:
                yield view

    def _pixels(self, box: Box) -> MaskedImage:
        """A copy of a window as the operations collected so far leave it."""
        gather = Gather(box, Box.of_shape(box.shape))
        moved = (placed.through(gather) for _, placed in self.placed)
        target = _empty(PlanePool(), box.shape, self.exposure.planes)
        execute(Work(target, tuple(p for p in moved if p is not None), self.source, (gather,)))
        return target

    def _grouped(self) -> Iterator[tuple[tuple[int, int], list[Placed]]]:
        """Operations in order; the same one of all amplifiers, which share no pixel, together."""
        ordered = sorted(self.placed, key=lambda pair: pair[0])
        for key, pairs in groupby(ordered, key=lambda pair: pair[0]):
            yield key, [placed for _, placed in pairs]

    def _work(self) -> Work:
        """All operations of the segment, with variances that would be overwritten left out."""
        self.placed = [(key, p) for key, group in self._grouped() for p in join_placed(group)]
        placed, sets_variance = _without_lost_variance([p for _, p in self.placed], self.shape)
        placed, masks = _without_masks(placed, Box.of_shape(self.shape))
        if self.in_place and not self.gathers:
            return Work(self.source, placed, masks=masks)
        whole = Box.of_shape(self.shape)
        gathers = join_gathers(self.gathers) or (Gather(whole, whole),)
        is_full = do_tile((gather.box for gather in gathers), whole)
        target = _empty(self.conditions.memory, self.shape, self.exposure.planes)
        return Work(target, placed, self.source, gathers, sets_variance and is_full, not is_full, masks)


def _record(step: Step, counts: list[tuple[Op, npt.NDArray[np.int64]]]) -> None:
    """Put into a step's metadata how many pixels it flagged, and what else its operations counted."""
    step.metadata.set("flagged", sum(int(n.sum()) for op, n in counts if op.counts_flagged))
    others = [n for op, n in counts if not op.counts_flagged]
    if others:
        step.metadata.set("counted", np.sum(others, axis=0).tolist())


def _empty(memory: PlanePool, shape: tuple[int, int], planes: MaskPlanes) -> MaskedImage:
    """New planes with arbitrary pixels."""
    image, variance = memory.empty(shape, np.float32), memory.empty(shape, np.float32)
    return MaskedImage(image, memory.empty(shape, np.int32), variance, planes)


def _without_masks(placed: tuple[Placed, ...], whole: Box) -> tuple[tuple[Placed, ...], tuple[Mask, ...]]:
    """Leave out flags of frames over the whole image; and those masks, to be united in one go.

    No operation reads the mask, so when its bits are set does not matter.
    """
    left, masks = [], []
    for one in placed:
        if isinstance(one.op, Subtract | Divide) and not one.op.inverted and one.box == whole:
            masks += [] if one.op.skips_mask else [one.op.frame.mask]
            one = attrs.evolve(one, op=one.op.without_mask())
        left.append(one)
    return tuple(left), tuple(masks)


def _without_lost_variance(placed: list[Placed], shape: tuple[int, int]) -> tuple[tuple[Placed, ...], bool]:
    """Leave out what happens to variances before they are all set anew; and whether they are."""
    setters = [index for index, p in enumerate(placed) if isinstance(p.op, SetVariance)]
    if not setters or not do_tile((placed[index].box for index in setters), Box.of_shape(shape)):
        return tuple(placed), False
    first = setters[0]
    early = (attrs.evolve(p, op=p.op.without_variance()) for p in placed[:first])
    return (*early, *placed[first:]), True
