"""Remove the instrument signature from raw CCD frames of any camera.

Everything a user or a plugin needs is here; the modules behind it are not public.
"""

from isrcore import statistics, stepspecs
from isrcore.calibrations import CalibrationError, Calibrations
from isrcore.camera import Amplifier, Camera, CameraError, Detector
from isrcore.config import Config, ConfigError, field, section, subconfig
from isrcore.defects import Defects, DefectsError
from isrcore.exposure import Exposure, HistoryEntry, VisitInfo
from isrcore.fits import (
    FitsError,
    check_writable,
    read_config,
    read_exposure,
    read_extra,
    read_provenance,
    write_exposure,
)
from isrcore.geometry import Box, Gather, GeometryError, Section
from isrcore.hookspecs import hookimpl
from isrcore.image import MaskedImage, MaskPlaneError, MaskPlanes
from isrcore.isr import IsrConfig, IsrTask, default_config, isr_config
from isrcore.kernels.ops import (
    Affine,
    Divide,
    FlagAbove,
    FlagBoxes,
    FlagNonFinite,
    FlagNonPositiveVariance,
    NotInvertible,
    Op,
    Operand,
    OrMask,
    SetVariance,
    Subtract,
)
from isrcore.kernels.tiled import Tiled
from isrcore.plan import Plan, PlanError
from isrcore.raw import RawError, RawSource, read_sections, visit_from_header
from isrcore.registry import PluginInfo, Registry, RegistryError
from isrcore.step import AmpView, GatherStep, Measurement, PixelStep, Skip, Step, StepError
from isrcore.stepspecs import StepSpec
from isrcore.task import Metadata, Struct, Task, TaskError, timeMethod

__all__ = [
    "Affine",
    "AmpView",
    "Amplifier",
    "Box",
    "CalibrationError",
    "Calibrations",
    "Camera",
    "CameraError",
    "Config",
    "ConfigError",
    "Defects",
    "DefectsError",
    "Detector",
    "Divide",
    "Exposure",
    "FitsError",
    "FlagAbove",
    "FlagBoxes",
    "FlagNonFinite",
    "FlagNonPositiveVariance",
    "Gather",
    "GatherStep",
    "GeometryError",
    "HistoryEntry",
    "IsrConfig",
    "IsrTask",
    "MaskPlaneError",
    "MaskPlanes",
    "MaskedImage",
    "Measurement",
    "Metadata",
    "NotInvertible",
    "Op",
    "Operand",
    "OrMask",
    "PixelStep",
    "Plan",
    "PlanError",
    "PluginInfo",
    "RawError",
    "RawSource",
    "Registry",
    "RegistryError",
    "Section",
    "SetVariance",
    "Skip",
    "Step",
    "StepError",
    "StepSpec",
    "Struct",
    "Subtract",
    "Task",
    "TaskError",
    "Tiled",
    "VisitInfo",
    "check_writable",
    "default_config",
    "field",
    "hookimpl",
    "isr_config",
    "read_config",
    "read_exposure",
    "read_extra",
    "read_provenance",
    "read_sections",
    "section",
    "statistics",
    "stepspecs",
    "subconfig",
    "timeMethod",
    "visit_from_header",
    "write_exposure",
]
