"""Laws of the operations a run keeps: all of them, in order, in today's geometry; none after the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import (
    Affine,
    Applied,
    Box,
    Detector,
    Exposure,
    IsrTask,
    MaskedImage,
    Registry,
    Step,
    StepSpec,
    apply_op,
    default_config,
    hookimpl,
)
from isrcore.testing import strategies
from isrcore.testing.contracts import Recorder
from isrcore.testing.strategies import operands

SEEN: list[tuple[Applied, ...]] = []


class Peek(Step):
    """Keeps what the run has kept, at the end of all arithmetic."""

    spec = StepSpec(
        name="peek", doc="Peek.", requires={"converted"}, after={"nan-flagged"}, provides={"peeked"},
        before={"interpolated", "bad-regions-set"},
    )  # fmt: skip
    changes_pixels = False

    def run(self, exposure: Exposure, calibrations: Any) -> None:
        SEEN.append(exposure.applied)


PEEK = SimpleNamespace(steps=hookimpl(lambda: [Peek], specname="isr_steps"))
REGISTRY = Registry({"standard": isrcore_standard, "peek": PEEK})


def kept(registry: Registry, drawn: Any) -> tuple[Applied, ...]:
    """The operations that a run has kept near its end."""
    config, exposure, inputs = drawn
    mine = default_config(registry)
    for name in config.names():
        if not name.endswith("implementation"):
            mine.set(name, config.get(name))
    product = IsrTask(mine, registry=registry).run(exposure, **inputs).exposure
    assert product.applied == exposure.applied == ()
    return SEEN.pop()


def at(applied: tuple[Applied, ...], box: Box) -> list[tuple[str, str, list[Any]]]:
    """What happened in a box: step, operation, operands."""
    found = []
    for one in applied:
        op = one.on(box)
        if op is not None:
            values = [getattr(op, name) for name in op.operands]
            arrays = [v.image if isinstance(v, MaskedImage) else np.array(v) for v in values]
            found.append((one.step, type(op).__name__, [array.tolist() for array in arrays]))
    return found


@given(drawn=strategies.runs(REGISTRY, doAssembleCcd=True, doNanMasking=True), data=st.data())
def test_where_segments_end_does_not_matter(drawn: Any, data: st.DataObject) -> None:
    alone = Registry({"standard": isrcore_standard, "peek": PEEK, "recorder": Recorder()})
    whole, pieces = kept(REGISTRY, drawn), kept(alone, drawn)
    shape = drawn[1].detector.shape
    y, x = data.draw(st.integers(0, shape[0] - 1)), data.draw(st.integers(0, shape[1] - 1))
    box = Box(y, y + 1, x, x + 1)
    assert at(whole, box) == at(pieces, box)
    assert {step for step, _, _ in at(whole, box)} <= {one.step for one in whole}


@given(data=st.data())
def test_an_operation_on_a_box_is_the_part_of_it_there(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(2, 8), st.integers(2, 8)))
    op = data.draw(st.builds(Affine, operands(shape, 1.5, 0.1), operands(shape, 0.0, 50.0)))
    inside = data.draw(strategies.boxes(shape, 1))
    pixels = data.draw(strategies.masked_images(shape))
    part, whole = pixels.window(inside).copy(), pixels.copy()
    placed = Applied("any", op, Box.of_shape(shape).shift(3, 5))
    found = placed.on(inside.shift(3, 5))
    assert found is not None
    apply_op(found, part)
    apply_op(op, whole)
    np.testing.assert_array_equal(part.image, whole.window(inside).image)
    np.testing.assert_array_equal(part.variance, whole.window(inside).variance)
    assert placed.on(inside) is None or placed.box.contains(inside)


def test_example_a_clone_is_in_no_run() -> None:
    exposure = Exposure(MaskedImage.from_image(np.ones((2, 2), np.float32)), Detector.of_shape((2, 2)))
    busy = attrs.evolve(exposure, applied=(Applied("bias", Affine(offset=1.0), Box(0, 2, 0, 2)),))
    assert busy.share().applied == busy.applied
    assert busy.clone().applied == ()
