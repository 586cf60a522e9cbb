"""How long the pixel chain of one MegaCam CCD takes, against `np.copyto`, the touch-once floor and ccdproc.

The chain: conversion, saturation flags, overscan per row, assembly, bias, variance, defects, dark and flat,
with variance and mask of every calibration. Outputs are new arrays; the memory of products that are no longer
held is used again, except in the rows that say otherwise.

Run with ``python -m pytest tests/benchmarks/bench_pixel_chain.py``. Each candidate is timed in turn with
a copy of one float32 plane right before it, so that ratios stand even when the machine's speed drifts; the
table at the end gives medians of the ratios. Shapes: raw 4644 x 2112 uint16, planes 4612 x 2048.
"""

import resource
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import astropy.units as u
import ccdproc
import numpy as np
import pytest
from astropy.nddata import CCDData, StdDevUncertainty

import isrcore_cfht
import isrcore_standard
from isrcore import Box, Defects, Exposure, IsrTask, MaskedImage, Registry, Tiled, VisitInfo, default_config
from isrcore.kernels import reference
from isrcore.kernels.memory import PlanePool
from tests.benchmarks.copies import Copying, in_copies

DETECTOR = isrcore_cfht.CAMERA["ccd00"]
SHAPE, RAW_SHAPE = DETECTOR.shape, DETECTOR.raw_shape
ROUNDS = 15
PLANE_BYTES = 4 * SHAPE[0] * SHAPE[1]


def raw_frame(rng: np.random.Generator) -> Exposure:
    """Sky, overscan columns, and two hundred saturated stars."""
    raw = rng.normal(3000, 40, RAW_SHAPE).astype(np.uint16)
    for columns in (slice(0, 32), slice(2080, 2112)):
        raw[:, columns] = rng.normal(1000, 3, (RAW_SHAPE[0], 32))
    for y, x in zip(rng.integers(50, 4500, 200), rng.integers(100, 2000, 200), strict=True):
        raw[y : y + 6, x : x + 6] = 65535
    return Exposure(MaskedImage.from_raw(raw), DETECTOR, visit=VisitInfo(exposure_s=100.0, dark_s=100.0))


def master(rng: np.random.Generator, level: float, sigma: float, unit: str = "adu") -> Exposure:
    """A calibration with variance and a mask with bad pixels and a bad column."""
    image = rng.normal(level, sigma, SHAPE).astype(np.float32)
    mask = np.zeros(SHAPE, np.int32)
    mask[:, 77], mask[::97, ::89] = 1, 1
    pixels = MaskedImage.from_image(image, mask, np.full(SHAPE, 0.01, np.float32))
    visit, facts = VisitInfo(dark_s=1000.0), frozenset({"assembled"})
    return Exposure(pixels, DETECTOR, visit=visit, unit=unit, facts=facts)


@pytest.fixture(scope="module")
def night() -> tuple[Exposure, dict[str, Any]]:
    """A raw frame and all it needs."""
    rng = np.random.default_rng(1)
    columns = [Box(0, SHAPE[0], x, x + 1) for x in range(50, 2000, 97)]
    defects = Defects.from_iterable([*columns, Box(100, 120, 30, 60)])
    frames = {"bias": master(rng, 1, 0.5), "dark": master(rng, 3, 0.5), "flat": master(rng, 1, 0.01, "")}
    return raw_frame(rng), {**frames, "defects": defects}


def isr_task(executor: Any) -> IsrTask:
    """The chain: conversion, flags, per-row overscan, assembly, bias, variance, dark, flat, defects."""
    registry = Registry({"standard": isrcore_standard})
    config = default_config(registry)
    config.overscan.fitType = "MEDIAN_PER_ROW"
    config.doNanMasking = config.expectWcs = False
    return IsrTask(config, registry=registry, executor=executor)


def with_executor(executor: Any, raw: Exposure, inputs: dict[str, Any]) -> Callable[[], object]:
    """The documented task on an executor."""
    task = isr_task(executor)
    return lambda: task.run(raw, **inputs)


def with_system_memory(executor: Any, raw: Exposure, inputs: dict[str, Any]) -> Callable[[], object]:
    """The same with memory that the system makes anew for every product."""
    task = isr_task(executor)
    task._memory = PlanePool(limit=0)
    return lambda: task.run(raw, **inputs)


