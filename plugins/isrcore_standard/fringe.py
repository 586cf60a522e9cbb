"""Subtract fringes of the sky, as strong as they are in the image (behaviour §2.19; §9 faults 22 to 25)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from operator import index
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Calibrations,
    Config,
    Exposure,
    FrameStatistics,
    MaskedImage,
    Measurement,
    Quantity,
    Simulation,
    Skip,
    Step,
    StepError,
    StepSpec,
    field,
    map_bands,
    row_bands,
    stepspecs,
    subconfig,
)
from isrcore_standard.box_levels import Float64, Sieve, box_means, box_medians
from isrcore_standard.fringe_fit import Positions, Solution, solve

_KIND = "fringes"

#: What may come with fringe frames in a Struct.
_DETAILS = frozenset({"seed", "amplitudes"})

#: What a fringe frame that is not flat-fielded must be subtracted before.
_FLATTENED = frozenset({"flat-fielded", "gains-applied", "stray-light-subtracted"})

# Rows that are corrected at a time: they stay in cache.
_ROWS = 96


class FringeStatisticsConfig(Config):
    """The statistic of a box, and where boxes are."""

    badMaskPlanes: list[str] = field(["SAT"], "Mask planes whose pixels do not count.")
    stat: str = field(
        "MEDIAN", "Level of a box. The median is hardly moved by stars, but biases amplitudes of fringes "
        "that are weaker than the noise of a pixel; a clipped mean does not.",
        choices=("MEDIAN", "MEAN", "MEANCLIP"),
    )  # fmt: skip
    clip: float = field(3.0, "Sigmas beyond which MEANCLIP leaves out pixels.", minimum=0.0)
    iterations: int = field(3, "Passes of MEANCLIP.", minimum=1)
    rngSeedOffset: int = field(
        0, "Added to the exposure's id, which seeds the random positions: for another set of them."
    )


class FringeConfig(Config):
    """For which exposures, with which frames, and how amplitudes are found."""

    filters: list[str] = field([], "Filters that show fringes, by any of their names.")
    num: int = field(30000, "Positions at which fluxes are measured.", minimum=1)
    small: int = field(3, "Half the side of the box that shows the fringes, in pixels.", minimum=1)
    large: int = field(30, "Half the side of the box that shows the sky around, in pixels.", minimum=2)
    iterations: int = field(20, "How often positions that do not fit are left out, at most.", minimum=1)
    clip: float = field(3.0, "Widths beyond which a flux or a residual does not count.", exclusive_minimum=0)
    pedestal: bool = field(
        False, "Take the median off the fringe frames first: then the level of the sky stays as it is."
    )
    afterFlat: bool = field(True, "The fringe frames are flat-fielded: subtract them after the flat.")
    stats: FringeStatisticsConfig = subconfig(FringeStatisticsConfig, "How a box is measured.")

    def problems(self) -> Iterator[str]:
        """The small box is inside the large one."""
        if self.small >= self.large:
            yield f"small = {self.small} must be less than large = {self.large}"


@attrs.frozen(eq=False)
class FringeMeasurement(Measurement):
    """Amplitude of every fringe frame (image unit over frame unit) with its standard error.

    ``rms`` is the robust scatter of the residual fluxes in the unit of the image, ``count`` the positions
    they are from (0: nothing was measured, and nothing subtracted), ``seed`` that of the positions.
    """

    amplitudes: tuple[float, ...]
    uncertainties: tuple[float, ...]
    rms: float
    count: int
    seed: int

    @property
    def amplitude(self) -> float:
        """That of the first frame."""
        return self.amplitudes[0]

    @property
    def uncertainty(self) -> float:
        """That of the first frame."""
        return self.uncertainties[0]


class Fringe(Step):
    """Measure and subtract fringes.

    Input ``fringes``: an `Exposure`, a list of several, or a Struct of ``fringes`` and, optionally, the
    ``seed`` of the positions and, for `simulate`, the frames' ``amplitudes``.
    """

    spec = stepspecs.FRINGE
    ConfigClass = FringeConfig
    dataset_names: ClassVar = {_KIND: ("fringe",)}
    quantities: ClassVar = (
        Quantity("amplitude", "Amplitude of the first fringe frame, image unit over frame unit."),
        Quantity("uncertainty", "Its standard error."),
        Quantity("rms", "Scatter of residual fluxes, in the unit of the image."),
        Quantity("count", "Positions that were used.", kind=int),
        Quantity("seed", "Seed of the positions.", kind=int),
    )

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """For the filters that show fringes; before the flat, if the frames still have it."""
        skip = self.skip_unlisted(exposure, self.config.filters)
        if skip or self.config.afterFlat:
            return skip or self.spec
        return attrs.evolve(self.spec, after=self.spec.after - _FLATTENED, before=_FLATTENED)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Boxes that do not fit, planes that do not exist, no frames, seeds that are none, a wrong order."""
        (ny, nx), side = exposure.detector.shape, 2 * self.config.large
        if min(ny, nx) <= side:
            yield (
                f"boxes of {side} x {side} pixels (fringe.large = {self.config.large}) need a larger "
                f"detector, {exposure.detector.name!r} has {nx} x {ny}"
            )
        for name in sorted({*self.config.stats.badMaskPlanes} - {*exposure.planes}):
            yield f"fringe.stats.badMaskPlanes names {name!r}, which is none of {', '.join(exposure.planes)}"
        if not self.config.afterFlat and _FLATTENED & exposure.facts:
            yield "frames to subtract after the flat are flat-fielded; for these set fringe.afterFlat = true"
        yield from _input_problems(calibrations)

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Measure image and frames at the same positions, solve, and subtract. Frames are only read."""
        frames, seed = calibrations.frames(_KIND), self._seed(exposure, calibrations)
        positions = Positions.draw(exposure.shape, self.config.num, self.config.large, seed)
        bits = exposure.planes.value(*self.config.stats.badMaskPlanes)
        science = self._fluxes(Sieve(exposure.image, (exposure.mask,), bits), positions)
        # What does not count in the image does not count in the frames either.
        sieves = (Sieve(frame.image, (exposure.mask, frame.mask), bits) for frame in frames)
        fringes = np.column_stack([self._fluxes(sieve, positions) for sieve in sieves])
        found = solve(science, fringes, self.config.clip, self.config.iterations)
        self._record(exposure, found, positions, seed)
        if found.count:
            parts = [self._part(*pair) for pair in zip(frames, found.amplitudes.tolist(), strict=True)]
            self._subtract(exposure, parts)
        else:
            self.log.warning("%s: no fringes can be measured, none are subtracted", exposure.label)

    def _seed(self, exposure: Exposure, calibrations: Calibrations) -> int:
        """That of the input; else from the exposure, so that a second run has the same positions."""
        given = calibrations.detail(_KIND, "seed")
        own = self.config.stats.rngSeedOffset + exposure.visit.exposure_id
        return own % 2**32 if given is None else index(given)

    def _fluxes(self, sieve: Sieve, positions: Positions) -> Float64:
        """What the small boxes have more than the large ones around them: the level of the sky drops out."""
        places, settings = (positions.x, positions.y), self.config.stats
        sizes = self.config.small, self.config.large
        if settings.stat == "MEDIAN":
            small, large = box_medians(sieve, *places, sizes, self.threads)
        else:
            passes = settings.iterations if settings.stat == "MEANCLIP" else 0
            small, large = box_means(sieve, *places, sizes, settings.clip, passes, self.threads)
        return small - large

    def _part(self, frame: Exposure, amplitude: float) -> _Part:
        """A frame that is so strong; its level, flags ignored, is left out if so configured."""
        level = FrameStatistics(frame.pixels, threads=self.threads).median if self.config.pedestal else 0.0
        return _Part(frame, np.float32(amplitude), np.float32(level))

    def _subtract(self, exposure: Exposure, parts: Sequence[_Part]) -> None:
        """Take all of them out of the image."""

        def look(rows: slice) -> None:
            for part in parts:
                part.subtract(exposure.pixels, rows)

        map_bands(row_bands(len(exposure.image), _ROWS), lambda: look, self.threads)
        exposure.forget_statistics()

    def _record(self, exposure: Exposure, found: Solution, positions: Positions, seed: int) -> None:
        """Keep the measurement, with uncertainties that allow for boxes with pixels in common."""
        factor = math.sqrt(positions.repetition(2 * self.config.small, found.count))
        sigmas = (found.sigmas * factor).tolist()
        measurement = FringeMeasurement(
            tuple(found.amplitudes.tolist()), tuple(sigmas), found.rms, found.count, seed
        )
        exposure.measured = {**exposure.measured, self.spec.name: {exposure.detector.name: measurement}}

    def finish(self, exposure: Exposure) -> None:
        """Write the amplitudes into header and metadata."""
        found: FringeMeasurement = exposure.measured[self.spec.name][exposure.detector.name]
        self.metadata.set("positions", found.count)
        self.metadata.set("rms", found.rms)
        _write_card(exposure, "FRNGNPOS", found.count, "Positions with fringe fluxes that were used")
        _write_card(exposure, "FRNGRMS", found.rms, "Robust scatter of residual fringe fluxes")
        for number, pair in enumerate(zip(found.amplitudes, found.uncertainties, strict=True), 1):
            self.metadata.set(f"amplitude {number}", pair[0])
            self.metadata.set(f"uncertainty {number}", pair[1])
            _write_card(exposure, f"FRNGA{number}", pair[0], f"Amplitude of fringe frame {number}")
            _write_card(exposure, f"FRNGS{number}", pair[1], f"Standard error of FRNGA{number}")

    def simulate(self, simulation: Simulation) -> None:
        """Add the frames, as strong as their ``amplitudes`` say; nothing where a frame is not finite."""
        frames, image = simulation.calibrations.frames(_KIND), simulation.exposure.image
        amplitudes = simulation.calibrations.detail(_KIND, "amplitudes")
        if amplitudes is None or len(amplitudes) != len(frames):
            raise StepError(
                f"{simulation.exposure.label}: how strong are the fringes of {len(frames)} frames? "
                "give fringes=Struct(fringes=frames, amplitudes=...), one number for each frame"
            )
        for part in (self._part(*pair) for pair in zip(frames, amplitudes, strict=True)):
            for rows in row_bands(len(image), _ROWS):
                fringes = part.amplitude * (part.frame.image[rows] - part.pedestal)
                image[rows] += np.nan_to_num(fringes, posinf=0.0, neginf=0.0)


def _input_problems(calibrations: Calibrations) -> Iterator[str]:
    """What is wrong with the input ``fringes``."""
    if calibrations.offers(_KIND) and not calibrations.frames(_KIND):
        yield "the list of fringe frames is empty"
    unknown = sorted(calibrations.details.get(_KIND, {}).keys() - _DETAILS)
    if unknown:
        known = ", ".join(sorted(_DETAILS))
        yield f"nothing reads {unknown[0]!r} beside the fringe frames; known are {known}"
    seed = calibrations.detail(_KIND, "seed")
    if seed is not None and not (hasattr(seed, "__index__") and 0 <= index(seed) < 2**32):
        yield f"the seed of the fringe positions is {seed!r}, it must be a whole number from 0 to 2**32 - 1"


@attrs.frozen(eq=False)
class _Part:
    """What one frame takes out of an image."""

    frame: Exposure
    amplitude: np.float32
    pedestal: np.float32

    def subtract(self, pixels: MaskedImage, rows: slice) -> None:
        """I - a(F - p), V + a²W, M | N in some rows, in place.

        The amplitude's own error is not in the variance: it is the same for all pixels.
        """
        image, variance = pixels.image[rows], pixels.variance[rows]
        # Infinities may meet.
        with np.errstate(all="ignore"):
            image -= self.amplitude * (self.frame.image[rows] - self.pedestal)
            variance += self.amplitude * self.amplitude * self.frame.variance[rows]
        flags = self.frame.mask[rows]
        # Most rows of most frames have none.
        if np.bitwise_or.reduce(flags, axis=None):
            pixels.mask[rows] |= flags


def _write_card(exposure: Exposure, key: str, value: float, comment: str) -> None:
    """Put a card into the header; FITS has no NaN, so such a card has no value."""
    exposure.header[key] = (value if math.isfinite(value) else None, comment)
