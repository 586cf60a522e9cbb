"""Law: the table that a camera writes of itself gives an equal camera."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_cfht
import isrcore_eso
import isrcore_simulated
from isrcore import Amplifier, Box, Camera, Detector, Filter
from isrcore.testing import strategies

#: Anything that may stand in a TOML text.
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
NUMBERS = st.floats(allow_nan=True) | st.integers(-5, 5).map(float)


@st.composite
def filters(draw: st.DrawFn) -> tuple[Filter, ...]:
    names = draw(st.lists(TEXTS.filter(bool), max_size=3, unique=True))
    return tuple(Filter(name, band=draw(TEXTS), wavelength_nm=draw(NUMBERS)) for name in names)


@st.composite
def described(draw: st.DrawFn) -> Camera:
    """Cameras with any text and any number; detectors may share amplifiers, wholly or in part."""
    camera = draw(strategies.cameras(name="x"))
    named = {amp.name: f"{amp.name}{draw(TEXTS)}" for one in camera.detectors for amp in one.amplifiers}
    detectors = [draw(renamed(detector, named)) for detector in camera.detectors]
    if draw(st.booleans()):
        first = detectors[0]
        detectors = [attrs.evolve(first, id=one.id, name=f"{one.id}") for one in detectors]
    return Camera(
        draw(TEXTS),
        tuple(detectors),
        draw(TEXTS),
        draw(filters()),
        tuple(draw(st.lists(NUMBERS, max_size=3))),
        draw(NUMBERS),
    )


@st.composite
def renamed(draw: st.DrawFn, detector: Detector, names: dict[str, str]) -> Detector:
    """The detector with other texts and numbers."""
    amplifiers = tuple(
        attrs.evolve(
            amp,
            name=names[amp.name],
            gain=draw(NUMBERS),
            saturation=draw(NUMBERS),
            linearity_type=draw(TEXTS),
            linearity_coeffs=tuple(draw(st.lists(NUMBERS, max_size=2))),
        )
        for amp in detector.amplifiers
    )
    return attrs.evolve(detector, amplifiers=amplifiers, serial=draw(TEXTS))


def again(camera: Camera) -> Camera:
    """The camera, by way of its table in a file."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "camera.toml"
        path.write_text(camera.to_toml(), encoding="utf-8", newline="")
        return Camera.from_toml(path)


@given(described())
def test_a_camera_comes_back_from_its_table(camera: Camera) -> None:
    # NaN is not equal to itself, its text is.
    assert repr(again(camera)) == repr(camera)


@pytest.mark.parametrize("plugin", [isrcore_cfht, isrcore_eso, isrcore_simulated])
def test_the_cameras_here_come_back(plugin: Any) -> None:
    assert repr(again(plugin.CAMERA)) == repr(plugin.CAMERA)


def test_a_plain_example_with_what_is_shared_said_once() -> None:
    box = Box(0, 2, 0, 4)
    one = Detector("one", 0, (2, 4), (2, 4), (Amplifier("A", box, box, box, gain=np.float64(1.5)),))
    other = attrs.evolve(one.with_amplifiers(A={"saturation": math.inf}), name="two", id=1)
    assert Camera("toy", (one, other), filters=(Filter("r.1", aliases=("red",)),)).to_toml() == (
        'name = "toy"\n\n'
        "[detector]\nshape = [2, 4]\nraw_shape = [2, 4]\n\n"
        "[detector.amplifiers.A]\n"
        'box = "[1:4,1:2]"\nraw_box = "[1:4,1:2]"\nraw_data_box = "[1:4,1:2]"\ngain = 1.5\n\n'
        '[[detectors]]\nname = "one"\nid = 0\n\n'
        '[[detectors]]\nname = "two"\nid = 1\n\n'
        "[detectors.amplifiers.A]\nsaturation = inf\n\n"
        '[[filters]]\nname = "r.1"\naliases = ["red"]\n'
    )
