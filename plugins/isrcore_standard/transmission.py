"""Attach what the light passed on its way into the pixels (behaviour §2.24)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import attrs

from isrcore import (
    Calibrations,
    CameraError,
    Config,
    Exposure,
    Skip,
    Step,
    StepSpec,
    SystemTransmission,
    TransmissionCurve,
    field,
    focal_plane,
    stepspecs,
)

_KINDS = {part: f"{part}Transmission" for part in ("atmosphere", "optics", "filter", "sensor")}


class TransmissionConfig(Config):
    """Which parts of the system count, where their curves are given."""

    useOptics: bool = field(True, "Use the curve of mirrors, lenses and windows, if it is given.")
    useFilter: bool = field(True, "Use the curve of the filter, if it is given.")
    useSensor: bool = field(True, "Use the curve of the detector, if it is given.")
    useAtmosphere: bool = field(True, "Use the curve of the atmosphere, if it is given.")

    def parts(self) -> list[str]:
        """The parts that are used."""
        return [part for part in _KINDS if self.get(f"use{part.capitalize()}")]


def read_curve(path: Path, detector: str) -> TransmissionCurve:
    """The curve in a table, whichever detector it is of. Raises TransmissionError."""
    return TransmissionCurve.read(path)


class Transmission(Step):
    """Attach the product of the curves that are given; parts that are not given let everything pass."""

    spec = stepspecs.TRANSMISSION
    ConfigClass = TransmissionConfig
    changes_pixels = False
    readers: ClassVar = dict.fromkeys(_KINDS.values(), read_curve)

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """Only the curves that are to be used are read."""
        kinds = [_KINDS[part] for part in self.config.parts()]
        if not kinds:
            return Skip("transmission.useOptics, .useFilter, .useSensor and .useAtmosphere are all false")
        return attrs.evolve(self.spec, accepts=kinds)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """No curve at all is a mistake, and so are a curve of another filter and one without a place."""
        parts = self.config.parts()
        kinds = [_KINDS[part] for part in parts if calibrations.offers(_KINDS[part])]
        if not kinds:
            names = ", ".join(_KINDS[part] for part in parts)
            yield f"none of {names} was given: give one, or set {self.spec.flag} = false"
        for kind in kinds:
            yield from self._faults(kind, calibrations.get(kind), exposure)

    def _faults(self, kind: str, curve: object, exposure: Exposure) -> Iterator[str]:
        """Why a curve is not for the exposure."""
        if not isinstance(curve, TransmissionCurve):
            yield f"{kind} must be a TransmissionCurve, a {type(curve).__name__} was given"
            return
        names = self.filter_names(exposure)
        if curve.filter and curve.filter not in names:
            yield f"{kind} is of filter {curve.filter!r}, the exposure was taken through {names or 'none'}"
        if curve.varies and kind != _KINDS["sensor"]:
            try:
                focal_plane.detector_corners(exposure.detector)
            except CameraError as fault:
                yield f"{kind} varies over the focal plane: {fault}"

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Nothing is resampled: the product is taken where somebody asks for it."""
        given = {part: calibrations.get(_KINDS[part]) for part in self.config.parts()}
        curves = {part: curve for part, curve in given.items() if curve is not None}
        exposure.transmission = SystemTransmission(exposure.detector, curves)
        self.metadata.set("parts", list(curves))
