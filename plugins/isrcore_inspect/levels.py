"""Gain, read noise and saturation by the pixels, and by the cards that most headers have for them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from isrcore import Box
from isrcore_inspect.frames import Frame
from isrcore_inspect.geometry import CERTAIN, CHECK, CONTRADICTS, AmplifierFound, Finding
from isrcore_inspect.profiles import measure

# Cards and whether they hold one over the gain.
GAIN_CARDS = {
    "GAIN": False,
    "EGAIN": False,
    "CCDGAIN": False,
    "ESO DET OUT1 CONAD": False,
    "ESO DET OUT1 GAIN": True,
}
NOISE_CARDS = ("RDNOISE", "READNOIS", "RON", "ENOISE", "ESO DET OUT1 RON")
SATURATION_CARDS = ("SATURATE", "SATLEVEL", "SATUR")

# Headers that are further from the pixels than these parts are wrong.
_GAIN_AGREES, _NOISE_AGREES = 0.15, 0.25

# Counts of light below which the noise of a pixel says little of the gain.
_LEAST_LIGHT = 500.0


@attrs.frozen
class Level:
    """A level as the file is to have it: its number, the card of it if that is right, and why."""

    value: float
    card: str = ""
    is_inverse: bool = False
    verdict: str = CHECK
    why: str = ""


def number_in(headers: Sequence[Any], cards: Iterable[str]) -> tuple[str, float] | None:
    """The first of these cards that every header has with a positive number."""
    for card in cards:
        values = [header.get(card) for header in headers]
        if all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < math.inf for v in values):
            return card, float(values[0])
    return None


def find_gain(
    amp: AmplifierFound, frames: Sequence[tuple[Frame, Any]], is_alone: bool, findings: list[Finding]
) -> Level:
    """The gain in electron/adu: the card's unless the noise of flats says otherwise."""
    told = number_in([frame.header for frame, _ in frames], GAIN_CARDS)
    flats = [pixels for frame, pixels in frames if frame.kind == "flat"]
    measured = _gain_of(flats, amp) if math.isfinite(amp.pedestal) else math.nan
    label = f"gain of {amp.name}"
    if told is None:
        value = measured if math.isfinite(measured) else 1.0
        why = (
            "from the noise of flats" if math.isfinite(measured) else "unknown: give flats, or write it here"
        )
        findings.append(
            Finding(label, f"{value:.3g}, {why}" if math.isfinite(measured) else why, "no card", CHECK)
        )
        return Level(float(f"{value:.4g}"), why=f"electron/adu, {why}")
    card, number = told
    value = 1 / number if GAIN_CARDS[card] else number
    shown = f"{card} {number:g}"
    if not math.isfinite(measured):
        findings.append(Finding(label, "not measured: no flats", shown, CHECK))
    elif abs(measured / value - 1) > _GAIN_AGREES:
        findings.append(Finding(label, f"{measured:.3g} electron/adu from flats", shown, CONTRADICTS))
        return Level(float(f"{measured:.4g}"), why=f"electron/adu from flats; {shown} is wrong")
    else:
        findings.append(Finding(label, f"{measured:.3g} electron/adu from flats", shown, CERTAIN))
    verdict = CERTAIN if math.isfinite(measured) else CHECK
    if not is_alone:
        return Level(value, verdict=CHECK, why=f"{shown}, one card for several amplifiers")
    why = f"{shown}; flats give {measured:.3g}" if verdict == CERTAIN else f"{shown}; no flats to measure it"
    return Level(value, card, GAIN_CARDS[card], verdict, why)


