"""What the overscan correction of one MegaCam CCD costs, in copies of one float32 plane.

The cost is that of all the step does: reading and fitting the overscan, the subtraction in the pass over
memory that it shares with the steps around it, the variance of the level, and header and metadata with level
and noise. It is counted as the time of conversion, saturation, overscan, assembly and variance, less that of
the same without the overscan. The column "finding" is that of reading and fitting alone.

Run with ``python -m pytest tests/benchmarks/bench_overscan.py``. Every candidate is timed in turn with the
chain without it and a copy right before it, in processor time of the thread; the table gives median and least
of the differences in copies. Raw frames are 4644 x 2112 uint16, planes 4612 x 2048.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import isrcore_cfht
import isrcore_standard
from isrcore import Exposure, IsrTask, MaskedImage, Registry, VisitInfo, default_config
from tests.benchmarks.copies import Copying, timed

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
SHAPE, RAW_SHAPE = DETECTOR.shape, DETECTOR.raw_shape
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 25
GOAL = 10
CHAIN = frozenset({"conversion", "saturation", "assembly", "variance"})

CANDIDATES: dict[str, dict[str, Any]] = {
    "MEDIAN": {"fitType": "MEDIAN"},
    "MEDIAN_PER_ROW": {"fitType": "MEDIAN_PER_ROW"},
    "MEAN_PER_ROW": {"fitType": "MEAN_PER_ROW"},
    "POLY, degree 3": {"fitType": "POLY", "order": 3},
    "NATURAL_SPLINE, 20 bins": {"fitType": "NATURAL_SPLINE", "order": 20},
    "AKIMA_SPLINE, 20 bins": {"fitType": "AKIMA_SPLINE", "order": 20},
    "NATURAL_SPLINE, 100 bins": {"fitType": "NATURAL_SPLINE", "order": 100},
    "spline, then columns": {
        "fitType": "NATURAL_SPLINE",
        "order": 20,
        "doParallel": True,
        "parallel.fitType": "MEAN_PER_ROW",
    },
}


def raw_frame() -> Exposure:
    """Sky, overscan columns whose level drifts, and a few hits."""
    rng = np.random.default_rng(1)
    raw = rng.normal(3000, 40, RAW_SHAPE)
    drift = 20 * np.cos(np.arange(RAW_SHAPE[0]) / 1500)[:, None]
    for columns in (slice(0, 32), slice(2080, 2112)):
        raw[:, columns] = rng.normal(1000, 3, (RAW_SHAPE[0], 32)) + drift
        raw[rng.integers(0, RAW_SHAPE[0], 50), columns.start + rng.integers(0, 32, 50)] += 3000
    raw[4612:, 32:2080] = rng.normal(1000, 3, (32, 2048)) + drift[4612:]
    pixels = MaskedImage.from_raw(raw.astype(np.uint16))
    return Exposure(pixels, DETECTOR, visit=VisitInfo(exposure_s=100.0, dark_s=100.0))


def task_with(settings: dict[str, Any] | None) -> IsrTask:
    """The chain with these settings of the overscan, or without it."""
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None:
            setattr(
                config, spec.flag, spec.name in CHAIN or (spec.name == "overscan" and settings is not None)
            )
    for name, value in (settings or {}).items():
        config.set(f"overscan.{name}", value)
    config.expectWcs = False
    return IsrTask(config, registry=REGISTRY)


def measuring(task: IsrTask, raw: Exposure) -> float:
    """Seconds that a run spends on the levels of its amplifiers."""
    step, spent = task._step("overscan"), 0.0
    measure = step.measure

    def watched(view: Any) -> Any:
        nonlocal spent
        started = time.thread_time()
        found = measure(view)
        spent += time.thread_time() - started
        return found

    step.measure = watched
    task.run(raw)
    step.measure = measure
    return spent


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, ...]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, ...]] = {}
    yield rows
    print(f"\n{'':26s}{'copies':>8s}{'least':>8s}{'finding':>9s}{'goal':>6s}{'ms':>8s}{'copy, ms':>10s}")
    for name, (median, least, finding, milliseconds, copy) in rows.items():
        print(f"{name:26s}{median:8.1f}{least:8.1f}{finding:9.1f}{GOAL:6d}{milliseconds:8.1f}{copy:10.2f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_overscan(benchmark: Any, table: dict[str, tuple[float, ...]], name: str) -> None:
    copying, raw = Copying(SHAPE), raw_frame()
    plain, task = task_with(None), task_with(CANDIDATES[name])
    plain.run(raw)
    task.run(raw)
    rounds = []
    for _ in range(ROUNDS):
        copy = copying()
        seconds = timed(partial(task.run, raw)) - timed(partial(plain.run, raw))
        rounds.append((seconds / copy, measuring(task, raw) / copy, seconds, copy))
    benchmark.pedantic(task.run, args=(raw,), rounds=3)
    ratios, finding, seconds, copies = np.array(rounds).T
    medians = 1e3 * np.median(seconds), 1e3 * np.median(copies)
    table[name] = (
        float(np.median(ratios)),
        float(ratios.min()),
        float(np.median(finding)),
        *map(float, medians),
    )
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
