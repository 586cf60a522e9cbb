"""What this plugin offers isrcore."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from isrcore import Camera, Exposure, RawSource, Step, hookimpl
from isrcore_cfht.camera import CAMERA
from isrcore_cfht.levels import MegaCamLevels
from isrcore_cfht.masks import MaskSets, MegaCamDefects
from isrcore_cfht.reading import is_megacam, read_calibration, read_raw
from isrcore_cfht.writing import write_raw


@hookimpl
def isr_cameras() -> list[Camera]:
    """MegaCam."""
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: Iterable[str | int] | None) -> Iterator[Exposure] | None:
    """Exposures of a MegaCam file, raw or processed by Elixir, one per CCD; see `read_raw`."""
    return read_raw(source, detectors) if is_megacam(source) else None


@hookimpl
def isr_raw_writer(camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
    """Raw files with an extension per CCD; see `write_raw`."""
    return write_raw if camera.name == CAMERA.name else None


@hookimpl
def isr_read_calibration(source: RawSource, kind: str, detector: str) -> Any | None:
    """Elixir's masks of bad pixels and its master frames; see `read_calibration`."""
    return read_calibration(source, kind, detector) if is_megacam(source) else None


@hookimpl
def isr_steps() -> list[type[Step]]:
    """Levels from header and pixels instead of the camera table; defects by the set the header names."""
    return [MegaCamLevels, MegaCamDefects]


@hookimpl
def isr_curated_calibrations(camera: Camera) -> Mapping[str, Any]:
    """Sets of bad pixels; each exposure finds its own by its header."""
    if camera.name != CAMERA.name:
        return {}
    return {"defects": {detector.name: MaskSets(detector.name) for detector in CAMERA.detectors}}


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """Defaults for raw and for processed MegaCam frames.

    Bias and flat stay on: processed frames had both, which their ``given`` facts say, so there they are
    skipped. No dark: the observatory takes few (its registry has none after 2003), and the frames its own
    pipeline processed in later years name none. Overscan as a median per row, the model of that pipeline. Its
    calibrations are raw-sized, so they are assembled (behaviour §7.2). No level is suspect.

    No fringes unless asked for: processed frames have had them removed. They show in i and z, whose frames
    are not flat-fielded and have a level; the boxes are those of behaviour §7.2.
    """
    if camera.name != CAMERA.name:
        return
    config.doDark = False
    config.doSuspect = False
    config.doAssembleIsrExposures = True
    config.overscan.fitType = "MEDIAN_PER_ROW"
    config.doFringe = False
    config.fringe.filters = ["i", "i2", "z"]
    config.fringe.pedestal = True
    config.fringe.afterFlat = False
    config.fringe.small, config.fringe.large = 1, 50
