"""MegaCam at the Canada-France-Hawaii Telescope: geometry, filters, files, levels, masks and defaults.

Reading raw files needs the extra ``cfht``: ``pip install "isrcore[cfht]"``.
"""

from __future__ import annotations

from isrcore_cfht.camera import CAMERA
from isrcore_cfht.elixir import given_facts, master_kind
from isrcore_cfht.hooks import (
    applyOverrides,
    isr_cameras,
    isr_curated_calibrations,
    isr_raw_writer,
    isr_read_calibration,
    isr_read_raw,
    isr_steps,
)
from isrcore_cfht.levels import MegaCamLevels, MegaCamLevelsConfig, saturation_from_pile_up
from isrcore_cfht.masks import (
    MaskSets,
    MegaCamDefects,
    MegaCamDefectsConfig,
    defects_from_mask,
    enlarge,
    mask_set_of,
    mask_sets,
)
from isrcore_cfht.mosaic import find_amplifier, mosaic_section
from isrcore_cfht.reading import by_ccd, is_megacam, read_calibration, read_raw
from isrcore_cfht.splicing import SplicedSource, splice
from isrcore_cfht.task import CfhtIsrTask, MegaCamError
from isrcore_cfht.visit import read_visit

__all__ = [
    "CAMERA",
    "CfhtIsrTask",
    "MaskSets",
    "MegaCamDefects",
    "MegaCamDefectsConfig",
    "MegaCamError",
    "MegaCamLevels",
    "MegaCamLevelsConfig",
    "SplicedSource",
    "applyOverrides",
    "by_ccd",
    "defects_from_mask",
    "enlarge",
    "find_amplifier",
    "given_facts",
    "is_megacam",
    "isr_cameras",
    "isr_curated_calibrations",
    "isr_raw_writer",
    "isr_read_calibration",
    "isr_read_raw",
    "isr_steps",
    "mask_set_of",
    "mask_sets",
    "master_kind",
    "mosaic_section",
    "read_calibration",
    "read_raw",
    "read_visit",
    "saturation_from_pile_up",
    "splice",
]
