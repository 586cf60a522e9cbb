"""A camera of two detectors of a few pixels, and its raw files, for tests that write many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy.io import fits

from isrcore import Amplifier, Box, Camera, Detector, Exposure, RawSource, Registry, hookimpl, read_sections

_BOX = Box.of_shape((4, 6))
NAMES = ("left", "right")
CAMERA = Camera(
    "small",
    tuple(
        Detector(name, number, (4, 6), (4, 6), (Amplifier("A", _BOX, _BOX, _BOX),))
        for number, name in enumerate(NAMES)
    ),
)


@hookimpl
def isr_cameras() -> list[Camera]:
    return [CAMERA]


@hookimpl
def isr_read_raw(source: RawSource, detectors: list[str] | None) -> Iterator[Exposure] | None:
    return read_sections(CAMERA, source, detectors) if source.header.get("INSTRUME") == "SMALL" else None


REGISTRY = Registry({"small": SimpleNamespace(isr_cameras=isr_cameras, isr_read_raw=isr_read_raw)})


def write_raw(
    path: Path, exposure: int = 1, value: int = 0, detectors: Sequence[str] = NAMES, **cards: object
) -> Path:
    """A raw file whose pixels all have one value."""
    told = {
        "INSTRUME": "SMALL",
        "EXPNUM": exposure,
        "OBSTYPE": "science",
        "EXPTIME": 10.0,
        "DATE-OBS": f"2022-01-{2 + exposure % 20:02}T01:00:00",
        "FILTER": "r",
        **cards,
    }
    primary = fits.PrimaryHDU(
        header=fits.Header([(key, value) for key, value in told.items() if value is not None])
    )
    images = [fits.ImageHDU(np.full((4, 6), value, np.uint16)) for _ in detectors]
    for image, name in zip(images, detectors, strict=True):
        image.header["EXTNAME"] = name
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([primary, *images]).writeto(path, overwrite=True)
    return path
