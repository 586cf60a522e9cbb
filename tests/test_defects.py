"""Plain examples of defects: what they accept, their masks and their files."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from isrcore.defects import Defects, DefectsError, make_threshold_mask
from isrcore.footprints import grow
from isrcore.geometry import Box

BOXES = (Box(0, 1, 0, 2048), Box(10, 4612, 7, 8), Box(5, 6, 3, 4), Box(-2, 3, 100, 104))


def written(tmp_path, table, name="defects.fits"):
    table.write(tmp_path / name)
    return tmp_path / name


def test_boxes_points_tuples_and_objects_are_accepted():
    items = [
        Box(0, 2, 0, 3),
        (4, 5),
        (1, 2, 3, 4),
        np.array([1, 2, 3, 4]),
        SimpleNamespace(box=Box(1, 2, 3, 4)),
    ]
    expected = (Box(0, 2, 0, 3), Box(5, 6, 4, 5), Box(2, 6, 1, 4), Box(2, 6, 1, 4), Box(1, 2, 3, 4))
    assert Defects.from_iterable(items).boxes == expected


def test_all_items_that_are_no_defects_are_named():
    items = [(1, 2), "box", (1.5, 2), (1, 2, 0, 4), None, Box(1, 1, 0, 4), (1, 2, 3), (True, 1), "ab"]
    with pytest.raises(DefectsError) as caught:
        Defects.from_iterable(items)
    lines = str(caught.value).splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == [f"item {n}" for n in range(2, 10)]
    assert "1.5 is not a whole number" in lines[1]
    assert "width 0 and height 4 must be at least 1" in lines[2]


def test_equality_is_that_of_the_boxes_in_order():
    first, second = Box(0, 1, 0, 1), Box(1, 2, 1, 2)
    assert Defects((first, second), {"A": 1}, "ccd00") == Defects((first, second))
    assert Defects((first, second)) != Defects((second, first))


def test_a_run_is_extended_upwards_while_all_of_it_is_flagged():
    mask = np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], dtype=bool)
    assert Defects.from_mask(mask).boxes == (Box(0, 2, 0, 2), Box(1, 3, 2, 3), Box(2, 3, 1, 2))


def test_boxes_stand_in_the_order_of_their_first_pixels_footprint_by_footprint():
    mask = np.array([[1, 0, 1, 0, 0, 1], [1, 1, 0, 0, 0, 0]], dtype=bool)
    corners = [(box.y0, box.x0, box.shape) for box in Defects.from_mask(mask)]
    assert corners == [(0, 0, (2, 1)), (0, 2, (1, 1)), (1, 1, (1, 1)), (0, 5, (1, 1))]


def test_only_the_given_bits_make_defects():
    mask = np.array([[1, 2, 3, 4, 0]], dtype=np.int32)
    assert Defects.from_mask(mask, 2).boxes == (Box(0, 1, 1, 3),)
    assert Defects.from_mask(mask).boxes == (Box(0, 1, 0, 4),)
    assert Defects.from_mask(np.zeros((3, 4), dtype=bool)) == Defects()
    with pytest.raises(DefectsError, match=r"shape \(3,\)"):
        Defects.from_mask(np.zeros(3, dtype=bool))


def test_flagging_keeps_other_bits_and_ignores_what_lies_outside():
    mask = np.full((3, 4), 4, dtype=np.int32)
    Defects((Box(2, 9, -3, 1), Box(50, 60, 0, 1))).flag(mask, 1)
    assert mask[2, 0] == 5
    assert mask.sum() == 4 * 12 + 1


def test_an_amplifier_covered_by_several_boxes_is_covered():
    dead = Defects((Box(0, 1, 0, 2048), Box(1, 4612, 0, 1024)))
    assert dead.covers(Box(0, 4612, 0, 1024))
    assert not dead.covers(Box(0, 4612, 1024, 2048))
    assert not Defects().covers(Box(0, 1, 0, 1))


def test_the_array_of_boxes_is_read_only():
    array = Defects(BOXES).as_array
    np.testing.assert_array_equal(array[1], [10, 4612, 7, 8])
    assert Defects().as_array.shape == (0, 4)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_normalized_boxes_may_be_huge():
    huge = Defects((Box(0, 10**9, 0, 10**9), Box(5, 2 * 10**9, 7, 9), Box(3, 4, 10**9, 10**9 + 1)))
    assert huge.normalize().boxes == (
        Box(0, 10**9, 0, 10**9),
        Box(3, 4, 10**9, 10**9 + 1),
        Box(10**9, 2 * 10**9, 7, 9),
    )
    assert Defects().normalize() == Defects()


def test_growth_is_a_manhattan_diamond_clipped_to_the_frame():
    flags = np.zeros((4, 4), dtype=bool)
    flags[0, 1] = True
    assert grow(flags, 2).astype(int).tolist() == [[1, 1, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert grow(flags, 0) is not flags
    with pytest.raises(ValueError, match="grow by -1 pixels"):
        grow(flags, -1)


def test_the_threshold_itself_is_flagged_and_nan_is_not():
    mask = np.zeros((1, 4), dtype=np.int32)
    defects = make_threshold_mask(np.array([[9.0, 10.0, np.nan, 11.0]], np.float32), mask, 10.0, 2)
    assert mask.tolist() == [[0, 2, 0, 2]]
    assert defects.boxes == (Box(0, 1, 1, 2), Box(0, 1, 3, 4))
    assert make_threshold_mask(np.ones((2, 2)), np.zeros((2, 2), np.int32), np.nan, 2) == Defects()


@pytest.mark.parametrize("name", ["defects.fits", "defects.ecsv"])
@pytest.mark.parametrize("boxes", [BOXES, ()])
def test_files_give_back_what_was_written(tmp_path, name, boxes):
    header = {"INSTRUME": "MegaPrime", "CALIB_CREATION_DATE": "2003-05-23", "VERSION": 3}
    Defects(boxes, header, "ccd07").write(tmp_path / name)
    found = Defects.read(tmp_path / name)
    assert found.boxes == boxes
    assert found.detector_name == "ccd07"
    assert found.header["OBSTYPE"] == "defects"
    assert len(found.header["DATE"]) == len("2003-05-23T00:00:00")
    assert header.items() <= found.header.items()
    Defects(found.boxes, found.header).write(tmp_path / name)
    assert Defects.read(tmp_path / name) == found


def test_a_region_table_counts_from_one_and_names_centres(tmp_path):
    Defects((Box(2, 6, 1, 4), Box(8, 9, 5, 6))).write(tmp_path / "defects.fits")
    with fits.open(tmp_path / "defects.fits", checksum=True) as units:
        table, header = units[1].data, units[1].header
        assert table["X"].tolist() == [3.0, 6.0]
        assert table["Y"].tolist() == [4.5, 9.0]
        assert table["SHAPE"].tolist() == ["BOX", "POINT"]
        assert table["R"].tolist() == [[3.0, 4.0], [1.0, 1.0]]
        assert header["OBSTYPE"] == "defects"
        assert "CHECKSUM" in header


def test_boxes_turned_by_right_angles_are_read_and_other_regions_left_out(tmp_path, caplog):
    table = Table(
        {
            "X": [3.0, 4.5, 9.0, 9.0],
            "Y": [4.5, 3.0, 9.0, 9.0],
            "SHAPE": ["ROTBOX", "ROTBOX", "CIRCLE", "BOX"],
            "R": [[3.0, 4.0], [3.0, 4.0], [2.0, 0.0], [2.0, 2.0]],
            "ROTANG": [180.0, 90.0, 0.0, 45.0],
        }
    )
    with caplog.at_level(logging.WARNING):
        found = Defects.read(written(tmp_path, table))
    assert found.boxes == (Box(2, 6, 1, 4), Box(1, 4, 2, 6))
    assert "left out 2 regions" in caplog.text
    assert "row 3 (shape 'CIRCLE'), row 4 ('BOX' at 45.0 degrees)" in caplog.text


def test_a_simple_table_may_be_fits(tmp_path):
    table = Table({"X0": [1], "Y0": [2], "WIDTH": [3], "HEIGHT": [4]}, meta={"SERIAL": "834181"})
    found = Defects.read(written(tmp_path, table))
    assert found.boxes == (Box(2, 6, 1, 4),)
    assert found.header["SERIAL"] == "834181"


def test_plain_text_has_four_integers_a_line(tmp_path):
    path = tmp_path / "defects.txt"
    path.write_text("# x0 y0 width height\n1 2 3 4\n\n0 0 2048 1  # bottom row\n")
    assert Defects.read(path).boxes == (Box(2, 6, 1, 4), Box(0, 1, 0, 2048))


def test_all_bad_lines_of_plain_text_are_named(tmp_path):
    path = tmp_path / "defects.txt"
    path.write_text("1 2 3\n1 2 3 4\n1 2 3.5 4\n1 2 0 4\n")
    with pytest.raises(DefectsError) as caught:
        Defects.read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "each needs four integers" in message
    assert [f"line {n}:" in message for n in (1, 2, 3, 4)] == [True, False, True, True]


@pytest.mark.parametrize("name", ["defects.fits", "defects.ecsv"])
def test_unknown_columns_are_refused(tmp_path, name):
    table = Table({"x0": [1], "y0": [2], "width": [3], "height": [4], "angle": [45]})
    with pytest.raises(DefectsError, match="columns 'x0', 'y0', 'width', 'height', 'angle'"):
        Defects.read(written(tmp_path, table, name))


def test_all_bad_rows_of_a_table_are_named(tmp_path):
    table = Table({"x0": [1, 2, 3], "y0": [0, 0, 0], "width": [1.5, 1, -1], "height": [1, 1, 1]})
    with pytest.raises(DefectsError, match=r"(?s)defects\.ecsv.*row 1: .*1\.5.*row 3: width -1"):
        Defects.read(written(tmp_path, table, "defects.ecsv"))
    region = Table({"X": [np.nan], "Y": [1.0], "SHAPE": ["POINT"], "R": [[1.0, 1.0]]})
    with pytest.raises(DefectsError, match="row 1: nan is no finite number"):
        Defects.from_table(region)


def test_missing_and_infinite_values_are_refused():
    table = Table({"x0": [1, 1], "y0": [0, 0], "width": [1.0, np.inf], "height": [1, 1]}, masked=True)
    table["width"].mask = [True, False]
    with pytest.raises(
        DefectsError, match=r"(?s)row 1: .*not a whole number.*row 2: .*inf\)? is not a whole"
    ):
        Defects.from_table(table)


def test_files_that_hold_no_defects_are_named(tmp_path):
    empty, binary, broken = (tmp_path / name for name in ("empty.fits", "image.png", "broken.ecsv"))
    fits.PrimaryHDU(np.zeros((2, 2))).writeto(empty)
    binary.write_bytes(b"\x89PNG\xff\xfe")
    broken.write_text("# %ECSV 1.0\n# ---\nx0\n")
    for path, reason in [
        (empty, "has 0 tables"),
        (binary, "neither FITS nor text"),
        (broken, "no valid ECSV"),
    ]:
        with pytest.raises(DefectsError, match=rf"{path.name}' .*{reason}"):
            Defects.read(path)


def test_writing_needs_a_known_suffix(tmp_path):
    with pytest.raises(DefectsError, match=r"defects\.txt'; name it \.fits or \.ecsv"):
        Defects(BOXES).write(tmp_path / "defects.txt")


def test_a_reader_of_the_old_file_is_not_disturbed(tmp_path):
    path = tmp_path / "defects.ecsv"
    Defects(BOXES).write(path)
    before = path.read_bytes()
    with path.open("rb") as reader:
        Defects().write(path)
        assert reader.read() == before


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "defects.ecsv"
    Defects(BOXES).write(path)

    def fail(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        Defects().write(path)
    assert Defects.read(path).boxes == BOXES
    assert list(tmp_path.iterdir()) == [path]
