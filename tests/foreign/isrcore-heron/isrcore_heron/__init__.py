"""Heron: one CCD whose two amplifiers read towards the middle; its files have cards of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import attrs
from astropy.io.fits import Header

from isrcore import (
    Camera,
    Exposure,
    RawSource,
    VisitInfo,
    hookimpl,
    read_sections,
    visit_cards,
    visit_from_header,
    write_sections,
)

CAMERA = Camera.from_toml(files(__package__) / "heron.toml")


@hookimpl
def isr_cameras() -> list[Camera]:
    """The camera."""
    return [CAMERA]


def read_visit(header: Header) -> VisitInfo:
    """The usual cards, but the filter is in GLASS; a card without a value says nothing."""
    glass = header.get("GLASS")
    return attrs.evolve(visit_from_header(header), filter=glass.strip() if isinstance(glass, str) else "")


@hookimpl
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    """Files of the instrument HERON-2."""
    is_ours = source.header.get("INSTRUME") == "HERON-2"
    return read_sections(CAMERA, source, detectors, visit=read_visit) if is_ours else None


def _cards(exposure: Exposure) -> dict[str, Any]:
    """The primary header of a file of ours; CCDTEMP where the exposure has it."""
    temperature = {"CCDTEMP": exposure.header["CCDTEMP"]} if "CCDTEMP" in exposure.header else {}
    usual = {name: value for name, value in visit_cards(exposure.visit).items() if name != "FILTER"}
    return {"INSTRUME": "HERON-2", "GLASS": exposure.visit.filter, **usual, **temperature}


def write_raw(path: Path, exposures: Iterable[Exposure]) -> None:
    """Write a file of ours."""
    write_sections(path, exposures, primary=_cards)


@hookimpl
def isr_raw_writer(camera: Camera) -> Callable[[Path, Iterable[Exposure]], None] | None:
    """See `write_raw`."""
    return write_raw if camera.name == CAMERA.name else None


@hookimpl
def applyOverrides(config: Any, camera: Camera) -> None:
    """The level drifts along rows and columns; nobody has listed defects."""
    if camera.name == CAMERA.name:
        config.overscan.fitType = "MEDIAN_PER_ROW"
        config.overscan.doParallel = True
        config.doDefect = False
