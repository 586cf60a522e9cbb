"""Laws of defects: boxes tile masks, unions are what pixels say, files lose nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from isrcore.defects import Defects
from isrcore.footprints import grow
from isrcore.geometry import Box, are_disjoint

settings.register_profile("defects", deadline=None, max_examples=150)
LAW = settings.get_profile("defects")

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=14)
MASKS = hnp.arrays(np.bool_, SHAPES)


@st.composite
def boxes(draw, low=-4, high=16):
    y0, x0 = draw(st.integers(low, high)), draw(st.integers(low, high))
    return Box(y0, y0 + draw(st.integers(1, 12)), x0, x0 + draw(st.integers(1, 12)))


LISTS = st.lists(boxes(), max_size=8).map(lambda found: Defects(tuple(found)))


def one_by_one(flags):
    """The rule of tiling, spelled out: the first run of the lowest row, as high as it goes, again."""
    left, found = flags.copy(), []
    while left.any():
        y0, x0 = np.argwhere(left)[0]
        y1, x1 = y0 + 1, x0
        while x1 < left.shape[1] and left[y0, x1]:
            x1 += 1
        while y1 < left.shape[0] and left[y1, x0:x1].all():
            y1 += 1
        left[y0:y1, x0:x1] = False
        found.append(Box(int(y0), int(y1), int(x0), int(x1)))
    return found


@LAW
@given(MASKS)
def test_boxes_of_a_mask_make_the_mask(mask):
    defects = Defects.from_mask(mask)
    np.testing.assert_array_equal(defects.to_mask(mask.shape), mask)
    assert are_disjoint(defects.boxes)


@LAW
@given(MASKS)
def test_boxes_of_a_mask_follow_the_rule(mask):
    found = sorted(Defects.from_mask(mask).boxes, key=lambda box: (box.y0, box.x0))
    assert found == one_by_one(mask)


@LAW
@given(LISTS, boxes())
def test_covering_is_what_the_pixels_say(defects, box):
    moved = Defects(tuple(one.shift(-box.y0, -box.x0) for one in defects.boxes))
    assert defects.covers(box) == bool(moved.to_mask(box.shape).all())


@LAW
@given(LISTS)
def test_normalizing_is_tiling_the_union(defects):
    shape, move = (40, 40), 4
    pixels = Defects(tuple(box.shift(move, move) for box in defects.boxes))
    assert pixels.normalize() == Defects.from_mask(pixels.to_mask(shape))
    assert defects.normalize().normalize() == defects.normalize()


@LAW
@given(LISTS, SHAPES)
def test_clipping_keeps_what_is_inside(defects, shape):
    clipped = defects.clip(shape)
    np.testing.assert_array_equal(clipped.to_mask(shape), defects.to_mask(shape))
    assert all(Box.of_shape(shape).contains(box) for box in clipped.boxes)


@LAW
@given(LISTS, hnp.arrays(np.int32, SHAPES), st.integers(0, 30))
def test_flagging_sets_the_bit_on_the_mask_only(defects, mask, plane):
    before = mask.copy()
    defects.flag(mask, 1 << plane)
    np.testing.assert_array_equal(mask, np.where(defects.to_mask(mask.shape), before | 1 << plane, before))


@LAW
@given(MASKS, st.integers(0, 4), st.integers(0, 4))
def test_growth_reaches_every_pixel_within_the_radius_and_adds_up(mask, radius, more):
    y, x = np.indices(mask.shape)
    near = np.zeros(mask.shape, dtype=bool)
    for at_y, at_x in np.argwhere(mask):
        near |= np.abs(y - at_y) + np.abs(x - at_x) <= radius
    np.testing.assert_array_equal(grow(mask, radius), near)
    np.testing.assert_array_equal(grow(near, more), grow(mask, radius + more))


@settings(LAW, max_examples=20)
@given(LISTS, st.sampled_from([".fits", ".ecsv"]))
def test_writing_and_reading_is_identity(defects, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"defects{suffix}")
        defects.write(path)
        assert Defects.read(path) == defects
