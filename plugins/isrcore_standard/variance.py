"""Set the variance plane (behaviour §2.9, NEW formula; §9 faults 1 and 20)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    AmpView,
    Config,
    Exposure,
    FlagNonPositiveVariance,
    Measurement,
    Op,
    PixelStep,
    SetVariance,
    Skip,
    StepSpec,
    field,
    stepspecs,
)

Pixels = npt.NDArray[np.float32]


class VarianceConfig(Config):
    """How the variance is set."""

    maskNegative: bool = field(
        True, "Flag BAD where the variance is not positive: deep negative noise, no estimate."
    )


@attrs.frozen(eq=False)
class VarianceMeasurement(Measurement):
    """The read noise's part of every variance of an amplifier, adu², and how many overscans have another."""

    read_noise: float
    overscans: int = 0


class Variance(PixelStep):
    """V = I/g + (RN/g)² + V_overscan + V_bias, in adu², gain g in electron/adu, read noise RN in electron.

    The overscan's part is the variance of the level that was subtracted; the bias's part the variance plane
    of the bias frame, when it was subtracted in this run.
    """

    spec = stepspecs.VARIANCE
    ConfigClass = VarianceConfig

    def contract(self, exposure: Exposure) -> StepSpec | Skip:
        """BAD is only set when negative variances are flagged."""
        return self.spec if self.config.maskNegative else attrs.evolve(self.spec, planes=frozenset())

    def measure(self, view: AmpView) -> VarianceMeasurement:
        """The variance of a pixel without light."""
        overscan = view.measured("overscan")
        count = 0 if overscan is None else len(overscan.overscans)
        return VarianceMeasurement((self._read_noise(view) / view.amplifier.gain) ** 2, count)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Set, then flag what cannot be."""
        gain, pixel_variance = view.amplifier.gain, view.measurement.read_noise
        overscan = view.measured("overscan")
        first, *others = (0.0,) if overscan is None else overscan.level_variances(view, pixel_variance)
        yield SetVariance(gain, pixel_variance + first, (*others, *self._planes(view)))
        if self.config.maskNegative:
            yield FlagNonPositiveVariance(view.bits("BAD"))

    def _read_noise(self, view: AmpView) -> float:
        """The amplifier's read noise, or the scatter of its corrected overscan, in electron."""
        overscan = view.measured("overscan")
        if getattr(self.top_config(), "doEmpiricalReadNoise", False) and overscan is not None:
            return float(overscan.residual_sigma * view.amplifier.gain)
        return view.amplifier.read_noise

    def _planes(self, view: AmpView) -> Iterator[Pixels]:
        """Variances of frames that were subtracted, adu²."""
        if "bias-subtracted" in view.facts and view.offers("bias"):
            yield view.calibration("bias").variance
