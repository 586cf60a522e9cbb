"""How long bad pixels of one MegaCam CCD take, in copies of one float32 plane.

The frame has the bad pixels of a real mask (Elixir, 2004B, ccd00: 51,000 pixels, most of them in bad columns)
and 200 saturated stars, half of them with trails. The first rows are saturation trails and interpolation
alone, growth included, with and without a wide run at the border, which needs the level of the frame; the
last are the whole chain with bias, dark, flat and defects, and the same without what follows it.

Run with ``python -m pytest tests/benchmarks/bench_interpolation.py``; needs the data of ISRCORE_TEST_DATA.
Every candidate is timed in turn with a copy right before it; the table gives medians of the ratios. Planes
are 4612 x 2048.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from astropy.io import fits

import isrcore_cfht
import isrcore_standard
from isrcore import Box, Defects, Exposure, IsrTask, MaskedImage, Registry, Tiled, VisitInfo, default_config
from tests.benchmarks.copies import Copying, in_copies
from tests.golden import DATA

MASK = DATA / "data/megacam/masks/2004B.mask.0.36.01.fits.gz"
DETECTOR = isrcore_cfht.CAMERA["ccd00"]
SHAPE, RAW_SHAPE = DETECTOR.shape, DETECTOR.raw_shape
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 15
GOALS = {"bad pixels": 30, "bad pixels, two threads": 30, "whole run": 60, "whole run, two threads": 60}

pytestmark = pytest.mark.skipif(not MASK.exists(), reason=f"no mask at {MASK}; set ISRCORE_TEST_DATA")


def bad_pixels() -> npt.NDArray[np.bool_]:
    """The bad pixels of the trimmed CCD."""
    with fits.open(MASK) as hdus:
        return np.asarray(hdus["ccd00"].data[:4612, 32:2080] == 0)


def stars(rng: np.random.Generator) -> Iterator[Box]:
    """Saturated cores of 200 stars; half of them with a trail along the column."""
    for y, x in zip(rng.integers(50, 4500, 200), rng.integers(20, 2020, 200), strict=True):
        yield Box(y, y + 6, x, x + 6)
        if rng.random() < 0.5:
            length = int(rng.integers(50, 800))
            yield Box(max(0, y - length), min(SHAPE[0], y + length), x + 2, x + 4)


def corrected(has_wide_border: bool) -> Exposure:
    """A corrected frame with flags."""
    rng = np.random.default_rng(2)
    pixels = MaskedImage.from_image(rng.normal(1000, 30, SHAPE).astype(np.float32))
    pixels.variance[...] = 900
    pixels.mask[bad_pixels()] = pixels.planes.value("BAD")
    for box in stars(rng):
        pixels.mask[box.slices] |= pixels.planes.value("SAT")
    # Elixir's mask has two wide runs at borders already.
    pixels.mask[:, :8] = pixels.mask[:, -8:] = 0
    if has_wide_border:
        pixels.mask[1000:1100, :40] = pixels.planes.value("BAD")
    return Exposure(pixels, DETECTOR, facts=frozenset({"assembled", "converted"}))


def raw_frame() -> Exposure:
    """Sky, overscan columns and the stars."""
    rng = np.random.default_rng(3)
    raw = rng.normal(3000, 40, RAW_SHAPE).astype(np.uint16)
    for columns in (slice(0, 32), slice(2080, 2112)):
        raw[:, columns] = rng.normal(1000, 3, (RAW_SHAPE[0], 32))
    for box in stars(rng):
        raw[box.shift(0, 32).slices] = 65535
    return Exposure(MaskedImage.from_raw(raw), DETECTOR, visit=VisitInfo(exposure_s=100.0, dark_s=100.0))


def master(level: float, sigma: float, unit: str = "adu") -> Exposure:
    """A calibration with variance and a few bad pixels."""
    image = np.random.default_rng(4).normal(level, sigma, SHAPE).astype(np.float32)
    pixels = MaskedImage.from_image(image, variance=np.full(SHAPE, 0.01, np.float32))
    pixels.mask[::97, ::89] = pixels.planes.value("BAD")
    facts = frozenset({"assembled"})
    return Exposure(pixels, DETECTOR, visit=VisitInfo(dark_s=1000.0), unit=unit, facts=facts)


def task_with(steps: str | None, threads: int) -> IsrTask:
    """A task with these steps only; None for those that are on by default."""
    config = default_config(REGISTRY)
    for spec in REGISTRY.specs.values():
        if spec.flag is not None and steps is not None:
            setattr(config, spec.flag, spec.name in steps.split())
    config.overscan.fitType = "MEDIAN_PER_ROW"
    config.expectWcs = False
    return IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))


def bad_pixels_only(
    has_wide_border: bool, steps: str = "saturationTrails interpolation", threads: int = 1
) -> Any:
    """These steps, in place, on a fresh copy of a frame; making the copy is not counted."""
    template, task = corrected(has_wide_border), task_with(steps, threads)
    chosen = [task._step(name) for name in steps.split()]

    def prepare() -> Exposure:
        return template.clone()

    def run(exposure: Exposure) -> None:
        task._apply(chosen, exposure)

    return prepare, run


def whole_run(steps: str | None = None, threads: int = 1) -> Any:
    """The chain from the raw frame."""
    raw, task = raw_frame(), task_with(steps, threads)
    defects = Defects.from_mask(bad_pixels().astype(np.int32))
    frames = {"bias": master(1, 0.5), "dark": master(3, 0.5), "flat": master(1, 0.01, "")}
    return lambda: raw, lambda exposure: task.run(exposure, **frames, defects=defects)


CHAIN = "conversion saturation overscan assembly bias variance defects dark flat nanFlags"

CANDIDATES: dict[str, Callable[[], Any]] = {
    "bad pixels": lambda: bad_pixels_only(True),
    "bad pixels, two threads": lambda: bad_pixels_only(True, threads=2),
    "without a level": lambda: bad_pixels_only(False),
    "trails alone": lambda: bad_pixels_only(False, "saturationTrails"),
    "whole run": whole_run,
    "whole run, two threads": lambda: whole_run(threads=2),
    "whole run but bad pixels": lambda: whole_run(CHAIN),
}


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, tuple[float, float]]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, tuple[float, float]] = {}
    yield rows
    print(f"\n{'candidate':26s}{'copies':>8s}{'goal':>8s}{'ms':>8s}")
    for name, (copies, milliseconds) in rows.items():
        print(f"{name:26s}{copies:8.1f}{GOALS.get(name, ''):>8}{milliseconds:8.1f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_interpolation(benchmark: Any, table: dict[str, tuple[float, float]], name: str) -> None:
    prepare, run = CANDIDATES[name]()
    run(prepare())
    found = in_copies(prepare, run, Copying(SHAPE), ROUNDS)
    benchmark.pedantic(run, setup=lambda: ((prepare(),), {}), rounds=3)
    table[name] = found.copies, found.milliseconds
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
