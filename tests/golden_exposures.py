"""Golden cases as values of isrcore: amplifiers, exposures, tasks with chosen steps, and comparison."""

from __future__ import annotations

import functools

import attrs
import numpy as np

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    MaskPlanes,
    Registry,
    isr_config,
)

REGISTRY = Registry({"standard": isrcore_standard})
ASSEMBLED = frozenset({"assembled", "converted", "levels-known"})

BOXES = {
    "bbox": "box",
    "raw": "raw_box",
    "data": "raw_data_box",
    "hos": "serial_overscan_box",
    "vos": "parallel_overscan_box",
    "pre": "prescan_box",
}
VALUES = {
    "name": "name",
    "gain": "gain",
    "rn": "read_noise",
    "corner": "readout_corner",
    "flipx": "flip_x",
    "flipy": "flip_y",
}


def make_task(*flags, **settings):
    """A task with only the steps of ``flags`` on; ``overscan__isInt=False`` sets a value of a section."""
    config = isr_config(REGISTRY)()
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            setattr(config, spec.flag, spec.flag in flags)
    config.expectWcs = False
    for key, value in settings.items():
        *sections, name = key.split("__")
        setattr(functools.reduce(getattr, sections, config), name, value)
    return IsrTask(config, registry=REGISTRY)


def amplifier(params, **changes):
    """The amplifier a case describes."""
    boxes = {BOXES[key]: Box.from_corner(*params[key]) for key in BOXES if key in params}
    values = {VALUES[key]: params[key] for key in VALUES if key in params}
    return Amplifier(**{**boxes, **values, **changes})


def as_if_unturned(amp):
    """The amplifier with the corner that makes crosstalk turn raw data as the original does."""
    corner = amp.readout_corner
    upper, right = (corner[0] == "U") != amp.flip_y, (corner[1] == "R") != amp.flip_x
    return attrs.evolve(amp, readout_corner="LU"[upper] + "LR"[right])


def detector(amps):
    """A detector as large as its amplifiers."""
    shape, raw_shape = (
        (max(box.y1 for box in boxes), max(box.x1 for box in boxes))
        for boxes in ([amp.box for amp in amps], [amp.raw_box for amp in amps])
    )
    return Detector("golden", 0, shape, raw_shape, tuple(amps))


def pixels(entry, arrays, name):
    """A copy of the three planes of a masked image of a case."""
    planes = (arrays[f"{name}.{plane}"].copy() for plane in ("image", "mask", "variance"))
    return MaskedImage(*planes, MaskPlanes(entry["maskPlanes"]))


def exposure(entry, arrays, name, facts=ASSEMBLED, **values):
    """A masked image of a case as an exposure; of one amplifier unless a detector is given."""
    image = pixels(entry, arrays, name)
    owner = values.pop("detector", None) or Detector.of_shape(image.shape)
    return Exposure(image, owner, facts=facts, **values)


def assert_close(ours, theirs, rel=2e-6):
    """Equal within ``rel`` of the largest finite value."""
    finite = np.isfinite(theirs)
    atol = rel * float(np.abs(theirs, where=finite, out=np.zeros(theirs.shape)).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def assert_agrees(found, outputs, name="maskedImage"):
    """Masks equal, image and variance close."""
    np.testing.assert_array_equal(found.mask, outputs[f"{name}.mask"])
    assert_close(found.image, outputs[f"{name}.image"])
    assert_close(found.variance, outputs[f"{name}.variance"])
