"""A camera and its file are one; what a file's camera writes, it reads."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import attrs
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Registry, VisitInfo, load_camera_file
from isrcore.testing.strategies import cameras, raw_exposures
from tests.camera_texts import RAW, camera_file, toml_of

KINDS = """
[raw.visit]
exposure_id = { card = "RUNNO" }
exposure_s = { card = "MS", scale = 0.001 }
filter = { card = "WHEEL", ignore = ["none"] }
[[raw.observation_types]]
type = "bias"
when = { KIND = "dark", MS = 0 }
[[raw.observation_types]]
type = "dark"
when = { KIND = "dark" }
[[raw.observation_types]]
type = "arc"
when = { KIND = { like = "*lamp*" } }
[[raw.observation_types]]
type = "science"
when = { KIND = "object" }
"""


@given(cameras())
def test_a_camera_is_read_from_its_file_as_it_was(camera):
    with tempfile.TemporaryDirectory() as folder:
        read = load_camera_file(camera_file(Path(folder), toml_of(camera)))
    # Unknown levels are NaN, which equals nothing.
    assert repr(read.camera) == repr(camera)


@st.composite
def told_visits(draw: st.DrawFn) -> VisitInfo:
    """Visits that the cards of KINDS can tell."""
    kind = draw(st.sampled_from(["bias", "dark", "arc", "science"]))
    seconds = 0.0 if kind == "bias" else draw(st.integers(1, 600000)) / 1000
    number, filter = draw(st.integers(0, 10**6)), draw(st.sampled_from(["", "r", "Halpha"]))
    return VisitInfo(number, seconds, seconds, filter=filter, observation_type=kind)


def hdus_of(camera, draw):
    """The HDUs of the detectors: by name, by number or an amplifier each."""
    ways, number, lines = draw(st.sampled_from(["name", "number", "amplifiers"])), 1, []
    for detector in camera.detectors:
        if ways == "amplifiers":
            own = {amp.name: number + i for i, amp in enumerate(detector.amplifiers)}
            number += len(own)
            lines.append(f"{detector.name} = {{ " + ", ".join(f'"{a}" = {n}' for a, n in own.items()) + " }")
        elif ways == "number":
            lines.append(f"{detector.name} = {number}")
            number += draw(st.integers(1, 2))
    return ways, "[raw.hdus]\n" + "\n".join(lines)


# Writing a mosaic takes a quarter of a second.
@settings(max_examples=10)
@given(st.data())
def test_what_is_written_is_read(data):
    camera = data.draw(cameras())
    ways, hdus = hdus_of(camera, data.draw)
    if ways == "amplifiers":
        camera = attrs.evolve(camera, detectors=tuple(map(apart, camera.detectors)))
    text = toml_of(camera, RAW + hdus + KINDS)
    if ways == "amplifiers":
        text = own_sections(camera, text)
    visit = data.draw(told_visits())
    raws = [attrs.evolve(data.draw(raw_exposures(one)), visit=visit) for one in camera.detectors]
    with tempfile.TemporaryDirectory() as folder:
        registry = Registry({"standard": isrcore_standard}).with_camera_file(camera_file(Path(folder), text))
        path = Path(folder) / "a.fits"
        registry.write_raw(path, registry.cameras[camera.name], raws)
        read = list(registry.read_raw(path))
        listed = registry.list_raw(path)
    for one, raw in zip(read, raws, strict=True):
        assert repr(one.detector) == repr(raw.detector)
        assert np.array_equal(one.image, raw.image)
        for key in ("exposure_id", "filter", "observation_type"):
            assert getattr(one.visit, key) == getattr(visit, key)
        # Milliseconds and back: two roundings of float64.
        assert math.isclose(one.visit.exposure_s, visit.exposure_s, rel_tol=1e-15)
    assert listed.detectors == tuple(detector.name for detector in camera.detectors)


def apart(detector):
    """The detector with raw boxes side by side from the left, as HDUs of their own make it."""
    x0, amps = 0, []
    for amp in detector.amplifiers:
        dy, dx = -amp.raw_box.y0, x0 - amp.raw_box.x0
        names = ("raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")
        moved = {n: getattr(amp, n).shift(dy, dx) for n in names if getattr(amp, n).area}
        amps.append(attrs.evolve(amp, **moved))
        x0 += amp.raw_box.width
    height = max(amp.raw_box.height for amp in amps)
    return attrs.evolve(detector, amplifiers=tuple(amps), raw_shape=(height, x0))


def own_sections(camera, text):
    """The text with sections counted from each amplifier's own HDU, and no raw shapes."""
    parts = text.split("[[detectors]]\n")
    for number, detector in enumerate(camera.detectors, 1):
        part = parts[number].replace(f"raw_shape = {list(detector.raw_shape)}\n", "")
        tables = part.split("[detectors.amplifiers")
        for i, amp in enumerate(detector.amplifiers, 1):
            names = ("raw_box", "raw_data_box", "serial_overscan_box", "parallel_overscan_box", "prescan_box")
            for name in names:
                box = getattr(amp, name)
                own = box.shift(-amp.raw_box.y0, -amp.raw_box.x0) if box.area else box
                tables[i] = tables[i].replace(
                    f'\n{name} = "{box.to_section()}"', f'\n{name} = "{own.to_section()}"'
                )
        parts[number] = "[detectors.amplifiers".join(tables)
    return "[[detectors]]\n".join(parts)


def test_a_bias_is_a_dark_of_no_time():
    text = RAW + KINDS + '[[detectors]]\nname = "x"\nraw_shape = [8, 8]\n[detectors.amplifiers.a]\n'
    plugin = load_camera_file_of('name = "x"\n' + text + 'raw_data_box = "[1:8,1:8]"\n')
    from astropy.io.fits import Header

    kinds = [plugin.visit.kind(Header({"KIND": "Dark", "MS": ms})) for ms in (0, 5)]
    assert kinds == ["bias", "dark"]
    assert plugin.visit.kind(Header({"KIND": "Arc lamp on", "MS": 5})) == "arc"


def load_camera_file_of(text: str):
    with tempfile.TemporaryDirectory() as folder:
        return load_camera_file(camera_file(Path(folder), text))
