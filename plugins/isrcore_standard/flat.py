"""Divide by the flat field (behaviour §2.17)."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from isrcore import AmpView, Config, Divide, Measurement, Op, PixelStep, field, statistics, stepspecs


class FlatConfig(Config):
    """How the flat is scaled."""

    scalingType: str = field(
        "USER", "Number the flat counts as 1: userScale, or its own MEAN or MEDIAN.",
        choices=("USER", "MEAN", "MEDIAN"),
    )  # fmt: skip
    dataProductName: str = field("flat", "Dataset of the flat field in a repository.")
    userScale: float = field(1.0, "Scale for scalingType USER.", exclusive_minimum=0.0)


@attrs.frozen(eq=False)
class FlatScale(Measurement):
    """The flat's own level."""

    level: float


class Flat(PixelStep):
    """Divide out the pixel-to-pixel sensitivity."""

    spec, per = stepspecs.FLAT, "detector"
    ConfigClass = FlatConfig

    def measure(self, view: AmpView) -> FlatScale:
        """The scale: given, or the mean or median of the flat's finite pixels, its mask ignored."""
        choice = self.config.scalingType
        if choice == "USER":
            return FlatScale(self.config.userScale)
        statistic = statistics.mean if choice == "MEAN" else statistics.median
        return FlatScale(statistic(view.calibration("flat").image))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I·S/F, variance by the quotient rule, M | M_F."""
        yield Divide(view.calibration("flat"), scale=view.measurement.level)
