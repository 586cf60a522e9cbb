"""Subtract the electronic offset seen in the overscan (behaviour §2.4 and §2.5; §9 faults 12-17, 20)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Affine,
    Amplifier,
    AmpView,
    Box,
    Calibrations,
    Exposure,
    FlagBoxes,
    IsrQaConfig,
    Op,
    Operand,
    OrMask,
    PixelStep,
    Quantity,
    Simulation,
    Skip,
    StepError,
    StepSpec,
    stepspecs,
)
from isrcore_standard.overscan_config import LevelConfig, OverscanConfig
from isrcore_standard.overscan_fit import NUMBERS
from isrcore_standard.overscan_level import OverscanLevel, OverscanMeasurement
from isrcore_standard.overscan_reading import Lines, OverscanReader, knows_columns, knows_rows


class Overscan(PixelStep):
    """Subtract the offset from data and overscan, amplifier by amplifier.

    Saturated and bad pixels, and those further than ``maxDev`` from the median (which get the saturation
    plane), never count. Data lines before the first or behind the last overscan pixel of a fit along them
    get the suspect plane. Amplifiers that are bad as a whole, or have no overscan, are left alone.
    """

    spec = stepspecs.OVERSCAN
    ConfigClass = OverscanConfig
    quantities: ClassVar = (
        Quantity("level", "Median level that was subtracted.", "adu"),
        Quantity("residual_sigma", "Clipped scatter of the corrected overscan.", "adu"),
        Quantity("read_noise", "The same as read noise.", "electron"),
    )

    def reads_pixels(self) -> bool:
        """The overscan's."""
        return True

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """An overscan region is needed; outliers and extrapolated lines get the planes the config names."""
        if not any(self._box(amp).area for amp in exposure.detector.amplifiers):
            return Skip(f"the detector has no {self.config.region} overscan")
        is_constant = all(config.fitType in NUMBERS for config in self._configs())
        planes = {self._saturated()} if is_constant else {self._saturated(), self._suspect()}
        return attrs.evolve(self.spec, planes=planes)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The overscan must be in the frame, wider than what is skipped, and know every line of the data."""
        if exposure.is_assembled:
            yield "the exposure is assembled, its overscan is gone"
        for amp in exposure.detector.amplifiers:
            named = amp.serial_overscan_box if self.config.region == "serial" else amp.parallel_overscan_box
            found = [*_misfits(named, self._box(amp), amp), *self._misplaced(exposure, amp)]
            if self.config.doParallel:
                found += _misfits(amp.parallel_overscan_box, self._parallel_box(amp), amp)
            yield from (f"amplifier {amp.name!r}: {problem}" for problem in found)

    def _misplaced(self, exposure: Exposure, amp: Amplifier) -> Iterator[str]:
        """A jump must be inside the data."""
        box, location = self._box(amp), self.config.biasJump.location
        start, stop = Lines.of(amp, box).ends_of(amp.raw_data_box)
        if box.area and self._jumps(exposure) and not 0 < location < stop - start:
            yield f"biasJump.location is {location}, it must be 1 to {stop - start - 1}: inside the data"

    def _configs(self) -> tuple[LevelConfig, ...]:
        """Settings of the overscans that are read, one after the other."""
        return (self.config, self.config.parallel) if self.config.doParallel else (self.config,)

    def _saturated(self) -> str:
        return str(getattr(self.top_config(), "saturatedMaskName", "SAT"))

    def _suspect(self) -> str:
        return str(getattr(self.top_config(), "suspectMaskName", "SUSPECT"))

    def _box(self, amp: Amplifier) -> Box:
        """What is used of the overscan that is read first.

        If the parallel one is read after it, its rows need their own serial level: columns that are read out
        behind the data are serial overscan in these rows too.
        """
        if self.config.region == "parallel":
            return _inner(amp.parallel_overscan_box, amp, self.config)
        box, other = _inner(amp.serial_overscan_box, amp, self.config), self._parallel_box(amp)
        return Lines.of(amp, box).reaching(box, other) if box.area and other.area else box

    def _parallel_box(self, amp: Amplifier) -> Box:
        """What is used of the parallel overscan that is read second; empty when none is."""
        if not self.config.doParallel:
            return Box(0, 0, 0, 0)
        return _inner(amp.parallel_overscan_box, amp, self.config.parallel)

    def measure(self, view: AmpView) -> OverscanMeasurement | None:
        """Read the level; in the parallel overscan too, once the serial one is taken off it."""
        amp = view.amplifier
        box, second_box = self._box(amp), self._parallel_box(amp)
        if not box.area or view.measured("amplifierMask") is not None:
            self.log.info("amplifier %s: no overscan subtracted", amp.name)
            return None
        found = [self._reader(view, box, self.config).read(view.pixels(box), self._segments(view, box))]
        if second_box.area:
            pixels = found[0].subtracted_from(view.pixels(second_box), second_box)
            reader = self._reader(view, second_box, self.config.parallel)
            found.append(reader.read(pixels, (second_box,)))
        self._check(view, found)
        return OverscanMeasurement(tuple(found), amp)

    def _reader(self, view: AmpView, box: Box, config: LevelConfig) -> OverscanReader:
        """What reads an overscan of the amplifier."""
        lines = Lines.of(view.amplifier, box)
        return OverscanReader(config, lines, self._saturated(), self._suspect())

    def _segments(self, view: AmpView, box: Box) -> tuple[Box, ...]:
        """The overscan in one piece, or in two where its level jumps."""
        if not self._jumps(view.exposure):
            return (box,)
        amp = view.amplifier
        return Lines.of(amp, box).cut(box, amp.raw_data_box, self.config.biasJump.location)

    def _jumps(self, exposure: Exposure) -> bool:
        """Whether the frame comes from a device whose level jumps."""
        jump = self.config.biasJump
        device = exposure.header.get(jump.keyword)
        return jump.enabled and device is not None and str(device).strip() in jump.devices

    def _check(self, view: AmpView, found: list[OverscanLevel]) -> None:
        """Refuse an overscan without a level; tell of models that had to be simpler."""
        for segment in (segment for level in found for segment in level.segments):
            if not np.isfinite(segment.fit.model).all():
                label, section = view.exposure.label, segment.box.to_section()
                raise StepError(f"{label}: amplifier {view.name!r} has no usable overscan pixel in {section}")
            if segment.fit.remark:
                self.log.warning("amplifier %s: %s", view.name, segment.fit.remark)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """The reference, an integer, first: then the small rest rounds the same whatever the pedestal."""
        if view.measurement is None:
            return
        for level in view.measurement.overscans:
            yield OrMask(level.outliers, level.box.relative_to(view.box))
            for values in level.parts:
                yield Affine(offset=-level.along(values, view.box))
            data = view.amplifier.raw_data_box
            boxes = tuple(box.relative_to(view.box) for box in level.extrapolated(data))
            if boxes:
                yield FlagBoxes.of(boxes, view.bits(self._suspect()))

    def simulate(self, simulation: Simulation) -> None:
        """Add the pedestal to data and overscan alike."""
        simulation.apply(self, lambda view: map(_offset, simulation.offsets(view.amplifier)))

    def finish(self, exposure: Exposure) -> None:
        """Level, scatter and noise of every amplifier go to header and metadata (behaviour §2.4)."""
        measured = exposure.measured.get(self.spec.name, {})
        if measured:
            exposure.header["OVERSCAN"] = "Overscan corrected"
        qa = getattr(self.top_config(), "qa", None) or IsrQaConfig()
        for name, found in measured.items():
            for where, level, sigma in found.report(qa.flatness.clipSigma, qa.flatness.nIter):
                _write_cards(exposure, f"{where}_" * bool(where), name, level, sigma)
                if qa.saveStats:
                    self._keep(" ".join(filter(None, (name, where))), MEDIAN=level, STDEV=sigma)
            if qa.saveStats:
                gain = exposure.detector[name].gain
                self._keep(f"{name} NOISE", ADU=found.residual_sigma, ELECTRON=found.residual_sigma * gain)

    def _keep(self, what: str, **values: float) -> None:
        """Note numbers in the metadata."""
        for kind, value in values.items():
            self.metadata.set(f"ISR OSCAN {what} {kind}", value)


def _offset(values: Operand) -> Affine:
    """What adds to pixels."""
    return Affine(offset=values)


def _write_cards(exposure: Exposure, where: str, name: str, level: float, sigma: float) -> None:
    """Put level and scatter of an amplifier into the header; one level has no scatter."""
    scatter = sigma if math.isfinite(sigma) else 0.0
    exposure.header[f"HIERARCH ISR_OSCAN_{where}LEVEL{name}"] = (level, "[adu] level")
    exposure.header[f"HIERARCH ISR_OSCAN_{where}SIGMA{name}"] = (scatter, "[adu] scatter")


def _inner(box: Box, amp: Amplifier, config: LevelConfig) -> Box:
    """An overscan without the lines to skip; leading ones are next to the data."""
    data, (lead, trail) = amp.raw_data_box, config.skipped()
    if lead + trail >= min(box.shape):
        return Box(0, 0, 0, 0)
    if knows_rows(box, amp):
        low, high = (lead, trail) if box.x0 >= data.x1 else (trail, lead)
        return attrs.evolve(box, x0=box.x0 + low, x1=box.x1 - high)
    low, high = (lead, trail) if box.y0 >= data.y1 else (trail, lead)
    return attrs.evolve(box, y0=box.y0 + low, y1=box.y1 - high)


def _misfits(named: Box, box: Box, amp: Amplifier) -> Iterator[str]:
    """What is wrong with an overscan of an amplifier and what is to be used of it."""
    if named.area and not box.area:
        yield "all its overscan is left out as leading or trailing columns"
    elif box.area and not (knows_rows(box, amp) or knows_columns(box, amp)):
        yield f"overscan {box.to_section()} does not lie along all the data"
