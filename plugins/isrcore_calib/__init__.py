"""Master calibrations from raw frames: ``isr calibrate``."""

from isrcore_calib.combination import Combined, Frame, combine
from isrcore_calib.command import isr_commands
from isrcore_calib.comparison import ComparisonBounds, Finding, compare_defects, compare_masters
from isrcore_calib.correction import make_config
from isrcore_calib.faults import MasterError
from isrcore_calib.master import make_master
from isrcore_calib.rules import Rule

__all__ = [
    "Combined",
    "ComparisonBounds",
    "Finding",
    "Frame",
    "MasterError",
    "Rule",
    "combine",
    "compare_defects",
    "compare_masters",
    "isr_commands",
    "make_config",
    "make_master",
]
