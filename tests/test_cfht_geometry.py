"""MegaCam's table: what a raw frame is made of, for every CCD, and that it states the known facts."""

from __future__ import annotations

import json

import attrs
import pytest

from isrcore.geometry import Box, Section, are_disjoint, do_tile
from isrcore_cfht import CAMERA, find_amplifier, mosaic_section
from tests.golden import DATA

FACTS = DATA / "spec/data/megacam_geometry.json"
FILTERS = DATA / "spec/data/megacam_filters.json"

every_ccd = pytest.mark.parametrize("detector", CAMERA.detectors, ids=lambda detector: detector.name)


def test_camera_has_40_ccds_numbered_from_zero():
    assert CAMERA.name == "MegaCam"
    assert [(d.name, d.id) for d in CAMERA.detectors] == [(f"ccd{n:02d}", n) for n in range(40)]
    assert len({d.serial for d in CAMERA.detectors}) == 40


def test_the_four_later_ccds_are_at_the_ends_of_the_middle_rows():
    for name, neighbour, side in (
        ("ccd36", "ccd09", -1),
        ("ccd37", "ccd17", 1),
        ("ccd38", "ccd18", -1),
        ("ccd39", "ccd26", 1),
    ):
        later, inner = CAMERA[name], CAMERA[neighbour]
        assert later.yaw_deg == inner.yaw_deg
        assert later.offset_mm[1] == inner.offset_mm[1]
        assert side * (later.offset_mm[0] - inner.offset_mm[0]) == pytest.approx(28.65, abs=0.15)


def test_no_two_ccds_overlap_in_the_mosaic():
    assert are_disjoint(mosaic_section(detector).box for detector in CAMERA.detectors)


@every_ccd
def test_the_halves_of_a_ccd_tile_its_section_of_the_mosaic(detector):
    halves = [mosaic_section(detector, amp.box) for amp in detector.amplifiers]
    assert do_tile([half.box for half in halves], mosaic_section(detector).box)
    assert {(half.flip_y, half.flip_x) for half in halves} == {(detector.yaw_deg == 180,) * 2}


@every_ccd
def test_an_amplifier_is_found_by_its_place(detector):
    for amp in detector.amplifiers:
        place = mosaic_section(detector, amp.box)
        assert find_amplifier(place, CAMERA.detectors) == (detector, amp)
        # A row too tall, as some cards of the first files are, or reversed.
        taller = attrs.evolve(place, box=attrs.evolve(place.box, y1=place.box.y1 + 1), flip_x=True)
        assert find_amplifier(taller, CAMERA.detectors) == (detector, amp)


def test_a_place_of_no_ccd_has_no_amplifier():
    assert find_amplifier(Section.parse("[1:1024,1:4612]"), CAMERA.detectors) is None


def test_filters_are_found_by_every_name():
    assert CAMERA.filter("r.MP9601") is CAMERA.filter("r")
    assert CAMERA.filter("u.MP9303").name == "CaHK.MP9303"
    assert CAMERA.filter("i2").band == "i"
    with pytest.raises(KeyError, match=r"no filter 'y'; it has u\.MP9301, "):
        CAMERA.filter("y")


def test_every_filter_has_a_wavelength_that_fits_its_band():
    bands = {"u": (340, 400), "g": (450, 520), "r": (600, 680), "i": (740, 800), "z": (880, 940)}
    for one in CAMERA.filters:
        low, high = bands[one.band]
        assert low < one.wavelength_nm < high


def test_first_ccd_in_words():
    ccd = CAMERA["ccd00"]
    assert (ccd.shape, ccd.raw_shape) == ((4612, 2048), (4644, 2112))
    assert ccd["A"].raw_data_box.to_section() == "[33:1056,1:4612]"
    assert ccd["B"].serial_overscan_box.to_section() == "[2081:2112,1:4612]"
    assert (ccd["A"].gain, ccd["A"].read_noise, ccd["B"].read_noise) == (1.54, 3.0, 6.0)


@every_ccd
def test_data_sections_tile_the_data_and_boxes_the_ccd(detector):
    data = Box.from_corner(32, 0, 2048, 4612)
    assert do_tile([amp.raw_data_box for amp in detector.amplifiers], data)
    assert do_tile([amp.box for amp in detector.amplifiers], Box.of_shape(detector.shape))
    assert do_tile([amp.raw_box for amp in detector.amplifiers], Box.of_shape(detector.raw_shape))


