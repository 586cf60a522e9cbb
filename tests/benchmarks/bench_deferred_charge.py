"""How long deferred charge of one MegaCam CCD takes, in copies of one float32 plane.

Sky, stars and a few saturated ones; registers that lose 0.5 % of a pixel's charge in 1056 transfers, with and
without traps. "An iteration" is the difference between runs of five and of two, over three.

Run with ``python -m pytest tests/benchmarks/bench_deferred_charge.py -o addopts="" -s``. Every candidate is
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
from isrcore import (
    DeferredCharge,
    Exposure,
    IsrTask,
    MaskedImage,
    Registry,
    SerialTransfer,
    Tiled,
    default_config,
)
from tests.benchmarks.copies import Copying, in_copies

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 7
GOAL = 100
ONLY_CTI = SerialTransfer(cti=5e-6)
TRAPS = SerialTransfer(cti=5e-6, trap_size=0.02, trap_emission=6.0, trap_well=1e5, trap_power=0.6)
CANDIDATES = {
    "loss alone": (ONLY_CTI, None, 1),
    "loss and traps": (TRAPS, None, 1),
    "loss and traps, two threads": (TRAPS, None, 2),
    "two iterations": (TRAPS, 2, 1),
    "five iterations": (TRAPS, 5, 1),
}


def frame() -> Exposure:
    """Sky and stars, in adu."""
    rng = np.random.default_rng(1)
    image = rng.normal(1000, 30, DETECTOR.shape).astype(np.float32)
    for y, x in zip(rng.integers(0, 4600, 3000), rng.integers(0, 2040, 3000), strict=True):
        image[y : y + 4, x : x + 4] += np.float32(min(rng.pareto(1.0) * 300, 60_000))
    facts = frozenset({"assembled", "converted", "levels-known"})
    return Exposure(MaskedImage.from_image(image), DETECTOR, facts=facts)


def candidate(transfer: SerialTransfer, iterations: int | None, threads: int) -> Callable[[Exposure], None]:
    """The step alone, in place; with ``iterations`` exactly so many."""
    config = default_config(REGISTRY)
    if iterations:
        config.deferredCharge.maxIter, config.deferredCharge.threshold = iterations, 1e-30
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    table = DeferredCharge(dict.fromkeys(DETECTOR.amplifier_names, transfer))
    step = task._step("deferredCharge")
    return lambda exposure: task._apply([step], exposure, deferredCharge=table)


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float]] = {}
    yield rows
    print(f"\n{'candidate':30s}{'copies':>8s}{'least':>8s}")
    for name, (copies, least) in rows.items():
        print(f"{name:30s}{copies:8.1f}{least:8.1f}")
    if {"two iterations", "five iterations"} <= rows.keys():
        each = (rows["five iterations"][1] - rows["two iterations"][1]) / 3
        print(f"{'an iteration':30s}{'':8s}{each:8.1f}  (goal {GOAL})")


@pytest.mark.parametrize("name", CANDIDATES)
def test_deferred_charge(benchmark: Any, table: dict[str, tuple[float, float]], name: str) -> None:
    template, run = frame(), candidate(*CANDIDATES[name])
    run(template.clone())
    found = in_copies(template.clone, run, Copying(DETECTOR.shape, time.perf_counter), ROUNDS)
    benchmark.pedantic(run, setup=lambda: ((template.clone(),), {}), rounds=1)
    table[name] = found.copies, found.least
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
