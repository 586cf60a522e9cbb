"""Set the variance plane (behaviour §2.9, NEW formula; §9 faults 1 and 20)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from isrcore import (
    AmpView,
    Config,
    Exposure,
    FlagNonPositiveVariance,
    Op,
    Operand,
    PixelStep,
    SetVariance,
    Skip,
    StepSpec,
    field,
    stepspecs,
)


class VarianceConfig(Config):
    """How the variance is set."""

    maskNegative: bool = field(
        True, "Flag BAD where the variance is not positive: deep negative noise, no estimate."
    )


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

    def ops(self, view: AmpView) -> Iterator[Op]:
        """Set, then flag what cannot be."""
        gain, noise = view.amplifier.gain, self._read_noise(view)
        yield SetVariance(gain, noise, tuple(self._added(view, (noise / gain) ** 2)))
        if self.config.maskNegative:
            yield FlagNonPositiveVariance(view.bits("BAD"))

    def _read_noise(self, view: AmpView) -> float:
        """The amplifier's read noise, or the scatter of its corrected overscan, in electron."""
        overscan = view.measured("overscan")
        if getattr(self.top_config(), "doEmpiricalReadNoise", False) and overscan is not None:
            return float(overscan.residual_sigma * view.amplifier.gain)
        return view.amplifier.read_noise

    def _added(self, view: AmpView, pixel_variance: float) -> Iterator[Operand]:
        """Noise that earlier corrections brought in, in adu²."""
        overscan = view.measured("overscan")
        if overscan is not None:
            yield overscan.level_variance(view, pixel_variance)
        if "bias-subtracted" in view.facts and view.offers("bias"):
            yield view.calibration("bias").variance
