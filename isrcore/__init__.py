"""Remove the instrument signature from raw CCD frames of any camera.

Everything a user or a plugin needs is here; the modules behind it are not public.
"""

from isrcore import focal_plane, statistics, stepspecs
from isrcore.brighter_fatter import BrighterFatterError, BrighterFatterKernel
from isrcore.calibrations import CalibrationChoice, CalibrationError, Calibrations
from isrcore.camera import Amplifier, Camera, CameraError, Detector, Filter
from isrcore.camera_files import CameraFile, FileCamera, camera_folder, load_camera_file
from isrcore.cmdline_task import CmdLineTask
from isrcore.config import Config, ConfigError, field, section, subconfig
from isrcore.crosstalk import Crosstalk, CrosstalkError, CrosstalkMatrix
from isrcore.data_repository import CalibrationSearch, DataRepository, RawFrame, RepositoryError
from isrcore.defects import Defects, DefectsError
from isrcore.deferred_charge import DeferredCharge, DeferredChargeError, SerialTransfer
from isrcore.exposure import Exposure, HistoryEntry, VisitInfo
from isrcore.filters import filter_names
from isrcore.fits import (
    FitsError,
    check_writable,
    read_config,
    read_exposure,
    read_extra,
    read_provenance,
    survey_exposure,
    write_exposure,
)
from isrcore.folder_repository import FolderRepository
from isrcore.frame_statistics import FrameStatistics
from isrcore.geometry import Box, Gather, GeometryError, Section
from isrcore.hookspecs import hookimpl
from isrcore.image import MaskedImage, MaskPlaneError, MaskPlanes
from isrcore.isr import IsrTask
from isrcore.isr_config import IsrConfig, default_config, isr_config
from isrcore.kernels.bands import map_bands, row_bands, usual_threads
from isrcore.kernels.ops import (
    Affine,
    Divide,
    FlagAbove,
    FlagBoxes,
    FlagNonFinite,
    FlagNonPositiveVariance,
    Lookup,
    NotInvertible,
    Op,
    Operand,
    OrMask,
    Piecewise,
    Polynomial,
    SetVariance,
    Subtract,
)
from isrcore.kernels.tables import LineTable, LookupTable
from isrcore.kernels.tiled import Tiled
from isrcore.ledger import Applied, apply_op
from isrcore.linearity import LinearityCurve, Linearizer, LinearizerError
from isrcore.mosaics import draw_focal_plane
from isrcore.paths import PathsError, expand_paths, sha256_of
from isrcore.pictures import Picture, PictureStyle, draw_exposure, write_png
from isrcore.plan import Plan, PlanError
from isrcore.qa import FlatnessConfig, IsrQaConfig
from isrcore.quantities import LEVEL_QUANTITIES, Quantity, make_catalog
from isrcore.raw import RawError, RawSource, read_sections
from isrcore.raw_listing import RawListing
from isrcore.raw_visits import visit_from_header
from isrcore.raw_writing import pointing_cards, visit_cards, wcs_cards, write_sections
from isrcore.registry import PluginInfo, Registry, RegistryError
from isrcore.repository import DatasetError, DatasetExistsError, Repository
from isrcore.retrieval import RetrievalError
from isrcore.runs import Runs, reading_order
from isrcore.simulation import (
    Hits,
    Readout,
    Simulated,
    Simulation,
    SimulationError,
    random_generator,
    simulate,
)
from isrcore.step import AmpView, GatherStep, Measurement, PixelStep, Skip, Step, StepError
from isrcore.stepspecs import StepSpec
from isrcore.task import Metadata, ResourceConfig, Struct, Task, TaskError, timeMethod
from isrcore.thumbnails import bin_image, make_thumbnail
from isrcore.transmission import SystemTransmission, TransmissionCurve, TransmissionError
from isrcore.window_median import median_bounds, median_of_windows
from isrcore.words import detector_keys, split_words
from isrcore.zero_point import ZeroPoint

__all__ = [
    "LEVEL_QUANTITIES",
    "Affine",
    "AmpView",
    "Amplifier",
    "Applied",
    "Box",
    "BrighterFatterError",
    "BrighterFatterKernel",
    "CalibrationChoice",
    "CalibrationError",
    "CalibrationSearch",
    "Calibrations",
    "Camera",
    "CameraError",
    "CameraFile",
    "CmdLineTask",
    "Config",
    "ConfigError",
    "Crosstalk",
    "CrosstalkError",
    "CrosstalkMatrix",
    "DataRepository",
    "DatasetError",
    "DatasetExistsError",
    "Defects",
    "DefectsError",
    "DeferredCharge",
    "DeferredChargeError",
    "Detector",
    "Divide",
    "Exposure",
    "FileCamera",
    "Filter",
    "FitsError",
    "FlagAbove",
    "FlagBoxes",
    "FlagNonFinite",
    "FlagNonPositiveVariance",
    "FlatnessConfig",
    "FolderRepository",
    "FrameStatistics",
    "Gather",
    "GatherStep",
    "GeometryError",
    "HistoryEntry",
    "Hits",
    "IsrConfig",
    "IsrQaConfig",
    "IsrTask",
    "LineTable",
    "LinearityCurve",
    "Linearizer",
    "LinearizerError",
    "Lookup",
    "LookupTable",
    "MaskPlaneError",
    "MaskPlanes",
    "MaskedImage",
    "Measurement",
    "Metadata",
    "NotInvertible",
    "Op",
    "Operand",
    "OrMask",
    "PathsError",
    "Picture",
    "PictureStyle",
    "Piecewise",
    "PixelStep",
    "Plan",
    "PlanError",
    "PluginInfo",
    "Polynomial",
    "Quantity",
    "RawError",
    "RawFrame",
    "RawListing",
    "RawSource",
    "Readout",
    "Registry",
    "RegistryError",
    "Repository",
    "RepositoryError",
    "ResourceConfig",
    "RetrievalError",
    "Runs",
    "Section",
    "SerialTransfer",
    "SetVariance",
    "Simulated",
    "Simulation",
    "SimulationError",
    "Skip",
    "Step",
    "StepError",
    "StepSpec",
    "Struct",
    "Subtract",
    "SystemTransmission",
    "Task",
    "TaskError",
    "Tiled",
    "TransmissionCurve",
    "TransmissionError",
    "VisitInfo",
    "ZeroPoint",
    "apply_op",
    "bin_image",
    "camera_folder",
    "check_writable",
    "default_config",
    "detector_keys",
    "draw_exposure",
    "draw_focal_plane",
    "expand_paths",
    "field",
    "filter_names",
    "focal_plane",
    "hookimpl",
    "isr_config",
    "load_camera_file",
    "make_catalog",
    "make_thumbnail",
    "map_bands",
    "median_bounds",
    "median_of_windows",
    "pointing_cards",
    "random_generator",
    "read_config",
    "read_exposure",
    "read_extra",
    "read_provenance",
    "read_sections",
    "reading_order",
    "row_bands",
    "section",
    "sha256_of",
    "simulate",
    "split_words",
    "statistics",
    "stepspecs",
    "subconfig",
    "survey_exposure",
    "timeMethod",
    "usual_threads",
    "visit_cards",
    "visit_from_header",
    "wcs_cards",
    "write_exposure",
    "write_png",
    "write_sections",
]
