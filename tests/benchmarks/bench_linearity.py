"""How long linearizing one MegaCam CCD takes, image and variance, in copies of one float32 plane.

The two amplifiers have curves of their own. The frame has sky of 3000 adu and, in every seventh row, pixels
from anywhere between 0 and 60000 adu; candidates called "wide" have such pixels everywhere, the worst that
tables can meet: they do not stay in the cache. The whole step is timed, plan and checks included, in place.

Run with ``python -m pytest tests/benchmarks/bench_linearity.py``. Every candidate is timed in turn with a
copy right before it; the table gives median and least of the ratios. Times are processor time, those of two
threads what a clock shows. Planes are 4612 x 2048. Other work on the machine takes the cache from tables,
which slows them more than copies: then the least is nearer to the truth.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import isrcore_cfht
import isrcore_standard
from isrcore import (
    Exposure,
    IsrTask,
    LinearityCurve,
    Linearizer,
    MaskedImage,
    Registry,
    Tiled,
    default_config,
)
from tests.benchmarks.copies import Copying, in_copies

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
SHAPE = DETECTOR.shape
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS, GOAL = 15, 8

NODES = np.linspace(0, 62000, 32)
TABLE = np.random.default_rng(5).normal(0, 1, (2, 65536)).cumsum(axis=1) * 0.05


def coefficients(kind: str, amplifier: int) -> tuple[float, ...]:
    """A curve that bends by some percent."""
    size = 1 + 0.1 * amplifier
    spline = *NODES, *(300 * size * np.sin(NODES / 15000))
    fine = *NODES, *(3 * size * np.cos(NODES / 700))
    return {
        "Squared": (-2e-7 * size,),
        "Polynomial": (-2e-7 * size, 2e-12 * size, -1e-17 * size),
        "LookupTable": (amplifier, 0.5),
        "Spline": spline,
        "DoubleSpline": (len(NODES), len(NODES), *spline, *fine),
    }[kind]


def linearizer(kind: str) -> Linearizer:
    """The same type for both amplifiers."""
    curves = {
        name: LinearityCurve(kind, coefficients(kind, number))
        for number, name in enumerate(DETECTOR.amplifier_names)
    }
    return Linearizer(curves, TABLE if kind == "LookupTable" else None)


def frame(is_wide: bool) -> Exposure:
    """An assembled frame with variance."""
    rng = np.random.default_rng(2)
    image = rng.normal(3000, 60, SHAPE).astype(np.float32)
    rows = slice(None, None, 1 if is_wide else 7)
    image[rows] = rng.uniform(0, 60000, image[rows].shape)
    pixels = MaskedImage.from_image(image, variance=np.full(SHAPE, 900, np.float32))
    return Exposure(pixels, DETECTOR, facts=frozenset({"assembled", "converted"}))


def step(kind: str, is_wide: bool = False, threads: int = 1, scales: bool = True) -> Any:
    """How to make a frame and how to linearize it; making the copy is not counted."""
    config = default_config(REGISTRY)
    config.linearity.scaleVariance = scales
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    template, given, chosen = frame(is_wide), linearizer(kind), [task._step("linearity")]
    return template.clone, lambda exposure: task._apply(chosen, exposure, linearizer=given)


CANDIDATES: dict[str, Callable[[], Any]] = {
    kind: partial(step, kind) for kind in ("Squared", "Polynomial", "LookupTable", "Spline", "DoubleSpline")
}
CANDIDATES |= {f"{kind}, wide": partial(step, kind, True) for kind in ("LookupTable", "Spline")}
CANDIDATES |= {f"{kind}, two threads": partial(step, kind, threads=2) for kind in ("LookupTable", "Spline")}
CANDIDATES |= {
    f"{kind}, image only": partial(step, kind, scales=False)
    for kind in ("Polynomial", "LookupTable", "Spline")
}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float, float]] = {}
    yield rows
    print(f"\n{'candidate':26s}{'copies':>8s}{'least':>8s}{'goal':>6s}{'ms':>8s}")
    for name, (copies, least, milliseconds) in rows.items():
        print(f"{name:26s}{copies:8.1f}{least:8.1f}{GOAL:6d}{milliseconds:8.1f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_linearity(benchmark: Any, table: dict[str, tuple[float, float, float]], name: str) -> None:
    prepare, run = CANDIDATES[name]()
    run(prepare())
    clock = time.perf_counter if "threads" in name else time.thread_time
    found = in_copies(prepare, run, Copying(SHAPE, clock), ROUNDS)
    benchmark.pedantic(run, setup=lambda: ((prepare(),), {}), rounds=3)
    table[name] = found.copies, found.least, found.milliseconds
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
