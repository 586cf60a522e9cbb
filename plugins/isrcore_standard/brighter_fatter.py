"""Put back charge that bright pixels pushed into their neighbours (behaviour §2.15; §9 faults 4 to 6, 42)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from astropy.table import Table

from isrcore import (
    Box,
    BrighterFatterError,
    BrighterFatterKernel,
    Calibrations,
    Config,
    Detector,
    Exposure,
    IsrTask,
    Measurement,
    Quantity,
    Runs,
    Simulation,
    Step,
    StepSpec,
    field,
    stepspecs,
)
from isrcore_standard.charge_shifts import GRADIENTS, TRANSFERS, Plane, Sensor, Settled


def read_kernel(path: Path, detector: str) -> BrighterFatterKernel:
    """The kernel in a file. Raises BrighterFatterError."""
    return BrighterFatterKernel.read(path, detector)


def read_gains(path: Path, detector: str) -> dict[str, float]:
    """Gains (electron/adu) in a table with columns amplifier and gain, ECSV or FITS. Raises ValueError."""
    table = Table.read(path)
    missing = {"amplifier", "gain"} - set(table.colnames)
    if missing:
        raise ValueError(f"'{path}' has no column {min(missing)!r}; it needs amplifier and gain")
    return {str(name).strip(): float(gain) for name, gain in table["amplifier", "gain"].iterrows()}


class BrighterFatterConfig(Config):
    """How charge is put back, and how accurately."""

    level: str = field(
        "DETECTOR", "One kernel for the DETECTOR, or the own kernel of every AMP(lifier).",
        choices=("AMP", "DETECTOR"),
    )  # fmt: skip
    maxIter: int = field(10, "Iterations after which the charge is taken as it is.", minimum=1)
    threshold: float = field(
        1000.0,
        "Iterate until the charge changes by less than this in all pixels together, in electron (in adu "
        "without applyGain).",
        minimum=0.0,
    )
    applyGain: bool = field(True, "Count charge in electron, as kernels do; else in adu.")
    maskGrowSize: int = field(
        0, "Flags that are interpolated over grow by this Manhattan distance afterwards.", minimum=0
    )
    fluxConserving: bool = field(
        False, "Move charge from pixel to neighbour, so that none is made or lost; else by gradients."
    )


@attrs.frozen(eq=False)
class BrighterFatterMeasurement(Measurement):
    """How the iteration ended.

    ``difference`` is how much all pixels together changed in the last of ``iterations``, in electron (adu
    without applyGain); ``is_converged`` whether that is below the threshold.
    """

    is_converged: bool
    iterations: int
    difference: float


class BrighterFatter(Step):
    """Add ½∇·(T ∇(K ⋆ S)) to the image: T is the charge that should be there, S what pushed it.

    The charge is that of a copy, in which flagged pixels are replaced as they will be in the end: pixels that
    are no charge push nothing. Variance stays. Pixels whose correction takes charge from beyond the detector
    get EDGE: they are not corrected, or, with ``fluxConserving``, as if the level of the frame went on there.
    """

    spec = stepspecs.BRIGHTER_FATTER
    ConfigClass = BrighterFatterConfig
    readers: ClassVar = {"bfKernel": read_kernel, "bfGains": read_gains}
    quantities: ClassVar = (
        Quantity("is_converged", "Whether the iteration converged.", kind=bool),
        Quantity("iterations", "Iterations that were done.", kind=int),
        Quantity("difference", "Sum of the last iteration's changes.", "electron"),
    )

    def contract(self, exposure: Exposure) -> StepSpec:
        """Flags are found in the corrected copy, so dark and flat are read when they are on."""
        top = self.top_config()
        frames = {kind for kind, flag in _FRAMES.items() if getattr(top, flag, False)}
        grown = set(self._grown(exposure))
        return attrs.evolve(self.spec, accepts=self.spec.accepts | frames, planes=self.spec.planes | grown)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The kernel must be one, and of this detector; so must gains that are given."""
        if not calibrations.offers("bfKernel"):
            return
        names = exposure.detector.amplifier_names
        try:
            kernel = BrighterFatterKernel.of(calibrations.get("bfKernel"))
        except BrighterFatterError as fault:
            yield f"bfKernel: {fault}"
            return
        owner = exposure.detector.name
        if kernel.detector_name.lower() not in ("", owner.lower()):
            yield f"bfKernel is of detector {kernel.detector_name!r}, the exposure of {owner!r}"
        if self.config.level == "AMP":
            yield from _missing("bfKernel", "kernel", names, kernel.amplifiers)
        if self.config.applyGain:
            yield from _gain_problems(names, kernel, calibrations.get("bfGains"))

    def _grown(self, exposure: Exposure) -> list[str]:
        """Planes whose flags grow."""
        listed = getattr(getattr(self.top_config(), "interpolation", None), "planes", ())
        return sorted({*listed} & {*exposure.planes}) if self.config.maskGrowSize else []

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Add the correction of the copy to the pixels themselves."""
        gains = self._gains(exposure.detector, calibrations)
        charge = self._charge(exposure, calibrations)
        rescale(charge, exposure.detector, gains, np.multiply)
        _fill(charge)
        sensor = self._sensor(exposure.detector, calibrations)
        settled = sensor.correct(charge, self.config.maxIter, self.config.threshold, self.threads)
        rescale(settled.shift, exposure.detector, gains, np.divide)
        exposure.image[...] += settled.shift
        self._flag(exposure, sensor.frame)
        exposure.forget_statistics()
        self._record(exposure, settled)

    def _charge(self, exposure: Exposure, calibrations: Calibrations) -> Plane:
        """What the image would be without flagged pixels, in its own unit; memory of its own."""
        copy, task = exposure.clone(), self._parent
        if isinstance(task, IsrTask):
            # In the corrected copy neighbours are alike, whatever dust lies on a pixel.
            steps = ["nanFlags", "interpolation"]
            steps += ["saturationTrails"] * bool(getattr(task.config, "doWidenSaturationTrails", False))
            with task.flatContext(copy, calibrations.get("flat"), calibrations.get("dark")):
                task.rehearse(copy, *steps)
        return copy.image

    def _gains(self, detector: Detector, calibrations: Calibrations) -> Mapping[str, float]:
        """Charge per count of every amplifier: given ones, else the kernel's, else the detector's."""
        if not self.config.applyGain:
            return {}
        kernel = BrighterFatterKernel.of(calibrations.get("bfKernel"))
        own = {amp.name: amp.gain for amp in detector.amplifiers}
        return {**own, **kernel.gains, **(calibrations.get("bfGains") or {})}

    def _sensor(self, detector: Detector, calibrations: Calibrations) -> Sensor:
        """Which kernel acts where."""
        kernel = BrighterFatterKernel.of(calibrations.get("bfKernel"))
        if self.config.level == "AMP":
            regions = tuple((amp.box, kernel.amplifiers[amp.name]) for amp in detector.amplifiers)
        else:
            regions = ((Box.of_shape(detector.shape), kernel.of_detector),)
        return Sensor(detector.shape, regions, TRANSFERS if self.config.fluxConserving else GRADIENTS)

    def _flag(self, exposure: Exposure, frame: tuple[int, int]) -> None:
        """Flag the frame EDGE, and what is near flagged pixels like them."""
        (y, x), (ny, nx) = frame, exposure.shape
        edge = np.int32(exposure.planes.value("EDGE"))
        for part in (np.s_[:y], np.s_[max(ny - y, 0) :], np.s_[:, :x], np.s_[:, max(nx - x, 0) :]):
            exposure.mask[part] |= edge
        for plane in self._grown(exposure):
            bits = exposure.planes.value(plane)
            flagged = Runs.of(exposure.mask, bits, self.threads)
            if len(flagged):
                flagged.flag_near(exposure.mask, bits, self.config.maskGrowSize)

    def _record(self, exposure: Exposure, settled: Settled) -> None:
        """Measurement and metadata; a warning when the iteration stopped too early."""
        found = BrighterFatterMeasurement(settled.is_converged, settled.iterations, settled.difference)
        exposure.measured = {**exposure.measured, self.spec.name: {exposure.detector.name: found}}
        for name, value in attrs.asdict(found).items():
            self.metadata.set(name, value)
        if not found.is_converged:
            self.log.warning(
                "%s: the brighter-fatter correction still changed by %.3g in iteration %d, the last; the "
                "threshold is %.3g",
                exposure.label, found.difference, found.iterations, self.config.threshold,
            )  # fmt: skip

    def simulate(self, simulation: Simulation) -> None:
        """Let bright pixels push charge away."""
        image, detector = simulation.exposure.image, simulation.detector
        gains = self._gains(detector, simulation.calibrations)
        sensor = self._sensor(detector, simulation.calibrations)
        charge = image.copy()
        rescale(charge, detector, gains, np.multiply)
        settled = sensor.disturb(charge, self.config.maxIter, self.config.threshold, self.threads)
        rescale(settled.shift, detector, gains, np.divide)
        image -= settled.shift


_FRAMES = {"dark": "doDark", "flat": "doFlat"}


def _gain_problems(names: tuple[str, ...], kernel: BrighterFatterKernel, given: Any) -> Iterator[str]:
    """What is wrong with gains that replace the detector's."""
    if kernel.gains and given is None:
        yield from _missing("bfKernel", "gain", names, kernel.gains)
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield f"bfGains is a {type(given).__name__!r}; give gains in electron/adu by name of the amplifier"
        return
    yield from _missing("bfGains", "gain", names, given)
    for name, gain in given.items():
        if not (isinstance(gain, int | float | np.number) and math.isfinite(gain) and gain > 0):
            yield f"bfGains: the gain of amplifier {name!r} is {gain!r}; it must be positive"


def _missing(kind: str, what: str, names: tuple[str, ...], known: Mapping[str, Any]) -> Iterator[str]:
    """Amplifiers that a table lacks."""
    lacking = [name for name in names if name not in known]
    if lacking:
        there = ", ".join(map(repr, known)) or "none"
        yield f"{kind} has no {what} of amplifier {', '.join(map(repr, lacking))}; it has those of {there}"


def rescale(
    image: Plane, detector: Detector, gains: Mapping[str, float], function: Callable[..., Any]
) -> None:
    """Multiply every amplifier's pixels by its gain, or divide them by it, in place."""
    for amp in detector.amplifiers if gains else ():
        part = image[amp.box.slices]
        function(part, np.float32(gains[amp.name]), out=part)


def _fill(charge: Plane) -> None:
    """Give pixels whose charge nobody knows the level of the others, in place."""
    unknown = ~np.isfinite(charge)
    if unknown.any():
        known = charge[~unknown]
        charge[unknown] = known.mean(dtype=np.float64) if known.size else 0.0
