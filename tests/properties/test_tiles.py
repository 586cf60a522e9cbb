"""Law: bands of any height, on any number of threads, give what the whole frame at once gives, to the bit."""

from __future__ import annotations

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Affine, Box, Gather, IsrTask, MaskedImage, Registry, Tiled
from isrcore.kernels.reference import Placed, Work, execute
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same

REGISTRY = Registry({"standard": isrcore_standard})


@st.composite
def works(draw):
    """Random operations on random regions of a frame that is changed in place, or gathered from another."""
    shape = draw(st.tuples(st.integers(1, 14), st.integers(1, 9)))
    regions = draw(st.lists(strategies.boxes(shape, 1), max_size=6))
    placed = tuple(Placed(draw(strategies.ops(box.shape)), box) for box in regions)
    source = draw(strategies.masked_images(shape))
    if draw(st.booleans()):
        return Work(source, placed)
    whole = Box.of_shape(shape)
    gather = Gather(whole, whole, draw(st.booleans()), draw(st.booleans()))
    return Work(source.copy(), placed, source, (gather,))


def executors(height):
    return st.builds(Tiled, st.integers(1, height + 5), st.integers(1, 3))


@given(st.data())
def test_tiled_operations_equal_the_reference(data):
    work = data.draw(works())
    tiled = data.draw(executors(work.height))
    first, second = (attrs.evolve(work, target=work.target.copy()) for _ in range(2))
    expected, found = execute(first), tiled(second)
    check_same(first.target, second.target)
    np.testing.assert_array_equal(found, expected)


@given(st.data())
def test_a_tiled_run_equals_the_reference(data):
    config, exposure, inputs = data.draw(strategies.runs(REGISTRY))
    tiled = data.draw(executors(exposure.detector.raw_shape[0]))
    first, second = (
        IsrTask(config=config, registry=REGISTRY, executor=executor).run(exposure, **inputs).exposure
        for executor in (execute, tiled)
    )
    check_same(first.pixels, second.pixels)
    assert first.facts == second.facts
    assert first.header == second.header


def test_example_two_bands_of_a_column_operand():
    pixels = MaskedImage.from_image(np.zeros((3, 2), np.float32))
    levels = np.float32([[1], [2], [3]])
    Tiled(rows=2)(Work(pixels, (Placed(Affine(offset=-levels), Box(0, 3, 0, 2)),)))
    assert pixels.image.tolist() == [[-1, -1], [-2, -2], [-3, -3]]
