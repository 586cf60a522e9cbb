"""A small simulated camera: two detectors, flipped amplifiers, plain FITS files."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from isrcore import Camera, Exposure, RawSource, hookimpl, read_sections

CAMERA = Camera.from_toml(files(__package__) / "simulated.toml")


@hookimpl
def isr_cameras() -> list[Camera]:
    """The simulated camera."""
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    """Files with INSTRUME 'ISRSIM' and one image extension per detector, of the detector's name."""
    return read_sections(CAMERA, source, detectors) if source.header.get("INSTRUME") == "ISRSIM" else None


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """No defects: a simulated detector has those that a test gives it."""
    if camera.name == CAMERA.name:
        config.doDefect = False
