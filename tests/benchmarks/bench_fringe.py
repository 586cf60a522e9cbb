"""How long fringes of one MegaCam CCD take, in copies of one float32 plane.

The image has noise, fringes, and in some candidates 200 saturated stars, half of them with trails. 30,000
positions with boxes of 6 and 60 pixels unless the name says otherwise; one fringe frame; fluxes, solution and
subtraction. The golden README gives 5264 copies for the original.

Run with ``python -m pytest tests/benchmarks/bench_fringe.py``. Every candidate is timed in turn with copies
right before it; the table gives the lowest and the median ratio. Times are processor times of the calling
thread: with two threads those of its half, which is what both take where two cores are free. Planes are
4612 x 2048.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, Registry, Tiled, VisitInfo, default_config
from tests.benchmarks.copies import Copying, in_copies

SHAPE = (4612, 2048)
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 5
GOAL = 60


def fringes() -> np.ndarray:
    """A pattern of unit amplitude, some 100 pixels from crest to crest."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    pattern: np.ndarray = np.sin(y / 25 + 3 * np.sin(x / 170)) * np.cos(x / 90)
    return pattern.astype(np.float32)


def frame(image: np.ndarray, **values: Any) -> Exposure:
    pixels = MaskedImage.from_image(image, variance=np.full(SHAPE, 0.01, np.float32))
    facts = frozenset({"assembled", "converted", "levels-known"})
    return Exposure(pixels, Detector.of_shape(SHAPE), facts=facts, **values)


def science(has_stars: bool) -> Exposure:
    """A corrected frame."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(SHAPE, np.float32)
    made = frame(1000 + 30 * noise + 40 * fringes(), visit=VisitInfo(exposure_id=7, filter="i"))
    saturated = made.planes.value("SAT")
    for y, x in zip(rng.integers(50, 4500, 200), rng.integers(20, 2020, 200), strict=True):
        made.mask[y : y + 6, x : x + 6] |= saturated * has_stars
        if rng.random() < 0.5:
            made.mask[max(0, y - 400) : y + 400, x + 2 : x + 4] |= saturated * has_stars
    return made


def correction(
    threads: int = 1, has_stars: bool = False, num_frames: int = 1, **settings: Any
) -> tuple[Callable[[], Exposure], Callable[[Exposure], None]]:
    """What makes a fresh frame, which is not counted, and what corrects it in place."""
    config = default_config(REGISTRY)
    config.fringe.filters = ["i"]
    for name, value in settings.items():
        config.set(f"fringe.{name.replace('__', '.')}", value)
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    template, rng = science(has_stars), np.random.default_rng(2)
    patterns = [np.roll(fringes(), 40 * number) for number in range(num_frames)]
    frames = [
        frame(one + np.float32(0.02) * rng.standard_normal(SHAPE, np.float32), unit="") for one in patterns
    ]
    step = task._step("fringe")

    def run(exposure: Exposure) -> None:
        task._apply([step], exposure, fringes=frames)

    return template.clone, run


CANDIDATES: dict[str, Callable[[], Any]] = {
    "one frame": correction,
    "one frame, two threads": lambda: correction(threads=2),
    "saturated stars": lambda: correction(has_stars=True),
    "saturated stars, two threads": lambda: correction(threads=2, has_stars=True),
    "three frames": lambda: correction(num_frames=3),
    "with pedestal": lambda: correction(pedestal=True),
    "MegaCam's boxes, 2 and 100": lambda: correction(small=1, large=50),
    "100 positions: all but medians": lambda: correction(num=100),
}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float, float]] = {}
    yield rows
    print(f"\n{'candidate':32s}{'lowest':>8s}{'median':>8s}{'ms':>8s}   goal {GOAL}")
    for name, row in rows.items():
        print(f"{name:32s}" + "".join(f"{value:8.1f}" for value in row))


@pytest.mark.parametrize("name", CANDIDATES)
def test_fringe(benchmark: Any, table: dict[str, tuple[float, float, float]], name: str) -> None:
    prepare, run = CANDIDATES[name]()
    run(prepare())
    found = in_copies(prepare, run, Copying(SHAPE, times=9), ROUNDS)
    benchmark.pedantic(run, setup=lambda: ((prepare(),), {}), rounds=1)
    table[name] = found.least, found.copies, found.milliseconds
    benchmark.extra_info["copies of one float32 plane"] = table[name][1]
