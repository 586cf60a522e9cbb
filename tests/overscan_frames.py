"""Frames for tests of the overscan: two layouts, tasks, offsets of the electronics."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from astropy.io.fits import Header

import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Registry,
    VisitInfo,
    default_config,
)
from tests.effects.overscan import add_offsets
from tests.forward_model import expose

REGISTRY = Registry({"standard": isrcore_standard})
OFF = ("doBias", "doDark", "doFlat", "doDefect", "doFringe", "expectWcs", "doInterpolate")


def task(**values: Any) -> IsrTask:
    """A task for raw frames without calibrations; ``fitType="POLY"`` sets a value of the overscan's section.

    Double underscores are dots: ``parallel__order=3``.
    """
    config = default_config(REGISTRY)
    for name in OFF:
        if name in config.names():
            config.set(name, False)
    for name, value in values.items():
        place = name.replace("__", ".")
        config.set(place if place in config.names() else f"overscan.{place}", value)
    return IsrTask(config, registry=REGISTRY)


# Two amplifiers, the second stored from the opposite corner, with overscan in columns and rows; another one
# on top that is read from its upper side.
LEFT = Amplifier(
    "A", Box(0, 60, 0, 30), Box(0, 66, 0, 46), Box(0, 60, 0, 30), Box(0, 60, 30, 46), Box(60, 66, 0, 30),
    gain=1.5, read_noise=4.5, readout_corner="LL",
)  # fmt: skip
RIGHT = Amplifier(
    "B", Box(0, 60, 30, 60), Box(0, 66, 46, 92), Box(0, 60, 62, 92), Box(0, 60, 46, 62), Box(60, 66, 62, 92),
    gain=2.0, read_noise=6.0, flip_y=True, flip_x=True, readout_corner="UR",
)  # fmt: skip
UPPER = Amplifier(
    "C", Box(60, 120, 0, 30), Box(66, 132, 0, 46), Box(72, 132, 0, 30), Box(72, 132, 30, 46),
    Box(66, 72, 0, 30), gain=1.5, read_noise=4.5, readout_corner="UL",
)  # fmt: skip
PAIR = Detector("pair", 0, (60, 60), (66, 92), (LEFT, RIGHT))
STACK = Detector("stack", 0, (120, 30), (132, 46), (LEFT, UPPER))


def raw(detector: Detector, image: Any, mask: Any = None) -> Exposure:
    """A raw frame of floats."""
    pixels = MaskedImage.from_image(np.ascontiguousarray(image, np.float32), mask)
    return Exposure(pixels, detector, visit=VisitInfo(1, 10.0, 10.0))


def data_of(exposure: Exposure, amp: Amplifier) -> Any:
    return exposure.image[amp.raw_data_box.slices].astype(float)


def overscanned(chain: IsrTask, exposure: Exposure) -> Exposure:
    """The frame after the correction of every amplifier, untrimmed."""
    done = exposure.clone()
    measured = {}
    for amp in exposure.detector.amplifiers:
        chain.overscanCorrection(done, amp)
        measured |= done.measured["overscan"]
    done.measured = {"overscan": measured}
    return done


def drift(detector: Detector, curve: Any) -> Any:
    """A raw frame without light whose rows have a level; ``curve`` is a function of places from -1 to 1."""
    rows = curve(np.linspace(-1, 1, detector.raw_shape[0]))
    return np.repeat(rows[:, None], detector.raw_shape[1], axis=1)


JUMPING = {"biasJump__enabled": True, "biasJump__keyword": "CCD", "biasJump__devices": ["jumper"]}


def layout(detector: Detector, level: float) -> dict[str, Any]:
    """The detector as the independent model describes it."""
    amplifiers = {
        amp.name: {
            "raw": attrs.astuple(amp.raw_box),
            "data": attrs.astuple(amp.raw_data_box),
            "box": attrs.astuple(amp.box),
            "gain": amp.gain,
            "read_noise": amp.read_noise,
            "level": level,
            "flip_y": amp.flip_y,
            "flip_x": amp.flip_x,
        }
        for amp in detector.amplifiers
    }
    return {"shape": detector.shape, "raw_shape": detector.raw_shape, "amplifiers": amplifiers}


def modelled(sky: Any, seed: int, **offsets: float) -> Exposure:
    """A frame of the independent model, with offsets of the electronics."""
    model = layout(PAIR, 1000.0)
    frame, _ = expose(model, sky, drift=15.0, seed=seed)
    shifted = add_offsets(frame.astype(np.float64), model["amplifiers"].values(), **offsets)
    return attrs.evolve(raw(PAIR, np.rint(shifted)), header=Header([("CCD", "jumper")]))


OFFSETS = {"jump": 60.0, "jump_row": 25, "column_drift": 40.0}
BOTH = {
    "fitType": "POLY",
    "order": 2,
    **JUMPING,
    "biasJump__location": 25,
    "doParallel": True,
    "parallel__fitType": "MEAN_PER_ROW",
}


GAIN = np.repeat([[1.5] * 30 + [2.0] * 30], 60, axis=0)
