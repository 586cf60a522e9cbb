"""A night of the simulated camera to practise on: raw files from a short forward model.

The model goes the way of the light: a scene in electrons, response, dark current, Poisson noise, then for
every amplifier gain, bias pattern, pedestal, read noise and a 16-bit converter. It knows nothing of the
corrections, so what they give back can be compared with what went in.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from astropy.io import fits

from isrcore import Amplifier, Camera, Detector

Plane = npt.NDArray[np.float64]

SKY_RATE = 8.0
"""Sky of the science frames, electron/s."""
DARK_RATE = 0.5
"""Dark current, electron/s."""
DEAD_COLUMN = 30
"""The column of the assembled first detector that collects nothing, counted from 0."""

_ADC_MAX = 65535
_STAR_SIGMA = 1.6
# Total rates in electron/s; the last overflows the converter in the first science frame already.
_STAR_RATES = (80.0, 200.0, 500.0, 1200.0, 60000.0)


@attrs.frozen
class Shot:
    """One file of the night: its name without ending, what it is of and how long it lasted (s)."""

    name: str
    kind: str
    exposure_s: float
    filter: str = ""


SHOTS = (
    *(Shot(f"bias{n}", "bias", 0.0) for n in range(1, 6)),
    *(Shot(f"dark{n}", "dark", 300.0) for n in range(1, 4)),
    *(Shot(f"flat{n}", "flat", 8.0, "r") for n in range(1, 6)),
    Shot("science1", "science", 60.0, "r"),
    Shot("science2", "science", 120.0, "r"),
)


@attrs.frozen(eq=False)
class Truth:
    """What one detector is like, pixel by assembled pixel.

    ``response`` is relative, ``bias`` in adu, ``stars`` in electron/s.
    """

    response: Plane
    bias: Plane
    stars: Plane


def write_night(camera: Camera, folder: Path, seed: int = 1) -> list[Path]:
    """Write five biases, three darks, five flats and two science frames; equal seeds give equal files.

    One file per shot with an extension per detector, as the camera writes them, and ``defects/`` with a table
    per detector. Raises FileExistsError rather than writing over a night.
    """
    paths = [folder / f"{shot.name}.fits" for shot in SHOTS]
    there = [path.name for path in paths if path.exists()]
    if there:
        raise FileExistsError(f"{folder} holds {', '.join(there)}; name a new folder, or remove them")
    folder.mkdir(parents=True, exist_ok=True)
    truths = {detector.name: make_truth(detector, seed) for detector in camera.detectors}
    for number, (shot, path) in enumerate(zip(SHOTS, paths, strict=True), start=1):
        hdus = [fits.PrimaryHDU(header=fits.Header(_cards(shot, number)))]
        for detector in camera.detectors:
            raw = expose(detector, truths[detector.name], shot, _generator(seed, number, detector.id))
            hdus.append(fits.ImageHDU(raw, fits.Header(_position(detector, shot))))
            # Not through name=, which would turn it into capitals.
            hdus[-1].header["EXTNAME"] = detector.name
        fits.HDUList(hdus).writeto(path)
    _write_defects(camera, folder / "defects")
    return paths


def make_truth(detector: Detector, seed: int) -> Truth:
    """Response, bias pattern and stars of a detector, from the seed of its night."""
    rng = _generator(seed, 0, detector.id)
    (ny, nx), (y, x) = detector.shape, np.indices(detector.shape)
    # Vignetting to 15 % in the corners, and pixels that differ by 1 %.
    distance = np.hypot((y - ny / 2) / ny, (x - nx / 2) / nx) / math.hypot(0.5, 0.5)
    response = (1 - 0.15 * distance**2) * rng.normal(1.0, 0.01, detector.shape)
    if detector.id == 0:
        response[:, DEAD_COLUMN] = 0.0
    bias = 6.0 * np.exp(-x / 12.0) + rng.normal(0.0, 1.5, nx)
    stars = np.zeros(detector.shape)
    for rate in _STAR_RATES:
        y0, x0 = rng.uniform(0.15, 0.85, 2) * detector.shape
        profile = np.exp(-((y - y0) ** 2 + (x - x0) ** 2) / (2 * _STAR_SIGMA**2))
        stars += rate * profile / (2 * math.pi * _STAR_SIGMA**2)
    return Truth(response, bias, stars)


def expose(detector: Detector, truth: Truth, shot: Shot, rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """The raw frame of one shot."""
    light = {"science": SKY_RATE + truth.stars, "flat": np.full(detector.shape, 2500.0)}
    mean = light.get(shot.kind, 0.0) * truth.response + DARK_RATE
    charge = rng.poisson(mean * shot.exposure_s).astype(np.float64)
    raw = np.zeros(detector.raw_shape)
    for number, amp in enumerate(detector.amplifiers):
        _read_out(amp, 1000.0 + 100.0 * number, charge, truth.bias, raw, rng)
    return np.clip(np.rint(raw), 0, _ADC_MAX).astype(np.uint16)


def _read_out(
    amp: Amplifier, pedestal: float, charge: Plane, bias: Plane, raw: Plane, rng: np.random.Generator
) -> None:
    """Write what one amplifier digitises into the raw frame: its data and the overscan around them."""
    ny, nx = amp.raw_box.shape
    drift = 4.0 * np.sin(2 * np.pi * np.arange(ny) / ny + rng.uniform(0, 2 * np.pi))
    noise = rng.normal(0.0, amp.read_noise / amp.gain, (ny, nx))
    raw[amp.raw_box.slices] = pedestal + drift[:, None] + noise
    turned = slice(None, None, -1 if amp.flip_y else 1), slice(None, None, -1 if amp.flip_x else 1)
    signal = charge[amp.box.slices] / amp.gain + bias[amp.box.slices]
    raw[amp.raw_data_box.slices] += signal[turned]


def _generator(*key: int) -> np.random.Generator:
    """Random numbers of their own for every detector of every frame."""
    return np.random.default_rng(key)


def _cards(shot: Shot, number: int) -> dict[str, Any]:
    """The primary header; one frame every five minutes."""
    hours, minutes = divmod(5 * number, 60)
    return {
        "INSTRUME": "ISRSIM",
        "EXPNUM": 100 + number,
        "OBSTYPE": shot.kind,
        "OBJECT": "practice field" if shot.kind == "science" else shot.kind,
        "EXPTIME": shot.exposure_s,
        "DARKTIME": shot.exposure_s,
        "FILTER": shot.filter,
        "DATE-OBS": f"2020-01-02T{hours:02}:{minutes:02}:00",
    }


def _position(detector: Detector, shot: Shot) -> dict[str, Any]:
    """The celestial coordinates of raw pixels, as the first amplifier reads them; none for calibrations."""
    if shot.kind != "science":
        return {}
    first = detector.amplifiers[0]
    x, y = detector.reference_pixel
    pixel_deg = 0.2 / 3600
    return {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CRVAL1": 150.0 - 0.1 * detector.id,
        "CRVAL2": 2.0,
        "CRPIX1": x - first.box.x0 + first.raw_data_box.x0 + 1,
        "CRPIX2": y - first.box.y0 + first.raw_data_box.y0 + 1,
        "CD1_1": -pixel_deg,
        "CD1_2": 0.0,
        "CD2_1": 0.0,
        "CD2_2": pixel_deg,
    }


def _write_defects(camera: Camera, folder: Path) -> None:
    """A table per detector: x0, y0, width and height of what is known to be bad."""
    folder.mkdir(exist_ok=True)
    for detector in camera.detectors:
        dead = f"{DEAD_COLUMN} 0 1 {detector.shape[0]}\n" if detector.id == 0 else ""
        (folder / f"{detector.name}.txt").write_text(f"# x0 y0 width height\n{dead}")


def summary(folder: Path) -> str:
    """What was written and what to do with it."""
    kinds = ("bias", "dark", "flat", "science")
    told = ", ".join(f"{sum(shot.kind == kind for shot in SHOTS)} {kind}" for kind in kinds)
    return f"""wrote {len(SHOTS)} raw files of the simulated camera to {folder}: {told}
and the known bad pixels of its detectors to {folder / "defects"}
next, make masters and correct the science frames:
  isr calibrate bias {folder}/bias*.fits -o masters
  isr calibrate dark {folder}/dark*.fits --bias masters -o masters
  isr calibrate flat {folder}/flat*.fits --bias masters --dark masters -o masters
  isr run {folder}/science*.fits --bias masters --dark masters --flat masters -o products"""
