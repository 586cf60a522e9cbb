"""Vignette and stray light need no further plane, whatever the size of the frame."""

from __future__ import annotations

import tracemalloc

import attrs
import numpy as np

from isrcore import Detector, VisitInfo
from tests.assembled import assembled
from tests.golden_exposures import make_task

SHAPE = (2200, 2000)
PLANE = SHAPE[0] * SHAPE[1] * 4
DETECTOR = attrs.evolve(Detector.of_shape(SHAPE), pixel_size_mm=0.01)


def peak(task, exposure, **inputs):
    """The most memory that a run took at a time, in planes of float32."""
    tracemalloc.start()
    try:
        task.run(exposure, **inputs)
        return tracemalloc.get_traced_memory()[1] / PLANE
    finally:
        tracemalloc.stop()


def exposed():
    rng = np.random.default_rng(1)
    image = rng.normal(100, 5, SHAPE).astype(np.float32)
    return assembled(DETECTOR, image, visit=VisitInfo(exposure_s=2.0, filter="r"))


def test_a_vignette_takes_rows_not_planes():
    exposure = exposed()
    bare = peak(make_task(edges__numPixels=1), exposure)
    assert peak(make_task("doVignette", vignette__radius=9.0), exposure) < bare + 0.1


def test_a_fit_of_stray_light_takes_a_sample():
    """Ten arrays of 2^18 numbers of eight bytes are a plane of this size and a fifth."""
    exposure, template = exposed(), assembled(DETECTOR, np.arange(SHAPE[1]) / 100)
    settings = {"strayLight__filters": ["r"]}
    by_time = peak(make_task("doStrayLight", **settings), exposure, strayLightData=template)
    task = make_task("doStrayLight", strayLight__scaling="fit", **settings)
    assert peak(task, exposure, strayLightData=template) < by_time + 1.2
