"""Camera files written by a few lines that share nothing with those that read them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import attrs

from isrcore import Amplifier, Box, Camera, Detector

RAW = '[raw.recognise]\nINSTRUME = "ANYCAM"\n'


def toml_of(camera: Camera, raw: str = RAW) -> str:
    """A camera as the text of a camera file, with a given part ``raw``."""
    lines = [f'name = "{camera.name}"', f'description = "{camera.description}"', raw]
    for detector in camera.detectors:
        lines += ["[[detectors]]", *_values(detector, Detector, "amplifiers")]
        for amp in detector.amplifiers:
            lines += [f'[detectors.amplifiers."{amp.name}"]', *_values(amp, Amplifier, "name")]
    return "\n".join(lines) + "\n"


def _values(item: Any, cls: Any, left_out: str) -> list[str]:
    found = {field.name: getattr(item, field.name) for field in attrs.fields(cls) if field.name != left_out}
    return [f"{name} = {_value(value)}" for name, value in found.items() if _is_told(value)]


def _is_told(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value)) and not (
        isinstance(value, Box) and not value.area
    )


def _value(value: Any) -> str:
    if isinstance(value, Box):
        return f'"{value.to_section()}"'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else repr(value)


def camera_file(folder: Path, text: str, name: str = "mycam.toml") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text)
    return path


#: A camera of one detector and two amplifiers, as a user would write it.
TWO = """
name = "twoamps"
description = "Two amplifiers, overscans in the middle"

[raw.recognise]
INSTRUME = "TWOAMPS"

[raw.hdus]
ccd = "primary"

[raw.visit]
exposure_id = { card = "OBSNUM" }
exposure_s = { card = "TTIME" }

[[raw.observation_types]]
type = "bias"
when = { IMAGETYP = ["bias", "zero"] }

[[raw.observation_types]]
type = "flat"
when = { IMAGETYP = "flat" }

[[raw.observation_types]]
type = "science"
when = { IMAGETYP = { like = "obj*" } }

[config]
doDark = false
doDefect = false

[config.overscan]
fitType = "MEDIAN"

[[detectors]]
name = "ccd"
id = 0

[detectors.amplifiers.A]
box = "[1:40,1:60]"
raw_box = "[1:50,1:60]"
raw_data_box = "[1:40,1:60]"
serial_overscan_box = "[41:50,1:60]"
gain = 1.5
read_noise = 4.0
saturation = 60000.0

[detectors.amplifiers.B]
box = "[41:80,1:60]"
raw_box = "[51:100,1:60]"
raw_data_box = "[61:100,1:60]"
serial_overscan_box = "[51:60,1:60]"
gain = 1.6
read_noise = 4.5
saturation = 60000.0
"""
