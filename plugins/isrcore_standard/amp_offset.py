"""Make the sky of neighbouring amplifiers agree where they meet."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Amplifier,
    Calibrations,
    Config,
    Exposure,
    Measurement,
    Quantity,
    Simulation,
    Skip,
    Step,
    StepSpec,
    field,
    stepspecs,
)
from isrcore_standard.seams import Jump, Seam, find_seams, level, measure_jump

# Offsets are rounded to so many bits of their deviation: then the order of amplifiers does not show.
_BITS = 20


class AmpOffsetConfig(Config):
    """Which pixels tell how much amplifiers differ."""

    windowDepth: int = field(24, "Pixels across the seam that are looked at, on either side.", minimum=2)
    windowLength: int = field(
        512, "Pixels along the seam in one window, about; a window that differs from the others is left out.",
        minimum=4,
    )  # fmt: skip
    edgeInset: int = field(
        2, "Pixels next to the seam to leave out: amplifiers settle, and pixels at borders have other sizes.",
        minimum=0,
    )  # fmt: skip
    gradient: bool = field(
        True,
        "Extrapolate the slope of the sky to the seam; false halves the noise, for skies without slope.",
    )
    minFraction: float = field(
        0.5, "Windows with fewer good pixels, as a fraction, do not count.", minimum=0.0, maximum=1.0
    )
    sigmaClip: float = field(
        3.0, "Pixels and windows further than so many widths from the median do not count.", minimum=1.0
    )  # fmt: skip
    maxDifference: float = field(
        math.inf, "Ignore larger differences of two amplifiers, in the unit of the image.", minimum=0.0
    )  # fmt: skip
    applyWeights: bool = field(True, "Weigh seams by how well their differences are known; false: all alike.")


@attrs.frozen(eq=False)
class AmpOffsetMeasurement(Measurement):
    """What was subtracted from one amplifier, and its standard deviation, in the unit of the image.

    ``reason`` says why nothing could be measured: then the offset is 0 and its deviation NaN.
    """

    offset: float
    sigma: float
    reason: str = ""


class AmpOffset(Step):
    """Subtract one number from every amplifier; mask and variance stay.

    Differences across all seams give the numbers, by least squares; their mean, weighted by area, is zero in
    every set of amplifiers that good seams connect. Flagged pixels never count.
    """

    spec = stepspecs.AMP_OFFSET
    ConfigClass = AmpOffsetConfig
    quantities: ClassVar = (
        Quantity("offset", "Offset that was subtracted, in the unit of the image."),
        Quantity("sigma", "Its standard deviation, in the unit of the image."),
        Quantity("reason", "Why nothing could be measured.", kind=str),
    )

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """One amplifier has no neighbour."""
        if len(exposure.detector.amplifiers) < 2:
            return Skip("the detector has one amplifier")
        return self.spec

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Measure all seams, solve, subtract."""
        # In order of their places: names and order in the description must not matter.
        amplifiers = sorted(exposure.detector.amplifiers, key=lambda amp: amp.box)
        seams = find_seams(amplifiers)
        jumps = dict(self._jumps(exposure, seams))
        good = {seam: jump for seam, jump in jumps.items() if abs(jump.height) <= self.config.maxDifference}
        found: dict[str, AmpOffsetMeasurement] = {}
        for group in _groups(amplifiers, list(good)):
            found |= self._leveled(group, good) if len(group) > 1 else _alone(group[0], seams, jumps)
        for amp in amplifiers:
            part = exposure.image[amp.box.slices]
            np.subtract(part, np.float32(found[amp.name].offset), out=part)
        exposure.forget_statistics()
        self._record(exposure, {name: found[name] for name in exposure.detector.amplifier_names})

    def simulate(self, simulation: Simulation) -> None:
        """Add the offsets of the read-out."""
        for amp in simulation.detector.amplifiers:
            part = simulation.exposure.image[amp.box.slices]
            np.add(part, np.float32(simulation.readout.offset_of(amp.name)), out=part)

    def _jumps(self, exposure: Exposure, seams: Sequence[Seam]) -> Iterator[tuple[Seam, Jump]]:
        """What every seam with enough good pixels shows, and a warning where that is too much."""
        for seam in seams:
            jump = measure_jump(exposure.pixels, seam, self.config)
            if jump is None:
                continue
            if abs(jump.height) > self.config.maxDifference:
                self.log.warning(
                    "%s: amplifiers %s and %s differ by %.6g, more than ampOffset.maxDifference: ignored",
                    exposure.label, seam.first.name, seam.second.name, jump.height,
                )  # fmt: skip
            yield seam, jump

    def _leveled(
        self, group: Sequence[Amplifier], jumps: Mapping[Seam, Jump]
    ) -> dict[str, AmpOffsetMeasurement]:
        """Offsets of amplifiers that seams connect."""
        names = [amp.name for amp in group]
        inside = [seam for seam in jumps if seam.first.name in names]
        pairs = [(names.index(seam.first.name), names.index(seam.second.name)) for seam in inside]
        areas = np.array([float(amp.box.area) for amp in group])
        solved = level(areas, pairs, [jumps[seam] for seam in inside], self.config.applyWeights)
        numbers = zip(names, solved.offsets.tolist(), solved.sigmas.tolist(), strict=True)
        return {name: AmpOffsetMeasurement(_rounded(*pair), pair[1]) for name, *pair in numbers}

    def _record(self, exposure: Exposure, found: Mapping[str, AmpOffsetMeasurement]) -> None:
        """Offsets and their deviations, for measurements, metadata and header."""
        exposure.measured = {**exposure.measured, self.spec.name: found}
        unit = exposure.unit or "no unit"
        for name, one in found.items():
            self.metadata.set(f"ISR AMPOFFSET {name} LEVEL", one.offset)
            self.metadata.set(f"ISR AMPOFFSET {name} SIGMA", one.sigma)
            exposure.header[f"HIERARCH ISR_AMPOFFSET_LEVEL{name}"] = (one.offset, f"[{unit}] subtracted")
            if one.reason:
                self.metadata.set(f"ISR AMPOFFSET {name} REASON", one.reason)
                self.log.warning("%s: amplifier %s keeps its level: %s", exposure.label, name, one.reason)
            else:
                exposure.header[f"HIERARCH ISR_AMPOFFSET_SIGMA{name}"] = (one.sigma, "its deviation")


def _rounded(offset: float, sigma: float) -> float:
    """The offset to a millionth of its deviation."""
    exponent = math.frexp(sigma)[1] - _BITS
    return math.ldexp(round(math.ldexp(offset, -exponent)), exponent)


def _groups(amplifiers: Sequence[Amplifier], seams: Sequence[Seam]) -> list[list[Amplifier]]:
    """Amplifiers that seams connect, directly or not, together."""
    groups = [[amp] for amp in amplifiers]
    for seam in seams:
        both = [group for group in groups if seam.first in group or seam.second in group]
        if len(both) > 1:
            groups = [group for group in groups if group not in both] + [both[0] + both[1]]
    return [sorted(group, key=lambda amp: amp.box) for group in groups]


def _alone(amp: Amplifier, seams: Sequence[Seam], jumps: Collection[Seam]) -> dict[str, AmpOffsetMeasurement]:
    """An amplifier that no good seam connects."""
    reason = "no amplifier touches it"
    if any(amp in (seam.first, seam.second) for seam in seams):
        reason = "no seam of it has enough good pixels"
    if any(amp in (seam.first, seam.second) for seam in jumps):
        reason = "it differs from all beside it by more than ampOffset.maxDifference"
    return {amp.name: AmpOffsetMeasurement(0.0, math.nan, reason)}
