"""From what a product should show to the raw frame that leads to it: a plan, walked backwards.

Every step puts in what it takes out of real frames (`Step.simulate`); the noise is added in electrons where
it arises, photon noise in the charge and read noise in the raw frame. Random numbers depend on the seed, the
detector's name and what they are for, on nothing else.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore.bleeding import spill
from isrcore.calibrations import Calibrations
from isrcore.camera import Amplifier, Detector
from isrcore.exposure import Exposure
from isrcore.geometry import Box, Gather
from isrcore.image import Float32, MaskedImage, MaskPlanes
from isrcore.isr import IsrTask
from isrcore.kernels.ops import Op
from isrcore.kernels.reference import Placed, Work
from isrcore.kernels.tiled import Tiled
from isrcore.plan import Plan, PlannedStep
from isrcore.step import AmpView, PixelStep, StepError
from isrcore.stepspecs import CHARGE

# Facts of steps that correct what happens to charge while and after it is collected: its noise is drawn
# before any of them is undone.
_COLLECTED = CHARGE | {"assembled", "brighter-fatter-corrected"}

# Rows that random numbers are drawn for at a time: numpy draws them in float64 and int64.
_BAND = 128


class SimulationError(ValueError):
    """A truth that cannot have come from a raw frame; the message lists every reason."""


@attrs.frozen
class Readout:
    """What reading out adds to the charge.

    ``level`` is the pedestal in adu, one number or one by amplifier name; the raw row y of ny gets
    level + drift·cos(πy/ny), in adu, a random number of scatter ``row_noise`` (adu), and from row
    ``jump_row`` on ``jump`` adu more; the raw column x of nx gets column_drift·cos(πx/nx). A pixel holds at
    most ``full_well`` electron, the rest spills along its column. The converter rounds to the nearest adu and
    stops at 0 and ``converter_max``. Without ``has_noise`` there is neither photon nor read noise.
    ``offsets`` by amplifier name (0 for others) is what no calibration knows of: it is added where
    ``ampOffset`` would take it out, in the unit that the image has there.
    """

    level: float | Mapping[str, float] = 1000.0
    drift: float = 0.0
    row_noise: float = 0.0
    full_well: float = math.inf
    converter_max: int = attrs.field(default=65535, validator=attrs.validators.in_(range(1, 65536)))
    has_noise: bool = True
    offsets: Mapping[str, float] = attrs.field(factory=dict)
    jump: float = 0.0
    jump_row: int = 0
    column_drift: float = 0.0

    def level_of(self, amplifier: str) -> float:
        """The pedestal of an amplifier, adu. Raises KeyError when levels are given for others only."""
        return self.level[amplifier] if isinstance(self.level, Mapping) else self.level

    def offset_of(self, amplifier: str) -> float:
        """The offset of an amplifier that no calibration knows of."""
        return self.offsets.get(amplifier, 0.0)


@attrs.frozen(eq=False)
class Hits:
    """Charge that particles leave: ``electrons`` in the assembled pixels at rows ``y``, columns ``x``."""

    y: npt.NDArray[np.intp]
    x: npt.NDArray[np.intp]
    electrons: npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Simulated:
    """A simulated raw exposure and what one cannot see in it.

    ``saturated`` (assembled shape) are pixels that were full, got charge from full ones, or reached the end
    of the converter; ``levels`` the pedestal of every raw row of an amplifier, adu, by its name.
    """

    exposure: Exposure
    saturated: npt.NDArray[np.bool_]
    levels: Mapping[str, npt.NDArray[np.float64]]


def random_generator(seed: int | Sequence[int], *labels: str) -> np.random.Generator:
    """Random numbers of their own for every seed and set of labels. Seeds are not negative."""
    return np.random.default_rng([*_numbers(seed), *(zlib.crc32(label.encode()) for label in labels)])


def _numbers(seed: int | Sequence[int]) -> tuple[int, ...]:
    """A seed as the numbers it consists of."""
    return tuple(seed) if isinstance(seed, Sequence) else (seed,)


def simulate(
    task: IsrTask,
    truth: Exposure,
    readout: Readout | None = None,
    *,
    seed: int | Sequence[int] = 0,
    hits: Hits | None = None,
    **inputs: Any,
) -> Simulated:
    """The raw exposure that ``task`` would correct to ``truth``, noise apart.

    ``truth`` has the assembled image that a product should have, float32, in the product's unit; its
    detector's levels are those the frame is made with. ``inputs`` are true calibrations by kind, as for
    `IsrTask.run`; their variances count for nothing, and a Struct says what else is true (the ``amplitudes``
    of ``fringes``). Raises `SimulationError` for a truth that does not fit
    the task, PlanError where `IsrTask.run` would, and what steps raise that cannot be undone.
    """
    blank = _blank(truth)
    # The detector says what its levels are: nothing needs to be found out from headers.
    plan, calibrations = task.prepared(blank, inputs, without={"levels"})
    _check(truth, plan)
    exposure = attrs.evolve(blank, pixels=_bare(truth.image.copy(), blank.planes))
    walk = Simulation.start(exposure, calibrations, readout, seed)
    for planned in reversed(plan.steps):
        walk.step_back(planned, hits)
    return walk.finish()


def _blank(truth: Exposure) -> Exposure:
    """A raw exposure of the detector, of zeros that take no memory."""
    zeros = np.broadcast_to(np.uint16(0), truth.detector.raw_shape)
    return attrs.evolve(
        truth.share(),
        pixels=MaskedImage.from_raw(zeros),
        unit="adu",
        facts=frozenset({"levels-known"}),
        history=(),
        measured={},
        given={},
        valid_polygon=None,
        transmission=None,
        zero_point=None,
    )


def _bare(image: Float32, planes: MaskPlanes) -> MaskedImage:
    """An image; flags and variances, which mean nothing on the way back, take no memory."""
    mask, variance = np.broadcast_to(np.int32(0), image.shape), np.broadcast_to(np.float32(0), image.shape)
    return MaskedImage(image, mask, variance, planes)


def _check(truth: Exposure, plan: Plan) -> None:
    """Raise `SimulationError` with everything that is wrong with a truth."""
    problems = list(_problems(truth, plan))
    if problems:
        raise SimulationError("\n  ".join([f"{truth.label} cannot be simulated", *problems]))


def _problems(truth: Exposure, plan: Plan) -> Iterator[str]:
    """Why no raw frame leads to this truth, one sentence each."""
    units = [planned.spec.unit_out for planned in plan.steps if planned.spec.unit_out]
    unit = units[-1] if units else "adu"
    if not any("assembled" in planned.spec.provides for planned in plan.steps):
        yield "the task does not assemble: set doAssembleCcd = true and assembly.doTrim = true"
    if truth.pixels.is_raw:
        yield "its pixels are raw integers, a truth is float32"
    elif truth.shape != truth.detector.shape:
        yield f"its image has shape {truth.shape}, the assembled detector is {truth.detector.shape}"
    elif not np.isfinite(truth.image).all():
        yield f"{np.count_nonzero(~np.isfinite(truth.image))} pixels of its image are not finite"
    if truth.unit != unit:
        yield f"its image is in {truth.unit!r}, the task's products are in {unit!r}"


@attrs.define(eq=False)
class Simulation:
    """An exposure on its way back to the raw frame, made by `simulate`.

    ``exposure`` is as the step at hand leaves it; `Step.simulate` makes of it, in place, what the step would
    have started from. ``facts`` and ``unit`` are those that hold before the step.
    """

    exposure: Exposure
    calibrations: Calibrations
    readout: Readout
    seed: tuple[int, ...]
    facts: frozenset[str] = frozenset()
    unit: str = "adu"
    _saturated: npt.NDArray[np.bool_] | None = None
    _levels: dict[str, npt.NDArray[np.float64]] = attrs.field(factory=dict)
    _is_collected: bool = False

    @classmethod
    def start(
        cls,
        exposure: Exposure,
        calibrations: Calibrations,
        readout: Readout | None,
        seed: int | Sequence[int],
    ) -> Simulation:
        """A simulation before the last step of a plan is undone."""
        return cls(exposure, calibrations, readout or Readout(), _numbers(seed))

    @property
    def detector(self) -> Detector:
        """The detector that is simulated."""
        return self.exposure.detector

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose, the same for this seed and detector whatever else is simulated."""
        return random_generator(self.seed, self.detector.name, purpose)

    def step_back(self, planned: PlannedStep, hits: Hits | None = None) -> None:
        """Undo one step of a plan; noise is added before the step whose place is after it."""
        if planned.spec.provides & _COLLECTED and not self._is_collected:
            self._collect(hits)
        if "converted" in planned.spec.provides and self.readout.has_noise:
            self._add_read_noise()
        self.facts, self.unit = planned.facts, planned.unit
        planned.step.simulate(self)
        self.exposure.facts -= planned.spec.provides
        self.exposure.unit = planned.unit

    def finish(self) -> Simulated:
        """The raw exposure, once the first step is undone."""
        image, at_end = self.exposure.image, self.readout.converter_max
        full = np.zeros(self.detector.shape, bool) if self._saturated is None else self._saturated
        for amp in self.detector.amplifiers:
            full[amp.box.slices] |= amp.gather().read(image) >= at_end
        self.exposure.facts = frozenset()
        self.exposure.history, self.exposure.measured = (), {}
        return Simulated(self.exposure, full, self._levels)

    def undo(self, step: PixelStep) -> None:
        """Run the inverse operations of a step. Raises as `PixelStep.simulate`."""
        views = self._views(step)
        found = {view.name: step.measure(view) for view in views}
        known = {step.spec.name: found}
        self.apply(
            step,
            lambda view: _inverses(
                step.ops(attrs.evolve(view, measurement=found[view.name], measurements=known))
            ),
        )

    def apply(self, step: PixelStep, ops_of: Callable[[AmpView], Iterable[Op]]) -> None:
        """Run operations on the pixels of every view of a step; flags and variance are left out."""
        placed = [Placed(op, view.box) for view in self._views(step) for op in ops_of(view)]
        bare = (attrs.evolve(p, op=p.op.without_variance().without_mask()) for p in placed)
        Tiled()(Work(self.exposure.pixels, tuple(bare)))

    def scatter(self, gathers: Iterable[Gather]) -> None:
        """Move the pixels of the assembled image to where the raw frame has them."""
        raw = np.zeros(self.detector.raw_shape, np.float32)
        for gather in gathers:
            raw[gather.raw_box.slices] = gather.inverse().read(self.exposure.image)
        self._replace(raw)

    def digitise(self) -> None:
        """Make integers of the pixels: the nearest adu, halves upwards, within the converter's range."""
        image: Float32 = self.exposure.image
        raw = np.empty(image.shape, np.uint16)
        for rows in _bands(len(image)):
            # Casting cuts off what is behind the point.
            rounded = np.clip(image[rows] + np.float32(0.5), 0, self.readout.converter_max)
            raw[rows] = rounded.astype(np.uint16)
        self.exposure.pixels = MaskedImage.from_raw(raw)

    def pedestal(self, amp: Amplifier) -> Float32:
        """The electronic offset of every raw row of an amplifier, adu, one column: (ny, 1)."""
        height, settings = self.detector.raw_shape[0], self.readout
        rows = np.arange(height)
        level = settings.level_of(amp.name) + settings.drift * np.cos(np.pi * rows / height)
        level[settings.jump_row :] += settings.jump
        if settings.row_noise:
            level += settings.row_noise * self.generator(f"rows of {amp.name}").standard_normal(height)
        self._levels[amp.name] = level[amp.raw_box.y0 : amp.raw_box.y1]
        return self._levels[amp.name].astype(np.float32)[:, None]

    def offsets(self, amp: Amplifier) -> Iterator[Float32]:
        """What the electronics add to an amplifier's pixels, adu: the pedestal, and a row for its columns."""
        yield self.pedestal(amp)
        if self.readout.column_drift:
            width = self.detector.raw_shape[1]
            columns = np.arange(amp.raw_box.x0, amp.raw_box.x1)
            wave = self.readout.column_drift * np.cos(np.pi * columns / width)
            yield wave.astype(np.float32)[None, :]

    def _views(self, step: PixelStep) -> tuple[AmpView, ...]:
        """What a step sees: the whole detector, or one amplifier after the other."""
        whole = AmpView(
            exposure=self.exposure,
            calibrations=self.calibrations,
            amp=None,
            box=Box.of_shape(self.exposure.shape),
            facts=self.facts,
            unit=self.unit,
            pixels_in=lambda box: self._refuse_look(step),
        )
        return (whole,) if step.per == "detector" else whole.split()

    def _refuse_look(self, step: PixelStep) -> MaskedImage:
        """Pixels as they were before a step are what its simulation is to find."""
        name = step.spec.name
        raise StepError(
            f"{self.exposure.label}: step '{name}' cannot be simulated, it measures the pixels it changes\n"
            f"  switch it or that setting off, or override {type(step).__name__}.simulate"
        )

    def _replace(self, image: Float32) -> None:
        """Give the exposure another image."""
        self.exposure.pixels = _bare(image, self.exposure.planes)

    def _collect(self, hits: Hits | None) -> None:
        """Make of the charge that is expected the charge that was collected."""
        self._is_collected = True
        settings, image = self.readout, self.exposure.image
        if not (settings.has_noise or hits or math.isfinite(settings.full_well)):
            return
        self._rescale(np.multiply)
        if settings.has_noise:
            _draw_poisson(image, self.generator("charge"))
        if hits:
            np.add.at(image, (hits.y, hits.x), hits.electrons.astype(np.float32))
        if math.isfinite(settings.full_well):
            self._saturated = spill(image, settings.full_well)
        self._rescale(np.divide)

    def _rescale(self, function: Callable[..., Any]) -> None:
        """Multiply every amplifier's pixels by its gain, or divide them by it."""
        for amp in self.detector.amplifiers:
            part = self.exposure.image[amp.box.slices]
            function(part, np.float32(amp.gain), out=part)

    def _add_read_noise(self) -> None:
        """Add noise to every pixel that an amplifier wrote."""
        for amp in self.detector.amplifiers:
            part, rng = self.exposure.image[amp.raw_box.slices], self.generator(f"read noise of {amp.name}")
            sigma = np.float32(amp.read_noise / amp.gain)
            for rows in _bands(len(part)) if amp.read_noise else ():
                part[rows] += sigma * rng.standard_normal(part[rows].shape, np.float32)


def _inverses(ops: Iterable[Op]) -> Iterator[Op]:
    """What undoes operations, last first; those that leave the image alone need nothing."""
    return (op.inverse() for op in reversed(list(ops)) if not op.keeps_image)


def _draw_poisson(image: Float32, rng: np.random.Generator) -> None:
    """Replace expected numbers by numbers, in place; where less than nothing is expected there is nothing."""
    for rows in _bands(len(image)):
        image[rows] = rng.poisson(np.maximum(image[rows], 0))


def _bands(height: int) -> Iterator[slice]:
    """Rows that are worked on at a time."""
    return (slice(first, first + _BAND) for first in range(0, height, _BAND))
