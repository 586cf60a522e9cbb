"""Master biases, darks and flats from raw frames: ``isr calibrate``."""

from isrcore_calib.combination import Combined, Frame, combine
from isrcore_calib.command import isr_commands
from isrcore_calib.correction import make_config
from isrcore_calib.master import MasterError, make_master

__all__ = [
    "Combined",
    "Frame",
    "MasterError",
    "combine",
    "isr_commands",
    "make_config",
    "make_master",
]
