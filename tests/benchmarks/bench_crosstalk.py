"""How long crosstalk of one CCD of 4612 x 2048 pixels takes, in copies of one float32 plane.

The frame has a sky, and 200 stars so bright that what they disturb is flagged. The detectors: four quadrants,
each read out at its own corner; MegaCam's halves; 16 amplifiers in two rows, with real coefficients (those
of MeerLICHT, of which half are zero). Included is the median of the frame, from which brightness counts;
"levels" also finds the median of every amplifier.

Run with ``python -m pytest tests/benchmarks/bench_crosstalk.py``; the last needs ISRCORE_TEST_DATA.
Every candidate is timed in turn with a copy right before it; the table gives medians and minima,
of the processor time of the calling thread.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import numpy as np
import pytest

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Amplifier,
    Box,
    Crosstalk,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Registry,
    Tiled,
    default_config,
)
from tests.benchmarks.copies import Copying, in_copies
from tests.golden import DATA

SHAPE = (4612, 2048)
COEFFICIENTS = DATA / "data/meerlicht_crosstalk_20180620.txt"
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 15
LIMITS = {"four quadrants": 20, "four quadrants, two threads": 20}


def grid(rows: int, columns: int) -> Detector:
    """Amplifiers of equal size, read out at the corner nearest to each."""
    height, width = SHAPE[0] // rows, SHAPE[1] // columns
    amplifiers = []
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        box = Box.from_corner(column * width, row * height, width, height)
        corner = "LU"[2 * row >= rows] + "LR"[2 * column >= columns]
        amplifiers.append(Amplifier(str(place), box, box, box, readout_corner=corner))
    return Detector("grid", 0, SHAPE, SHAPE, tuple(amplifiers))


def exposure_of(detector: Detector) -> Exposure:
    """Sky and bright stars, with variance, and a bad column."""
    rng = np.random.default_rng(2)
    image = rng.normal(1000, 30, SHAPE).astype(np.float32)
    for y, x in zip(rng.integers(0, 4600, 200), rng.integers(0, 2040, 200), strict=True):
        image[y : y + 6, x : x + 6] = 60000
    pixels = MaskedImage.from_image(image, variance=image / np.float32(1.6))
    pixels.mask[:, 700] = pixels.planes.value("BAD")
    return Exposure(pixels, detector, facts=frozenset({"assembled", "converted"}))


def every_pair(count: int) -> np.ndarray:
    """All amplifiers disturb all others."""
    return 1e-3 * (1 - np.eye(count))


def correction(detector: Detector, coefficients: Any, threads: int = 1, **settings: Any) -> Any:
    """The step, in place, on a fresh copy of a frame; making the copy is not counted."""
    config = default_config(REGISTRY)
    for name, value in settings.items():
        setattr(config.crosstalk, name, value)
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    template, step = exposure_of(detector), [task._step("crosstalk")]
    # A task widens the planes of the mask once.
    planes = template.planes.with_planes({"CROSSTALK"})
    template = attrs.evolve(template, pixels=template.pixels.with_planes(planes))
    return template.clone, partial(apply, task, step, coefficients)


def apply(task: IsrTask, step: list[Any], coefficients: Any, exposure: Exposure) -> None:
    task._apply(step, exposure, crosstalk=coefficients)


def real() -> Any:
    if not COEFFICIENTS.exists():
        pytest.skip(f"no coefficients at {COEFFICIENTS}; set ISRCORE_TEST_DATA")
    return correction(grid(2, 8), Crosstalk.read(COEFFICIENTS, columns="affected source coefficient"))


CANDIDATES: dict[str, Callable[[], Any]] = {
    "four quadrants": lambda: correction(grid(2, 2), every_pair(4)),
    "four quadrants, two threads": lambda: correction(grid(2, 2), every_pair(4), threads=2),
    "four quadrants, levels": lambda: correction(grid(2, 2), every_pair(4), crosstalkBackgroundMethod="AMP"),
    "MegaCam": lambda: correction(isrcore_cfht.CAMERA["ccd00"], every_pair(2)),
    "16 amplifiers, real": real,
}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float, float]] = {}
    yield rows
    print(f"\n{'candidate':30s}{'copies':>8s}{'least':>8s}{'limit':>8s}{'ms':>8s}")
    for name, (copies, least, milliseconds) in rows.items():
        print(f"{name:30s}{copies:8.1f}{least:8.1f}{LIMITS.get(name, ''):>8}{milliseconds:8.1f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_crosstalk(benchmark: Any, table: dict[str, tuple[float, float, float]], name: str) -> None:
    prepare, run = CANDIDATES[name]()
    run(prepare())
    found = in_copies(prepare, run, Copying(SHAPE), ROUNDS)
    benchmark.pedantic(run, setup=lambda: ((prepare(),), {}), rounds=3)
    table[name] = found.copies, found.least, found.milliseconds
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
