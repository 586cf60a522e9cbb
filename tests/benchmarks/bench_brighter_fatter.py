"""How long the brighter-fatter correction of one MegaCam CCD takes, in copies of one float32 plane.

The kernel has 17 x 17 pixels, the frame 2000 electron of sky, 1500 stars and some bad pixels. An iteration is
compared with one convolution of the frame by `scipy.fft`, all of it at once: it must take less than twice
that. The last rows are the whole step with dark, flat and flagged pixels, three iterations of it.

Run with ``python -m pytest tests/benchmarks/bench_brighter_fatter.py``. Every candidate is timed in turn with
copies right before it; the table gives medians of the ratios and, as other work on the machine only adds, the
smallest. Planes are 4612 x 2048.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import fft

import isrcore_standard
from isrcore import Box, Detector, Exposure, IsrTask, MaskedImage, Registry, Tiled, VisitInfo, isr_config
from isrcore_standard.charge_shifts import GRADIENTS, TRANSFERS, Rule, Sensor
from tests.benchmarks.copies import Copying, timed

SHAPE = (4612, 2048)
REGISTRY = Registry({"standard": isrcore_standard})
ROUNDS = 7
#: In convolutions by `scipy.fft`.
GOALS = {"one iteration": 2.0, "one iteration, flux": 2.0}

Y, X = np.mgrid[-8:9, -8:9]
KERNEL = -1e-7 * (np.hypot(Y, 1.2 * X) + 0.5) ** -2.5


def charge() -> Any:
    """Sky and stars, electron."""
    rng = np.random.default_rng(0)
    image = rng.poisson(2000, SHAPE).astype(np.float32)
    y, x = np.mgrid[-15:16, -15:16]
    star = np.exp(-(y**2 + x**2) / 8)
    for at_y, at_x in zip(rng.integers(15, 4596, 1500), rng.integers(15, 2032, 1500), strict=True):
        part = image[at_y - 15 : at_y + 16, at_x - 15 : at_x + 16]
        part += (10 ** rng.uniform(2, 5) * star).astype(np.float32)
    return np.minimum(image, 120000)


def exposure(image: Any, unit: str = "adu") -> Exposure:
    """A frame with variance and some flagged pixels."""
    pixels = MaskedImage.from_image(image, variance=np.full(SHAPE, 9.0, np.float32))
    pixels.mask[::97, ::89] = pixels.planes.value("BAD")
    facts = frozenset({"assembled", "converted", "levels-known"})
    return Exposure(pixels, Detector.of_shape(SHAPE), visit=VisitInfo(dark_s=100.0), unit=unit, facts=facts)


def convolution(threads: int = 1) -> Callable[[], object]:
    """The frame at once, by Fourier transforms in float32."""
    image, kernel = charge(), KERNEL.astype(np.float32)
    size = tuple(fft.next_fast_len(n + 16, True) for n in SHAPE)

    def run() -> object:
        spectrum = fft.rfft2(image, size, workers=threads)
        spectrum *= fft.rfft2(kernel, size, workers=threads)
        return fft.irfft2(spectrum, size, workers=threads)[8:4620, 8:2056]

    return run


def iterations(rule: Rule, count: int, threads: int = 1) -> Callable[[], object]:
    """Some iterations of a form of the correction."""
    sensor, image = Sensor(SHAPE, ((Box.of_shape(SHAPE), KERNEL),), rule), charge()
    return lambda: sensor.correct(image, count, 0.0, threads)


def whole_step(is_conserving: bool, threads: int = 1) -> Callable[[], object]:
    """The step with dark, flat and flagged pixels, in place, three iterations."""
    config = isr_config(REGISTRY)()
    config.brighterFatter.maxIter, config.brighterFatter.threshold = 3, 0.0
    config.brighterFatter.fluxConserving = is_conserving
    task = IsrTask(config, registry=REGISTRY, executor=Tiled(threads=threads))
    rng, science = np.random.default_rng(1), exposure(charge())
    inputs = {
        "bfKernel": KERNEL,
        "dark": exposure(rng.normal(3, 0.5, SHAPE).astype(np.float32)),
        "flat": exposure(rng.normal(1, 0.01, SHAPE).astype(np.float32), ""),
    }
    step = task._step("brighterFatter")

    def run() -> None:
        science.facts -= {"brighter-fatter-corrected"}
        task._apply([step], science, **inputs)

    return run


#: What is timed, and how many iterations that are one after the other it makes.
CANDIDATES: dict[str, tuple[Callable[[], Callable[[], object]], ...]] = {
    "convolution": (convolution,),
    "one iteration": (lambda: iterations(GRADIENTS, 3), lambda: iterations(GRADIENTS, 1)),
    "one iteration, flux": (lambda: iterations(TRANSFERS, 3), lambda: iterations(TRANSFERS, 1)),
    "first iteration": (lambda: iterations(GRADIENTS, 1),),
    "first iteration, flux": (lambda: iterations(TRANSFERS, 1),),
    "step": (lambda: whole_step(False),),
    "step, two threads": (lambda: whole_step(False, 2),),
    "step, flux": (lambda: whole_step(True),),
}


Row = tuple[float, float, float]


@pytest.fixture(scope="module")
def table() -> Iterator[dict[str, Row]]:
    """Rows that the benchmarks fill in, printed at the end."""
    rows: dict[str, Row] = {}
    yield rows
    one = rows.get("convolution", (np.nan, np.nan, np.nan))
    print(f"\n{'candidate':26s}{'copies':>8s}{'least':>8s}{'convolutions':>14s}{'goal':>6s}{'ms':>8s}")
    for name, (copies, least, milliseconds) in rows.items():
        ratio, goal = copies / one[0], GOALS.get(name, "")
        print(f"{name:26s}{copies:8.1f}{least:8.1f}{ratio:14.2f}{goal:>6}{milliseconds:8.0f}")


@pytest.mark.parametrize("name", CANDIDATES)
def test_brighter_fatter(benchmark: Any, table: dict[str, Row], name: str) -> None:
    """A second function says what of the first is no iteration of the two that count."""
    copying = Copying(SHAPE)
    runs = [make() for make in CANDIDATES[name]]
    ratios, seconds = [], []
    for run in runs:
        run()
    for _ in range(ROUNDS):
        copy = copying()
        spent = [timed(run) for run in runs]
        seconds.append(spent[0] if len(spent) == 1 else (spent[0] - spent[1]) / 2)
        ratios.append(seconds[-1] / copy)
    benchmark.pedantic(runs[0], rounds=1)
    table[name] = float(np.median(ratios)), float(np.min(ratios)), 1e3 * float(np.median(seconds))
    benchmark.extra_info["copies of one float32 plane"] = table[name][0]
