"""The standard implementation of the vocabulary: one correction per file."""

from isrcore import Step, hookimpl
from isrcore_standard.amp_offset import AmpOffset, AmpOffsetMeasurement
from isrcore_standard.amplifier_mask import AmplifierMask
from isrcore_standard.assembly import Assembly
from isrcore_standard.background import Background, BackgroundMeasurement
from isrcore_standard.bad_regions import BadRegions, BadRegionsMeasurement
from isrcore_standard.bias import Bias
from isrcore_standard.brighter_fatter import BrighterFatter, BrighterFatterMeasurement
from isrcore_standard.conversion import Conversion
from isrcore_standard.cosmic_rays import CosmicRays, CosmicRaysMeasurement
from isrcore_standard.crosstalk import CrosstalkCorrection, CrosstalkMeasurement
from isrcore_standard.dark import Dark
from isrcore_standard.defect_flags import DefectFlags
from isrcore_standard.deferred_charge import DeferredChargeCorrection, DeferredChargeMeasurement
from isrcore_standard.edges import Edges
from isrcore_standard.flat import Flat
from isrcore_standard.fringe import Fringe, FringeMeasurement
from isrcore_standard.gains import Gains
from isrcore_standard.illumination import Illumination
from isrcore_standard.interpolation import Interpolation
from isrcore_standard.levels import Levels
from isrcore_standard.linearity import Linearity, LinearityMeasurement
from isrcore_standard.masking import Masking
from isrcore_standard.nan_flags import NanFlags
from isrcore_standard.overscan import Overscan
from isrcore_standard.overscan_level import OverscanMeasurement
from isrcore_standard.saturation import Saturation
from isrcore_standard.stray_light import StrayLight, StrayLightMeasurement
from isrcore_standard.suspect import Suspect
from isrcore_standard.trails import SaturationTrails
from isrcore_standard.transmission import Transmission
from isrcore_standard.variance import Variance, VarianceMeasurement
from isrcore_standard.variance_budget import VarianceBudget, VarianceBudgetMeasurement
from isrcore_standard.vignette import Vignette, VignetteMeasurement
from isrcore_standard.zero_point import RoughZeroPoint

__all__ = [
    "AmpOffset",
    "AmpOffsetMeasurement",
    "AmplifierMask",
    "Assembly",
    "Background",
    "BackgroundMeasurement",
    "BadRegions",
    "BadRegionsMeasurement",
    "Bias",
    "BrighterFatter",
    "BrighterFatterMeasurement",
    "Conversion",
    "CosmicRays",
    "CosmicRaysMeasurement",
    "CrosstalkCorrection",
    "CrosstalkMeasurement",
    "Dark",
    "DefectFlags",
    "DeferredChargeCorrection",
    "DeferredChargeMeasurement",
    "Edges",
    "Flat",
    "Fringe",
    "FringeMeasurement",
    "Gains",
    "Illumination",
    "Interpolation",
    "Levels",
    "Linearity",
    "LinearityMeasurement",
    "Masking",
    "NanFlags",
    "Overscan",
    "OverscanMeasurement",
    "RoughZeroPoint",
    "Saturation",
    "SaturationTrails",
    "StrayLight",
    "StrayLightMeasurement",
    "Suspect",
    "Transmission",
    "Variance",
    "VarianceBudget",
    "VarianceBudgetMeasurement",
    "VarianceMeasurement",
    "Vignette",
    "VignetteMeasurement",
    "isr_steps",
]


@hookimpl
def isr_steps() -> list[type[Step]]:
    """Every standard correction."""
    return [
        AmpOffset,
        AmplifierMask,
        Assembly,
        Background,
        BadRegions,
        Bias,
        BrighterFatter,
        Conversion,
        CrosstalkCorrection,
        CosmicRays,
        Dark,
        DefectFlags,
        DeferredChargeCorrection,
        Edges,
        Flat,
        Fringe,
        Gains,
        Illumination,
        Interpolation,
        Levels,
        Masking,
        Linearity,
        NanFlags,
        Overscan,
        Saturation,
        SaturationTrails,
        StrayLight,
        Suspect,
        Transmission,
        Variance,
        Vignette,
        RoughZeroPoint,
        VarianceBudget,
    ]
