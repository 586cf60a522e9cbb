"""Divide by the flat field (behaviour §2.17)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import attrs

from isrcore import (
    AmpView,
    Config,
    Divide,
    Measurement,
    Op,
    PixelStep,
    Quantity,
    field,
    statistics,
    stepspecs,
)


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
    quantities: ClassVar = (Quantity("level", "What the flat counted as one."),)

    def measure(self, view: AmpView) -> FlatScale:
        """The scale: given, or the mean or median of the flat's finite pixels, its mask ignored."""
        choice, given = self.config.scalingType, view.calibrations
        if choice == "USER":
            return FlatScale(self.config.userScale)
        statistic = statistics.mean if choice == "MEAN" else statistics.median
        # A border that the flat was given for being too small says nothing of its level.
        return FlatScale(statistic(given.frame("flat").image[given.own_box("flat").slices]))

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I·S/F, variance by the quotient rule, M | M_F."""
        level = view.measurement.level
        yield Divide(view.calibrations.divisor("flat", level), scale=level)
