"""Subtract what other amplifiers' signals leave in an amplifier (behaviour §2.12; §9 faults 29 and 30)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np

from isrcore import (
    Calibrations,
    Config,
    Crosstalk,
    CrosstalkMatrix,
    Detector,
    Exposure,
    MaskedImage,
    Measurement,
    Simulation,
    Step,
    StepError,
    StepSpec,
    field,
    median_bounds,
    median_of_windows,
    stepspecs,
)
from isrcore_standard.crosstalk_bands import (
    Group,
    Places,
    Reading,
    Source,
    correct,
    data_box,
    places_above,
    put_in,
)


class CrosstalkConfig(Config):
    """Where coefficients come from, what is flagged, and when it is done."""

    minPixelToMask: float = field(
        45000.0,
        "Source pixels so far above the median, in adu, are bright: pixels that they disturb are flagged, as "
        "errors of the coefficients show there.",
        minimum=0.0,
    )
    crosstalkMaskPlane: str = field("CROSSTALK", "Mask plane of pixels that bright ones disturb.")
    doSubtrahendMasking: bool = field(
        False, "Flag pixels whose correction has at least minPixelToMask adu, instead of by their sources."
    )
    crosstalkBackgroundMethod: str = field(
        "None", "Level that disturbs nobody: none, or the median of the amplifier or of the detector.",
        choices=("None", "AMP", "DETECTOR"),
    )  # fmt: skip
    useConfigCoefficients: bool = field(False, "Take crosstalkValues, whatever coefficients are given.")
    crosstalkValues: list[float] = field(
        [0.0],
        "Coefficients row by row: row = affected amplifier, column = source, as the detector orders them.",
    )
    crosstalkShape: list[int] = field([1], "Rows and columns of crosstalkValues: amplifiers, twice.")
    beforeAssembly: bool = field(
        False, "Correct the raw frame, after its overscan, rather than the assembled image."
    )

    def problems(self) -> Iterator[str]:
        """The values must fill the shape."""
        shape = list(self.crosstalkShape)
        if self.useConfigCoefficients and math.prod(shape) != len(self.crosstalkValues):
            yield f"crosstalkShape {shape} does not hold {len(self.crosstalkValues)} crosstalkValues"


@attrs.frozen(eq=False)
class CrosstalkMeasurement(Measurement):
    """Levels (adu) that were taken from the sources, by amplifier name, NaN for those that were left out.

    Amplifiers of other detectors are named "detector amplifier". ``count`` pixels were flagged.
    """

    levels: Mapping[str, float]
    count: int


class CrosstalkCorrection(Step):
    """I_i - sum_j (C_ij S_j + Q_ij S_j²), with S_j the uncorrected pixels of source j minus its level.

    Sources are the detector's other amplifiers, and those of other detectors for which there are coefficients
    and exposures (``crosstalkSources``, by detector name). The latter must be corrected exactly as far as the
    exposure is when it is this step's turn. Amplifiers that are bad as a whole (`amplifierMask`) keep their
    offset, so they are no sources; neither are pixels that are not finite.
    """

    spec = stepspecs.CROSSTALK
    ConfigClass = CrosstalkConfig
    readers: ClassVar = {"crosstalk": Crosstalk.read}

    def contract(self, exposure: Exposure) -> StepSpec:
        """On raw frames the step waits for the overscan only, and assembly for the step."""
        spec = attrs.evolve(self.spec, planes={self.config.crosstalkMaskPlane})
        if self.config.useConfigCoefficients:
            spec = attrs.evolve(spec, calibrations=frozenset())
        if not self.config.beforeAssembly:
            return spec
        after = {"saturation-flagged", "suspect-flagged", "amplifiers-masked", "overscan-subtracted"}
        return attrs.evolve(spec, requires={"converted"}, after=after, before={"assembled", "turned"})

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Coefficients must be the detector's, between amplifiers of one shape; sources must be alike."""
        try:
            found = self._coefficients(exposure.detector, calibrations)
        except ValueError as fault:
            yield str(fault)
            return
        if found is None:
            return
        yield from _unequal(found.matrix, exposure.detector, exposure.detector)
        given = calibrations.get("crosstalkSources")
        if given is None:
            return
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            yield f"crosstalkSources is a {kind!r}; give exposures by the names of their detectors"
            return
        for name, matrix in sorted(found.others.items()):
            yield from _source_problems(name, matrix, given.get(name), exposure)

    def _coefficients(self, detector: Detector, calibrations: Calibrations) -> Crosstalk | None:
        """Those of the config, else those given; None without any."""
        if self.config.useConfigCoefficients:
            values = np.reshape(list(self.config.crosstalkValues), list(self.config.crosstalkShape))
            return Crosstalk.of(values, detector)
        given: Crosstalk | None = calibrations.get("crosstalk")
        return given

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Correct in place."""
        groups, sources = self._groups(exposure, calibrations, exposure.is_assembled, has_flags=True)
        smallest = self.config.minPixelToMask if self.config.doSubtrahendMasking else math.inf
        bits = exposure.planes.value(self.config.crosstalkMaskPlane)
        count = sum(correct(group, bits, smallest, self.threads) for group in groups)
        exposure.forget_statistics()
        found = CrosstalkMeasurement({name: source.level for name, source in sources.items()}, count)
        exposure.measured = {**exposure.measured, self.spec.name: {exposure.detector.name: found}}
        self.metadata.set("flagged", count)

    def simulate(self, simulation: Simulation) -> None:
        """Find the pixels of which `run` makes these. Raises `StepError` when the search does not end."""
        exposure, is_assembled = simulation.exposure, "assembled" in simulation.facts
        image, truth, last = exposure.image, exposure.image.copy(), [math.inf]
        for _ in range(_MOST_ROUNDS):
            # Levels are those of the disturbed pixels.
            groups, sources = self._groups(exposure, simulation.calibrations, is_assembled, has_flags=False)
            levels = [source.level for source in sources.values()]
            if np.array_equal(levels, last, equal_nan=True):
                return
            image[...] = truth
            if not all(put_in(group) for group in groups):
                break
            last = levels
        raise StepError(
            f"{exposure.label}: crosstalk cannot be put in, the coefficients are too large to be undone"
        )

    def _groups(
        self, exposure: Exposure, calibrations: Calibrations, is_assembled: bool, *, has_flags: bool
    ) -> tuple[list[Group], dict[str, Source]]:
        """Who disturbs whom, and all sources by name; sources are bright nowhere unless ``has_flags``."""
        crosstalk = self._coefficients(exposure.detector, calibrations)
        if crosstalk is None:
            raise StepError(f"{exposure.label}: there are no crosstalk coefficients")
        sources = self._sources(exposure, is_assembled, has_flags)
        linear, quadratic = [crosstalk.matrix.linear], [crosstalk.matrix.quadratic]
        for name, matrix, other in self._others(crosstalk, calibrations):
            found = self._sources(other, is_assembled, has_flags)
            sources |= {f"{name} {amp}": source for amp, source in found.items()}
            linear.append(matrix.linear)
            quadratic.append(matrix.quadratic)
        silent = [math.isnan(source.level) for source in sources.values()]
        targets = [Reading.of(exposure.pixels, amp, is_assembled) for amp in exposure.detector.amplifiers]
        matrices = (np.where(silent, 0.0, np.hstack(parts)) for parts in (linear, quadratic))
        return Group.of(targets, list(sources.values()), *matrices), sources

    def _others(
        self, crosstalk: Crosstalk, calibrations: Calibrations
    ) -> Iterator[tuple[str, CrosstalkMatrix, Exposure]]:
        """Other detectors for which there are coefficients, in order of names, with their exposures."""
        given = calibrations.get("crosstalkSources")
        if crosstalk.others and given is None:
            names = ", ".join(sorted(crosstalk.others))
            self.log.warning("no crosstalkSources were given: crosstalk from %s is left in", names)
        for name, matrix in sorted(crosstalk.others.items()) if given is not None else ():
            yield name, matrix.ordered(matrix.affected, given[name].detector.amplifier_names), given[name]

    def _sources(self, exposure: Exposure, is_assembled: bool, has_flags: bool) -> dict[str, Source]:
        """The amplifiers as sources, by name; those that nobody can use have a level of NaN."""
        amplifiers, pixels = exposure.detector.amplifiers, exposure.pixels
        windows = [pixels.window(data_box(amp, is_assembled)) for amp in amplifiers]
        levels = self._levels(windows)
        readings = [Reading.of(pixels, amp, is_assembled) for amp in amplifiers]
        has_bright = has_flags and not self.config.doSubtrahendMasking
        bright = self._bright(readings, windows) if has_bright else [_NOWHERE for _ in amplifiers]
        is_bad = [amp.name in exposure.measured.get("amplifierMask", {}) for amp in amplifiers]
        levels = [math.nan if bad else level for bad, level in zip(is_bad, levels, strict=True)]
        sources = map(Source, readings, levels, bright)
        return dict(zip(exposure.detector.amplifier_names, sources, strict=True))

    def _levels(self, windows: list[MaskedImage]) -> list[float]:
        """What to take from each amplifier's pixels."""
        method = self.config.crosstalkBackgroundMethod
        if method == "AMP":
            return [self._median([window]) for window in windows]
        level = self._median(windows) if method == "DETECTOR" else 0.0
        return [level for _ in windows]

    def _bright(self, readings: list[Reading], windows: list[MaskedImage]) -> list[Places]:
        """Where pixels are above the median by ``minPixelToMask`` or more.

        The median is only found where its bounds leave a pixel in doubt.
        """
        above = self.config.minPixelToMask
        low, high = median_bounds(windows, "BAD")
        found = [places_above(reading, _at_least(above + low), self.threads) for reading in readings]
        values = [
            r.pixels.image[np.divmod(p, r.pixels.shape[1])] for r, p in zip(readings, found, strict=True)
        ]
        if not any((some < _at_least(above + high)).any() for some in values):
            return found
        least = _at_least(above + self._median(windows))
        return [places[some >= least] for places, some in zip(found, values, strict=True)]

    def _median(self, windows: list[MaskedImage]) -> float:
        """The median of pixels that are not BAD; NaN without any."""
        return median_of_windows(windows, "BAD", threads=self.threads)


