"""Make the response of every amplifier proportional to the charge (behaviour §2.10, §2.11; §9 fault 36)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import attrs

from isrcore import (
    AmpView,
    Calibrations,
    Config,
    Exposure,
    LinearityCurve,
    Linearizer,
    LinearizerError,
    Lookup,
    Measurement,
    Op,
    Piecewise,
    PixelStep,
    Polynomial,
    Skip,
    field,
    stepspecs,
)
from isrcore_standard.linearity_lines import lines_of


class LinearityConfig(Config):
    """What happens to the variance."""

    scaleVariance: bool = field(
        True,
        "Multiply the variance by the square of the curve's slope, as noise is stretched with the signal. "
        "False: as in the original, the variance stays.",
    )


@attrs.frozen(eq=False)
class LinearityMeasurement(Measurement):
    """The curve of an amplifier; ``is_applied`` is False where it changes nothing."""

    curve: LinearityCurve
    is_applied: bool


def read_linearizer(path: Path, detector: str) -> Linearizer:
    """The linearizer in a file, whichever detector it is of. Raises LinearizerError."""
    return Linearizer.read(path)


def curves_of(exposure: Exposure, calibrations: Calibrations) -> Mapping[str, LinearityCurve]:
    """The curves of the linearizer that was given, else those that the detector says, by amplifier name."""
    given: Linearizer | None = calibrations.get("linearizer")
    if given is not None:
        return given.amplifiers
    return {
        amp.name: LinearityCurve(amp.linearity_type, amp.linearity_coeffs)
        for amp in exposure.detector.amplifiers
    }


class Linearity(PixelStep):
    """Undo that amplifiers gain less, or more, for large signals: each by a curve of its own."""

    spec = stepspecs.LINEARITY
    ConfigClass = LinearityConfig
    readers: ClassVar = {"linearizer": read_linearizer}

    def skips(self, exposure: Exposure, calibrations: Calibrations) -> Skip | None:
        """Nothing to do when every amplifier has type None; a linearizer that was refused is reported."""
        types = {curve.type for curve in curves_of(exposure, calibrations).values()}
        if types != {"None"} or "linearizer" in calibrations.refused:
            return None
        owner = "linearizer" if calibrations.offers("linearizer") else "detector"
        return Skip(f"every amplifier of the {owner} has linearity type 'None'")

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """What the detector says must make sense when no linearizer is given."""
        if not calibrations.offers("linearizer") and "linearizer" not in calibrations.refused:
            try:
                Linearizer.of(exposure.detector)
            except LinearizerError as fault:
                yield f"{fault}\n  give a linearizer, or set doLinearize = false"

    def measure(self, view: AmpView) -> LinearityMeasurement:
        """The amplifier's curve."""
        curve = curves_of(view.exposure, view.calibrations)[view.name]
        return LinearityMeasurement(curve, not curve.is_straight)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """One operation; a lookup also counts the pixels that its table does not know."""
        for op in self._curved(view) if view.measurement.is_applied else ():
            yield op if self.config.scaleVariance else op.without_variance()

    def _curved(self, view: AmpView) -> Iterator[Op]:
        """The operations that follow the amplifier's curve."""
        curve: LinearityCurve = view.measurement.curve
        if curve.type == "LookupTable":
            table, (row, offset) = view.calibrations.get("linearizer").lookup, curve.coeffs[:2]
            names = view.detector.amplifier_names
            owner = names.index(view.name)
            yield Lookup(table, table.first(int(row)), offset, owner, len(names))
        elif curve.splines:
            others = curves_of(view.exposure, view.calibrations).values()
            # All amplifiers in one table: then those side by side are corrected together.
            bent = tuple(dict.fromkeys(other.splines for other in others if other.splines))
            lines = lines_of(bent)
            yield Piecewise(lines, lines.first(bent.index(curve.splines)))
        else:
            yield Polynomial(curve.coeffs)

    def finish(self, exposure: Exposure) -> None:
        """Types, and numbers of pixels that lookup tables do not know, go to the metadata."""
        measured = exposure.measured[self.spec.name]
        names = exposure.detector.amplifier_names
        has_table = any(found.curve.type == "LookupTable" for found in measured.values())
        counts = self.metadata.scalar("counted") if has_table else [0] * len(names)
        for name, outside in zip(names, counts, strict=True):
            if name in measured:
                self._report(name, measured[name], outside)

    def _report(self, name: str, found: LinearityMeasurement, outside: int) -> None:
        """Record and tell what was done to one amplifier."""
        self.metadata.set(f"ISR LINEARITY {name} TYPE", found.curve.type)
        self.metadata.set(f"ISR LINEARITY {name} OUTSIDE", outside)
        if outside:
            self.log.info("amplifier %s: %d pixels are outside its lookup table", name, outside)
        if not found.is_applied and found.curve.type not in ("None", "Proportional"):
            self.log.warning("amplifier %s is not linearized: its coefficients are zero", name)
