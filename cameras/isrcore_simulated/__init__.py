"""A small simulated camera: two detectors, flipped amplifiers, plain FITS files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from isrcore import (
    Camera,
    Exposure,
    RawSource,
    hookimpl,
    pointing_cards,
    read_sections,
    visit_cards,
    wcs_cards,
    write_sections,
)

CAMERA = Camera.from_toml(files(__package__) / "simulated.toml")


@hookimpl
def isr_cameras() -> list[Camera]:
    """The simulated camera."""
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    """Files with INSTRUME 'ISRSIM' and one image extension per detector, of the detector's name."""
    return read_sections(CAMERA, source, detectors) if source.header.get("INSTRUME") == "ISRSIM" else None


def write_raw(path: Path, exposures: Iterable[Exposure]) -> None:
    """Write raw exposures, an extension per detector, at 0.2 arcsec per pixel. Raises `FitsError`."""
    write_sections(
        path,
        exposures,
        primary=lambda one: {"INSTRUME": "ISRSIM", **visit_cards(one.visit)},
        extension=lambda one: wcs_cards(one) or pointing_cards(one.detector, one.visit, 0.2),
    )


@hookimpl
def isr_raw_writer(camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
    """Files with INSTRUME 'ISRSIM'; see `write_raw`."""
    return write_raw if camera.name == CAMERA.name else None


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """No defects: a simulated detector has those that a test gives it."""
    if camera.name == CAMERA.name:
        config.doDefect = False
