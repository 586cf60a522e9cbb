"""Amplifiers, detectors and cameras: what contradicts itself is refused, all of it at once."""

from __future__ import annotations

import math
from pathlib import Path

import attrs
import pytest
from hypothesis import given

from isrcore import Amplifier, Box, Camera, CameraError, Detector
from isrcore.geometry import are_disjoint, do_tile
from isrcore.testing import strategies

TABLE = """
name = "mycam"
[detector]
shape = [2, 4]
raw_shape = [2, 6]
[detector.amplifiers.A]
box = "[1:4,1:2]"
raw_box = "[1:6,1:2]"
raw_data_box = "[1:4,1:2]"
serial_overscan_box = "[5:6,1:2]"
gain = 1.5
linearity_coeffs = [0.0, 1e-6]
[[detectors]]
name = "one"
id = 1
[[detectors]]
name = "two"
id = 2
[detectors.amplifiers.A]
gain = 2.5
"""


def amp_of(name: str = "A", **changes: object) -> Amplifier:
    whole = Box(0, 2, 0, 4)
    return attrs.evolve(Amplifier(name, whole, whole, whole), **changes)


def test_a_table_gives_a_camera_with_what_detectors_share(tmp_path: Path) -> None:
    path = tmp_path / "mycam.toml"
    path.write_text(TABLE)
    camera = Camera.from_toml(path)
    assert [detector.name for detector in camera.detectors] == ["one", "two"]
    assert [detector["A"].gain for detector in camera.detectors] == [1.5, 2.5]
    assert camera["two"] is camera[2]
    amp = camera[1]["A"]
    assert (amp.serial_overscan_box, amp.linearity_coeffs) == (Box(0, 2, 4, 6), (0.0, 1e-6))
    assert math.isnan(amp.saturation)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"[5:6,1:2]"', '"[5:7,1:2]"', "lies outside the raw section"),
        ('"[5:6,1:2]"', '"5:6"', "detector 'one': '5:6' is not a FITS section"),
        ("gain = 1.5", "gian = 1.5", "detector 'one'.*gian"),
        ("id = 2", "id = 1", "two detectors of one id"),
        ('"two"', '"one"', "two detectors of one name"),
    ],
)
def test_a_wrong_table_says_where_and_what(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = tmp_path / "mycam.toml"
    path.write_text(TABLE.replace(old, new))
    with pytest.raises(CameraError, match=fault):
        Camera.from_toml(path)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"raw_data_box": Box(0, 2, 0, 3)}, r"data section \[1:3,1:2\] and box \[1:4,1:2\] differ in size"),
        ({"prescan_box": Box(0, 2, 4, 5)}, r"section \[5:5,1:2\] lies outside the raw section"),
        ({"prescan_box": Box(0, 2, 0, 1)}, "data, overscan and prescan sections overlap"),
        ({"readout_corner": "lower"}, "'lower' is none of LL, LR, UL, UR"),
        ({"raw_box": Box(0, 3, 0, 4)}, "leaves the raw frame"),
        ({"box": Box(1, 3, 0, 4)}, "leaves the detector"),
    ],
)
def test_an_amplifier_that_contradicts_itself_is_refused(changes: dict[str, object], fault: str) -> None:
    with pytest.raises(CameraError, match=fault):
        Detector("ccd0", 0, (2, 4), (2, 4), (amp_of(**changes),))


def test_contradictions_between_amplifiers_are_reported_together() -> None:
    with pytest.raises(CameraError) as caught:
        Detector("ccd0", 0, (2, 4), (2, 4), (amp_of(), amp_of(readout_corner="?")))
    faults = (
        "'?' is none of",
        "names repeat",
        "overlap in the assembled",
        "raw sections of amplifiers overlap",
    )
    assert all(fault in str(caught.value) for fault in faults)


def test_what_is_not_there_is_named_with_what_is() -> None:
    detector = Detector.of_shape((2, 4))
    with pytest.raises(KeyError, match=r"no amplifier 'B'.*'0'"):
        detector["B"]
    with pytest.raises(KeyError, match="no detector 7; it has unnamed"):
        Camera("mycam", (detector,))[7]


def test_levels_of_amplifiers_are_replaced_in_a_new_detector() -> None:
    detector = Detector.of_shape((2, 4), gain=2.0)
    new = detector.with_amplifiers(**{"0": {"gain": 1.6}})
    assert (detector["0"].gain, new["0"].gain) == (2.0, 1.6)


@given(strategies.cameras())
def test_drawn_cameras_tile_their_detectors(camera: Camera) -> None:
    for detector in camera.detectors:
        assert do_tile([amp.box for amp in detector.amplifiers], Box.of_shape(detector.shape))
        assert are_disjoint(amp.raw_box for amp in detector.amplifiers)
        assert [gather.box for gather in detector.gathers()] == [amp.box for amp in detector.amplifiers]


FILTERS = """
[[filters]]
name = "r.X1"
short_name = "r"
band = "r"
wavelength_nm = 640.0
aliases = ["red"]
[[filters]]
name = "clear"
"""


def with_filters(table: str, path: Path) -> Camera:
    path.write_text(TABLE.replace("[detector]", "field_to_mm = [10.0, 0.5]\n[detector]", 1) + table)
    return Camera.from_toml(path)


def test_a_filter_is_found_by_any_of_its_names(tmp_path: Path) -> None:
    camera = with_filters(FILTERS, tmp_path / "mycam.toml")
    assert camera.field_to_mm == (10.0, 0.5)
    assert {camera.filter(name).name for name in ("r.X1", "r", "red", " red ")} == {"r.X1"}
    assert camera.filter("r").wavelength_nm == 640.0
    assert math.isnan(camera.filter("clear").wavelength_nm)
    with pytest.raises(KeyError, match=r"camera 'mycam' has no filter 'R'; it has r\.X1, clear"):
        camera.filter("R")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('name = "clear"', 'name = "red"', "two filters of one name: red"),
        ('name = "clear"', 'names = "clear"', r"filter '\?': .*unexpected keyword argument 'names'"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(tmp_path: Path, old: str, new: str, fault: str) -> None:
    with pytest.raises(CameraError, match=fault):
        with_filters(FILTERS.replace(old, new), tmp_path / "mycam.toml")
