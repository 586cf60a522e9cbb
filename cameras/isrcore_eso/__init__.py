"""ESO NTT/EFOSC2 imaging: one output, overscan in rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from isrcore import (
    Camera,
    Defects,
    Exposure,
    RawSource,
    hookimpl,
    pointing_cards,
    read_sections,
    visit_cards,
    wcs_cards,
    write_sections,
)
from isrcore_eso.visit import translate_visit

CAMERA = Camera.from_toml(files(__package__) / "efosc2.toml")


@hookimpl
def isr_cameras() -> list[Camera]:
    """EFOSC2, 2x2 binned."""
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    """The one image of an EFOSC file. Raises RawError when it is not binned 2x2, or windowed."""
    if source.header.get("INSTRUME") != "EFOSC":
        return None
    return read_sections(CAMERA, source, detectors, visit=translate_visit)


def write_raw(path: Path, exposures: Iterable[Exposure]) -> None:
    """Write a raw EFOSC2 image with the cards that tell instrument and visit. Raises `FitsError`."""
    write_sections(
        path,
        exposures,
        primary=lambda one: {"INSTRUME": "EFOSC", **visit_cards(one.visit)},
        extension=lambda one: wcs_cards(one) or pointing_cards(one.detector, one.visit, 0.24),
    )


@hookimpl
def isr_raw_writer(camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
    """Files with INSTRUME 'EFOSC'; see `write_raw`."""
    return write_raw if camera.name == CAMERA.name else None


@hookimpl
def isr_curated_calibrations(camera: Camera) -> Mapping[str, Any]:
    """Two bad columns, the corners that get no light, and specks at the edge of the field."""
    if camera.name != CAMERA.name:
        return {}
    with as_file(files(__package__) / "efosc2_defects.txt") as path:
        return {"defects": {CAMERA.detectors[0].name: Defects.read(path)}}


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """Level and read noise from the overscan rows: there are no usable overscan columns, and no darks."""
    if camera.name != CAMERA.name:
        return
    config.doDark = False
    config.doEmpiricalReadNoise = True
    config.overscan.region = "parallel"
    config.overscan.fitType = "MEDIAN"
