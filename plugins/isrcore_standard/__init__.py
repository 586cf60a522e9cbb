"""The standard implementation of the vocabulary: one correction per file."""

from isrcore import Step, hookimpl
from isrcore_standard.amp_offset import AmpOffset, AmpOffsetMeasurement
from isrcore_standard.amplifier_mask import AmplifierMask
from isrcore_standard.assembly import Assembly
from isrcore_standard.background import Background, BackgroundMeasurement
from isrcore_standard.bad_regions import BadRegions, BadRegionsMeasurement
from isrcore_standard.bias import Bias
from isrcore_standard.conversion import Conversion
from isrcore_standard.cosmic_rays import CosmicRays, CosmicRaysMeasurement
from isrcore_standard.dark import Dark
from isrcore_standard.defect_flags import DefectFlags
from isrcore_standard.deferred_charge import DeferredChargeCorrection, DeferredChargeMeasurement
from isrcore_standard.edges import Edges
from isrcore_standard.flat import Flat
from isrcore_standard.gains import Gains
from isrcore_standard.interpolation import Interpolation
from isrcore_standard.levels import Levels
from isrcore_standard.nan_flags import NanFlags
from isrcore_standard.overscan import Overscan, OverscanMeasurement
from isrcore_standard.saturation import Saturation
from isrcore_standard.suspect import Suspect
from isrcore_standard.trails import SaturationTrails
from isrcore_standard.variance import Variance, VarianceMeasurement
from isrcore_standard.variance_budget import VarianceBudget, VarianceBudgetMeasurement

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
    "Conversion",
    "CosmicRays",
    "CosmicRaysMeasurement",
    "Dark",
    "DefectFlags",
    "DeferredChargeCorrection",
    "DeferredChargeMeasurement",
    "Edges",
    "Flat",
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
    "VarianceBudget",
    "VarianceBudgetMeasurement",
    "VarianceMeasurement",
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
        Conversion,
        CosmicRays,
        Dark,
        DefectFlags,
        DeferredChargeCorrection,
        Edges,
        Flat,
        Gains,
        Interpolation,
        Levels,
        NanFlags,
        Overscan,
        Saturation,
        SaturationTrails,
        Suspect,
        Variance,
        VarianceBudget,
    ]