_NOWHERE: Places = np.empty(0, np.intp)

#: Levels change by less than a coefficient times what they changed the last time.
_MOST_ROUNDS = 20


def _at_least(value: float) -> np.float32:
    """The least float32 number that is not below the value."""
    rounded = np.float32(value)
    # As float64: next to a float32 number, numpy would round the value first.
    return np.nextafter(rounded, np.float32(np.inf)) if float(rounded) < value else rounded


def _unequal(matrix: CrosstalkMatrix, affected: Detector, sources: Detector) -> Iterator[str]:
    """Pairs of amplifiers that exchange signal and differ in shape, so that no pixel belongs to another."""
    for row, column in np.argwhere(matrix.is_coupled):
        one, other = affected[matrix.affected[row]], sources[matrix.sources[column]]
        if one.box.shape != other.box.shape:
            yield (
                f"amplifier {one.name!r} has shape {one.box.shape}, its source {other.name!r} of detector "
                f"{sources.name!r} {other.box.shape}: crosstalk is only known among amplifiers of one shape"
            )


def _source_problems(name: str, matrix: CrosstalkMatrix, source: Any, exposure: Exposure) -> Iterator[str]:
    """Why an exposure of another detector cannot tell what it adds to this one."""
    if not isinstance(source, Exposure):
        found = "it is not among them" if source is None else f"it is a {type(source).__name__!r}"
        yield f"crosstalkSources must have the exposure of detector {name!r}: {found}"
        return
    what = f"crosstalk source {name!r}"
    if source.detector.name != name:
        yield f"{what} is of detector {source.detector.name!r}"
    if source.pixels.is_raw or source.unit != exposure.unit:
        kind = "raw integers" if source.pixels.is_raw else f"in {source.unit!r}"
        yield f"{what} is {kind}; it must be float pixels in {exposure.unit!r}"
    yield from _unlike(what, source, exposure)
    try:
        ordered = matrix.ordered(matrix.affected, source.detector.amplifier_names)
    except ValueError as fault:
        yield f"{what}: {fault}"
    else:
        yield from _unequal(ordered, exposure.detector, source.detector)


def _unlike(what: str, source: Exposure, exposure: Exposure) -> Iterator[str]:
    """How a source is corrected less, or further, than the exposure will be."""
    theirs, ours = (one.facts & stepspecs.ARITHMETIC for one in (source, exposure))
    for fact in sorted(ours - theirs):
        yield f"{what} is not {fact!r}, as the exposure is by then: correct it as far, doCrosstalk = false"
    for fact in sorted(theirs - ours):
        yield f"{what} is {fact!r}, which the exposure is not by then: correct it no further"
    shape = source.detector.shape if source.is_assembled else source.detector.raw_shape
    if source.shape != shape:
        yield f"{what} has shape {source.shape}, its detector {shape}"
