"""How long illumination, stray light and vignette of one MegaCam CCD take, in copies of one float32 plane.

Run with ``python -m pytest tests/benchmarks/bench_optics.py -s``. Every candidate is timed in turn with a
copy right before it; the table gives medians and minima of the ratios. Planes are 4612 x 2048. No limits:
these steps are rare, and what they cost is passes over memory (illumination, stray light by time) or nothing
to speak of (vignette). A run on an exposure somebody else holds copies its planes first: "nothing" is that.
"""

from __future__ import annotations

import time

import attrs
import numpy as np

import isrcore_cfht
from isrcore import VisitInfo
from tests.assembled import assembled
from tests.golden_exposures import make_task

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
ROUNDS = 7
CANDIDATES = {
    "nothing": ((), {}),
    "illumination": (("doIlluminationCorrection",), {"illumination__filters": ["r"]}),
    "stray light by time": (("doStrayLight",), {"strayLight__filters": ["r"]}),
    "stray light by fit": (
        ("doStrayLight",), {"strayLight__filters": ["r"], "strayLight__scaling": "fit"},
    ),
    "vignette": (
        ("doVignette",),
        {"vignette__radius": 130.0, "vignette__doWriteVignettePolygon": True, "edges__numPixels": 0},
    ),
}  # fmt: skip


def test_ratios_to_a_copy():
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 30, DETECTOR.shape).astype(np.float32)
    exposure = assembled(DETECTOR, image, 900.0, visit=VisitInfo(exposure_s=10.0, filter="r"))
    pattern = assembled(DETECTOR, 1 + np.arange(DETECTOR.shape[1]) / 1e4)
    inputs = {"illumMaskedImage": attrs.evolve(pattern, unit=""), "strayLightData": pattern}
    tasks = {name: make_task(*flags, **settings) for name, (flags, settings) in CANDIDATES.items()}
    ratios: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            ratios[name].append(seconds(lambda task=task: task.run(exposure, **inputs)) / copy_time(image))
    for name, found in ratios.items():
        print(f"{name:22} median {np.median(found):6.1f}  minimum {min(found):6.1f} copies")


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def copy_time(image):
    target = np.empty_like(image)
    np.copyto(target, image)
    return seconds(lambda: np.copyto(target, image))
