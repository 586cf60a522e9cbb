"""What stays the same all night: response, bias structure, dark current and bad pixels of every detector."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from isrcore import Box, Camera, Defects, Detector, Exposure, MaskedImage, VisitInfo, random_generator

Plane = npt.NDArray[np.float32]

# Pixels of a detector for each speck of dust, hot pixel and bad column.
_PER_RING, _PER_HOT_PIXEL, _PER_COLUMN = 2_000_000, 50_000, 5_000_000
# A converter of 16 bits ends before pixels are full, as in real cameras: full pixels read its last number.
_FULL_WELL_ADU = 66_000


@attrs.frozen
class Instrument:
    """A camera with the structure that its corrections remove; one seed gives one instrument.

    ``dark_rate`` in electron/s; ``response_scatter`` from pixel to pixel; ``vignetting`` is the light lost at
    the corner of the focal plane that is furthest out, as a fraction; ``bias_scatter`` (adu) of the columns
    and half the ``bias_slope`` (adu) from the first to the last row; ``level`` and ``level_scatter`` (adu) of
    the amplifiers' pedestals.
    """

    camera: Camera
    seed: int = 1
    dark_rate: float = 0.001
    response_scatter: float = 0.01
    vignetting: float = 0.15
    bias_scatter: float = 1.5
    bias_slope: float = 6.0
    level: float = 1200.0
    level_scatter: float = 80.0

    def truth_of(self, detector: Detector) -> DetectorTruth:
        """What one detector is like, independent of the others."""
        flaws = _Flaws.draw(detector, self._generator(detector, "flaws"))
        flat = self._response(detector, flaws)
        # What comes out of an amplifier is seen in adu: a flat shows the gains too.
        flat /= gains_of(detector)
        scale = float(flat.mean(dtype=np.float64))
        flat /= np.float32(scale)
        return DetectorTruth(
            detector,
            self.camera.name,
            flat=flat,
            adu_per_electron=scale,
            bias=self._bias(detector),
            dark=self._dark(detector, flaws),
            levels=self._levels(detector),
            full_well=_FULL_WELL_ADU * max(amp.gain for amp in detector.amplifiers),
            defects=flaws.defects(),
        )

    def _generator(self, detector: Detector, purpose: str) -> np.random.Generator:
        return random_generator(self.seed, "instrument", detector.name, purpose)

    def _response(self, detector: Detector, flaws: _Flaws) -> Plane:
        """Response relative to the mean of all pixels; dead ones have 0."""
        rng = self._generator(detector, "flat")
        flat = rng.standard_normal(detector.shape, np.float32)
        flat *= np.float32(self.response_scatter)
        flat += np.float32(1)
        flat *= self._illumination(detector)
        for ring in _rings(detector, rng):
            ring.darken(flat)
        for box in flaws.dead:
            flat[box.slices] = 0
        flat /= flat.mean(dtype=np.float64).astype(np.float32)
        return flat

    def _illumination(self, detector: Detector) -> Plane:
        """1 - v·(r/r_max)², r the distance from the middle of the focal plane."""
        rows, columns = _squared_distance(detector)
        furthest = max(_furthest(other) for other in self.camera.detectors)
        share = self.vignetting / furthest if furthest else 0.0
        lit, lost = (1 - share * rows).astype(np.float32), (share * columns).astype(np.float32)
        return np.subtract(lit[:, None], lost, dtype=np.float32)

    def _bias(self, detector: Detector) -> Plane:
        """A level per column, and a slope along the rows."""
        rng, (ny, nx) = self._generator(detector, "bias"), detector.shape
        columns = rng.normal(0.0, self.bias_scatter, nx) + 2 * np.exp(-np.arange(nx) / 12)
        slope = self.bias_slope * (np.arange(ny) / ny - 0.5)
        bias: Plane = np.add(slope[:, None], columns, dtype=np.float32)
        return bias

    def _dark(self, detector: Detector, flaws: _Flaws) -> Plane:
        """Dark current, electron/s."""
        dark = np.full(detector.shape, self.dark_rate, np.float32)
        for box, rate in flaws.hot:
            dark[box.slices] += np.float32(rate)
        for box in flaws.dead:
            dark[box.slices] = 0
        return dark

    def _levels(self, detector: Detector) -> dict[str, float]:
        """Pedestals, adu."""
        rng = self._generator(detector, "levels")
        return {name: float(rng.normal(self.level, self.level_scatter)) for name in detector.amplifier_names}


@attrs.frozen(eq=False)
class DetectorTruth:
    """One detector as it is: assembled planes, float32.

    ``flat`` is what evenly lit pixels show in adu, relative to their mean, as a master flat is;
    ``adu_per_electron`` turns light, in electron per pixel of average response, into what a flat-fielded
    product shows. ``bias`` in adu, ``dark`` in electron/s, ``levels`` (adu) by amplifier name, ``full_well``
    in electron; ``defects`` are pixels that collect nothing or glow.
    """

    detector: Detector
    camera: str
    flat: Plane
    adu_per_electron: float
    bias: Plane
    dark: Plane
    levels: dict[str, float]
    full_well: float
    defects: Defects

    def calibrations(self, dark_s: float = 1.0) -> dict[str, Exposure]:
        """Perfect masters, by kind: bias, a dark of ``dark_s``, and flat. Their variance is zero."""
        per_adu = gains_of(self.detector)
        dark = np.divide(self.dark, per_adu)
        dark *= np.float32(dark_s)
        return {
            "bias": self._frame("bias", self.bias, VisitInfo(observation_type="bias")),
            "dark": self._frame("dark", dark, VisitInfo(dark_s=dark_s, observation_type="dark")),
            "flat": self._frame("flat", self.flat, VisitInfo(observation_type="flat"), unit=""),
        }

    def _frame(self, kind: str, image: Plane, visit: VisitInfo, **values: Any) -> Exposure:
        mask = np.broadcast_to(np.int32(0), image.shape)
        variance = np.broadcast_to(np.float32(0), image.shape)
        facts = frozenset({"assembled"})
        pixels = MaskedImage(image, mask, variance)
        return Exposure(
            pixels, self.detector, self.camera, visit, facts=facts, source=f"true {kind}", **values
        )


def gains_of(detector: Detector) -> Plane:
    """The gain (electron/adu) over every pixel, as one row where amplifiers lie side by side."""
    are_columns = all(amp.box.height == detector.shape[0] for amp in detector.amplifiers)
    gains = np.ones((1 if are_columns else detector.shape[0], detector.shape[1]), np.float32)
    for amp in detector.amplifiers:
        gains[slice(None) if are_columns else amp.box.slices[0], amp.box.slices[1]] = amp.gain
    return gains


@attrs.frozen
class _Flaws:
    """Boxes that collect nothing, and boxes that glow with their rates in electron/s."""

    dead: tuple[Box, ...]
    hot: tuple[tuple[Box, float], ...]

    @classmethod
    def draw(cls, detector: Detector, rng: np.random.Generator) -> _Flaws:
        """Bad columns up to the last row, and hot pixels."""
        area = detector.shape[0] * detector.shape[1]
        dead = [_column(detector, rng) for _ in range(1 + area // _PER_COLUMN)]
        hot = [(_column(detector, rng), float(rng.uniform(1.0, 5.0)))]
        for _ in range(2 + area // _PER_HOT_PIXEL):
            y, x = (int(rng.integers(side)) for side in detector.shape)
            hot.append((Box(y, y + 1, x, x + 1), float(10 ** rng.uniform(0.7, 2.3))))
        return cls(tuple(dead), tuple(hot))

    def defects(self) -> Defects:
        """All of them."""
        return Defects.from_iterable([*self.dead, *(box for box, _ in self.hot)])


def _column(detector: Detector, rng: np.random.Generator) -> Box:
    """A column from somewhere to the last row."""
    (ny, nx), x = detector.shape, int(rng.integers(detector.shape[1]))
    return Box(int(rng.uniform(0.1, 0.9) * ny), ny, x, min(x + 1, nx))


@attrs.frozen
class _Ring:
    """The shadow of a speck of dust out of focus."""

    y: float
    x: float
    radius: float
    depth: float

    def darken(self, flat: Plane) -> None:
        """Take light away, in place."""
        reach = 1.5 * self.radius
        rows = slice(max(int(self.y - reach), 0), max(int(self.y + reach) + 1, 0))
        columns = slice(max(int(self.x - reach), 0), max(int(self.x + reach) + 1, 0))
        part = flat[rows, columns]
        y, x = np.ogrid[
            rows.start : rows.start + part.shape[0], columns.start : columns.start + part.shape[1]
        ]
        distance = np.hypot(y - self.y, x - self.x) / self.radius
        part *= (1 - self.depth * np.exp(-(((distance - 1) / 0.15) ** 2))).astype(np.float32)


def _rings(detector: Detector, rng: np.random.Generator) -> Iterator[_Ring]:
    """A few rings, smaller than the detector."""
    ny, nx = detector.shape
    for _ in range(1 + ny * nx // _PER_RING):
        radius = min(float(rng.uniform(15, 60)), min(ny, nx) / 5)
        yield _Ring(
            float(rng.uniform(0, ny)), float(rng.uniform(0, nx)), radius, float(rng.uniform(0.01, 0.04))
        )


def _squared_distance(detector: Detector) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Squared distances (mm, pixels without a size) from the middle of the focal plane: of rows, of columns.

    The square of a turned and shifted vector has no mixed term, so the two add.
    """
    size, (ny, nx) = detector.pixel_size_mm or 1.0, detector.shape
    turn = math.radians(detector.yaw_deg)
    ox, oy = detector.offset_mm
    # The offset, turned back into the detector's axes.
    along_x, along_y = ox * math.cos(turn) + oy * math.sin(turn), oy * math.cos(turn) - ox * math.sin(turn)
    reference = detector.reference_pixel if detector.pixel_size_mm else (nx / 2, ny / 2)
    columns = along_x + (np.arange(nx) - reference[0]) * size
    rows = along_y + (np.arange(ny) - reference[1]) * size
    return rows**2, columns**2


def _furthest(detector: Detector) -> float:
    """The largest squared distance on a detector."""
    rows, columns = _squared_distance(detector)
    return float(rows.max() + columns.max())
