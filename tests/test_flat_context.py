"""Dark and flat inside a context: applied as far as they are on, undone last first, whatever happens."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isrcore_standard
from isrcore import Detector, Exposure, IsrTask, MaskedImage, PlanError, Registry, VisitInfo, isr_config
from isrcore.testing import strategies
from isrcore.testing.contracts import check_same, ulps

REGISTRY = Registry({"standard": isrcore_standard})
FACTS = frozenset({"converted", "levels-known", "assembled"})


def task(**switches):
    config = isr_config(REGISTRY)()
    for name, value in switches.items():
        config.set(name, value)
    return IsrTask(config, registry=REGISTRY)


def frame(image, unit="adu"):
    pixels = MaskedImage.from_image(np.float32(image), variance=np.full(np.shape(image), 0.5, np.float32))
    return Exposure(
        pixels, Detector.of_shape(pixels.shape), visit=VisitInfo(dark_s=10.0), unit=unit, facts=FACTS
    )


def test_inside_the_dark_is_subtracted_and_the_flat_divided_out():
    exposure, flat, dark = frame([[12, 7]]), frame([[2, 0.5]], ""), frame([[2, 1]])
    with task().flatContext(exposure, flat, dark) as inside:
        assert inside is exposure
        assert inside.image.tolist() == [[5, 12]]
        assert inside.facts == FACTS | {"dark-subtracted", "flat-fielded"}
    assert exposure.image.tolist() == [[12, 7]]
    np.testing.assert_allclose(exposure.variance, 0.5, rtol=1e-6)
    assert exposure.facts == FACTS
    assert [entry.step for entry in exposure.history] == ["dark", "flat", "undo flat", "undo dark"]


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ({"doDark": False}, [[6, 14]]),
        ({"doFlat": False}, [[10, 6]]),
        ({"doDark": False, "doFlat": False}, [[12, 7]]),
    ],
)
def test_what_is_switched_off_is_not_done(switches, expected):
    exposure = frame([[12, 7]])
    with task(**switches).flatContext(exposure, frame([[2, 0.5]], ""), frame([[2, 1]])) as inside:
        assert inside.image.tolist() == expected
    assert exposure.image.tolist() == [[12, 7]]


def test_a_frame_that_is_not_given_is_not_applied():
    exposure = frame([[12, 7]])
    with task().flatContext(exposure, frame([[2, 0.5]], "")) as inside:
        assert inside.image.tolist() == [[6, 14]]
    with task().flatContext(exposure, None) as inside:
        assert inside.image.tolist() == [[12, 7]]
    assert exposure.facts == FACTS


def test_both_are_undone_after_an_exception():
    exposure = frame([[12, 7]])
    with (
        pytest.raises(KeyError, match="inside"),
        task().flatContext(exposure, frame([[2, 0.5]], ""), frame([[2, 1]])),
    ):
        raise KeyError("inside")
    assert exposure.image.tolist() == [[12, 7]]
    assert exposure.facts == FACTS


def test_the_dark_is_undone_when_the_flat_does_not_fit():
    exposure = frame([[12, 7]])
    with (
        pytest.raises(PlanError, match="it has shape"),
        task().flatContext(exposure, frame([[2, 0.5, 1]], ""), frame([[2, 1]])),
    ):
        raise AssertionError("the block must not run")
    assert exposure.image.tolist() == [[12, 7]]
    assert exposure.facts == FACTS


def test_statistics_found_inside_are_forgotten():
    exposure = frame([[12, 7, 9]])
    with task().flatContext(exposure, frame([[2, 2, 2]], "")):
        assert exposure.statistics().clipped.median == 4.5
    assert exposure.statistics().clipped.median == 9


@given(data=st.data())
def test_image_and_variance_return_and_flags_stay(data):
    detector = data.draw(strategies.detectors())
    exposure = data.draw(strategies.exposures(detector))
    inputs = data.draw(strategies.calibrations_for(detector))
    before = exposure.clone()
    with task().flatContext(exposure, inputs["flat"], inputs["dark"]):
        inner = exposure.clone()
    # A unit in the last place of the largest number on the way, for each of the two steps and its undoing.
    scale = np.float32(exposure.visit.dark_s / inputs["dark"].visit.dark_s)
    dark, flat = inputs["dark"].pixels, inputs["flat"].pixels
    largest = np.maximum(abs(before.image), abs(scale * dark.image))
    assert ulps(exposure.image, before.image, 2 * largest).max() <= 4
    added = scale**2 * dark.variance + inner.image.astype(np.float64) ** 2 * flat.variance
    assert ulps(exposure.variance, before.variance, before.variance + added).max() <= 10
    for one, other in ((before, exposure), (exposure, inner)):
        assert not np.any(one.planes.value(*one.planes) & one.mask & ~other.mask)
    assert (exposure.facts, exposure.unit) == (before.facts, before.unit)


@given(data=st.data())
def test_a_context_without_anything_to_do_leaves_the_exposure_alone(data):
    detector = data.draw(strategies.detectors())
    exposure = data.draw(strategies.exposures(detector))
    inputs = data.draw(strategies.calibrations_for(detector))
    before = exposure.clone()
    with task(doDark=False, doFlat=False).flatContext(exposure, inputs["flat"], inputs["dark"]):
        pass
    check_same(exposure.pixels, before.pixels)
    assert exposure.history == before.history


def test_a_rehearsal_leaves_the_records_of_the_task_alone():
    chain = task()
    chain.emptyMetadata()
    exposure = frame([[12.0, np.nan, 7.0, 9.0]])
    chain.rehearse(exposure, "nanFlags", "interpolation", "a step that nobody has")
    assert exposure.pixels.flagged("INTRP").tolist() == [[False, True, False, False]]
    assert np.isfinite(exposure.image).all()
    assert all(len(metadata) == 0 for metadata in chain.getFullMetadata().values())


def test_a_flat_that_is_zero_leaves_no_number_behind():
    exposure = frame([[12, 7]])
    with np.errstate(all="ignore"), task().flatContext(exposure, frame([[0, 1]], "")):
        pass
    np.testing.assert_array_equal(np.isnan(exposure.image), [[True, False]])
    assert attrs.evolve(exposure).facts == FACTS
