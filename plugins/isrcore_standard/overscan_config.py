"""Settings of the overscan correction."""

from __future__ import annotations

import math
from collections.abc import Iterator

from isrcore import Config, field, subconfig
from isrcore_standard.overscan_fit import FIT_TYPES, LEAST_BINS, SPLINES


class LevelConfig(Config):
    """How the level is found in one overscan."""

    fitType: str = field(
        "MEDIAN",
        "One level (MEAN, MEANCLIP, MEDIAN), one per row (MEDIAN_PER_ROW, MEAN_PER_ROW; per column of a "
        "parallel overscan), a polynomial (POLY, CHEB, LEG: the same in three names) or a spline.",
        choices=FIT_TYPES,
    )  # fmt: skip
    order: int = field(
        1,
        f"Degree of a polynomial; number of bins of a spline, {LEAST_BINS} or more.",
        minimum=1,
    )
    numSigmaClip: float = field(3.0, "Pixels further than this many sigma do not count.", minimum=0.0)
    isInt: bool = field(
        True, "Truncate pixels to integers for medians, which then interpolate among equal values."
    )
    maxDev: float = field(
        1000.0,
        "Pixels further than this from the median, in adu, are flagged saturated.",
        exclusive_minimum=0.0,
    )

    def problems(self) -> Iterator[str]:
        """One or two bins make no spline."""
        if self.fitType in SPLINES and self.order < LEAST_BINS:
            yield (
                f"order = {self.order} is too small for {self.fitType}: it is the number of bins, "
                f"{LEAST_BINS} or more; set it to what the drift along the overscan needs, for instance 20"
            )

    def skipped(self) -> tuple[int, int]:
        """Lines of overscan pixels to leave out, next to the data and furthest from them."""
        return 0, 0

    def bleeding(self) -> tuple[float, int]:
        """Where bleed trails start, adu above the level before, and how far they spoil pixels around them."""
        return math.inf, 0


class BiasJumpConfig(Config):
    """A jump of the level at a known row, which some controllers make."""

    enabled: bool = field(False, "Fit the rows before and after the jump apart.")
    keyword: str = field("NO_SUCH_KEY", "Card of the header that names the device.")
    devices: list[str] = field([], "Devices that jump: values of that card.")
    location: int = field(
        0, "Data rows before the jump, counted from the side of the readout corner.", minimum=0
    )


class ParallelConfig(LevelConfig):
    """The parallel overscan, when it is corrected after the serial one."""

    isInt: bool = field(
        False, "Truncate pixels to integers for medians; the serial level has left them fractions."
    )
    leadingRowsToSkip: int = field(
        0, "Overscan rows next to the data to leave out: charge that trails.", minimum=0
    )
    trailingRowsToSkip: int = field(0, "Overscan rows furthest from the data to leave out.", minimum=0)
    maskThreshold: float = field(
        100000.0,
        "Pixels this far above the serial level, in adu, are the end of a bleed trail: they and what is near "
        "them are flagged saturated. The default is that of 18-bit converters.",
        exclusive_minimum=0.0,
    )
    maskGrowSize: int = field(7, "Manhattan distance that is near, in pixels.", minimum=0)

    def skipped(self) -> tuple[int, int]:
        """Rows."""
        return self.leadingRowsToSkip, self.trailingRowsToSkip

    def bleeding(self) -> tuple[float, int]:
        """Columns of full pixels end here."""
        return self.maskThreshold, self.maskGrowSize


class OverscanConfig(LevelConfig):
    """Which pixels tell the offset, and how."""

    region: str = field(
        "serial", "Overscan to use: serial (columns beside the data) or parallel (rows above it).",
        choices=("serial", "parallel"),
    )  # fmt: skip
    leadingColumnsToSkip: int = field(
        0, "Columns (rows of a parallel overscan) next to the data to leave out: trailing charge.", minimum=0
    )
    trailingColumnsToSkip: int = field(0, "Columns (rows) furthest from the data to leave out.", minimum=0)
    doParallel: bool = field(
        False,
        "After the serial overscan, subtract what the parallel one still shows: a level per column, for "
        "instance. The serial overscan then counts in the rows of the parallel one too.",
    )
    biasJump: BiasJumpConfig = subconfig(BiasJumpConfig, "A jump of the level along the overscan.")
    parallel: ParallelConfig = subconfig(ParallelConfig, "The parallel overscan, with doParallel.")

    def problems(self) -> Iterator[str]:
        """The parallel overscan comes second or alone."""
        yield from super().problems()
        if self.doParallel and self.region == "parallel":
            yield "region = 'parallel' reads the parallel overscan already: set doParallel = false"

    def skipped(self) -> tuple[int, int]:
        """Columns, or rows of the parallel overscan."""
        return self.leadingColumnsToSkip, self.trailingColumnsToSkip
