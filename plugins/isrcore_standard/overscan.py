"""Subtract the electronic offset seen in the overscan (behaviour §2.4 and §2.5; §9 faults 11-15, 20)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Affine,
    Amplifier,
    AmpView,
    Box,
    Calibrations,
    Config,
    Exposure,
    MaskedImage,
    Measurement,
    Op,
    Operand,
    OrMask,
    PixelStep,
    Simulation,
    Skip,
    StepError,
    StepSpec,
    Struct,
    field,
    statistics,
    stepspecs,
)
from isrcore_standard.overscan_fit import FIT_TYPES, Fit, fit_level

Pixels = npt.NDArray[Any]


class OverscanConfig(Config):
    """Which pixels tell the offset, and how."""

    fitType: str = field(
        "MEDIAN", "One level (MEAN, MEANCLIP, MEDIAN) or one per row (MEDIAN_PER_ROW, MEAN_PER_ROW).",
        choices=FIT_TYPES,
    )  # fmt: skip
    region: str = field(
        "serial", "Overscan to use: serial (columns beside the data) or parallel (rows above it).",
        choices=("serial", "parallel"),
    )  # fmt: skip
    numSigmaClip: float = field(3.0, "Pixels further than this many sigma do not count.", minimum=0.0)
    isInt: bool = field(
        True, "Truncate pixels to integers for medians, which then interpolate among equal values."
    )
    maxDev: float = field(
        1000.0,
        "Pixels further than this from the median, in adu, are flagged saturated.",
        exclusive_minimum=0.0,
    )
    leadingColumnsToSkip: int = field(
        0, "Columns (rows of a parallel overscan) next to the data to leave out: trailing charge.", minimum=0
    )
    trailingColumnsToSkip: int = field(0, "Columns (rows) furthest from the data to leave out.", minimum=0)


@attrs.frozen(eq=False)
class OverscanMeasurement(Measurement):
    """The offset of one amplifier, in raw coordinates.

    The level of every line (row, or column of a parallel overscan) is ``reference + fit.model``, in adu;
    ``lines`` says which lines of the raw frame it holds for and ``is_per_row`` what a line is. ``pixels`` is
    the overscan of ``box`` before the correction, with outliers flagged in ``outliers``; ``unusable`` are
    pixels that say nothing about noise. ``amp`` is the amplifier as it was then.
    """

    reference: float
    fit: Fit
    is_per_row: bool
    lines: tuple[int, int]
    box: Box
    pixels: MaskedImage
    outliers: npt.NDArray[np.int32]
    unusable: npt.NDArray[np.bool_]
    amp: Amplifier

    @property
    def level(self) -> float:
        """The median level, adu."""
        return self.reference + float(np.median(self.fit.model))

    @property
    def sigma(self) -> float:
        """Clipped scatter of the level from line to line, adu; 0 for one level."""
        return 0.0 if np.isscalar(self.fit.model) else statistics.clipped(np.asarray(self.fit.model)).sigma

    @cached_property
    def residual(self) -> MaskedImage:
        """The corrected overscan."""
        raw = self.pixels
        image = raw.image - self.along(self.reference, self.box)
        image -= self.along(self.fit.model, self.box)
        return MaskedImage(image, raw.mask | self.outliers, raw.variance, raw.planes)

    @cached_property
    def residual_sigma(self) -> float:
        """Clipped scatter (3 sigma, 3 passes) of the corrected overscan, adu (behaviour §2.9)."""
        return statistics.clipped(self.residual.image, ignore=self.unusable).sigma

    def along(self, values: Any, box: Box) -> Operand:
        """A value per line as an operand for ``box``: zero on lines the overscan does not know."""
        start, stop = (box.y0, box.y1) if self.is_per_row else (box.x0, box.x1)
        first, last = self.lines
        operand = np.zeros(stop - start, np.float32)
        values = np.broadcast_to(values, last - first)
        low, high = max(start, first), min(stop, last)
        operand[low - start : high - start] = values[low - first : high - first]
        return operand[:, None] if self.is_per_row else operand[None, :]

    def level_variance(self, view: AmpView, pixel_variance: float) -> Operand:
        """Variance of the level in the pixels of a view, adu²; ``pixel_variance`` is that of one pixel."""
        factor = self.fit.variance_factor
        if np.ptp(factor) == 0:
            return float(np.max(factor)) * pixel_variance
        was, now = self.amp, view.amplifier
        is_raw = not view.is_assembled
        # Raw frames too may have been turned since, without being trimmed.
        is_turned = not is_raw or (was.flip_y, was.flip_x) != (now.flip_y, now.flip_x)
        operand = np.asarray(self.along(factor * pixel_variance, now.raw_box if is_raw else was.raw_data_box))
        return operand[:: -1 if is_turned and was.flip_y else 1, :: -1 if is_turned and was.flip_x else 1]

    def to_struct(self) -> Struct:
        """The documented result: imageFit, overscanFit and overscanImage."""
        level = self.reference + self.fit.model
        return Struct(imageFit=level, overscanFit=level, overscanImage=self.residual)


class Overscan(PixelStep):
    """Subtract the offset from data and overscan, amplifier by amplifier.

    Saturated and bad pixels, and those further than ``maxDev`` from the median (which get the saturation
    plane), never count. Amplifiers that are bad as a whole, or have no overscan, are left alone.
    """

    spec = stepspecs.OVERSCAN
    ConfigClass = OverscanConfig

    def reads_pixels(self) -> bool:
        """The overscan's."""
        return True

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """An overscan region is needed; outliers get the plane the config names."""
        if not any(self._box(amp).area for amp in exposure.detector.amplifiers):
            return Skip(f"the detector has no {self.config.region} overscan")
        return attrs.evolve(self.spec, planes={self._plane()})

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The overscan must be in the frame, wider than what is skipped, and know every line of the data."""
        if exposure.is_assembled:
            yield "the exposure is assembled, its overscan is gone"
        for amp in exposure.detector.amplifiers:
            box = self._box(amp)
            if self._named(amp).area and not box.area:
                yield f"amplifier {amp.name!r}: all its overscan is left out as leading or trailing columns"
            elif box.area and not (_knows_rows(box, amp) or _knows_columns(box, amp)):
                section = box.to_section()
                yield f"amplifier {amp.name!r}: overscan {section} does not lie along all the data"

    def _plane(self) -> str:
        return str(getattr(self.top_config(), "saturatedMaskName", "SAT"))

    def _named(self, amp: Amplifier) -> Box:
        """The amplifier's overscan of the chosen region."""
        return amp.serial_overscan_box if self.config.region == "serial" else amp.parallel_overscan_box

    def _box(self, amp: Amplifier) -> Box:
        """The overscan without the lines to skip; leading ones are next to the data."""
        box, data = self._named(amp), amp.raw_data_box
        lead, trail = self.config.leadingColumnsToSkip, self.config.trailingColumnsToSkip
        if lead + trail >= min(box.shape):
            return Box(0, 0, 0, 0)
        if _knows_rows(box, amp):
            low, high = (lead, trail) if box.x0 >= data.x1 else (trail, lead)
            return attrs.evolve(box, x0=box.x0 + low, x1=box.x1 - high)
        low, high = (lead, trail) if box.y0 >= data.y1 else (trail, lead)
        return attrs.evolve(box, y0=box.y0 + low, y1=box.y1 - high)

    def measure(self, view: AmpView) -> OverscanMeasurement | None:
        """Reject outliers, fit the level, and look at what is left."""
        amp = view.amplifier
        box = self._box(amp)
        if not box.area or view.measured("amplifierMask") is not None:
            self.log.info("amplifier %s: no overscan subtracted", amp.name)
            return None
        pixels = view.pixels(box)
        centre = statistics.median(pixels.image, pixels.mask != 0)
        if not math.isfinite(centre):
            raise StepError(self._useless(view))
        outliers = self._outliers(pixels.image, centre, view.bits(self._plane()))
        flags = pixels.mask | outliers
        ignore = (flags & view.bits("BAD", self._plane()) != 0) | ~np.isfinite(pixels.image)
        fit, reference = self._fit(pixels.image, ignore, centre, box, amp)
        if not np.isfinite(fit.model).all():
            raise StepError(self._useless(view))
        is_per_row = _knows_rows(box, amp)
        lines = (box.y0, box.y1) if is_per_row else (box.x0, box.x1)
        unusable = flags & view.bits(*self._unusable()) != 0
        return OverscanMeasurement(reference, fit, is_per_row, lines, box, pixels, outliers, unusable, amp)

    def _useless(self, view: AmpView) -> str:
        """The message about an overscan without a level."""
        return f"{view.exposure.label}: amplifier {view.name!r} has no usable overscan pixel"

    def _fit(
        self, image: Pixels, ignore: npt.NDArray[np.bool_], centre: float, box: Box, amp: Amplifier
    ) -> tuple[Fit, float]:
        """The level as a reference, near the median, and the small rest."""
        uses_integers = self.config.isInt and self.config.fitType.startswith("MEDIAN")
        reference = float(math.floor(centre)) if uses_integers else centre
        turn = np.asarray if _knows_rows(box, amp) else np.transpose
        values = image - np.float32(reference)
        return fit_level(self.config, turn(values), turn(ignore), reference), reference

    def _unusable(self) -> tuple[str, str]:
        """Planes of pixels that say nothing about noise."""
        return self._plane(), str(getattr(self.top_config(), "suspectMaskName", "SUSPECT"))

    def _outliers(self, image: Pixels, centre: float, bits: int) -> npt.NDArray[np.int32]:
        """Flags of pixels that are no overscan: a hit, a bleed trail."""
        with np.errstate(invalid="ignore"):
            far = np.abs(image - np.float32(centre)) > self.config.maxDev
        return np.where(far, np.int32(bits), np.int32(0))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """The reference, an integer, first: then the small rest rounds the same whatever the pedestal."""
        found = view.measurement
        if found is None:
            return
        yield OrMask(found.outliers, found.box.relative_to(view.box))
        for values in (found.reference, found.fit.model):
            yield Affine(offset=-found.along(values, view.box))

    def simulate(self, simulation: Simulation) -> None:
        """Add the pedestal to data and overscan alike."""
        simulation.apply(self, lambda view: [Affine(offset=simulation.pedestal(view.amplifier))])

    def finish(self, exposure: Exposure) -> None:
        """Level and scatter of every amplifier go to the header (behaviour §2.4)."""
        for name, found in exposure.measured.get(self.spec.name, {}).items():
            exposure.header[f"HIERARCH ISR_OSCAN_LEVEL{name}"] = (found.level, "[adu] overscan level")
            exposure.header[f"HIERARCH ISR_OSCAN_SIGMA{name}"] = (found.sigma, "[adu] its scatter")


def _knows_rows(box: Box, amp: Amplifier) -> bool:
    """Whether the overscan lies beside the data and reaches every row of it."""
    data = amp.raw_data_box
    return box.y0 <= data.y0 and data.y1 <= box.y1 and (box.x0 >= data.x1 or box.x1 <= data.x0)


def _knows_columns(box: Box, amp: Amplifier) -> bool:
    """Whether the overscan lies above or below the data and reaches every column of it."""
    data = amp.raw_data_box
    return box.x0 <= data.x0 and data.x1 <= box.x1 and (box.y0 >= data.y1 or box.y1 <= data.y0)
