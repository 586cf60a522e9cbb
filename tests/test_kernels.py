"""Operations by hand, one by one, and how they are cut and moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isrcore import (
    Affine,
    Box,
    Divide,
    FlagAbove,
    FlagBoxes,
    FlagNonFinite,
    FlagNonPositiveVariance,
    Gather,
    MaskedImage,
    Op,
    OrMask,
    SetVariance,
    Subtract,
)
from isrcore.kernels.reference import Placed, Work, execute
from isrcore.runner import _without_masks
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

NAN, INF = np.nan, np.inf
FRAME = MaskedImage.from_image(np.float32([[1, 2, 4]]), np.int32([[0, 1, 0]]), np.float32([[0.5, 1, 2]]))


def result_of(op: Op, image: Any, variance: Any = 0.0, mask: int = 8) -> tuple[Any, Any, Any, int]:
    """Image, variance, mask and number of flagged pixels after an operation on one row."""
    planes = (
        np.float32([image]),
        np.full((1, len(image)), mask, np.int32),
        np.zeros((1, len(image)), np.float32),
    )
    pixels = MaskedImage(*planes)
    pixels.variance[...] = variance
    (count,) = execute(Work(pixels, (Placed(op, Box.of_shape(pixels.shape)),)))
    return pixels.image[0].tolist(), pixels.variance[0].tolist(), pixels.mask[0].tolist(), int(count)


@pytest.mark.parametrize(
    ("op", "image", "variance", "mask"),
    [
        (Affine(2.0, 3.0), [13, 43, 83], [4, 4, 4], [8, 8, 8]),
        (Affine(2.0, 3.0).inverse(), [1, 8.5, 18.5], [0.25, 0.25, 0.25], [8, 8, 8]),
        (Affine(offset=np.float32([[1, 2, 3]])), [6, 22, 43], [1, 1, 1], [8, 8, 8]),
        (Affine(2.0).without_variance(), [10, 40, 80], [1, 1, 1], [8, 8, 8]),
        (Subtract(FRAME, 2.0), [3, 16, 32], [3, 5, 9], [8, 9, 8]),
        (Subtract(FRAME).inverse(), [6, 22, 44], [0.5, 0, -1], [8, 8, 8]),
        (Divide(FRAME, 2.0), [10, 20, 20], [54, 101, 50.25], [8, 9, 8]),
        (Divide(FRAME), [5, 10, 10], [13.5, 25.25, 12.5625], [8, 9, 8]),
        (SetVariance(2.0, 3.0, (FRAME.image, FRAME.image)), [5, 20, 40], [7.5, 17, 31], [8, 8, 8]),
        (SetVariance(np.float32([[1, 2, 4]]), 0.0), [5, 20, 40], [5, 10, 10], [8, 8, 8]),
        (FlagAbove(20.0, 1), [5, 20, 40], [1, 1, 1], [8, 9, 9]),
        (FlagBoxes.of((Box(0, 1, 0, 2), Box(0, 1, 1, 2)), 2), [5, 20, 40], [1, 1, 1], [10, 10, 8]),
        (OrMask(np.int32([[4, 1]]), Box(0, 1, 1, 3)), [5, 20, 40], [1, 1, 1], [8, 12, 9]),
    ],
)
def test_operations_by_hand(op: Op, image: list[float], variance: list[float], mask: list[int]) -> None:
    found = result_of(op, [5, 20, 40], 1.0)
    assert found[:3] == (image, variance, mask)


@pytest.mark.parametrize(
    ("op", "image", "variance", "flagged"),
    [
        (FlagAbove(3.0, 1), [NAN, 3, -INF, INF, 2.9], 1.0, [1, 3]),
        (FlagNonFinite(1), [NAN, 3, -INF, INF, 0], [1, NAN, 1, 1, INF], [0, 1, 2, 3, 4]),
        (FlagNonFinite(1), [1, 2], 1.0, []),
        (FlagNonPositiveVariance(1), [1, 1, 1, 1], [0, 1, -2, NAN], [0, 2]),
    ],
)
def test_flags_and_their_number(op: Op, image: list[float], variance: Any, flagged: list[int]) -> None:
    _, _, mask, count = result_of(op, image, variance, mask=0)
    assert ([x for x, bits in enumerate(mask) if bits], count) == (flagged, len(flagged))


def test_an_operation_without_a_kernel_is_named() -> None:
    class Novel(Op):
        """An operation nobody can run."""

    with pytest.raises(TypeError, match="no kernel for operation 'Novel'; register one"):
        result_of(Novel(), [1.0])


def pixels_after(op: Op, pixels: MaskedImage, box: Box) -> MaskedImage:
    done = pixels.copy()
    execute(Work(done, (Placed(op, box),)))
    return done


@given(st.data())
def test_an_operation_moves_with_its_pixels(data: st.DataObject) -> None:
    """Doing and moving is moving and doing."""
    shape = data.draw(st.tuples(st.integers(2, 8), st.integers(2, 8)))
    raw_box, box = data.draw(strategies.boxes(shape, 1)), data.draw(strategies.boxes(shape, 1))
    op = data.draw(strategies.ops(box.shape))
    gather = Gather(raw_box, Box.of_shape(raw_box.shape), data.draw(st.booleans()), data.draw(st.booleans()))
    pixels = data.draw(strategies.masked_images(shape))
    done = pixels_after(op, pixels, box).window(raw_box).flip(gather.flip_y, gather.flip_x)
    moved = pixels.window(raw_box).flip(gather.flip_y, gather.flip_x).copy()
    placed = Placed(op, box).through(gather)
    assert (placed is None) == (not box.intersect(raw_box).area)
    execute(Work(moved, () if placed is None else (placed,)))
    check_same(moved, done)


def test_example_a_column_operand_follows_the_flip() -> None:
    levels = np.float32([[1], [2]])
    gather = Gather(Box(0, 2, 0, 1), Box(3, 5, 7, 8), flip_y=True)
    placed = Placed(Affine(offset=levels), Box(0, 2, 0, 4)).through(gather)
    assert placed is not None
    assert placed.box == Box(3, 5, 7, 8)
    assert placed.op.offset.tolist() == [[2], [1]]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("op", "taken"), [(Subtract(FRAME), 1), (Subtract(FRAME).without_mask(), 0)])
def test_flags_that_an_operation_leaves_alone_are_not_taken(op: Op, taken: int) -> None:
    whole = Box.of_shape(FRAME.shape)
    left, masks = _without_masks((Placed(op, whole),), whole)
    assert len(masks) == taken
    assert all(one.op.skips_mask for one in left)
