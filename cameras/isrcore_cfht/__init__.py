"""MegaCam at the Canada-France-Hawaii Telescope: geometry, raw files, levels and defaults.

Reading raw files needs the extra ``cfht``: ``pip install "isrcore[cfht]"``.
"""

from __future__ import annotations

from isrcore_cfht.camera import CAMERA
from isrcore_cfht.hooks import applyOverrides, isr_cameras, isr_read_raw, isr_steps
from isrcore_cfht.levels import MegaCamLevels, MegaCamLevelsConfig, saturation_from_pile_up
from isrcore_cfht.reading import is_megacam, read_raw
from isrcore_cfht.visit import read_visit

__all__ = [
    "CAMERA",
    "MegaCamLevels",
    "MegaCamLevelsConfig",
    "applyOverrides",
    "is_megacam",
    "isr_cameras",
    "isr_read_raw",
    "isr_steps",
    "read_raw",
    "read_visit",
    "saturation_from_pile_up",
]
