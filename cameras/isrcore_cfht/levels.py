"""Gains, read noises and saturation of MegaCam, from the header and the raw pixels of each frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isrcore import LEVEL_QUANTITIES, Calibrations, Config, Exposure, Step, StepError, field, stepspecs

# Raw levels above this are the pile-up of saturated pixels; read noises above it are the placeholder 65535
# of early files, whose RDNOISE holds the noise of the whole CCD.
HIGH = 60000
_PILE_UP_BINS = 100
_REMEDY = (
    "put these cards into the header of the extension, or choose another implementation of 'levels', "
    "which takes the levels of the camera table"
)


class MegaCamLevelsConfig(Config):
    """How MegaCam's saturation level follows from the pile-up of saturated pixels."""

    safe: float = field(
        0.95,
        "Fraction of the pile-up level from which pixels count as saturated: the response bends before it.",
        exclusive_minimum=0.0,
        maximum=1.0,
    )


class MegaCamLevels(Step):
    """Take gain, read noise and saturation of both amplifiers from this frame, not from the camera table.

    Gain GAINA/GAINB in electron/adu; read noise RDNOISEA/RDNOISEB in electron, or RDNOISE where they hold
    the placeholder 65535; one saturation level for both: where raw pixels pile up, else SATURATE, in adu.
    Frames without overscan level, as Elixir makes them, have the SATURATE that Elixir scaled with them.
    """

    spec, camera, ConfigClass = stepspecs.LEVELS, "MegaCam", MegaCamLevelsConfig
    changes_pixels, quantities = False, LEVEL_QUANTITIES

    def problems(self, exposure: Exposure, calibrations: Calibrations) -> Iterator[str]:
        """Cards that the amplifiers need and the header does not give."""
        faults: list[str] = []
        for name in exposure.detector.amplifier_names:
            _amplifier_levels(exposure.header, name, faults)
        if faults:
            yield (
                f"{exposure.label}: header does not give the levels of the amplifiers\n    "
                + "\n    ".join([*dict.fromkeys(faults), _REMEDY])
            )

    def run(self, exposure: Exposure, calibrations: Calibrations) -> None:
        """Give the exposure a detector with these levels. Raises `StepError` listing unusable cards."""
        faults: list[str] = []
        names = exposure.detector.amplifier_names
        values = {name: _amplifier_levels(exposure.header, name, faults) for name in names}
        saturation = _saturation(exposure, self.config.safe, faults)
        if faults:
            cards = "\n  ".join([*dict.fromkeys(faults), _REMEDY])
            raise StepError(f"{exposure.label}: header does not give the levels of the amplifiers\n  {cards}")
        self.log.info("saturation of %s set to %g adu", exposure.label, saturation)
        changes = {name: {**levels, "saturation": saturation} for name, levels in values.items()}
        exposure.detector = exposure.detector.with_amplifiers(**changes)
        exposure.measured = {**exposure.measured, self.spec.name: exposure.detector.by_name()}


def saturation_from_pile_up(image: npt.NDArray[Any], safe: float) -> int | None:
    """Saturation in adu where the pixels of a raw frame pile up, None when no finite pixel is above 60000.

    ``safe`` times the left edge of the most populated of 100 equal bins from 60000 to the highest finite
    pixel plus one, rounded down; the lowest of equally populated bins. Edges and product are float32.
    """
    # Few pixels are that bright: one look at the frame, then only at those.
    bright = np.ravel(image)[np.flatnonzero(image >= HIGH)]
    bright = bright[np.isfinite(bright)]
    if not bright.size or bright.max() <= HIGH:
        return None
    top = np.float32(bright.max()) + np.float32(1)
    edges = np.linspace(np.float32(HIGH), top, _PILE_UP_BINS + 1, dtype=np.float32)
    counts, _ = np.histogram(bright, edges)
    return int(np.float32(safe) * edges[np.argmax(counts)])


def _saturation(exposure: Exposure, safe: float, faults: list[str]) -> float:
    """Saturation in adu, from the pile-up or the header."""
    is_raw = "overscan-subtracted" not in exposure.facts
    piled_up = saturation_from_pile_up(exposure.image, safe) if is_raw else None
    return _read(exposure.header, "SATURATE", faults) if piled_up is None else float(piled_up)


def _amplifier_levels(header: Mapping[str, Any], name: str, faults: list[str]) -> dict[str, float]:
    """Gain and read noise of one amplifier."""
    noise = _read(header, f"RDNOISE{name}", faults, zero_allowed=True)
    if noise > HIGH:
        noise = _read(header, "RDNOISE", faults, zero_allowed=True)
        if noise > HIGH:
            faults.append(f"RDNOISE is {noise:g}, a placeholder like RDNOISE{name}")
    return {"gain": _read(header, f"GAIN{name}", faults), "read_noise": noise}


def _read(header: Mapping[str, Any], key: str, faults: list[str], zero_allowed: bool = False) -> float:
    """The positive number of a card; NaN, with the reason in ``faults``, when it has none."""
    if key not in header:
        faults.append(f"{key} is missing")
        return math.nan
    try:
        value = float(header[key])
    except (TypeError, ValueError):
        value = math.nan
    if math.isfinite(value) and (value > 0 or (zero_allowed and value == 0)):
        return value
    faults.append(f"{key} is {header[key]!r}, it must be a {'finite' if zero_allowed else 'positive'} number")
    return math.nan
