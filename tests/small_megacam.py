"""A CCD of 8 x 12 pixels that is read out and described like one of MegaCam, and the documented task."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header
from astropy.time import Time

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Camera,
    Config,
    Detector,
    Exposure,
    MaskedImage,
    Registry,
    VisitInfo,
    default_config,
)
from isrcore_cfht import CfhtIsrTask

REGISTRY = Registry({"cfht": isrcore_cfht, "standard": isrcore_standard})

#: Every amplifier reads 8 x 6 pixels, and three columns of overscan on its side; the frame has a row more.
AMP_A = Amplifier(
    "A",
    box=Box(0, 8, 0, 6),
    raw_box=Box(0, 9, 0, 9),
    raw_data_box=Box(0, 8, 3, 9),
    serial_overscan_box=Box(0, 8, 0, 3),
    gain=1.6,
    read_noise=4.0,
    saturation=5000.0,
    suspect_level=4000.0,
)
AMP_B = attrs.evolve(
    AMP_A,
    name="B",
    box=Box(0, 8, 6, 12),
    raw_box=Box(0, 9, 9, 18),
    raw_data_box=Box(0, 8, 9, 15),
    serial_overscan_box=Box(0, 8, 15, 18),
)
CCD = Detector("small", 3, (8, 12), (9, 18), (AMP_A, AMP_B), reference_pixel=(0.0, 0.0), pixel_size_mm=0.01)
CAMERA = Camera("MegaCam", (CCD,))

CARDS = {"GAINA": 1.5, "GAINB": 2.0, "RDNOISEA": 3.0, "RDNOISEB": 65535, "RDNOISE": 5.0, "SATURATE": 59000}
VISIT = VisitInfo(7, 100.0, 20.0, Time("2010-01-02T03:04:05", scale="utc"), "r.MP9601")
ASSEMBLED = frozenset({"converted", "levels-known", "assembled"})


def config_of(**values: Any) -> Config:
    """The config of MegaCam with some values changed; ``flat__userScale`` is in a section."""
    config = default_config(REGISTRY, "MegaCam")
    config.set("expectWcs", False)
    for name, value in values.items():
        config.set(name.replace("__", "."), value)
    return config


def task_of(**values: Any) -> CfhtIsrTask:
    """The documented task with some values of its config changed."""
    return CfhtIsrTask(config_of(**values), registry=REGISTRY)


def raw(level: float = 1000.0, signal: float = 200.0, dtype: Any = np.uint16) -> Exposure:
    """A raw frame of ``level`` with ``signal`` above it in the data; A and B alike."""
    counts = np.full(CCD.raw_shape, level, dtype)
    for amp in CCD.amplifiers:
        counts[amp.raw_data_box.slices] += dtype(signal)
    pixels = MaskedImage.from_raw(counts) if dtype is np.uint16 else MaskedImage.from_image(counts)
    return Exposure(pixels, CCD, "MegaCam", VISIT, Header(list(CARDS.items())))


def raw_floats(level: float = 1000.0, signal: float = 200.0) -> Exposure:
    """`raw` with float pixels."""
    return raw(level, signal, np.float32)


def frame(value: float, variance: float = 0.0, unit: str = "adu", dark_s: float = math.nan) -> Exposure:
    """An assembled frame of one value, its header and visit those of `raw`."""
    planes = (np.full(CCD.shape, number, np.float32) for number in (value, variance))
    image, errors = planes
    pixels = MaskedImage.from_image(image, variance=errors)
    visit = attrs.evolve(VISIT, dark_s=dark_s)
    return Exposure(pixels, CCD, "MegaCam", visit, Header(list(CARDS.items())), unit=unit, facts=ASSEMBLED)


def places(exposure: Exposure, plane: str) -> list[list[int]]:
    """The pixels (y, x) with a flag."""
    found: list[list[int]] = np.argwhere(exposure.pixels.flagged(plane)).tolist()
    return found
