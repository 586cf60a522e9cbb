"""Flag pixels that particles have hit: L.A.Cosmic (van Dokkum 2001, PASP 113, 1420), by astroscrappy."""

from __future__ import annotations

import ctypes
import importlib.util
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import (
    Amplifier,
    Calibrations,
    Config,
    Exposure,
    FrameStatistics,
    Measurement,
    Quantity,
    Runs,
    Step,
    field,
    stepspecs,
)

# Medians over nine pixels of medians over five know nothing of so many pixels at borders: these are added.
_MARGIN = 7

Plane = npt.NDArray[np.float32]


class CosmicRaysConfig(Config):
    """The parameters of L.A.Cosmic, with astroscrappy's names and defaults."""

    sigclip: float = field(
        4.5, "A hit stands out of the noise by so many sigma, in the Laplacian image.", exclusive_minimum=0.0
    )
    sigfrac: float = field(
        0.3, "Neighbours of a hit need this fraction of sigclip only.", minimum=0.0, maximum=1.0
    )
    objlim: float = field(
        5.0, "A hit is sharper than a star by this factor; raise it where cores of stars are flagged.",
        minimum=0.0,
    )  # fmt: skip
    niter: int = field(4, "Iterations at most: each finds what the one before uncovered.", minimum=1)
    growSaturation: int = field(
        4, "Pixels so near saturated ones (Manhattan distance) are not judged: cut-off stars are sharp.",
        minimum=0,
    )  # fmt: skip
    sepmed: bool = field(True, "Medians of columns of medians of rows, which are several times as fast.")
    fsmode: str = field(
        "median", "What a star looks like: what medians leave, or (convolve) a Gaussian of psffwhm.",
        choices=("median", "convolve"),
    )  # fmt: skip
    psffwhm: float = field(
        2.5, "Full width at half maximum of stars in pixels, for fsmode convolve.", exclusive_minimum=0.0
    )


@attrs.frozen(eq=False)
class CosmicRaysMeasurement(Measurement):
    """How many pixels were flagged."""

    pixels: int


class CosmicRays(Step):
    """Flag CR; image and variance stay, and pixels flagged before are neither judged nor flagged."""

    spec = stepspecs.COSMIC_RAYS
    ConfigClass = CosmicRaysConfig
    quantities: ClassVar = (Quantity("pixels", "Pixels that were flagged.", kind=int),)

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """The library that does it must be there."""
        if importlib.util.find_spec("astroscrappy") is None:
            yield (
                "astroscrappy is not installed: pip install 'isrcore[cosmicray]', or set doCosmicRays = false"
            )

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Look at the whole frame at once: hits cross the borders of amplifiers."""
        image, variance = _leveled(exposure), _noise(exposure)
        bad = self._near_saturated(exposure) | (exposure.mask != 0)
        bad |= ~(np.isfinite(image) & np.isfinite(variance))
        hits = np.zeros(exposure.shape, bool) if bad.all() else self._detect(image, variance, bad)
        exposure.mask[hits] |= np.int32(exposure.planes.value("CR"))
        exposure.forget_statistics()
        found = CosmicRaysMeasurement(int(np.count_nonzero(hits)))
        exposure.measured = {**exposure.measured, self.spec.name: {exposure.detector.name: found}}
        self.metadata.set("pixels", found.pixels)

    def _near_saturated(self, exposure: Exposure) -> npt.NDArray[np.bool_]:
        """Pixels that saturated ones surround."""
        bits = exposure.planes.value(str(getattr(self.top_config(), "saturatedMaskName", "SAT")))
        near = exposure.mask & np.int32(bits)
        Runs.of(exposure.mask, bits, self.threads).flag_near(near, bits, self.config.growSaturation)
        flags: npt.NDArray[np.bool_] = near != 0
        return flags

    def _detect(self, image: Plane, variance: Plane, bad: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which pixels were hit. Borders are continued outwards, or nothing near them is judged well."""
        from astroscrappy import detect_cosmics

        usual = np.float32(np.median(variance[~bad]))
        np.copyto(image, np.float32(0), where=~np.isfinite(image))
        np.copyto(variance, usual, where=~(np.isfinite(variance) & (variance > 0)))
        planes = (np.pad(plane, _MARGIN, mode="edge") for plane in (image, bad, variance))
        padded, padded_bad, padded_variance = planes
        config = self.config
        with _few_threads(self.threads):
            found, _ = detect_cosmics(
                padded, padded_bad, None, padded_variance, satlevel=math.inf,
                sigclip=config.sigclip, sigfrac=config.sigfrac, objlim=config.objlim, niter=config.niter,
                sepmed=config.sepmed, fsmode=config.fsmode, psffwhm=config.psffwhm,
            )  # fmt: skip
        hits: npt.NDArray[np.bool_] = found[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN] & ~bad
        return hits


@contextmanager
def _few_threads(number: int) -> Iterator[None]:
    """Have astroscrappy use so many threads, where it was built to use several.

    On its own it takes all cores, and threads that wait for each other spin: many times as slow where other
    processes work on other detectors.
    """
    from astroscrappy.utils import median_utils

    library = ctypes.CDLL(median_utils.__file__)
    if not hasattr(library, "omp_set_num_threads"):
        yield
        return
    before = library.omp_get_max_threads()
    library.omp_set_num_threads(number)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)


def _leveled(exposure: Exposure) -> Plane:
    """The image without the level of every amplifier: a step between two is no edge of a hit.

    With the noise given, nothing in the method depends on level or unit.
    """
    image: Plane = exposure.image.copy()
    for amp in exposure.detector.amplifiers:
        level = FrameStatistics(exposure.pixels.window(amp.box), *exposure.planes).median
        image[amp.box.slices] -= np.float32(level if math.isfinite(level) else 0.0)
    return image


def _noise(exposure: Exposure) -> Plane:
    """The variances, or where nobody set them those of photons and read noise."""
    if "variance-set" in exposure.facts:
        return exposure.variance.copy()
    variance = np.empty(exposure.shape, np.float32)
    for amp in exposure.detector.amplifiers:
        variance[amp.box.slices] = _photon_noise(exposure, amp)
    return variance


def _photon_noise(exposure: Exposure, amp: Amplifier) -> Plane:
    """I/g + (R/g)², in the square of the image's unit."""
    gain = 1.0 if exposure.unit == "electron" else amp.gain
    light: Plane = exposure.image[amp.box.slices].astype(np.float32)
    variance: Plane = np.maximum(light, 0, out=light)
    variance /= np.float32(gain)
    variance += np.float32((amp.read_noise / gain) ** 2)
    return variance
