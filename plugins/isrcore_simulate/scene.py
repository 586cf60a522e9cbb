"""What the sky sends: background, stars and particles."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Detector, Hits, random_generator

Plane = npt.NDArray[np.float32]

# Light of a star, electron/s in one pixel, that is too faint to be drawn.
_FAINTEST = 0.003
_LARGEST_STAMP = 400


@attrs.frozen
class Stars:
    """Stars on one detector: centres ``y``, ``x`` (assembled pixels) and total ``rate`` in electron/s."""

    y: npt.NDArray[np.float64]
    x: npt.NDArray[np.float64]
    rate: npt.NDArray[np.float64]


@attrs.frozen
class Scene:
    """A field: a flat sky, stars whose number above a rate falls as a power of the rate, and particles.

    ``sky_rate`` in electron/s and pixel; ``star_density`` per million pixels; rates from ``faintest``
    (electron/s) upwards with N(> rate) ~ rate^-``slope``, at most ``brightest``. Star images are Moffat
    profiles of width ``fwhm`` (pixels) and exponent ``beta``; the larger, the closer to a Gaussian.
    ``particle_rate`` is the number of particles per million pixels and second.
    """

    sky_rate: float = 5.0
    star_density: float = 200.0
    faintest: float = 5.0
    brightest: float = 1e6
    slope: float = 0.7
    fwhm: float = 4.0
    beta: float = 3.0
    particle_rate: float = 0.0
    seed: int = 1

    def stars(self, detector: Detector) -> Stars:
        """The stars of a detector; small detectors get a few all the same, unless the density is 0."""
        rng, (ny, nx) = random_generator(self.seed, "stars", detector.name), detector.shape
        wanted = self.star_density * ny * nx / 1e6
        number = max(round(wanted), min(8, ny * nx // 500)) if wanted else 0
        rate = np.minimum(self.faintest * rng.random(number) ** (-1 / self.slope), self.brightest)
        return Stars(rng.uniform(0, ny, number), rng.uniform(0, nx, number), rate)

    def light(self, detector: Detector, seconds: float) -> Plane:
        """The light of an exposure, electron per pixel of average response, without noise."""
        light = np.full(detector.shape, self.sky_rate * seconds, np.float32)
        stars = self.stars(detector)
        for y, x, rate in zip(stars.y, stars.x, stars.rate, strict=True):
            self._add_star(light, float(y), float(x), float(rate), seconds)
        return light

    def _add_star(self, light: Plane, y: float, x: float, rate: float, seconds: float) -> None:
        """Add one star, out to where nothing of it can be seen."""
        core = self.fwhm / (2 * math.sqrt(2 ** (1 / self.beta) - 1))
        peak = rate * (self.beta - 1) / (math.pi * core**2)
        faintness = max(peak / _FAINTEST, 2.0) ** (1 / self.beta) - 1
        reach = min(math.ceil(core * math.sqrt(faintness)), _LARGEST_STAMP)
        rows = slice(max(int(y) - reach, 0), int(y) + reach + 1)
        columns = slice(max(int(x) - reach, 0), int(x) + reach + 1)
        part = light[rows, columns]
        down = (np.arange(rows.start, rows.start + part.shape[0]) - y) / core
        along = (np.arange(columns.start, columns.start + part.shape[1]) - x) / core
        part += (peak * seconds * (1 + down[:, None] ** 2 + along**2) ** -self.beta).astype(np.float32)

    def particles(self, detector: Detector, seconds: float, seed: tuple[int, ...]) -> Hits | None:
        """Straight tracks of charge, other ones for every seed; None when there are none."""
        rng, (ny, nx) = random_generator(seed, "particles", detector.name), detector.shape
        number = rng.poisson(self.particle_rate * seconds * ny * nx / 1e6)
        tracks = [np.array(list(_track(detector.shape, rng))).reshape(-1, 3) for _ in range(number)]
        if not tracks:
            return None
        y, x, electrons = np.concatenate(tracks).T
        return Hits(y.astype(np.intp), x.astype(np.intp), electrons)


def _track(shape: tuple[int, int], rng: np.random.Generator) -> Iterator[tuple[float, float, float]]:
    """Row, column and charge (electron) along one track, as far as it is on the detector."""
    y, x, angle = rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), rng.uniform(0, 2 * math.pi)
    charge = rng.lognormal(math.log(800), 0.6)
    for step in range(1 + int(rng.exponential(8))):
        row, column = math.floor(y + step * math.sin(angle)), math.floor(x + step * math.cos(angle))
        if 0 <= row < shape[0] and 0 <= column < shape[1]:
            yield row, column, charge
