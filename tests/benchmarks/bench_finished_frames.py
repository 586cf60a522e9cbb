"""How long what looks at finished frames takes for one MegaCam CCD, in copies of one float32 plane.

Amplifier offsets and variance budget as steps of their own, on a frame with sky, stars and flags; the budget
also as part of a chain with bias, dark and flat, whose operations it follows. Cosmic rays are astroscrappy's
work, on one thread and two: thousands of copies.

Run with ``python -m pytest tests/benchmarks/bench_finished_frames.py -o addopts="" -s``. Every candidate is
timed in turn with a copy right before it; the table gives median and minimum of the ratios. Other work on the
machine makes both larger. Planes are 4612 x 2048.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, Registry, Tiled, VisitInfo, default_config
from tests.benchmarks.copies import Copying, in_copies

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
REGISTRY = Registry({"standard": isrcore_standard})
CHAIN = "conversion assembly overscan bias variance dark flat nanFlags"
ROUNDS = {"cosmic rays": 1, "cosmic rays, two threads": 1}


def frame(level: float, sigma: float, unit: str = "adu") -> Exposure:
    """An assembled frame with noise, variance and some flags; stars where it is bright."""
    rng = np.random.default_rng(1)
    image = rng.normal(level, sigma, DETECTOR.shape).astype(np.float32)
    if level > 100:
        for y, x in zip(rng.integers(0, 4600, 3000), rng.integers(0, 2040, 3000), strict=True):
            image[y : y + 4, x : x + 4] += np.float32(min(rng.pareto(1.0) * 300, 50_000))
    variance = np.full(DETECTOR.shape, sigma**2, np.float32)
    pixels = MaskedImage.from_image(image, variance=variance)
    pixels.mask[::97, ::89] = pixels.planes.value("BAD")
    facts = frozenset({"assembled", "converted", "levels-known", "variance-set"})
    return Exposure(pixels, DETECTOR, visit=VisitInfo(dark_s=100.0), unit=unit, facts=facts)


def alone(name: str, threads: int = 1) -> tuple[Callable[[], Exposure], Callable[[Exposure], object]]:
    """One step, in place, on a fresh copy of a frame; making the copy is not counted."""
    task = IsrTask(default_config(REGISTRY), registry=REGISTRY, executor=Tiled(threads=threads))
    template, step = frame(1000, 30), task._step(name)
    return template.clone, lambda exposure: task._apply([step], exposure)


def chain(steps: str) -> tuple[Callable[[], Exposure], Callable[[Exposure], object]]:
    """The chain from the raw frame."""
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            config.set(spec.flag, spec.name in steps.split())
    config.expectWcs = False
    task = IsrTask(config, registry=REGISTRY)
    raw = np.random.default_rng(3).normal(3000, 40, DETECTOR.raw_shape).astype(np.uint16)
    exposure = Exposure(MaskedImage.from_raw(raw), DETECTOR, visit=VisitInfo(dark_s=100.0))
    frames = {"bias": frame(1, 0.5), "dark": frame(3, 0.5), "flat": frame(1, 0.01, "")}
    return lambda: exposure, lambda one: task.run(one, **frames)


CANDIDATES: dict[str, Callable[[], Any]] = {
    "amplifier offsets": lambda: alone("ampOffset"),
    "variance budget": lambda: alone("varianceBudget"),
    "chain": lambda: chain(CHAIN),
    "chain and variance budget": lambda: chain(f"{CHAIN} varianceBudget"),
    "cosmic rays": lambda: alone("cosmicRays"),
    "cosmic rays, two threads": lambda: alone("cosmicRays", 2),
}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float]] = {}
    yield rows
    print(f"\n{'candidate':30s}{'copies':>8s}{'least':>8s}")
    for name, (copies, least) in rows.items():
        print(f"{name:30s}{copies:8.1f}{least:8.1f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_finished_frames(benchmark: Any, table: dict[str, tuple[float, float]], name: str) -> None:
    prepare, run = CANDIDATES[name]()
    found = in_copies(prepare, run, Copying(DETECTOR.shape, time.perf_counter), ROUNDS.get(name, 9))
    table[name] = found.copies, found.least
    benchmark.pedantic(run, setup=lambda: ((prepare(),), {}), rounds=1)
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
