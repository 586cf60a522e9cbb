"""Boxes, sections, flips and gathers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Box, Gather, GeometryError, Section
from isrcore.geometry import are_disjoint, covers, do_tile, flip
from isrcore.testing import strategies

SHAPE = (7, 5)
BOXES = strategies.boxes(SHAPE)


def pixels(box: Box) -> set[tuple[int, int]]:
    return {(y, x) for y in range(box.y0, box.y1) for x in range(box.x0, box.x1)}


def test_a_box_cuts_rows_before_columns() -> None:
    box = Box(1, 3, 2, 5)
    assert (box.height, box.width, box.shape, box.area) == (2, 3, (2, 3), 6)
    assert np.arange(50).reshape(5, 10)[box.slices].tolist() == [[12, 13, 14], [22, 23, 24]]
    assert Box.from_corner(2, 1, 3, 2) == box
    assert Box.of_shape((4, 6)) == Box(0, 4, 0, 6)


@pytest.mark.parametrize("edges", [(3, 2, 0, 1), (0, 1, 3, 2)])
def test_a_box_that_ends_before_it_starts_is_refused(edges: tuple[int, int, int, int]) -> None:
    with pytest.raises(GeometryError, match="ends before it starts"):
        Box(*edges)


@given(BOXES, BOXES)
def test_boxes_are_sets_of_pixels(one: Box, other: Box) -> None:
    assert pixels(one.intersect(other)) == pixels(one) & pixels(other)
    assert one.contains(other) == (pixels(other) <= pixels(one))
    assert are_disjoint([one, other]) == (not pixels(one) & pixels(other))


@given(st.lists(BOXES, max_size=4), BOXES)
def test_tiling_and_covering_are_those_of_the_pixels(boxes: list[Box], whole: Box) -> None:
    union = set[tuple[int, int]]().union(*map(pixels, boxes))
    once = sum(box.area for box in boxes) == len(union)
    assert do_tile(boxes, whole) == (once and union == pixels(whole))
    edges = np.array([(b.y0, b.y1, b.x0, b.x1) for b in boxes], dtype=int).reshape(-1, 4)
    assert covers(edges, whole) == (pixels(whole) <= union)


@given(BOXES, st.booleans(), st.booleans())
def test_flipping_an_array_flips_its_boxes(box: Box, flip_y: bool, flip_x: bool) -> None:
    array = np.arange(35).reshape(SHAPE)
    flipped = flip(array, flip_y, flip_x)
    assert set(flipped[box.flip(SHAPE, flip_y, flip_x).slices].ravel()) == set(array[box.slices].ravel())
    assert set(array.T[box.transpose().slices].ravel()) == set(array[box.slices].ravel())
    assert box.flip(SHAPE, flip_y, flip_x).flip(SHAPE, flip_y, flip_x) == box


@given(BOXES, st.integers(-3, 3), st.integers(-3, 3))
def test_shifting_and_counting_from_an_origin_are_inverse(box: Box, dy: int, dx: int) -> None:
    origin = Box(0, 0, 0, 0).shift(dy, dx)
    assert box.shift(dy, dx).relative_to(origin) == box


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("[33:1056,1:4612]", Section(Box(0, 4612, 32, 1056))),
        (" [ 4:1 , 2:2 ] ", Section(Box(1, 2, 0, 4), flip_x=True)),
        ("[1:4,9:2]", Section(Box(1, 9, 0, 4), flip_y=True)),
    ],
)
def test_fits_sections_are_one_based_inclusive_and_columns_first(text: str, section: Section) -> None:
    assert Section.parse(text) == section
    assert str(section) == text.replace(" ", "")
    assert section.flip_x or section.flip_y or section.box.to_section() == text


@given(strategies.boxes(SHAPE, 2), st.booleans(), st.booleans())
def test_sections_survive_their_text(box: Box, flip_y: bool, flip_x: bool) -> None:
    section = Section(box, flip_y, flip_x)
    assert Section.parse(str(section)) == section


@pytest.mark.parametrize(
    ("text", "fault"),
    [("1:2,3:4", "is not a FITS section; it should look like"), ("[0:2,1:4]", "starts below pixel 1")],
)
def test_a_text_that_is_no_section_is_refused(text: str, fault: str) -> None:
    with pytest.raises(GeometryError, match=fault):
        Section.parse(text)


def test_a_gather_moves_and_turns() -> None:
    gather = Gather(Box(0, 2, 1, 3), Box(5, 7, 0, 2), flip_y=True)
    raw = np.arange(8).reshape(2, 4)
    assert gather.read(raw).tolist() == [[5, 6], [1, 2]]
    assert not gather.is_identity()
    assert Gather(Box(0, 1, 0, 1), Box(0, 1, 0, 1)).is_identity()
    assert not Gather(Box(0, 1, 0, 1), Box(0, 1, 0, 1), flip_x=True).is_identity()
    with pytest.raises(GeometryError, match="their shapes differ"):
        Gather(Box(0, 2, 0, 2), Box(0, 2, 0, 3))
