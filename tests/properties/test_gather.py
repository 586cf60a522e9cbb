"""Laws: one pass equals one pass per step; assembling and scattering back is identity on data pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Gather, IsrTask, MaskedImage, Registry
from isrcore.geometry import Box
from isrcore.kernels.reference import Work, execute
from isrcore.testing import strategies
from isrcore.testing.contracts import Recorder, check_same

PLUGINS = {"standard": isrcore_standard}
REGISTRY = Registry(PLUGINS)


@given(strategies.runs(REGISTRY))
def test_one_pass_equals_a_pass_per_step(drawn):
    config, exposure, inputs = drawn
    together = IsrTask(config=config, registry=REGISTRY)
    apart = IsrTask(config=config, registry=Registry({**PLUGINS, "recorder": Recorder()}))
    segments = [len(segment.steps) for segment in apart.plan(exposure, **inputs).segments]
    assert segments == [1] * len(segments)
    first, second = (task.run(exposure, **inputs).exposure for task in (together, apart))
    check_same(first.pixels, second.pixels)
    assert (first.facts, first.unit) == (second.facts, second.unit)
    assert repr(first.detector) == repr(second.detector)
    assert first.header == second.header


@given(strategies.runs(REGISTRY, assembly__doTrim=False, doAssembleCcd=True))
def test_turning_without_trimming_in_one_pass_equals_a_pass_per_step(drawn):
    config, exposure, inputs = drawn
    together = IsrTask(config=config, registry=REGISTRY).run(exposure, **inputs).exposure
    apart = Registry({**PLUGINS, "recorder": Recorder()})
    check_same(
        together.pixels, IsrTask(config=config, registry=apart).run(exposure, **inputs).exposure.pixels
    )


@given(st.data())
def test_scattering_what_was_assembled_returns_the_data(data):
    detector = data.draw(strategies.detectors())
    raw = data.draw(strategies.masked_images(detector.raw_shape))
    assembled, returned = blank(detector.shape), blank(detector.raw_shape)
    execute(Work(assembled, (), raw, detector.gathers()))
    execute(Work(returned, (), assembled, tuple(gather.inverse() for gather in detector.gathers())))
    for amp in detector.amplifiers:
        check_same(returned.window(amp.raw_data_box), raw.window(amp.raw_data_box))


def blank(shape):
    return MaskedImage.from_image(np.zeros(shape, np.float32))


@given(st.data())
def test_a_gather_and_its_inverse_are_each_other_s_inverse(data):
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    box = data.draw(strategies.boxes(shape))
    flips = data.draw(st.booleans()), data.draw(st.booleans())
    gather = Gather(box, Box.of_shape(box.shape), *flips)
    pixels = np.arange(shape[0] * shape[1]).reshape(shape)
    assert gather.inverse().inverse() == gather
    np.testing.assert_array_equal(gather.inverse().read(gather.read(pixels)), pixels[box.slices])


def test_example_the_second_amplifier_is_stored_right_to_left():
    left, right = Box(0, 1, 0, 2), Box(0, 1, 2, 4)
    moves = (Gather(left, left), Gather(right, right, flip_x=True))
    target = blank((1, 4))
    execute(Work(target, (), MaskedImage.from_raw(np.uint16([[1, 2, 4, 3]])), moves))
    assert target.image.tolist() == [[1, 2, 3, 4]]
