"""Law: an operation followed by its inverse returns image and variance, and never takes flags back."""

from __future__ import annotations

import attrs
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
    MaskedImage,
    NotInvertible,
    Polynomial,
    SetVariance,
    Subtract,
)
from isrcore.kernels.reference import Placed, Work, execute
from isrcore.testing import strategies
from isrcore.testing.contracts import ulps

SHAPE = (23, 31)


def applied(op, pixels):
    result = pixels.copy()
    execute(Work(result, (Placed(op, Box.of_shape(pixels.shape)),)))
    return result


def unit_in_last_place(op, before, after):
    """That of the largest number met on the way, in the unit of the image."""
    if isinstance(op, Polynomial):
        # Slopes are 0.8 and more.
        return np.spacing(np.maximum(abs(before.image), abs(after.image))) / 0.8
    scale = np.float32(op.scale)
    if isinstance(op, Subtract):
        made = [(before.image, 1.0), (after.image, 1.0), (op.frame.image * scale, 1.0)]
    elif isinstance(op, Divide):
        made = [(before.image, 1.0), (before.image * scale, scale), (after.image, scale / op.frame.image)]
    else:
        made = [(before.image, 1.0), (before.image * scale, scale), (after.image, scale)]
    return np.max([np.spacing(abs(image)) / abs(to_image) for image, to_image in made], axis=0)


def largest_variance(op, before, after):
    if isinstance(op, Affine | Polynomial):
        return before.variance
    if isinstance(op, Subtract):
        return after.variance
    added = after.image.astype(np.float64) ** 2 * op.frame.variance / float(op.scale) ** 2
    return np.maximum(before.variance, added)


@given(op=strategies.invertible_ops(SHAPE), pixels=strategies.masked_images(SHAPE, spoiled=False))
def test_an_operation_and_its_inverse_return_the_pixels(op, pixels):
    after = applied(op, pixels)
    returned = applied(op.inverse(), after)
    error = abs(returned.image.astype(np.float64) - pixels.image)
    # Four roundings at most, each of half a unit in the last place of what it makes.
    assert (error / unit_in_last_place(op, pixels, after)).max() <= 2
    assert ulps(returned.variance, pixels.variance, largest_variance(op, pixels, after)).max() <= 5
    np.testing.assert_array_equal(returned.mask, after.mask)


@given(op=strategies.invertible_ops(SHAPE), pixels=strategies.masked_images(SHAPE))
def test_the_inverse_of_the_inverse_is_the_operation(op, pixels):
    twice = op.inverse().inverse()
    assert attrs.asdict(twice, recurse=False).keys() == attrs.asdict(op, recurse=False).keys()
    assert twice.inverted == op.inverted
    one, other = applied(op, pixels), applied(twice, pixels)
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.variance, other.variance)


@given(st.data())
def test_an_inverse_adds_no_flags(data):
    op = data.draw(strategies.invertible_ops(SHAPE))
    pixels = data.draw(strategies.masked_images(SHAPE))
    np.testing.assert_array_equal(applied(op.inverse(), pixels).mask, pixels.mask)


@pytest.mark.parametrize("op", [FlagAbove(1.0, 1), FlagBoxes.of((), 1), SetVariance(1.0, 0.0)])
def test_what_loses_something_has_no_inverse(op):
    assert not op.is_invertible
    with pytest.raises(NotInvertible, match=f"'{type(op).__name__}' has no inverse"):
        op.inverse()


def test_example_subtracting_and_adding_back():
    pixels = MaskedImage.from_image(np.float32([[7, 3]]), variance=np.float32([[4, 4]]))
    frame = MaskedImage.from_image(np.float32([[1, 2]]), np.int32([[0, 1]]), np.float32([[0.5, 0.25]]))
    op = Subtract(frame, scale=2.0)
    after = applied(op, pixels)
    assert (after.image.tolist(), after.variance.tolist(), after.mask.tolist()) == (
        [[5, -1]],
        [[6, 5]],
        [[0, 1]],
    )
    returned = applied(op.inverse(), after)
    assert (returned.image.tolist(), returned.variance.tolist(), returned.mask.tolist()) == (
        [[7, 3]],
        [[4, 4]],
        [[0, 1]],
    )
    assert applied(Divide(frame), pixels).image.tolist() == [[7, 1.5]]