def _gain_of(flats: Sequence[Any], amp: AmplifierFound) -> float:
    """Electron/adu by the noise of the difference of two flats, else that of one; NaN when there is none."""
    box = _middle(amp.data)
    bright = [flat for flat in flats if _LEAST_LIGHT < np.median(flat[box.slices]) - amp.pedestal < 60000]
    if not bright:
        return math.nan
    noise2 = np.square(amp.noise_adu)
    if len(bright) == 1:
        profile = measure(bright[0][box.slices])
        light, variance = profile.level - amp.pedestal, profile.noise**2 - noise2
    else:
        one, two = (flat[box.slices].astype(np.float64) for flat in bright[:2])
        scale = (np.median(one) - amp.pedestal) / (np.median(two) - amp.pedestal)
        profile = measure(one - scale * two)
        light = measure(one).level - amp.pedestal
        variance = profile.noise**2 / (1 + scale) - noise2 * (1 + scale**2) / (1 + scale)
    return float(np.median(light / np.maximum(variance, 1e-9)))


def _middle(box: Box) -> Box:
    """The middle third of a box."""
    y, x = box.height // 3, box.width // 3
    return Box(box.y0 + y, box.y1 - y, box.x0 + x, box.x1 - x)


def find_noise(
    amp: AmplifierFound,
    gain: float,
    frames: Sequence[tuple[Frame, Any]],
    is_alone: bool,
    findings: list[Finding],
) -> Level:
    """The read noise in electron: the card's unless biases or the overscan say otherwise."""
    told = number_in([frame.header for frame, _ in frames], NOISE_CARDS)
    biases = [pixels for frame, pixels in frames if frame.kind == "bias"]
    noise_adu, of = amp.noise_adu, "overscan"
    if biases:
        noise_adu = float(np.median(measure(biases[-1][_middle(amp.data).slices]).noise))
        of = "biases"
    measured, label = noise_adu * gain, f"read noise of {amp.name}"
    shown = f"{told[0]} {told[1]:g}" if told else "no card"
    if not math.isfinite(measured):
        findings.append(Finding(label, "not measured: no overscan, no bias", shown, CHECK))
        return Level(told[1] if told else 0.0, told[0] if told and is_alone else "", why=f"electron, {shown}")
    found = f"{noise_adu:.3g} adu in the {of}"
    if told and abs(measured / told[1] - 1) <= _NOISE_AGREES:
        findings.append(Finding(label, found, shown, CERTAIN))
        return Level(told[1], told[0] if is_alone else "", verdict=CERTAIN, why=f"{shown}; {found}")
    findings.append(Finding(label, found, shown, CONTRADICTS if told else CHECK))
    return Level(float(f"{measured:.3g}"), why=f"electron: {found}" + (f"; {shown} is wrong" if told else ""))


def find_saturation(frames: Sequence[tuple[Frame, Any]]) -> Level | None:
    """The saturation level in adu: that of the card, else the last number of the converter."""
    told = number_in([frame.header for frame, _ in frames], SATURATION_CARDS)
    if told:
        return Level(told[1], told[0], why=f"adu, {told[0]} {told[1]:g}")
    if frames[0][1].dtype == np.uint16:
        return Level(65535.0, why="adu, the last number of 16 bits; the response may bend before it")
    return None


@attrs.frozen
class Levels:
    """Gain, read noise and saturation of an amplifier."""

    gain: Level
    read_noise: Level
    saturation: Level | None


def find_levels(
    amp: AmplifierFound, frames: Sequence[tuple[Frame, Any]], is_alone: bool, findings: list[Finding]
) -> Levels:
    """The levels of an amplifier; ``is_alone`` when it has the HDU, and its cards, for itself."""
    gain = find_gain(amp, frames, is_alone, findings)
    noise = find_noise(amp, gain.value, frames, is_alone, findings)
    return Levels(gain, noise, find_saturation(frames))


def rows_of(findings: Iterable[Finding]) -> Iterator[tuple[str, ...]]:
    """Findings as rows of a table, without repetitions, what contradicts first."""
    order = {CONTRADICTS: 0, CHECK: 1, CERTAIN: 2}
    for one in sorted(dict.fromkeys(findings), key=lambda one: order[one.verdict]):
        yield one.verdict, one.what, one.found, one.header
