"""The standard implementation of the vocabulary: one correction per file."""

from isrcore import Step, hookimpl
from isrcore_standard.amplifier_mask import AmplifierMask
from isrcore_standard.assembly import Assembly
from isrcore_standard.background import Background, BackgroundMeasurement
from isrcore_standard.bad_regions import BadRegions, BadRegionsMeasurement
from isrcore_standard.bias import Bias
from isrcore_standard.conversion import Conversion
from isrcore_standard.dark import Dark
from isrcore_standard.defect_flags import DefectFlags
from isrcore_standard.edges import Edges
from isrcore_standard.flat import Flat
from isrcore_standard.fringe import Fringe, FringeMeasurement
from isrcore_standard.gains import Gains
from isrcore_standard.interpolation import Interpolation
from isrcore_standard.levels import Levels
from isrcore_standard.nan_flags import NanFlags
from isrcore_standard.overscan import Overscan, OverscanMeasurement
from isrcore_standard.saturation import Saturation
from isrcore_standard.suspect import Suspect
from isrcore_standard.trails import SaturationTrails
from isrcore_standard.variance import Variance

__all__ = [
    "AmplifierMask",
    "Assembly",
    "Background",
    "BackgroundMeasurement",
    "BadRegions",
    "BadRegionsMeasurement",
    "Bias",
    "Conversion",
    "Dark",
    "DefectFlags",
    "Edges",
    "Flat",
    "Fringe",
    "FringeMeasurement",
    "Gains",
    "Interpolation",
    "Levels",
    "NanFlags",
    "Overscan",
    "OverscanMeasurement",
    "Saturation",
    "SaturationTrails",
    "Suspect",
    "Variance",
    "isr_steps",
]


@hookimpl
def isr_steps() -> list[type[Step]]:
    """Every standard correction."""
    return [
        AmplifierMask,
        Assembly,
        Background,
        BadRegions,
        Bias,
        Conversion,
        Dark,
        DefectFlags,
        Edges,
        Flat,
        Fringe,
        Gains,
        Interpolation,
        Levels,
        NanFlags,
        Overscan,
        Saturation,
        SaturationTrails,
        Suspect,
        Variance,
    ]
