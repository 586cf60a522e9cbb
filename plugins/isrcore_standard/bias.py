"""Subtract the bias frame (behaviour §2.7)."""

from __future__ import annotations

from collections.abc import Iterator

from isrcore import AmpView, Config, Op, PixelStep, Subtract, field, stepspecs


class BiasConfig(Config):
    """Where the frame comes from."""

    dataProductName: str = field("bias", "Dataset of the bias frame in a repository.")


class Bias(PixelStep):
    """Subtract what a zero-second exposure reads. It does not scale with time."""

    spec, per = stepspecs.BIAS, "detector"
    ConfigClass = BiasConfig

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I - B, V + V_B, M | M_B."""
        yield Subtract(view.calibration("bias"))
