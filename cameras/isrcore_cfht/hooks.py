"""What this plugin offers isrcore."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from isrcore import Camera, Exposure, RawSource, Step, hookimpl
from isrcore_cfht.camera import CAMERA
from isrcore_cfht.levels import MegaCamLevels
from isrcore_cfht.reading import is_megacam, read_raw


@hookimpl
def isr_cameras() -> list[Camera]:
    """MegaCam."""
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: Iterable[str | int] | None) -> Iterator[Exposure] | None:
    """Raw exposures of a MegaCam file, one per CCD; see `read_raw`."""
    return read_raw(source, detectors) if is_megacam(source) else None


@hookimpl
def isr_steps() -> list[type[Step]]:
    """Levels from header and pixels instead of the camera table."""
    return [MegaCamLevels]


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """Defaults for raw MegaCam frames: bias and flat stay on, with these changes.

    No dark: the observatory takes few of them (its registry has none after 2003), and the frames its own
    pipeline processed in later years name none. No defects unless they are given: raw headers name no mask
    (behaviour §7.2, §7.6). Overscan as a median per row, the model of that pipeline.
    """
    if camera.name == CAMERA.name:
        config.doDark = False
        config.doDefect = False
        config.overscan.fitType = "MEDIAN_PER_ROW"