def touch_once(raw: Exposure, inputs: dict[str, Any]) -> Callable[[], object]:
    """The floor: read the raw frame and every plane of the calibrations once, write three new planes once."""
    frames = [inputs[kind] for kind in ("bias", "dark", "flat")]

    def touch() -> object:
        image, variance = np.empty(SHAPE, np.float32), np.empty(SHAPE, np.float32)
        mask = np.empty(SHAPE, np.int32)
        for start in range(0, SHAPE[0], 128):
            rows = slice(start, min(start + 128, SHAPE[0]))
            image[rows] = raw.image[rows, 32:2080]
            for frame in frames:
                image[rows] += frame.image[rows]
            np.add(frames[0].variance[rows], frames[1].variance[rows], out=variance[rows])
            variance[rows] += frames[2].variance[rows]
            np.bitwise_or(frames[0].mask[rows], frames[1].mask[rows], out=mask[rows])
            mask[rows] |= frames[2].mask[rows]
        return image, mask, variance

    return touch


def with_ccdproc(raw: Exposure, inputs: dict[str, Any]) -> Callable[[], object]:
    """The same chain in ccdproc, with uncertainty; per-row median overscan, amplifier by amplifier."""

    def as_ccd(frame: Exposure) -> CCDData:
        uncertainty = StdDevUncertainty(np.sqrt(frame.variance))
        return CCDData(frame.image, uncertainty=uncertainty, mask=frame.mask != 0, unit=frame.unit)

    bias, dark, flat = (as_ccd(inputs[kind]) for kind in ("bias", "dark", "flat"))
    bad = inputs["defects"].to_mask(SHAPE)

    def run() -> object:
        halves = []
        for amp in DETECTOR.amplifiers:
            half = CCDData(raw.image[amp.raw_box.slices], unit="adu")
            half.mask = half.data >= 62000
            overscan = amp.serial_overscan_box.relative_to(amp.raw_box)
            half = half[: SHAPE[0]]
            columns = half[:, overscan.x0 : overscan.x1]
            half = ccdproc.subtract_overscan(half, overscan=columns, overscan_axis=1, median=True)
            data = amp.raw_data_box.relative_to(amp.raw_box)
            half = ccdproc.trim_image(half[data.slices])
            noise = amp.read_noise * u.electron
            halves.append(ccdproc.create_deviation(half, gain=amp.gain * u.electron / u.adu, readnoise=noise))
        ccd = CCDData(
            np.hstack([h.data for h in halves]), unit="adu", mask=np.hstack([h.mask for h in halves])
        )
        ccd.uncertainty = StdDevUncertainty(np.hstack([h.uncertainty.array for h in halves]))
        ccd = ccdproc.subtract_bias(ccd, bias)
        ccd = ccdproc.subtract_dark(
            ccd, dark, dark_exposure=1000 * u.s, data_exposure=100 * u.s, exposure_unit=u.s, scale=True
        )
        ccd = ccdproc.flat_correct(ccd, flat, norm_value=1.0)
        ccd.mask = ccd.mask | bad
        return ccd

    return run


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float]] = {}
    yield rows
    print(f"\n{'candidate':24s}{'copies':>8s}{'ms':>8s}")
    for name, (copies, milliseconds) in rows.items():
        print(f"{name:24s}{copies:8.1f}{milliseconds:8.1f}")


CANDIDATES: dict[str, Callable[[Exposure, dict[str, Any]], Callable[[], object]]] = {
    "touch every plane once": touch_once,
    "tiled, one thread": partial(with_executor, Tiled()),
    "tiled, two threads": partial(with_executor, Tiled(threads=2)),
    "one thread, new memory": partial(with_system_memory, Tiled()),
    "two threads, new memory": partial(with_system_memory, Tiled(threads=2)),
    "reference": partial(with_executor, reference.execute),
    "ccdproc": with_ccdproc,
}


@pytest.mark.parametrize("name", CANDIDATES)
def test_pixel_chain(benchmark: Any, night: Any, table: dict[str, tuple[float, float]], name: str) -> None:
    run = CANDIDATES[name](*night)
    rounds = 5 if name == "ccdproc" else ROUNDS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run()
        found = in_copies(lambda: None, lambda _: run(), Copying(SHAPE, time.perf_counter), rounds)
        benchmark.pedantic(run, rounds=rounds)
    table[name] = found.copies, found.milliseconds
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]


def test_peak_memory(night: Any, capsys: Any) -> None:
    raw, inputs = night
    task = isr_task(Tiled())
    task.run(raw, **inputs)
    tracemalloc.start()
    task.run(raw, **inputs)
    peak = tracemalloc.get_traced_memory()[1] / PLANE_BYTES
    tracemalloc.stop()
    with capsys.disabled():
        rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"\npeak beyond raw and calibrations: {peak:.2f} planes (process {rss / 1024:.0f} MiB)")
    assert peak < 5