@every_ccd
def test_assembling_moves_no_pixel_relative_to_its_neighbours(detector):
    shifts = {(a.box.y0 - a.raw_data_box.y0, a.box.x0 - a.raw_data_box.x0) for a in detector.amplifiers}
    assert shifts == {(0, -32)}
    assert not any(amp.flip_x or amp.flip_y for amp in detector.amplifiers)


@every_ccd
def test_overscans_touch_the_data_without_sharing_pixels(detector):
    for amp in detector.amplifiers:
        data, serial, parallel = amp.raw_data_box, amp.serial_overscan_box, amp.parallel_overscan_box
        assert are_disjoint((data, serial, parallel))
        assert (serial.y0, serial.y1, serial.width) == (data.y0, data.y1, 32)
        assert (parallel.x0, parallel.x1, parallel.y0, parallel.height) == (data.x0, data.x1, data.y1, 32)
    a, b = detector["A"], detector["B"]
    assert a.serial_overscan_box.x1 == a.raw_data_box.x0
    assert b.serial_overscan_box.x0 == b.raw_data_box.x1


@every_ccd
def test_only_the_corners_above_the_serial_overscan_belong_to_no_section(detector):
    parts = [
        part
        for amp in detector.amplifiers
        for part in (amp.raw_data_box, amp.serial_overscan_box, amp.parallel_overscan_box)
    ]
    corners = [Box.from_corner(0, 4612, 32, 32), Box.from_corner(2080, 4612, 32, 32)]
    assert do_tile([*parts, *corners], Box.of_shape(detector.raw_shape))


@pytest.mark.skipif(
    not FILTERS.exists(), reason=f"no {FILTERS}; set ISRCORE_TEST_DATA to the folder above spec"
)
def test_filters_are_those_known_with_their_wavelengths():
    known = json.loads(FILTERS.read_text())["filters"]
    assert len(known) == len(CAMERA.filters)
    for fact in known:
        one = CAMERA.filter(fact["physical_filter"])
        assert (one.short_name, one.band) == (fact["short_name"], fact["band"])
        if fact["lambda_eff_nm"] not in (None, 1170):
            assert one.wavelength_nm == fact["lambda_eff_nm"]


def box_of(corner):
    return Box.from_corner(corner["x0"], corner["y0"], corner["width"], corner["height"])


@pytest.mark.skipif(not FACTS.exists(), reason=f"no {FACTS}; set ISRCORE_TEST_DATA to the folder above spec")
def test_table_states_the_facts_but_for_the_overscan():
    facts = json.loads(FACTS.read_text())["ccds"]
    assert len(facts) == 36
    for known, detector in zip(facts, CAMERA.detectors, strict=False):
        assert detector.name == known["name"]
        assert detector.id == known["id"]
        assert detector.serial == known["serial"]
        assert detector.offset_mm == tuple(known["offset_mm"])
        assert detector.reference_pixel == tuple(known["ref_pos_pixel"])
        assert detector.yaw_deg == known["yaw_deg"]
        assert [detector.pixel_size_mm] * 2 == known["pixel_size_mm"]
        assert Box.of_shape(detector.shape) == box_of(known["bbox"])
        assert detector.amplifier_names == tuple(amp["name"] for amp in known["amps"])
        for fact in known["amps"]:
            assert_amplifier(detector[fact["name"]], fact)


def assert_amplifier(amp, fact):
    assert amp.box == box_of(fact["bbox"])
    assert amp.raw_box == box_of(fact["raw_bbox"])
    assert amp.raw_data_box == box_of(fact["raw_data_bbox"])
    assert amp.prescan_box.area == box_of(fact["raw_prescan_bbox"]).area == 0
    same = ("flip_x", "flip_y", "readout_corner", "gain", "read_noise", "saturation", "linearity_type")
    assert {key: getattr(amp, key) for key in same} == {key: fact[key] for key in same}
    assert (amp.suspect_level != amp.suspect_level) == (fact["suspect_level"] is None)
    # The facts' overscan boxes are a row too tall or a row and a column too small; the corner is right.
    for key, box in (("horizontal", amp.serial_overscan_box), ("vertical", amp.parallel_overscan_box)):
        corner = fact[f"raw_{key}_overscan_bbox"]
        assert (box.x0, box.y0) == (corner["x0"], corner["y0"])
    assert amp.serial_overscan_box.height == fact["raw_horizontal_overscan_bbox"]["height"] - 1
    assert amp.parallel_overscan_box.shape == (32, fact["raw_vertical_overscan_bbox"]["width"] + 1)
