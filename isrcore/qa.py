"""Settings of quality control: flatness of the background, thumbnails (behaviour §6.2)."""

from __future__ import annotations

from isrcore.config import Config, field, subconfig


class FlatnessConfig(Config):
    """How level, noise and flatness of the background are measured."""

    meshX: int = field(256, "Width of a cell of the grid in pixels.", minimum=2)
    meshY: int = field(256, "Height of a cell of the grid in pixels.", minimum=2)
    doClip: bool = field(True, "Take the clipped mean of a cell rather than its mean.")
    clipSigma: float = field(3.0, "Pixels further out than this many sigmas are clipped.", minimum=0.0)
    nIter: int = field(3, "Number of clipping passes.", minimum=1)


class IsrQaConfig(Config):
    """What a run measures and draws for people to judge it by."""

    saveStats: bool = field(
        True, "With doMeasureBackground, also record level and noise of every amplifier in the metadata."
    )
    flatness: FlatnessConfig = subconfig(FlatnessConfig, "The grid on which the background is measured.")
    doThumbnailOss: bool = field(False, "Return a thumbnail of the assembled, overscan-subtracted image.")
    doThumbnailFlattened: bool = field(
        False, "Return a thumbnail from after all arithmetic, before bad pixels are replaced."
    )
    thumbnailBinning: int = field(4, "Pixels on a side that one pixel of a thumbnail averages.", minimum=1)
    thumbnailStdev: float = field(3.0, "Black lies this many sigmas below the median.")
    thumbnailRange: float = field(
        5.0, "Scale of the brightness stretch, in units of the image.", exclusive_minimum=0.0
    )
    thumbnailQ: float = field(
        20.0, "Softening of the stretch: nearly linear if small, logarithmic if large.", exclusive_minimum=0.0
    )
    thumbnailSatBorder: int = field(
        2, "Saturated areas, grown by this many of its pixels, are drawn as bright as any; 0: as they are.",
        minimum=0,
    )  # fmt: skip
