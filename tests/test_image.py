"""Masked images and the names of their mask planes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import Box, MaskedImage, MaskPlaneError, MaskPlanes
from isrcore.testing import strategies

NAMES = st.sets(st.sampled_from(["A", "B", "RARE", "CROSSTALK"]))


def test_the_nine_fixed_planes_have_the_documented_bits() -> None:
    names = ["BAD", "SAT", "INTRP", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "SUSPECT", "NO_DATA"]
    assert list(MaskPlanes()) == names
    assert [MaskPlanes().value(name) for name in names] == [1 << bit for bit in range(9)]
    assert MaskPlanes().value("BAD", "CR", "BAD") == 9


def test_new_planes_take_the_next_bits_by_name() -> None:
    planes = MaskPlanes().with_planes(["ZEBRA", "APE"]).with_planes(["BEAR", "APE"])
    assert [planes.bits[name] for name in ("APE", "ZEBRA", "BEAR")] == [9, 10, 11]
    assert MaskPlanes().with_planes(["BAD"]) == MaskPlanes()


def test_unknown_planes_and_a_full_mask_are_errors() -> None:
    with pytest.raises(MaskPlaneError, match="no plane 'FOO'; it has BAD, SAT"):
        MaskPlanes().value("BAD", "FOO")
    full = MaskPlanes().with_planes([f"P{number:02}" for number in range(22)])
    with pytest.raises(MaskPlaneError, match="no bit left for mask plane 'Q': an int32 mask holds 31"):
        full.with_planes(["Q"])


@given(st.data())
def test_planes_move_by_name(data: st.DataObject) -> None:
    first = MaskPlanes().with_planes(data.draw(NAMES)).with_planes(data.draw(NAMES))
    second = MaskPlanes().with_planes(data.draw(NAMES)).with_planes(["A", "B", "RARE", "CROSSTALK"])
    image = MaskedImage.from_image(np.zeros((4, 6), np.float32), data.draw(strategies.masks((4, 6), first)))
    moved = MaskedImage(image.image, image.mask, image.variance, first).with_planes(second)
    for name in first:
        np.testing.assert_array_equal(moved.flagged(name), image.mask & first.value(name) != 0)
    for name in set(second) - set(first):
        assert not moved.flagged(name).any()


def test_example_two_masks_number_one_plane_differently() -> None:
    ours, theirs = MaskPlanes().with_planes(["A", "RARE"]), MaskPlanes().with_planes(["RARE"])
    mask = np.int32([[1, 1 << 9, 3 | 1 << 9]])
    assert ours.remap(mask, theirs).tolist() == [[1, 1 << 10, 3 | 1 << 10]]
    assert ours.remap(mask, ours) is mask


def test_a_raw_image_has_no_flags_and_unit_variance_that_take_no_memory() -> None:
    raw = MaskedImage.from_raw(np.zeros((4, 5), np.uint16))
    assert raw.is_raw
    assert (raw.mask.strides, raw.variance.strides) == ((0, 0), (0, 0))
    assert (raw.mask.max(), raw.variance.min()) == (0, 1)


def test_what_does_not_fit_together_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="does not fit together") as caught:
        MaskedImage(np.zeros((2, 2)), np.zeros((2, 3), np.int64), np.zeros((2, 2)))  # type: ignore[arg-type]
    for fault in ("mask has shape (2, 3)", "mask is int64", "variance is float64", "image is float64"):
        assert fault in str(caught.value)
    with pytest.raises(ValueError, match="image has 1 axes, it needs two"):
        MaskedImage.from_raw(np.zeros(3, np.uint16))


def test_windows_and_flips_are_views_and_copies_are_not() -> None:
    image = MaskedImage.from_image(np.zeros((3, 4), np.float32))
    image.window(Box(0, 1, 0, 2)).image[...] = 5
    image.flip(True, True).mask[0, 0] = 3
    image.copy().variance[...] = 9
    assert image.image[0].tolist() == [5, 5, 0, 0]
    assert (image.mask[2, 3], image.variance.max()) == (3, 0)
    for plane in (image.read_only().image, image.read_only().mask, image.read_only().variance):
        with pytest.raises(ValueError, match="read-only"):
            plane[0, 0] = 1


def test_flagged_looks_at_the_planes_named_or_at_all() -> None:
    image = MaskedImage.from_image(np.zeros((1, 3), np.float32), np.int32([[0, 1, 2]]))
    assert image.flagged().tolist() == [[False, True, True]]
    assert image.flagged("SAT").tolist() == [[False, False, True]]
    assert image.flagged("SAT", "BAD").tolist() == [[False, True, True]]
