"""Raw frames as a camera would write them, from a known sky and instrument: ``isr simulate``."""

from isrcore_simulate.command import isr_commands
from isrcore_simulate.instrument import DetectorTruth, Instrument
from isrcore_simulate.night import Frame, Night, Shot, Simulator, simulate_night
from isrcore_simulate.scene import Scene, Stars

__all__ = [
    "DetectorTruth",
    "Frame",
    "Instrument",
    "Night",
    "Scene",
    "Shot",
    "Simulator",
    "Stars",
    "isr_commands",
    "simulate_night",
]
