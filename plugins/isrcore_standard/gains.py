"""Turn adu into electrons (behaviour §2.21)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import attrs
import numpy as np

from isrcore import (
    Affine,
    AmpView,
    Config,
    Measurement,
    Op,
    PixelStep,
    Quantity,
    field,
    statistics,
    stepspecs,
)


class GainsConfig(Config):
    """Whether amplifiers are made to agree."""

    normalize: bool = field(False, "Scale every amplifier's median to the median of the amplifiers' medians.")


@attrs.frozen(eq=False)
class GainMeasurement(Measurement):
    """Factor from adu to electron, and the median of the amplifier after it (NaN when not measured)."""

    gain: float
    median: float = math.nan


class Gains(PixelStep):
    """Multiply every amplifier by its gain; the unit becomes electron."""

    spec = stepspecs.GAINS
    ConfigClass = GainsConfig
    quantities: ClassVar = (
        Quantity("gain", "Gain that was applied.", "electron/adu"),
        Quantity("median", "Median afterwards, where amplifiers are made to agree.", "electron"),
    )

    def reads_pixels(self) -> bool:
        """Only to normalise."""
        return bool(self.config.normalize)

    def measure(self, view: AmpView) -> GainMeasurement:
        """The gain and, to normalise, the median of the amplifier in electron."""
        gain = view.amplifier.gain
        if not self.config.normalize:
            return GainMeasurement(gain)
        data = view.box if view.is_assembled else view.amplifier.raw_data_box
        return GainMeasurement(gain, statistics.median(view.pixels(data).image) * gain)

    def ops(self, view: AmpView) -> Iterator[Op]:
        """I·g, V·g²; then the same with m/m_a, m the median of all amplifiers' medians m_a."""
        yield Affine(scale=view.measurement.gain)
        medians = [found.median for found in view.measurements[self.spec.name].values()]
        if self.config.normalize and view.measurement.median != 0:
            yield Affine(scale=float(np.median(medians)) / view.measurement.median)
